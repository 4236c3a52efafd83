"""Pictures moved along vectors: overlapped block motion compensation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.media.motion_planes import STEP, TAPS, WINDOW, begins, held
from nnvvc.media.motion_window import add_moved, begin_moved

Array = NDArray[Any]

_BITS = 5

FRACTIONS = 1 << _BITS
"""Places between two samples that are told apart."""

_N = np.uintp
_F = np.float32

_HALF = STEP // 2


@njit(fastmath=True, nogil=True, cache=True)
def _row(vectors: Array, half: int, row: int, result: Array) -> None:
    """Fills (2, columns + 2) with the vectors of a row, or the nearest, and those beside it once more. In
    planes of half the size, they are half the mean of four.
    """
    rows, columns, _ = vectors.shape
    end = result.shape[1] - 1
    above = vectors[min(max(row << half, 0), rows - 1)]
    below = vectors[min(max((row << half) + half, 0), rows - 1)]
    for part in range(2):
        out = result[part]
        for x in range(end - 1):
            if half == 0:
                out[x + 1] = above[x, part]
            else:
                left, right = 2 * x, min(2 * x + 1, columns - 1)
                total = above[left, part] + above[right, part] + below[left, part] + below[right, part]
                out[x + 1] = total * _F(0.125)
        out[0], out[end] = out[1], out[end - 1]


@njit(inline="always")
def _taps(taps: Array, place: int) -> Any:
    a, b, c, d, e, f = taps[place]
    return a, b, c, d, e, f


@njit(fastmath=True, nogil=True, cache=True)
def moved(
    other: Array, pitch: int, vectors: Array, half: int, taps: Array, add: Any, scale: Any, result: Array
) -> None:
    """Fills (H, W), float32, with (samples + add) * scale of the other plane, of the same size, as vectors
    lead: each block's whole window, weighed down to its sides, so that blocks run into each other.

    other: see `motion_planes.filled`. vectors: of blocks WINDOW / 2 apart; half: 1 where they are those of a
    plane of twice the size, else 0. taps: (FRACTIONS, TAPS).
    """
    height, width = result.shape
    rows, columns = -(-height // _HALF), -(-width // _HALF)
    wide = (columns + 4) * _HALF
    shares = np.empty(WINDOW * WINDOW, np.float32)
    for i in range(WINDOW):
        for j in range(WINDOW):
            nearness = min(i + 0.5, WINDOW - 0.5 - i) * min(j + 0.5, WINDOW - 0.5 - j)
            shares[WINDOW * i + j] = nearness / (_HALF * _HALF)
    # A row of windows: its upper half has all that belongs there when the next row of blocks begins, and
    # takes the lower one of the next then. Every second window fills that, the others add to it: those that
    # overlap do not follow each other, or what has just been stored would have to be waited for.
    strip, half_strip = np.zeros(WINDOW * wide, np.float32), _HALF * wide
    parts = np.empty((2, columns + 2), np.float32)
    starts, along = np.empty(columns + 2, np.int32), np.empty(columns + 2, np.int32)
    down, line, mask = np.empty(columns + 2, np.int32), np.int32(pitch), np.int32(FRACTIONS - 1)
    for row in range(-1, rows + 1):
        _row(vectors, half, row, parts)
        y, x = begins(row, _HALF, WINDOW) - (TAPS // 2 - 1), begins(-1, _HALF, WINDOW) - (TAPS // 2 - 1)
        first = np.int32(y * pitch + x)
        for n in range(columns + 2):
            u = np.int32(np.floor(held(n - 1, _HALF, parts[0, n], width) * FRACTIONS + _F(0.5)))
            v = np.int32(np.floor(held(row, _HALF, parts[1, n], height) * FRACTIONS + _F(0.5)))
            starts[n] = first + (v >> _BITS) * line + np.int32(n * _HALF) + (u >> _BITS)
            along[n], down[n] = u & mask, v & mask
        ready = (row + 1) % 2 * half_strip
        for begun in range(2):
            for n in range(begun, columns + 2, 2):
                to = n * _HALF + _HALF // 2
                right, below = _taps(taps, along[n]), _taps(taps, down[n])
                start, line_of = _N(starts[n]), _N(pitch)
                upper, lower = _N(ready + to), _N(half_strip - ready + to)
                if begun:
                    add_moved(other, start, line_of, right, below, shares, strip, upper, lower, _N(wide))
                else:
                    begin_moved(other, start, line_of, right, below, shares, strip, upper, lower, _N(wide))
        for i in range(_HALF):
            y = row * _HALF - _HALF // 2 + i
            if 0 <= y < height:
                summed, out = strip[ready + i * wide + 2 * _HALF :], result[y]
                for k in range(width):
                    out[k] = (summed[k] + add) * scale
