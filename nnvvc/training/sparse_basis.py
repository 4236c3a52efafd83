"""A basis in which blocks of pictures are sparse, as the start of a linear transform.

A Karhunen-Loeve transform sees second moments only. Of all orthonormal bases of the same components some need
far fewer of them for a single block. What a transform codec pays is about the sum of min(a**2, threshold**2)
over components a: below the threshold their energy is lost, above it they cost bits. Going back and forth
between the best coefficients for a basis (hard thresholding) and the best basis for these (orthogonal
Procrustes) lowers that sum: sparse orthonormal transforms (Sezer, Guleryuz, Altunbasak, IEEE Transactions on
Image Processing 24(8), 2015), here for thresholds of several rates at once.
"""

import torch
from torch import Tensor

ROUNDS = 150
SAMPLE = 90_000
"""Vectors that a round looks at."""
ANNEALED = 0.4
"""Share of the rounds in which thresholds fall to what they are."""
FIRST_OCTAVES = 4.0 / 3.0
"""How far above they start: a basis is shaped by strong edges first."""
AT_ONCE = 30_000


def lost_and_paid(components: Tensor, threshold: float) -> float:
    """Mean of min(a**2, threshold**2) over all components (N, C)."""
    return float(components.square().clamp(max=threshold * threshold).mean())


@torch.no_grad()
def sparse_rotation(vectors: Tensor, thresholds: list[float], rounds: int = ROUNDS, seed: int = 0) -> Tensor:
    """An orthonormal matrix (C, C), float32; `vectors @ rotation` is as sparse as was found.

    vectors (N, C), all in one unit; thresholds in that unit. What is made small is the mean over thresholds
    of `lost_and_paid`, each relative to what it is for the vectors as given.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = [1.0 / max(lost_and_paid(vectors, t), 1e-12) for t in thresholds]
    rotation = torch.eye(vectors.shape[1])
    for number in range(rounds):
        octaves = FIRST_OCTAVES * max(0.0, 1.0 - number / (ANNEALED * rounds))
        drawn = torch.randperm(len(vectors), generator=generator)[:SAMPLE]
        product = torch.zeros_like(rotation)
        for part in torch.split(drawn, AT_ONCE):
            some = vectors[part].float()
            components = some @ rotation
            kept = torch.zeros_like(components)
            for threshold, weight in zip(thresholds, weights, strict=True):
                kept += weight * torch.where(components.abs() > threshold * 2.0**octaves, components, 0.0)
            product += some.T @ kept
        left, _, right = torch.linalg.svd(product)
        rotation = left @ right
    return rotation
