"""The filter for people, fitted to a group of pictures: by biases, and by taps (`adapt.taps`).

Biases are few and need no more multiplications in the decoder (Lam et al., ACM MM 2020, arXiv 2007.14267).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from nnvvc.adapt.descent import Candidate, Values, descend
from nnvvc.adapt.samples import Sample, errors_of
from nnvvc.adapt.taps import solved
from nnvvc.models.adaptable import GRID_TAPS, TAPS, Adaptable
from nnvvc.models.people import PeopleNetwork
from nnvvc.models.precision import reduced_precision

CROP = 256
"""Side of the parts that a step looks at, luma samples."""

CROPS = 6
"""Parts per step."""

LEARNING_RATE = 0.02
CHROMA_SHARE = 0.15


def optimise(
    adaptable: Adaptable[PeopleNetwork],
    samples: Sequence[Sample],
    key_qp: float,
    start: Values,
    seconds: float,
    seed: int = 0,
    learning_rate: float = LEARNING_RATE,
) -> list[Candidate]:
    """Values with less squared error on the samples than `start`, after `seconds` of gradient steps at most.

    Where there are taps, those of the base filter are solved for, and those of what was found: they gain most
    of what there is to gain, and biases alone go for the same.
    """
    rng = np.random.default_rng(seed)
    errors = [errors_of(s, *s.plain) for s in samples]

    def loss(change: Tensor) -> Tensor:
        chosen = rng.integers(len(samples), size=CROPS).tolist()
        parts = [samples[i] for i in chosen], [errors[i] for i in chosen]
        return _loss(adaptable, *parts, key_qp, change, rng)

    descended = descend(loss, start, seconds, learning_rate)
    if TAPS not in adaptable.places:
        return [Candidate(descended)]
    solutions = [solved(adaptable, samples, key_qp, values) for values in (start, descended)]
    return [Candidate(s.values, s.decibels, s.rounded) for s in solutions]


def _loss(
    adaptable: Adaptable[PeopleNetwork],
    samples: Sequence[Sample],
    errors: Sequence[tuple[float, float]],
    key_qp: float,
    change: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    """Squared error left, relative to the unfiltered picture's: every picture counts alike."""
    parts = [_part(s, rng) for s in samples]
    luma, chroma, wanted, wanted_chroma = (torch.cat(planes) for planes in zip(*parts, strict=True))
    layers = torch.tensor([s.layers for s in samples])
    given = (luma, chroma, torch.full((len(samples),), key_qp), layers)
    changed = adaptable.changed(change)
    # Without taps, where they are solved for in the end.
    changed |= {name: torch.zeros_like(changed[name]) for name in (TAPS, GRID_TAPS) if name in changed}
    with reduced_precision():
        y, c = functional_call(adaptable.model, changed, given)
    scale = torch.tensor(errors)
    left = (y - wanted).square().mean((1, 2, 3)) / scale[:, 0]
    left_chroma = (c - wanted_chroma).square().mean((1, 2, 3)) / scale[:, 1]
    total: Tensor = (1 - CHROMA_SHARE) * left.mean() + CHROMA_SHARE * left_chroma.mean()
    return total


def _part(sample: Sample, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    height, width = sample.luma.shape[2:]
    rows, columns = min(CROP, height // 2 * 2), min(CROP, width // 2 * 2)
    y, x = (
        2 * int(rng.integers((full - part) // 2 + 1)) for full, part in ((height, rows), (width, columns))
    )
    big = (..., slice(y, y + rows), slice(x, x + columns))
    small = (..., slice(y // 2, (y + rows) // 2), slice(x // 2, (x + columns) // 2))
    return sample.luma[big], sample.chroma[small], sample.wanted[big], sample.wanted_chroma[small]
