"""What finds motion and follows it, block by block.

Planes are flat, float32, samples of 10 bits, EDGE samples of their border repeated on all sides. Blocks lie
`step` samples apart and see WINDOW samples a side, so that they overlap where they are closer than that.
Vectors are (rows, columns, 2), float32: columns and rows from a block to where it is in the other plane.

What must be fast is written for the compiler: indices are unsigned, since signed ones are asked first whether
they count from the end; sums over a block go down its columns, so that a register holds its row; a row that
is written has a length that the compiler does not know, since it leaves short loops as they are.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

EDGE = 32
"""Samples that a plane has more on each side; on the right and below, there are BEYOND more."""

BEYOND = 16

WINDOW = 8
"""Side of what a block sees."""

WIDE = 16
"""Side of what it sees in a search of whole samples."""

FRACTIONS = 32
"""Places between two samples that are told apart where samples are taken."""

TAPS = 6

_N = np.uintp
_ONE, _WINDOW, _WIDE = _N(1), _N(WINDOW), _N(WIDE)
_F = np.float32
_BEFORE, _AFTER = 20, 12
"""Samples that blocks may begin before the plane, or past its end: their windows stay within its edge."""


@njit(inline="always")
def _held(number: int, step: int, offset: np.float32, size: int) -> Any:
    """One part of a block's vector, so that it stays within the edge. number: of its row, or column."""
    return min(max(offset, _F(-number * step - _BEFORE)), _F(size - number * step + _AFTER))


@njit(inline="always")
def _begins(number: int, step: int, side: int) -> Any:
    """Where what a block sees begins in the plane, along one side of it."""
    return EDGE + number * step + (step - side) // 2


@njit(inline="always")
def _ends(pitch: int, size: Any, step: int, row: int, column: int, u: Any, v: Any) -> Any:
    """Where a block's window begins, and where it does when (u, v) moved it; and the weights of the four
    samples around each place there.
    """
    u, v = _held(column, step, u, size[1]), _held(row, step, v, size[0])
    left, top = np.floor(u), np.floor(v)
    a, b = u - left, v - top
    both = a * b
    y, x = _begins(row, step, WINDOW), _begins(column, step, WINDOW)
    here, there = _N(y * pitch + x), _N((y + int(top)) * pitch + x + int(left))
    return here, there, (_F(1) - a - b + both, a - both, b - both, both)


@njit(inline="always")
def _found(other: Array, at: Any, line: Any, weights: Any) -> Any:
    """What is there between four samples."""
    above = weights[0] * other[at] + weights[1] * other[at + _ONE]
    return above + (weights[2] * other[at + line] + weights[3] * other[at + line + _ONE])


