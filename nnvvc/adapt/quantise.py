"""Numbers with a quadratic loss, rounded so that loss and bits together are least.

What adaptive filters' coefficients need as well as transforms' do: every number is set to the whole multiple
of the step that costs least, the others being what they are, until none changes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    curve = np.diag(loss.square) + 1e-12
    counts = _BEFORE
    for _ in range(SWEEPS):
        bits = -np.log2(counts / counts.sum())
        worth = bits_per_decibel * _DECIBELS / max(loss.left(values), 1e-3)
        changed = False
        for i, zero in enumerate(origin):
            near = math.floor((values[i] - slope[i] / curve[i]) / step)
            tried = np.clip([near, near + 1, zero, found[i]], -LARGEST, LARGEST)
            change = step * tried - values[i]
            coded = np.clip(tried - zero, -LARGEST, LARGEST) + LARGEST
            costs = worth * (change * change * curve[i] + 2 * change * slope[i]) + bits[coded]
            best = int(np.argmin(costs))
            if tried[best] != found[i]:
                slope += loss.square[:, i] * change[best]
                found[i] = tried[best]
                values[i] = found[i] * step
                changed = True
        if not changed:
            break
        differences = np.clip(found - origin, -LARGEST, LARGEST) + LARGEST
        counts = np.bincount(differences, minlength=len(_WHOLE)) + _PRIOR
    return found
