"""The filter for machines, fitted to a group of pictures by its biases alone: what the loss networks see
comes nearer to what they see in the originals.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from nnvvc.adapt import block_choice
from nnvvc.adapt.descent import Values, descend
from nnvvc.adapt.loss_networks import STRIDE, block_side, loss_network
from nnvvc.adapt.samples import Sample
from nnvvc.entropy.block_map import BLOCK
from nnvvc.media.colour import KR_KB
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.filters import PictureFilter, enlargement
from nnvvc.models.planes import to_rgb
from nnvvc.models.tasknets import feature_loss
from nnvvc.picture import Matrix

CROP = 256
"""Side of the part that a step looks at, as the loss networks see it."""

ALIGNMENT = 8
"""Parts begin at multiples of it, which are whole pairs of samples at every coded scale."""

LEARNING_RATE = 0.002

PIXEL_WEIGHT = 20.0
"""Of the squared error of RGB in 0..1, as in training: what pleases loss networks alone is often a shift."""


def optimise(
    adaptable: Adaptable[PictureFilter],
    samples: Sequence[Sample],
    scale: Fraction,
    qp: int,
    matrix: Matrix,
    start: Values,
    seconds: float,
    seed: int = 0,
) -> Values:
    """Values with less feature loss on the samples than `start`, after `seconds` at most.

    scale: that the pictures are coded at. Pictures that are too small to be looked at give `start` back.
    Raises ConfigError where the loss networks are not there.
    """
    height, width = samples[0].wanted.shape[2:]
    reduced = Fraction(block_side(height, width), BLOCK)
    grid = int(STRIDE / reduced)
    if min(height, width) < grid:
        return start
    rng = np.random.default_rng(seed)
    names, steps = list(block_choice.FEATURES), count()
    weights = torch.tensor([KR_KB[matrix]])
    given = torch.tensor([float(qp)]), torch.tensor([float(scale)]), enlargement(scale)

    def loss(change: Tensor) -> Tensor:
        sample = samples[int(rng.integers(len(samples)))]
        luma, chroma, wanted, wanted_chroma = _part(sample, scale, grid, rng)
        name = names[next(steps) % len(names)]
        network, outputs = loss_network(name), block_choice.FEATURES[name]
        layer = torch.tensor([float(sample.layer)])
        arguments = (luma, chroma, *given, (0,), layer)
        ((y, c),) = functional_call(adaptable.model, adaptable.changed(change), arguments)
        size = int(wanted.shape[2] * reduced), int(wanted.shape[3] * reduced)
        original = to_rgb(wanted, wanted_chroma, weights, size)
        filtered = to_rgb(y, c, weights, size)
        with torch.no_grad():
            target = network(original, outputs)
        error = PIXEL_WEIGHT * (filtered - original).square().mean()
        return error + feature_loss(network(filtered, outputs), target).mean()

    return descend(loss, start, seconds, LEARNING_RATE)


def _part(
    sample: Sample, scale: Fraction, grid: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same random part of decoded and original planes. grid: its sides are multiples of this."""
    spans = []
    for side in sample.wanted.shape[2:]:
        length = min(CROP // STRIDE, side // grid) * grid
        spans.append((ALIGNMENT * int(rng.integers((side - length) // ALIGNMENT + 1)), length))
    parts = []
    for plane, factor in (
        (sample.luma, scale),
        (sample.chroma, scale / 2),
        (sample.wanted, Fraction(1)),
        (sample.wanted_chroma, Fraction(1, 2)),
    ):
        (y, rows), (x, columns) = ((int(start * factor), int(length * factor)) for start, length in spans)
        parts.append(plane[..., y : y + rows, x : x + columns])
    return parts[0], parts[1], parts[2], parts[3]
