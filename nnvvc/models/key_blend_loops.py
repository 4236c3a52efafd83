"""What `key_blend` does sample by sample, two blocks at once: planes in between would take longer than its
network does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.models.key_blend_kernel import LINE, REACH, SEEN, SIDE, WEIGHED, blend_at, look_at, spread_at
from nnvvc.vectors import EIGHT

Array = NDArray[Any]

_F, _N = np.float32, np.uintp


@njit(inline="always")
def _within(value: Any, bound: Any) -> Any:
    return min(max(value, -bound), bound)


@njit(fastmath=True, nogil=True, cache=True)
def look(luma: Array, scale: Any, detail: Any, largest: Any, result: Array) -> None:
    """Fills (blocks, blocks, SEEN), float32, with what `key_blend.looked_at` says.

    luma: (3, H, W), float32, of any size: blocks, even in number in a row, may reach past it, its last row
    and column go on there. scale: one over the quantiser step. detail, largest: what details and differences
    are held within.
    """
    rows, columns, _ = result.shape
    _, height, width = luma.shape
    own, before, after = luma[0].reshape(-1), luma[1].reshape(-1), luma[2].reshape(-1)
    # What two blocks look at, where it reaches past the picture.
    edge = np.empty((3, SIDE + 1, 2 * EIGHT), np.float32)
    first, second, third = edge[0].reshape(-1), edge[1].reshape(-1), edge[2].reshape(-1)
    means, flat = np.empty((rows, columns), np.float32), result.reshape(-1)
    share = _F(1 / (SIDE * SIDE))
    numbers = scale, detail, largest, share, share * scale
    for row in range(rows):
        y = SIDE * row
        for pair in range(columns // 2):
            x = EIGHT * pair
            to = _N((row * columns + 2 * pair) * SEEN)
            if y + SIDE < height and x + EIGHT < width:
                found = _look_at(own, before, after, _N(y * width + x), _N(width), numbers, flat, to)
            else:
                _edge(luma, y, x, SIDE + 1, EIGHT + 1, edge)
                found = _look_at(first, second, third, _N(0), _N(2 * EIGHT), numbers, flat, to)
            means[row, 2 * pair], means[row, 2 * pair + 1] = found
    _around(means, scale, detail, result[..., SIDE * SIDE])


@njit(nogil=True, cache=True)
def _look_at(
    own: Array, before: Array, after: Array, at: Any, line: Any, numbers: Any, result: Array, to: Any
) -> Any:
    """Apart, so that it is compiled once."""
    return look_at(own, before, after, at, line, numbers, result, to)


@njit(nogil=True, cache=True)
def _edge(luma: Array, top: int, left: int, rows: int, columns: int, result: Array) -> None:
    """Samples from a place on, with those at the picture's border repeated."""
    planes, height, width = luma.shape
    for k in range(planes):
        for i in range(rows):
            line, out = luma[k, min(max(top + i, 0), height - 1)], result[k, i]
            for j in range(columns):
                out[j] = line[min(max(left + j, 0), width - 1)]


@njit(fastmath=True, nogil=True, cache=True)
def _around(means: Array, scale: Any, most: Any, result: Array) -> None:
    """What each block's mean has more than the mean of those around it, and its own."""
    rows, columns = means.shape
    total = np.empty(columns + 2, np.float32)
    for row in range(rows):
        first, end = max(0, row - 1), min(rows, row + 2)
        total[:] = 0
        for other in range(first, end):
            for x in range(columns):
                total[x + 1] += means[other, x]
        out, own = result[row], means[row]
        count = _F(1 / (3 * (end - first)))
        for x in range(columns):
            out[x] = _within((own[x] - (total[x] + total[x + 1] + total[x + 2]) * count) * scale, most)
        count = _F(1 / (2 * (end - first)))
        if columns > 1:
            for x in (0, columns - 1):
                out[x] = _within((own[x] - (total[x] + total[x + 1] + total[x + 2]) * count) * scale, most)
        else:
            out[0] = _within((own[0] - total[1] * 2 * count) * scale, most)


