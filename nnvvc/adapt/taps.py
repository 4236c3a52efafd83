"""The weights of a filter's taps that leave least squared error: solved for, not searched."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnvvc.adapt.descent import Values
from nnvvc.adapt.samples import Sample, errors_of
from nnvvc.models.adaptable import GRID_TAPS, TAPS, Adaptable
from nnvvc.models.restoration import RestorationFilter, quantiser_step
from nnvvc.models.tap_shapes import ALONG, CLASSES, COUNT, GRID
from nnvvc.models.taps import classes, grid_basis

STRIP = 64
"""Rows of a picture that are looked at at a time; whole blocks of `classes` and of the grid."""

COMMON_RIDGE, RIDGE = 1e-6, 2e-5
"""Share of a picture's error that a weight of 1 has to gain at least: a common one, and all others."""

LOOKED_AT = 1 << 22
"""Luma samples that are enough for so few numbers: of more only some strips are looked at."""

GRID_COUNT = 2 * len(ALONG) * GRID

Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Solutions:
    """Values of an update with the best weights of taps. alike: with common ones only, which take the fewest
    bits. decibels: luma PSNR that any weights are expected to gain, the other values being what they are.
    """

    best: Values
    alike: Values
    decibels: Callable[[Values], float]


@torch.inference_mode()
def solved(
    adaptable: Adaptable[RestorationFilter], samples: Sequence[Sample], key_qp: float, start: Values
) -> Solutions:
    """`start`, with the best weights of taps on the samples, of a filter that has some."""
    taps, grid_taps = adaptable.places[TAPS], adaptable.places[GRID_TAPS]

    def with_taps(weights: Weights) -> Values:
        values = start.copy()
        values[taps] = np.concatenate((weights.common, weights.own.ravel()))
        values[grid_taps] = weights.grid
        return values

    def decibels(values: Values) -> float:
        common, own = np.split(values[taps].astype(np.float64), [COUNT])
        return equations.decibels(Weights(common, own.reshape(CLASSES, COUNT), values[grid_taps]))

    nothing = Weights(np.zeros(COUNT), np.zeros((CLASSES, COUNT)), np.zeros(GRID_COUNT))
    model = adaptable.applied(torch.from_numpy(with_taps(nothing)))
    qp = torch.tensor([float(key_qp)])
    step = quantiser_step(qp)[:, None, None, None]
    every = -(-sum(sample.wanted.numel() for sample in samples) // LOOKED_AT)
    equations = NormalEquations(every)
    for sample in samples:
        filtered = model(sample.luma, sample.chroma, qp, torch.tensor([float(sample.layer)]))[0]
        equations.add(model, sample, filtered, step)
    found = [with_taps(equations.solution(alike)) for alike in (False, True)]
    return Solutions(found[0], found[1], decibels)


class Weights(NamedTuple):
    """common: (COUNT,). own: (CLASSES, COUNT), what classes add. grid: (GRID_COUNT,)."""

    common: Matrix
    own: Matrix
    grid: Matrix


class NormalEquations:
    """Sums over samples, class by class, of products of what taps add, and of that with what is left to add.
    Every picture's error counts alike. every: strip to look at, others in the next picture.
    """

    def __init__(self, every: int = 1) -> None:
        self._every = every
        size = COUNT + GRID_COUNT
        self._square, self._against = np.zeros((CLASSES, size, size)), np.zeros((CLASSES, size))
        self._pictures, self._left = 0, 0.0

    def add(
        self, model: RestorationFilter, sample: Sample, filtered: torch.Tensor, step: torch.Tensor
    ) -> None:
        """filtered: luma that the filter makes of the sample without its taps."""
        left, residual = sample.wanted - filtered, filtered - sample.plain
        scale = (errors_of(sample, sample.plain, sample.chroma)[0] * left.numel()) ** -0.5
        numbers = classes(sample.luma, step)
        for row in range(STRIP * (self._pictures % self._every), left.shape[2], STRIP * self._every):
            part = (..., slice(row, row + STRIP), slice(None))
            luma = sample.luma[part]
            basis = torch.cat((model.taps.basis(luma, residual[part], step), grid_basis(luma)), 1)
            basis, wanted = scale * basis[0].flatten(1), scale * left[part].flatten()
            found = numbers[part].flatten()
            for number in np.unique(found.numpy()).tolist():
                places = torch.nonzero(found == number)[:, 0]
                some = basis[:, places]
                self._square[number] += (some @ some.T).double().numpy()
                self._against[number] += (some @ wanted[places]).double().numpy()
        self._left += float((scale * left).square().sum())
        self._pictures += 1

    def decibels(self, weights: Weights) -> float:
        """Expected of weights, over the pictures without the filter."""
        share = self._every / self._pictures
        left = self._left / self._pictures
        for square, against, own in zip(self._square, self._against, weights.own, strict=True):
            whole = np.concatenate((weights.common + own, weights.grid))
            left += share * float(whole @ square @ whole - 2 * whole @ against)
        return -10 * math.log10(max(left, 1e-3))

    def solution(self, alike: bool) -> Weights:
        """The best weights. alike: of all those whose classes add nothing."""
        share = self._every / self._pictures
        square, against = share * self._square, share * self._against
        whole, one = square.sum(0), against.sum(0)
        if alike:
            ridge = np.repeat((COMMON_RIDGE, RIDGE), (COUNT, GRID_COUNT))
            found = np.linalg.solve(whole + np.diag(ridge), one)
            return Weights(found[:COUNT], np.zeros((CLASSES, COUNT)), found[COUNT:])
        # Common weights, those of the grid, then those of the classes, of which no two meet in a sample.
        first = COUNT + GRID_COUNT
        size = first + CLASSES * COUNT
        matrix, right = np.zeros((size, size)), np.zeros(size)
        matrix[:first, :first], right[:first] = whole, one
        for number, (own, wanted) in enumerate(zip(square, against, strict=True)):
            place = slice(first + number * COUNT, first + (number + 1) * COUNT)
            matrix[place, place] = own[:COUNT, :COUNT]
            matrix[place, :first] = own[:COUNT]
            matrix[:first, place] = own[:COUNT].T
            right[place] = wanted[:COUNT]
        ridge = np.repeat((COMMON_RIDGE, RIDGE), (COUNT, size - COUNT))
        found = np.linalg.solve(matrix + np.diag(ridge), right)
        return Weights(found[:COUNT], found[first:].reshape(CLASSES, COUNT), found[COUNT:first])
