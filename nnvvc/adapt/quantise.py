"""Numbers with a quadratic loss, rounded so that loss and bits together are least.

What adaptive filters' coefficients need as well as transforms' do: every number is set to the whole multiple
of the step that costs least, the others being what they are, until none changes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.entropy.small_numbers import LARGEST

SWEEPS = 12

Vector = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

_DECIBELS = 10 / math.log(10)
_WHOLE = np.arange(-LARGEST, LARGEST + 1)
_PRIOR = 0.02 + 0.5 * 0.4 ** np.abs(_WHOLE)
_BEFORE = 0.05 + 30 * 0.3 ** np.abs(_WHOLE)


@dataclass(frozen=True)
class Quadratic:
    """The share of an error that is left: start + w'(square)w - 2 w'(against), of values w, (n,)."""

    start: float
    square: Vector
    against: Vector

    def left(self, values: Vector) -> float:
        return self.start + float(values @ (self.square @ values) - 2 * values @ self.against)

    def from_here(self, values: Vector) -> "Quadratic":
        """The same of what is added to values."""
        return Quadratic(self.left(values), self.square, self.against - self.square @ values)

    def decibels(self, values: Vector) -> float:
        """What values gain."""
        return -_DECIBELS * math.log(max(self.left(values), 1e-3))


def rounded(
    loss: Quadratic, start: Vector, step: float, bits_per_decibel: float, before: Integers | None = None
) -> Integers:
    """(n,), in -LARGEST..LARGEST: in units of `step`, near the values `start` and of few bits.

    bits_per_decibel: what a decibel is worth. before: numbers that these are coded as differences to, by
    default zeros.
    """
    origin = np.zeros(len(start), np.int64) if before is None else before
    found: Integers = np.clip(np.rint(start / step), -LARGEST, LARGEST).astype(np.int64)
    values = found * step
    slope = loss.square @ values - loss.against
    counts = _BEFORE
    for _ in range(SWEEPS):
        bits = -np.log2(counts / counts.sum())
        worth = bits_per_decibel * _DECIBELS / max(loss.left(values), 1e-3)
        if not _sweep(found, values, slope, loss.square, origin, step, worth, bits):
            break
        differences = np.clip(found - origin, -LARGEST, LARGEST) + LARGEST
        counts = np.bincount(differences, minlength=len(_WHOLE)) + _PRIOR
    return found


@njit(cache=True)
def _sweep(
    found: Integers,
    values: Vector,
    slope: Vector,
    square: Vector,
    origin: Integers,
    step: float,
    worth: float,
    bits: Vector,
) -> bool:
    """Every number once, in place; whether any changed."""
    changed = False
    for i in range(len(found)):
        curve = square[i, i] + 1e-12
        near = math.floor((values[i] - slope[i] / curve) / step)
        best, least = found[i], np.inf
        for tried in (near, near + 1, origin[i], found[i]):
            number = min(max(tried, -LARGEST), LARGEST)
            change = step * number - values[i]
            coded = min(max(number - origin[i], -LARGEST), LARGEST) + LARGEST
            cost = worth * (change * change * curve + 2 * change * slope[i]) + bits[coded]
            if cost < least:
                best, least = number, cost
        if best != found[i]:
            change = step * best - values[i]
            slope += square[:, i] * change
            found[i] = best
            values[i] = step * best
            changed = True
    return changed
