"""The weights of a filter's taps that leave least squared error: solved for, not searched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nnvvc.adapt.descent import Values
from nnvvc.adapt.quantise import Integers, Quadratic, Vector, rounded
from nnvvc.adapt.samples import Sample, errors_of
from nnvvc.models.adaptable import GRID_TAPS, TAPS, Adaptable
from nnvvc.models.people import PeopleNetwork, settled
from nnvvc.models.restoration import quantiser_step
from nnvvc.models.tap_shapes import ALONG, CLASSES, GRID, LAYERS, SETS
from nnvvc.models.taps import classes, grid_basis

STRIP = 64
"""Rows of a picture that are looked at at a time; whole blocks of `classes` and of the grid."""

COMMON_RIDGE, RIDGE = 1e-6, 2e-5
"""Share of a picture's error that a weight of 1 has to gain at least: a common one, and all others."""

LOOKED_AT = 1 << 22
"""Luma samples that are enough for so few numbers: of more only some strips are looked at."""

GRID_COUNT = 2 * len(ALONG) * GRID


@dataclass(frozen=True)
class Solution:
    """Values of an update with the best weights of taps, the other values being what they are."""

    values: Values
    loss: Quadratic
    places: NDArray[np.int64]

    def decibels(self, values: Values) -> float:
        """Luma PSNR that any weights are expected to gain, in values that are the same but for them."""
        return self.loss.decibels(values[self.places].astype(np.float64))

    def rounded(
        self, numbers: Sequence[int], step: float, bits_per_decibel: float, before: Sequence[int] | None
    ) -> Iterator[list[int]]:
        """Numbers, those of taps replaced by ones that gain about as much in fewer bits; see `quantise`.

        before: numbers that they can be coded as differences to.
        """
        best = self.values[self.places].astype(np.float64)
        # Neither beginning is always the better one.
        tried: list[tuple[Vector, Integers | None]] = [(best, None), (np.zeros_like(best), None)]
        if before is not None:
            known = np.array(before)[self.places]
            tried += [(best, known), (known * step, known)]
        for begin, origin in tried:
            found = np.array(numbers)
            found[self.places] = rounded(self.loss, begin, step, bits_per_decibel, origin)
            yield found.tolist()


@torch.inference_mode()
def solved(
    adaptable: Adaptable[PeopleNetwork], samples: Sequence[Sample], key_qp: float, start: Values
) -> Solution:
    """`start`, with the best weights of taps on the samples, of a filter that has some."""
    places = np.concatenate(
        [np.arange(adaptable.places[n].start, adaptable.places[n].stop) for n in (TAPS, GRID_TAPS)]
    )
    taps = adaptable.model.taps
    base = torch.cat((taps.weight.flatten(), taps.grid.flatten())).numpy()
    values = start.copy()
    values[places] = -base
    model = adaptable.applied(torch.from_numpy(values))
    apply, qp = settled(model), torch.tensor([float(key_qp)])
    step = quantiser_step(qp)[:, None, None, None]
    every = -(-sum(sample.wanted.numel() for sample in samples) // LOOKED_AT)
    equations = NormalEquations(taps.count, every)
    for sample in samples:
        filtered, _ = apply(sample.luma, sample.chroma, qp, torch.tensor([sample.layers]))
        equations.add(model, sample, filtered, step)
    loss = equations.loss().from_here(base.astype(np.float64))
    ridge = np.repeat((COMMON_RIDGE, RIDGE), (taps.count, len(loss.against) - taps.count))
    values[places] = np.linalg.solve(loss.square + np.diag(ridge), loss.against)
    return Solution(values, loss, places)


class NormalEquations:
    """Sums over samples, by class and layer, of products of what taps add, and of that with what is left to
    add. Every picture's error counts alike. count: of taps. every: strip to look at, others in the next
    picture.
    """

    def __init__(self, count: int, every: int) -> None:
        self._count, self._every = count, every
        kinds, size = (LAYERS, CLASSES), count + GRID_COUNT
        self._square, self._against = np.zeros((*kinds, size, size)), np.zeros((*kinds, size))
        self._pictures, self._left = 0, 0.0

    def add(self, model: PeopleNetwork, sample: Sample, filtered: torch.Tensor, step: torch.Tensor) -> None:
        """filtered: luma that the filter makes of the sample without its taps."""
        left, residual = sample.wanted - filtered, filtered - sample.plain[0]
        scale = (errors_of(sample, *sample.plain)[0] * left.numel()) ** -0.5
        self._left += float((scale * left).square().sum())
        self._pictures += 1
        if not sample.layer:
            return
        layer = min(sample.layer, LAYERS) - 1
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
                self._square[layer, number] += (some @ some.T).double().numpy()
                self._against[layer, number] += (some @ wanted[places]).double().numpy()

    def loss(self) -> Quadratic:
        """The mean share of the pictures' errors that is left, of weights in the order of `Taps`."""
        share, count = self._every / self._pictures, self._count
        size = SETS * count
        square, against = np.zeros((size + GRID_COUNT,) * 2), np.zeros(size + GRID_COUNT)
        grid = np.arange(size, size + GRID_COUNT)
        for layer, number in np.ndindex(LAYERS, CLASSES):
            own, wanted = self._square[layer, number], self._against[layer, number]
            # A sample is weighed by the sum of three sets.
            sets = [np.arange(count) + count * i for i in (0, 1 + number, 1 + CLASSES + layer)]
            for places in sets:
                against[places] += share * wanted[:count]
                for others in sets:
                    square[np.ix_(places, others)] += share * own[:count, :count]
                square[np.ix_(places, grid)] += share * own[:count, count:]
                square[np.ix_(grid, places)] += share * own[count:, :count]
            square[np.ix_(grid, grid)] += share * own[count:, count:]
            against[grid] += share * wanted[count:]
        return Quadratic(self._left / self._pictures, square, against)
