"""Vectors of blocks half as far apart: those of the blocks around, in between or one of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.media.motion_planes import STEP, WINDOW, begins, held, led
from nnvvc.media.motion_window import PARTS, all_apart

Array = NDArray[Any]

ALIKE = 1.0
"""Samples that vectors around differ by up to which they are of one motion."""

_N = np.uintp
_F = np.float32
_EACH = PARTS * PARTS


@njit(fastmath=True, nogil=True, cache=True)
def choose(own: Array, other: Array, pitch: int, size: Any, vectors: Array, result: Array) -> None:
    """Replaces vectors of blocks STEP / 2 apart where those around, STEP apart, differ by the one that fits
    best.

    own, other: planes, see `motion_planes.filled`. vectors: (rows, columns, 2). result: (rows, columns, 2),
    of the smaller blocks, in between in proportion.
    """
    rows, columns, _ = vectors.shape
    down, across, _ = result.shape
    apart = _differing(vectors)
    # How much the smaller blocks around differ from where each block's vector leads, of two rows of blocks.
    costs = np.empty((2, columns, _EACH), np.float32)
    for row in range(-1, rows):
        if row + 1 < rows:
            _measure(own, other, pitch, size, vectors, row + 1, apart, costs[(row + 1) % 2])
        above, below = max(row, 0), min(row + 1, rows - 1)
        for column in range(-1, columns):
            if not apart[row + 1, column + 1]:
                continue
            left, right = max(column, 0), min(column + 1, columns - 1)
            for i in range(max(2 * row + 1, 0), min(2 * row + 3, down)):
                for j in range(max(2 * column + 1, 0), min(2 * column + 3, across)):
                    least = _F(1e30)
                    for r in (above, below):
                        for c in (left, right):
                            place = PARTS * (i - 2 * r + 1) + j - 2 * c + 1
                            found = costs[r % 2, c, place]
                            if found < least:
                                least = found
                                result[i, j, 0], result[i, j, 1] = vectors[r, c]


@njit(fastmath=True, nogil=True, cache=True)
def _differing(vectors: Array) -> Array:
    """(rows + 1, columns + 1): whether the four vectors differ around where blocks meet, whose first and last
    rows and columns are repeated.
    """
    rows, columns, _ = vectors.shape
    result = np.empty((rows + 1, columns + 1), np.bool_)
    for row in range(rows + 1):
        above, below = vectors[max(row - 1, 0)], vectors[min(row, rows - 1)]
        for column in range(columns + 1):
            left, right = max(column - 1, 0), min(column, columns - 1)
            total = _F(0)
            for p in range(2):
                a, b, c, d = above[left, p], above[right, p], below[left, p], below[right, p]
                total += max(max(a, b), max(c, d)) - min(min(a, b), min(c, d))
            result[row, column] = total >= _F(ALIKE)
    return result


@njit(fastmath=True, nogil=True, cache=True)
def _measure(
    own: Array, other: Array, pitch: int, size: Any, vectors: Array, row: int, apart: Array, result: Array
) -> None:
    """Fills (columns, PARTS * PARTS) for a row of blocks, where it is asked for."""
    flat = result.reshape(-1)
    y = begins(2 * row - 1, STEP // 2, WINDOW)
    for column in range(len(result)):
        one, two = apart[row], apart[row + 1]
        if not (one[column] or one[column + 1] or two[column] or two[column + 1]):
            continue
        x = begins(2 * column - 1, STEP // 2, WINDOW)
        u, v = vectors[row, column]
        u, v = held(column, STEP, u, size[1]), held(row, STEP, v, size[0])
        here, there, weights = led(y, x, pitch, u, v)
        all_apart(own, here, other, there, _N(pitch), weights, flat, _N(column * _EACH))