@njit(fastmath=True, nogil=True, cache=True)
def blend(luma: Array, said: Array, unit: Any, bounds: Any, result: Array) -> None:
    """Fills (H, W), float32, with what is added to the picture.

    luma: (3, H, W), float32. said: (blocks, blocks, LINE), see `key_blend_kernel`; blocks are even in number
    in a row. unit: of what is added. bounds: three, of differences.
    """
    height, width = result.shape
    rows, columns, _ = said.shape
    own, before, after = luma[0].reshape(-1), luma[1].reshape(-1), luma[2].reshape(-1)
    # What two blocks look at, where it reaches past the picture, and what is added to them.
    edge, part = np.empty((3, SIDE + 2 * REACH, 2 * EIGHT), np.float32), np.empty((SIDE, EIGHT), np.float32)
    first, second, third = edge[0].reshape(-1), edge[1].reshape(-1), edge[2].reshape(-1)
    lines, inside, there = said.reshape(-1), result.reshape(-1), part.reshape(-1)
    numbers = bounds[0], bounds[1], bounds[2], unit
    # Weights of the samples of a row through two blocks, in three rows of blocks.
    each, length = columns // 2 * WEIGHED * EIGHT, _N(EIGHT)
    weights = np.empty(3 * each, np.float32)
    _spread(lines, 0, columns, weights, 0)
    for row in range(-(-height // SIDE)):
        y, last = SIDE * row, min(row + 1, rows - 1)
        if last > row:
            _spread(lines, last * columns, columns, weights, last % 3 * each)
        for pair in range(-(-width // EIGHT)):
            x = EIGHT * pair
            place, begin = pair * WEIGHED * EIGHT, _N((row * columns + 2 * pair) * LINE)
            upper, lower = _N(max(row - 1, 0) % 3 * each + place), _N(last % 3 * each + place)
            middle = _N(row % 3 * each + place)
            given = lines, begin, weights, upper, middle, lower, length, numbers
            top, left = y - REACH, x - REACH
            ends = y + SIDE + REACH > height or x + EIGHT + REACH > width
            if top < 0 or left < 0 or ends:
                _edge(luma, top, left, SIDE + 2 * REACH, EIGHT + 2 * REACH, edge)
                at, to, line = _N(0), _N(0), _N(2 * EIGHT)
                _blend_at(first, second, third, at, line, given, there, to, _N(EIGHT))
                for i in range(min(SIDE, height - y)):
                    for j in range(min(EIGHT, width - x)):
                        result[y + i, x + j] = part[i, j]
            else:
                at, to, line = _N(top * width + left), _N(y * width + x), _N(width)
                _blend_at(own, before, after, at, line, given, inside, to, line)


@njit(fastmath=True, nogil=True, cache=True)
def _spread(said: Array, first: int, columns: int, result: Array, to: int) -> None:
    """Weights of samples in a row of blocks, (columns / 2, WEIGHED, EIGHT), from `to` on. first: number of
    its first block.
    """
    last, each = columns - 1, WEIGHED * EIGHT
    for x in range(0, columns, 2):
        left, right = _N((first + max(x - 1, 0)) * LINE), _N((first + min(x + 2, last)) * LINE)
        own, next_one = _N((first + x) * LINE), _N((first + x + 1) * LINE)
        spread_at(said, left, own, next_one, right, result, _N(to + x // 2 * each), _N(EIGHT))


@njit(nogil=True, cache=True)
def _blend_at(
    own: Array, before: Array, after: Array, at: Any, line: Any, given: Any, result: Array, to: Any, wide: Any
) -> None:
    """Apart, so that it is compiled once."""
    said, begin, weights, upper, middle, lower, length, numbers = given
    blend_at(
        own,
        before,
        after,
        at,
        line,
        said,
        begin,
        weights,
        upper,
        middle,
        lower,
        length,
        numbers,
        result,
        to,
        wide,
    )