@njit(fastmath=True, nogil=True, cache=True)
def _apart(own: Array, other: Array, pitch: int, size: Any, step: int, place: Any, u: Any, v: Any) -> Any:
    """Mean difference of a block and where (u, v) leads, by every second row. place: its row and column."""
    row, column = place
    here, there, weights = _ends(pitch, size, step, row, column, u, v)
    line = _N(pitch)
    total = _F(0)
    for j in range(_WINDOW):
        for i in range(_WINDOW // _N(2)):
            at = j + i * (line + line)
            total += abs(own[here + at] - _found(other, there + at, line, weights))
    return total * _F(2 / (WINDOW * WINDOW))


@njit(fastmath=True, nogil=True, cache=True)
def search(
    own: Array, other: Array, pitch: int, size: Any, step: int, vectors: Array, reach: int, price: Any
) -> None:
    """Whole samples: everything up to `reach` from a vector, with a wide window. price: a sample from it."""
    rows, columns, _ = vectors.shape
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            y, x = _begins(row, step, WIDE), _begins(column, step, WIDE)
            here = _N(y * pitch + x)
            u = int(np.rint(vectors[row, column, 0]))
            v = int(np.rint(vectors[row, column, 1]))
            least, best_u, best_v = _F(1e30), u, v
            for dv in range(-reach, reach + 1):
                for du in range(-reach, reach + 1):
                    to_u = min(max(u + du, -column * step - _BEFORE), size[1] - column * step + _AFTER)
                    to_v = min(max(v + dv, -row * step - _BEFORE), size[0] - row * step + _AFTER)
                    there = _N((y + to_v) * pitch + x + to_u)
                    total = _F(0)
                    for j in range(_WIDE):
                        for i in range(_WIDE // _N(2)):
                            at = j + i * (line + line)
                            total += abs(own[here + at] - other[there + at])
                    total = total * _F(2 / (WIDE * WIDE)) + price * (abs(du) + abs(dv))
                    if total < least:
                        least, best_u, best_v = total, to_u, to_v
            if best_u != u or best_v != v:
                vectors[row, column, 0], vectors[row, column, 1] = best_u, best_v


@njit(fastmath=True, nogil=True, cache=True)
def spread(
    own: Array, other: Array, pitch: int, size: Any, step: int, vectors: Array, bias: Any, quiet: Any
) -> None:
    """A block takes the vector of one beside it where that fits better, by more than `bias`: down and to the
    right, then back.
    """
    rows, columns, _ = vectors.shape
    apart = np.full((rows, columns), -1, np.float32)
    for way in range(2):
        back = -1 if way == 0 else 1
        for i in range(rows):
            row = i if way == 0 else rows - 1 - i
            for j in range(columns):
                column = j if way == 0 else columns - 1 - j
                place = row, column
                u, v = vectors[row, column]
                least, better = apart[row, column], bias
                for side in range(2):
                    r, c = (row + back, column) if side == 0 else (row, column + back)
                    if r < 0 or r >= rows or c < 0 or c >= columns:
                        continue
                    to_u, to_v = vectors[r, c]
                    if abs(to_u - u) + abs(to_v - v) < _F(0.1):
                        continue
                    if least < 0:
                        least = _apart(own, other, pitch, size, step, place, u, v)
                    if least < quiet:
                        break
                    found = _apart(own, other, pitch, size, step, place, to_u, to_v)
                    if found < least - better:
                        least, better, u, v = found, _F(0), to_u, to_v
                apart[row, column] = least
                vectors[row, column, 0], vectors[row, column, 1] = u, v


@njit(fastmath=True, nogil=True, cache=True)
def slopes(own: Array, pitch: int, step: int, rows: int, columns: int) -> Array:
    """(rows, columns, 3): means over each block's window of its slopes' products, xx, xy and yy."""
    result = np.empty((rows, columns, 3), np.float32)
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            y, x = _begins(row, step, WINDOW), _begins(column, step, WINDOW)
            here = _N(y * pitch + x)
            xx, xy, yy = _F(0), _F(0), _F(0)
            for j in range(_WINDOW):
                for i in range(_WINDOW):
                    s = here + j + i * line
                    across, down = own[s + _ONE] - own[s - _ONE], own[s + line] - own[s - line]
                    xx += across * across
                    xy += across * down
                    yy += down * down
            scale = _F(1 / (4 * WINDOW * WINDOW))
            result[row, column, 0], result[row, column, 1] = xx * scale, xy * scale
            result[row, column, 2] = yy * scale
    return result


@njit(fastmath=True, nogil=True, cache=True)
def leads(own: Array, other: Array, pitch: int, size: Any, step: int, vectors: Array, most: Any) -> Array:
    """(rows, columns, 2): means over each block's window of its slopes times what the other plane lacks where
    the vector leads, which is held within `most`.
    """
    rows, columns, _ = vectors.shape
    result = np.empty_like(vectors)
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            u, v = vectors[row, column]
            here, there, weights = _ends(pitch, size, step, row, column, u, v)
            across, down = _F(0), _F(0)
            for j in range(_WINDOW):
                for i in range(_WINDOW // _N(2)):
                    at = j + i * (line + line)
                    s = here + at
                    lack = own[s] - _found(other, there + at, line, weights)
                    lack = min(max(lack, -most), most)
                    across += (own[s + _ONE] - own[s - _ONE]) * lack
                    down += (own[s + line] - own[s - line]) * lack
            scale = _F(1 / (WINDOW * WINDOW))
            result[row, column, 0], result[row, column, 1] = across * scale, down * scale
    return result


@njit(fastmath=True, nogil=True, cache=True)
def follow(vectors: Array, slopes: Array, leads: Array, most: Any) -> None:
    """Moves each vector to where samples are most alike, as what is around it says, by `most` at most."""
    rows, columns, _ = vectors.shape
    for row in range(rows):
        for column in range(columns):
            xx, xy, yy = slopes[row, column]
            x, y = leads[row, column]
            scale = _F(1) / (xx * yy - xy * xy)
            vectors[row, column, 0] += min(max((yy * x - xy * y) * scale, -most), most)
            vectors[row, column, 1] += min(max((xx * y - xy * x) * scale, -most), most)


@njit(fastmath=True, nogil=True, cache=True)
def moved(
    other: Array, pitch: int, size: Any, step: int, vectors: Array, taps: Array, window: int, result: Array
) -> None:
    """Adds the other plane, as the vectors lead, to a flat result of (rows + 4) * step lines of
    (columns + 4) * step samples, the picture beginning 2 * step from both sides: each block's whole window,
    weighed down to its sides, so that blocks run into each other (overlapped block motion compensation).

    taps: (FRACTIONS, TAPS). window: WINDOW, twice the step.
    """
    rows, columns, _ = vectors.shape
    line, length = _N(pitch), _N(window)
    wide = (columns + 4) * step
    tent = np.empty(WINDOW, np.float32)
    for j in range(WINDOW):
        tent[j] = min(j + 0.5, WINDOW - 0.5 - j) / step
    across = np.empty((WINDOW + TAPS) * WINDOW, np.float32)
    for row in range(-1, rows + 1):
        for column in range(-1, columns + 1):
            r, c = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
            u = int(np.floor(_held(column, step, vectors[r, c, 0], size[1]) * FRACTIONS + _F(0.5)))
            v = int(np.floor(_held(row, step, vectors[r, c, 1], size[0]) * FRACTIONS + _F(0.5)))
            a0, a1, a2, a3, a4, a5 = taps[u % FRACTIONS]
            b0, b1, b2, b3, b4, b5 = taps[v % FRACTIONS]
            y, x = _begins(row, step, WINDOW), _begins(column, step, WINDOW)
            first = (y + v // FRACTIONS - (TAPS // 2 - 1)) * pitch
            there = _N(first + x + u // FRACTIONS - (TAPS // 2 - 1))
            for i in range(length + _N(TAPS - 1)):
                t, k = there + i * line, i * _WINDOW
                for j in range(length):
                    s = t + j
                    found = a0 * other[s] + a1 * other[s + _N(1)] + a2 * other[s + _N(2)]
                    across[k + j] = (
                        found + a3 * other[s + _N(3)] + a4 * other[s + _N(4)] + a5 * other[s + _N(5)]
                    )
            here = _N((y - EDGE + 2 * step) * wide + x - EDGE + 2 * step)
            for i in range(length):
                t, k, weight = here + i * _N(wide), i * _WINDOW, tent[i]
                for j in range(length):
                    s = k + j
                    found = b0 * across[s] + b1 * across[s + _N(8)] + b2 * across[s + _N(16)]
                    found += b3 * across[s + _N(24)] + b4 * across[s + _N(32)] + b5 * across[s + _N(40)]
                    result[t + j] += weight * tent[j] * found
