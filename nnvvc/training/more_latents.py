"""Latents added to a trained model: what those that it has leave of pictures.

A block of 16x16 luma samples with its chroma has 384 samples. A model with fewer latents cannot say all of
it, however fine its quantiser; one with as many can. The new ones are the Karhunen-Loeve transform of what
the linear paths leave, turned to where it is sparse; all other weights start as they are, and ignore them.
"""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.lic import LINEAR_RATE, Lic, block_kernel, block_metric
from nnvvc.models.planes import LEVELS
from nnvvc.training.sparse_basis import sparse_rotation

SPLIT = ("inlet.weight", "contexts.0.weight", "contexts.1.weight", "contexts.2.weight")
"""Layers that latents enter as two halves."""
RIDGE = 1e-6
"""Of the mean variance of a sample: keeps kernels of smooth pictures finite."""


def widened(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model with fewer latents in the shapes of `wanted`: zeros for the new ones.

    Latents are last where they are an axis; where they enter as two halves, they are last in each.
    """
    result = {}
    for name, tensor in state.items():
        shape = wanted[name].shape if name in wanted else tensor.shape
        for axis, (size, more) in enumerate(zip(tensor.shape, shape, strict=True)):
            if size < more:
                halves = 2 if axis == 1 and name.endswith(SPLIT) else 1
                parts = tensor.chunk(halves, axis)
                padding = [0, 0] * (tensor.dim() - 1 - axis) + [0, (more - size) // halves]
                tensor = torch.cat([F.pad(part, padding) for part in parts], axis)
        result[name] = tensor
    return result


@torch.no_grad()
def complete(
    model: Lic,
    batches: Iterable[Tensor],
    known: int,
    chroma_weights: tuple[float, float],
    thresholds: list[float],
    rounds: int,
) -> None:
    """Make the latents from `known` on, in place, what the linear paths of those before leave.

    batches: planes (B, 6, H/2, W/2) of training pictures. thresholds, rounds: of `sparse_rotation`, in 8-bit
    levels.
    """
    metric = block_metric(chroma_weights)
    weights = (LEVELS * metric).repeat_interleave(64).float()
    count = model.config.latents - known
    products = torch.zeros(96 * 16, 96 * 16, dtype=torch.float64)
    crossed = torch.zeros(96 * 16, 384, dtype=torch.float64)
    rests = []
    for planes in batches:
        left = planes - model.synthesis.linear_path(model.analysis.linear_path(planes))
        blocks = F.pixel_unshuffle(left, 8).permute(0, 2, 3, 1).reshape(-1, 384)
        rests.append(blocks * weights)
        around = F.pixel_unshuffle(F.pixel_unshuffle(planes, 2), 2)
        windows = F.unfold(around, 4, padding=1, stride=2).transpose(1, 2).reshape(len(blocks), -1)
        products += windows.T @ windows
        crossed += windows.T @ rests[-1]
    rest = torch.cat(rests)
    _, vectors = torch.linalg.eigh((rest.T @ rest).double())
    basis = vectors.flip(1)[:, :count].float()
    basis = basis @ sparse_rotation(rest @ basis, thresholds, rounds)
    deviation = (rest @ basis).square().mean(0).sqrt()
    order = deviation.argsort(descending=True)
    basis, deviation = basis[:, order], deviation[order]
    products += RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
    seen = torch.linalg.solve(products, crossed @ basis.double()).T.reshape(count, 96, 4, 4).float()
    unit = (LEVELS * metric).repeat_interleave(16)[None, :].float()
    inverse = deviation[:, None] / unit
    for linear, kernel, scale in (
        (model.analysis.linear, seen / deviation[:, None, None, None], unit / deviation[:, None]),
        (model.synthesis.linear, block_kernel(basis.T) * inverse[..., None, None], inverse),
    ):
        whole = torch.cat([linear.weight()[:known], kernel])
        linear.start(whole, torch.cat([linear.scale[:known], LINEAR_RATE * scale]))
    model.log_deviation[known:] = torch.log2(deviation)
