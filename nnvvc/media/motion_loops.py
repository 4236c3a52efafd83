"""What finds motion, block by block, in pictures as `motion_planes` has them.

Blocks lie STEP samples apart and see WINDOW samples a side. Vectors are (rows, columns, 2), float32: columns
and rows from a block to where it is in the other plane.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.media.motion_choice import choose
from nnvvc.media.motion_planes import AFTER, BEFORE, STEP, WINDOW, begins, held, led
from nnvvc.media.motion_window import apart

Array = NDArray[Any]

WIDE = 16
"""Side of what a block sees in a search of whole samples."""

REACH = (4, 1)
"""Samples that are searched at the smallest size, and at larger ones."""

SMALL = 300
"""Shorter side up to which the full size is searched too: there are few sizes to find motion in."""

PRICE = 2.0
"""Of a sample away from where a larger size's vector leads, in mean differences of samples of 10 bits."""

BIAS = 0.7
"""Mean difference that the vector of a block beside has to fit better by."""

QUIET = 3.0
"""Mean difference below which a block's vector is good enough: what is left is noise."""

DIFFERENT = 100.0
"""Differences of samples of 10 bits above which they are taken for other things."""

STIFF = 200.0
"""Mean square of slopes, in samples of 10 bits, at which a block is moved half as far as they say."""

_N = np.uintp
_ONE, _WINDOW, _WIDE = _N(1), _N(WINDOW), _N(WIDE)
_F = np.float32

_AROUND = np.exp(-0.5 * np.arange(3) ** 2)
_MIDDLE, _NEAR, _FAR = (_F(w) for w in _AROUND / (2 * _AROUND.sum() - 1))
"""What blocks go by besides their own samples when they follow slopes: a block is the standard deviation."""


