"""The filter for people, fitted to a group of pictures: by its biases alone, in streams.

Biases are few and need no more multiplications in the decoder (Lam et al., ACM MM 2020, arXiv 2007.14267).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from nnvvc.adapt.descent import Values, descend
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.precision import reduced_precision
from nnvvc.models.restoration import RestorationFilter

CROP = 256
"""Side of the parts that a step looks at, luma samples."""

CROPS = 6
"""Parts per step."""

LEARNING_RATE = 0.02
CHROMA_SHARE = 0.15


@dataclass(frozen=True)
class Sample:
    """One decoded picture and its original, as filters take planes. layer: see `condition`."""

    luma: Tensor
    chroma: Tensor
    wanted: Tensor
    wanted_chroma: Tensor
    layer: int


def optimise(
    adaptable: Adaptable[RestorationFilter],
    samples: Sequence[Sample],
    key_qp: float,
    start: Values,
    seconds: float,
    seed: int = 0,
    learning_rate: float = LEARNING_RATE,
) -> Values:
    """Values with less squared error on the samples than `start`, after `seconds` at most."""
    rng = np.random.default_rng(seed)
    errors = [_errors(s, s.luma, s.chroma) for s in samples]

    def loss(change: Tensor) -> Tensor:
        chosen = rng.integers(len(samples), size=CROPS).tolist()
        parts = [samples[i] for i in chosen], [errors[i] for i in chosen]
        return _loss(adaptable, *parts, key_qp, change, rng)

    return descend(loss, start, seconds, learning_rate)


def _loss(
    adaptable: Adaptable[RestorationFilter],
    samples: Sequence[Sample],
    errors: Sequence[tuple[float, float]],
    key_qp: float,
    change: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    """Squared error left, relative to the unfiltered picture's: every picture counts alike."""
    parts = [_part(s, rng) for s in samples]
    luma, chroma, wanted, wanted_chroma = (torch.cat(planes) for planes in zip(*parts, strict=True))
    layers = torch.tensor([float(s.layer) for s in samples])
    given = (luma, chroma, torch.full_like(layers, key_qp), layers)
    with reduced_precision():
        y, c = functional_call(adaptable.model, adaptable.changed(change), given)
    scale = torch.tensor(errors)
    left = (y - wanted).square().mean((1, 2, 3)) / scale[:, 0]
    left_chroma = (c - wanted_chroma).square().mean((1, 2, 3)) / scale[:, 1]
    total: Tensor = (1 - CHROMA_SHARE) * left.mean() + CHROMA_SHARE * left_chroma.mean()
    return total


def _part(sample: Sample, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    height, width = sample.luma.shape[2:]
    rows, columns = min(CROP, height // 2 * 2), min(CROP, width // 2 * 2)
    y, x = (int(rng.integers((full - part) // 2 + 1)) for full, part in ((height, rows), (width, columns)))
    big = (..., slice(2 * y, 2 * y + rows), slice(2 * x, 2 * x + columns))
    small = (..., slice(y, y + rows // 2), slice(x, x + columns // 2))
    return sample.luma[big], sample.chroma[small], sample.wanted[big], sample.wanted_chroma[small]


def _errors(sample: Sample, luma: Tensor, chroma: Tensor) -> tuple[float, float]:
    """Mean squared errors; never zero."""
    return (
        float((luma - sample.wanted).square().mean()) + 1e-8,
        float((chroma - sample.wanted_chroma).square().mean()) + 1e-8,
    )


def decibels(samples: Sequence[Sample], filtered: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Luma PSNR that filtered planes gain over the samples' own, mean over the pictures, in decibels."""
    gains = [
        10 * math.log10(_errors(s, s.luma, s.chroma)[0] / _errors(s, *planes)[0])
        for s, planes in zip(samples, filtered, strict=True)
    ]
    return sum(gains) / len(gains)
