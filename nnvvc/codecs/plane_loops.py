"""Samples to what networks take, and back, in one pass each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit

Array = NDArray[Any]

_F = np.float32


@njit(fastmath=True, nogil=True, cache=True)
def scaled(plane: Array, offset: Any, scale: Any, result: Array) -> None:
    """Fills (H, W), float32, with (plane - offset) * scale. plane: uint16 or float32."""
    height, width = result.shape
    for y in range(height):
        line, out = plane[y], result[y]
        for x in range(width):
            out[x] = (_F(line[x]) - offset) * scale


@njit(nogil=True, cache=True)
def rounded(plane: Array, offset: Any, gain: Any, top: int, result: Array) -> None:
    """Fills (H, W), uint16, with plane * gain + offset, rounded to even where it is half, within 0..top.

    plane: float32.
    """
    height, width = result.shape
    most = _F(top)
    for y in range(height):
        line, out = plane[y], result[y]
        for x in range(width):
            out[x] = np.uint16(np.int32(np.rint(min(max(line[x] * gain + offset, _F(0)), most))))