@njit(nogil=True, cache=True)
def motion(own: Array, slopes: Array, other: Array, levels: Array) -> Array:
    """From blocks of a picture, STEP / 2 apart, to another one. own, other: as `motion_planes.filled` has
    them; slopes: as `all_slopes` has them. levels: see `motion_planes.levels_of`.
    """
    last = len(levels) - 2
    vectors = np.zeros((-(-levels[last, 2] // STEP), -(-levels[last, 3] // STEP), 2), np.float32)
    for number in range(last, -1, -1):
        begin, pitch, height, width, first = levels[number]
        rows, columns = -(-height // STEP), -(-width // STEP)
        if number < last:
            vectors = _finer(vectors, _F(2), rows, columns)
        here, there, size = own[begin:], other[begin:], (height, width)
        if number or min(size) <= SMALL:
            reach = REACH[0] if number == last else REACH[1]
            _search(here, there, pitch, size, vectors, reach, _F(PRICE))
        if number:
            _spread(here, there, pitch, size, vectors, _F(BIAS), _F(QUIET))
        leads = _leads(here, there, pitch, size, vectors, _F(DIFFERENT))
        _follow(
            vectors, slopes[first : levels[number + 1, 4]].reshape((rows, columns, 3)), _around(leads), _F(1)
        )
    _spread(here, there, pitch, size, vectors, _F(BIAS), _F(QUIET))
    found = _finer(vectors, _F(1), -(-height // (STEP // 2)), -(-width // (STEP // 2)))
    choose(here, there, pitch, size, vectors, found)
    return found


@njit(nogil=True, cache=True)
def all_slopes(own: Array, levels: Array) -> Array:
    """Of each block, STEP apart, at all sizes: products of slopes around it, xx, xy and yy."""
    result = np.empty(levels[-1, 4], np.float32)
    for number in range(len(levels) - 1):
        begin, pitch, height, width, first = levels[number]
        rows, columns = -(-height // STEP), -(-width // STEP)
        found = _around(_slopes(own[begin:], pitch, rows, columns)).reshape(-1)
        for at in range(len(found)):
            result[first + at] = found[at] + (_F(0) if at % 3 == 1 else _F(STIFF))
    return result


@njit(fastmath=True, nogil=True, cache=True)
def _around(blocks: Array) -> Array:
    """Their means around each."""
    rows, columns, parts = blocks.shape
    down, result = np.empty_like(blocks), np.empty_like(blocks)
    for row in range(rows):
        a, b = blocks[max(row - 2, 0)], blocks[max(row - 1, 0)]
        c, d = blocks[min(row + 1, rows - 1)], blocks[min(row + 2, rows - 1)]
        own, out = blocks[row], down[row]
        for x in range(columns):
            for p in range(parts):
                out[x, p] = _MIDDLE * own[x, p] + _NEAR * (b[x, p] + c[x, p]) + _FAR * (a[x, p] + d[x, p])
    for row in range(rows):
        line, out = down[row], result[row]
        for x in range(columns):
            a, b, c, d = max(x - 2, 0), max(x - 1, 0), min(x + 1, columns - 1), min(x + 2, columns - 1)
            for p in range(parts):
                near, far = line[b, p] + line[c, p], line[a, p] + line[d, p]
                out[x, p] = _MIDDLE * line[x, p] + _NEAR * near + _FAR * far
    return result


@njit(fastmath=True, nogil=True, cache=True)
def _finer(vectors: Array, scale: Any, rows: int, columns: int) -> Array:
    """Those of blocks half as far apart, in between in proportion, times `scale`."""
    result = np.empty((rows, columns, 2), np.float32)
    last, end = vectors.shape[0] - 1, vectors.shape[1] - 1
    for row in range(rows):
        near = row // 2
        above = vectors[near]
        below = vectors[max(near - 1, 0) if row % 2 == 0 else min(near + 1, last)]
        for column in range(columns):
            x = column // 2
            z = max(x - 1, 0) if column % 2 == 0 else min(x + 1, end)
            for p in range(2):
                left = _F(0.75) * above[x, p] + _F(0.25) * below[x, p]
                right = _F(0.75) * above[z, p] + _F(0.25) * below[z, p]
                result[row, column, p] = scale * (_F(0.75) * left + _F(0.25) * right)
    return result


@njit(inline="always")
def _ends(pitch: int, size: Any, row: int, column: int, u: Any, v: Any) -> Any:
    """`led`, for a block's window and a vector that is held within the edge."""
    u, v = held(column, STEP, u, size[1]), held(row, STEP, v, size[0])
    return led(begins(row, STEP, WINDOW), begins(column, STEP, WINDOW), pitch, u, v)


@njit(inline="always")
def _found(other: Array, at: Any, line: Any, weights: Any) -> Any:
    """What is there between four samples."""
    above = weights[0] * other[at] + weights[1] * other[at + _ONE]
    return above + (weights[2] * other[at + line] + weights[3] * other[at + line + _ONE])


@njit(fastmath=True, nogil=True, cache=True)
def _apart(own: Array, other: Array, pitch: int, size: Any, place: Any, u: Any, v: Any) -> Any:
    """Mean difference of a block and where (u, v) leads, by every second row. place: its row and column."""
    row, column = place
    here, there, weights = _ends(pitch, size, row, column, u, v)
    return apart(own, here, other, there, _N(pitch), weights) * _F(2 / (WINDOW * WINDOW))


@njit(fastmath=True, nogil=True, cache=True)
def _search(own: Array, other: Array, pitch: int, size: Any, vectors: Array, reach: int, price: Any) -> None:
    """Whole samples: everything up to `reach` from a vector, with a wide window. price: a sample from it."""
    rows, columns, _ = vectors.shape
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            y, x = begins(row, STEP, WIDE), begins(column, STEP, WIDE)
            here = _N(y * pitch + x)
            u = int(np.rint(vectors[row, column, 0]))
            v = int(np.rint(vectors[row, column, 1]))
            least, best_u, best_v = _F(1e30), u, v
            for dv in range(-reach, reach + 1):
                for du in range(-reach, reach + 1):
                    to_u = min(max(u + du, -column * STEP - BEFORE), size[1] - column * STEP + AFTER)
                    to_v = min(max(v + dv, -row * STEP - BEFORE), size[0] - row * STEP + AFTER)
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
def _spread(own: Array, other: Array, pitch: int, size: Any, vectors: Array, bias: Any, quiet: Any) -> None:
    """A block takes the vector of one beside it where that fits better, by more than `bias`: down and to the
    right, then back.
    """
    rows, columns, _ = vectors.shape
    known = np.full((rows, columns), -1, np.float32)
    for way in range(2):
        back = -1 if way == 0 else 1
        for i in range(rows):
            row = i if way == 0 else rows - 1 - i
            for j in range(columns):
                column = j if way == 0 else columns - 1 - j
                place = row, column
                u, v = vectors[row, column]
                least, better = known[row, column], bias
                for side in range(2):
                    r, c = (row + back, column) if side == 0 else (row, column + back)
                    if r < 0 or r >= rows or c < 0 or c >= columns:
                        continue
                    to_u, to_v = vectors[r, c]
                    if abs(to_u - u) + abs(to_v - v) < _F(0.1):
                        continue
                    if least < 0:
                        least = _apart(own, other, pitch, size, place, u, v)
                    if least < quiet:
                        break
                    found = _apart(own, other, pitch, size, place, to_u, to_v)
                    if found < least - better:
                        least, better, u, v = found, _F(0), to_u, to_v
                known[row, column] = least
                vectors[row, column, 0], vectors[row, column, 1] = u, v


@njit(fastmath=True, nogil=True, cache=True)
def _slopes(own: Array, pitch: int, rows: int, columns: int) -> Array:
    """(rows, columns, 3): means over each block's window of its slopes' products, xx, xy and yy."""
    result = np.empty((rows, columns, 3), np.float32)
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            y, x = begins(row, STEP, WINDOW), begins(column, STEP, WINDOW)
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
def _leads(own: Array, other: Array, pitch: int, size: Any, vectors: Array, most: Any) -> Array:
    """(rows, columns, 2): means over each block's window of its slopes times what the other plane lacks where
    the vector leads, which is held within `most`.
    """
    rows, columns, _ = vectors.shape
    result = np.empty_like(vectors)
    line = _N(pitch)
    for row in range(rows):
        for column in range(columns):
            u, v = vectors[row, column]
            here, there, weights = _ends(pitch, size, row, column, u, v)
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
def _follow(vectors: Array, slopes: Array, leads: Array, most: Any) -> None:
    """Moves each vector to where samples are most alike, as what is around it says, by `most` at most."""
    rows, columns, _ = vectors.shape
    for row in range(rows):
        for column in range(columns):
            xx, xy, yy = slopes[row, column]
            x, y = leads[row, column]
            scale = _F(1) / (xx * yy - xy * xy)
            vectors[row, column, 0] += min(max((yy * x - xy * y) * scale, -most), most)
            vectors[row, column, 1] += min(max((xx * y - xy * x) * scale, -most), most)
