"""What `tables.whole_counts` does for few symbols, as shares of 1: for every symbol that is coded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.entropy.tables import PRECISION

Array = NDArray[Any]

_ONE = float(1 << PRECISION)
_SUMS = 8


@njit(cache=True)
def fill_shares(counts: Array, result: Array) -> None:
    """Fills what `whole_counts` gives, times 2**-PRECISION. counts: (symbols,), float64: 127 at most, or any
    number of whole ones.
    """
    total = _total(counts)
    rest, largest = _ONE, 0
    for k in range(len(counts)):
        result[k] = max(np.rint(counts[k] / total * _ONE), 1.0)
        rest -= result[k]
        if result[k] > result[largest]:
            largest = k
    result[largest] += rest
    for k in range(len(counts)):
        result[k] /= _ONE


@njit(cache=True)
def _total(numbers: Array) -> Any:
    """In the order that numpy adds up in: another one may be off by the last bit."""
    end = len(numbers) // _SUMS * _SUMS
    sums = np.zeros(_SUMS)
    for first in range(0, end, _SUMS):
        for k in range(_SUMS):
            sums[k] += numbers[first + k]
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for k in range(end, len(numbers)):
        total += numbers[k]
    return total
