"""Passes over all activations of a layer, in one go where torch makes several."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit

Array = NDArray[Any]


@njit(fastmath=True, nogil=True, cache=True)
def round_into(values: Array, scale: Any, offset: Any, result: Array) -> None:
    """result: uint8, as long as values, float32: `values * scale + offset` to the nearest."""
    for i in range(values.size):
        scaled = values[i] * scale + (offset + np.float32(0.5))
        result[i] = np.uint8(np.int32(min(max(scaled, np.float32(0)), np.float32(255))))


@njit(fastmath=True, nogil=True, cache=True)
def add_leaky(total: Array, other: Array, leak: Any) -> None:
    """Adds other to total, and multiplies by `leak`, 0..1, what is below zero."""
    for i in range(total.size):
        value = total[i] + other[i]
        total[i] = max(value, value * leak)
