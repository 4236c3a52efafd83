"""What taps add to a picture, sample by sample: `Taps.forward` without its planes in between."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.models.tap_kernel import BESIDES, measured, next_taps, own_taps
from nnvvc.models.tap_shapes import (
    ALONG,
    AROUND,
    BLOCK,
    CLASSES,
    CLIPS,
    GRID,
    NEXT,
    OF_NEIGHBOURS,
    PAIRED,
    REACH,
)
from nnvvc.vectors import EIGHT

_ALONG = np.array(ALONG)

Array = NDArray[Any]

_F, _N = np.float32, np.uintp


TapNumbers = tuple[Array, Array]
"""Weights of pairs of classes, see `of_pairs`; and of what goes by the place on the grid, (2, len(ALONG),
GRID).
"""


def fill_taps(
    planes: Array, residual: Array, step: Any, classes: Array, numbers: TapNumbers, result: Array
) -> None:
    """Fills (H, W), float32, with what is to be added.

    planes: (1 + neighbours, H, W), float32, see `Taps.forward`. residual: (H, W), of the network.
    step: float32, in luma's unit. classes: of blocks, uint8.
    """
    _run(planes, residual, np.array(CLIPS, np.float32) * step, classes, *numbers, result)


@njit(nogil=True, cache=True)
def of_pairs(weights: Array) -> Array:
    """(CLASSES * CLASSES, numbers, EIGHT): what `tap_kernel` takes, of two blocks beside each other.

    weights: (CLASSES, count), float32, no longer mixed.
    """
    kinds, count = weights.shape
    own = np.zeros((kinds, BESIDES + count - 1), np.float32)
    for kind in range(kinds):
        own[kind, 0] = weights[kind, count - 1]
        for k in range(count - 1):
            own[kind, BESIDES + k] = weights[kind, k]
        # What is between pairs counts as often as both its samples.
        for k in range(len(AROUND)):
            own[kind, 1] -= _F(2) * weights[kind, k]
        for wide in range(PAIRED + len(CLIPS) - 1, count - 1, OF_NEIGHBOURS):
            for k in range(wide + 1, wide + 1 + len(NEXT)):
                own[kind, BESIDES + wide] -= _F(2) * weights[kind, k]
    result = np.empty((kinds, kinds, own.shape[1], EIGHT), np.float32)
    for left in range(kinds):
        for right in range(kinds):
            for k in range(own.shape[1]):
                for x in range(EIGHT):
                    result[left, right, k, x] = own[left if x < BLOCK else right, k]
    return result.reshape((kinds * kinds, own.shape[1], EIGHT))


@njit(fastmath=True, nogil=True, cache=True)
def _run(
    planes: Array, residual: Array, bounds: Array, classes: Array, shares: Array, grid: Array, result: Array
) -> None:
    """shares: see `of_pairs`."""
    height, width = residual.shape
    rows, columns = classes.shape
    pairs, distances = (columns + 1) // 2, len(planes) // 2
    own = _edged(planes[0], rows * BLOCK + 2 * REACH, pairs * EIGHT + 2 * REACH)
    # Of the rows of a block, one above, and one below.
    apart = np.empty((distances, len(CLIPS), BLOCK + 2, pairs * EIGHT + 2), np.float32)
    sums = np.zeros((BLOCK, pairs * EIGHT), np.float32)
    samples, differences, totals = own.reshape(-1), apart.reshape(-1), sums.reshape(-1)
    line, pitch, wide = _N(own.shape[1]), _N(apart.shape[3]), _N(sums.shape[1])
    numbers, each = shares.reshape(-1), apart.shape[2] * apart.shape[3]
    limits = bounds[0], bounds[1]
    along = np.empty((len(_ALONG), width), np.float32)
    for k in range(len(_ALONG)):
        for x in range(width):
            along[k, x] = grid[0, k, x % GRID]
    on_grid = np.any(grid != 0)
    for row in range(rows):
        top = row * BLOCK
        for n in range(distances):
            _clip(planes, n, top, bounds, apart[n])
        for y in range(top, min(height, top + BLOCK)):
            _copy(residual[y], sums[y - top])
        for pair in range(pairs):
            left, right = classes[row, 2 * pair], classes[row, min(2 * pair + 1, columns - 1)]
            first = _N((int(left) * CLASSES + int(right)) * shares.shape[1] * EIGHT)
            at = _N(pair * EIGHT)
            own_taps(samples, _N(top) * line + at, line, numbers, first, limits, totals, at, wide)
            for n in range(distances):
                narrow, far = differences[2 * n * each :], differences[(2 * n + 1) * each :]
                begin = first + _N((BESIDES + PAIRED + n * OF_NEIGHBOURS) * EIGHT)
                next_taps(narrow, far, at, pitch, numbers, begin, totals, at, wide)
        for y in range(top, min(height, top + BLOCK)):
            _copy(sums[y - top, :width], result[y])
            if on_grid:
                _add_on_grid(result[y], own, y, along, grid)


@njit(fastmath=True, nogil=True, cache=True)
def _edged(plane: Array, rows: int, columns: int) -> Array:
    """(rows, columns): with REACH samples of its border repeated above and to the left, and what is left on
    the other sides.
    """
    height, width = plane.shape
    result = np.empty((rows, columns), np.float32)
    for row in range(rows):
        line, out = plane[min(max(row - REACH, 0), height - 1)], result[row]
        _copy(line, out[REACH:])
        out[:REACH] = line[0]
        out[REACH + width :] = line[width - 1]
    return result


@njit(fastmath=True, nogil=True, cache=True)
def _clip(planes: Array, number: int, top: int, bounds: Array, result: Array) -> None:
    """Fills (len(CLIPS), BLOCK + 2, columns), from the row above `top` and the sample to the left on, with
    sums of the differences to both neighbours at one distance, clipped at each of `bounds`.
    """
    _, height, width = planes.shape
    narrow, wide = bounds[0], bounds[1]
    for i in range(BLOCK + 2):
        y = min(max(top + i - 1, 0), height - 1)
        own, before, after = planes[0, y], planes[1 + 2 * number, y], planes[2 + 2 * number, y]
        near, far = result[0, i], result[1, i]
        for x in range(width):
            a, b = before[x] - own[x], after[x] - own[x]
            near[x + 1] = min(max(a, -narrow), narrow) + min(max(b, -narrow), narrow)
            far[x + 1] = min(max(a, -wide), wide) + min(max(b, -wide), wide)
        for line in (near, far):
            line[0] = line[1]
            line[width + 1 :] = line[width]


@njit(nogil=True, cache=True)
def _copy(line: Array, result: Array) -> None:
    for x in range(len(line)):
        result[x] = line[x]


@njit(fastmath=True, nogil=True, cache=True)
def _add_on_grid(total: Array, own: Array, y: int, along: Array, grid: Array) -> None:
    width, top = len(total), y + REACH
    centre = own[top, REACH : REACH + width]
    for k in range(len(_ALONG)):
        d, down = _ALONG[k], grid[1, k, y % GRID]
        a = own[top, REACH + d : REACH + d + width]
        b = own[top + d, REACH : REACH + width]
        for x in range(width):
            total[x] += along[k, x] * (a[x] - centre[x]) + down * (b[x] - centre[x])


@njit(fastmath=True, nogil=True, cache=True)
def measure(planes: Array, scale: Any, result: Array) -> None:
    """Fills (2, blocks, blocks), float32, with what blocks are told apart by: mean differences to the next
    samples, and to the first two neighbours.

    planes: (3 or more, H, W), float32. scale: one over the quantiser step.
    """
    _, height, width = planes.shape
    _, rows, columns = result.shape
    own, before, after = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    half = _F(0.5) * scale
    share = half * _F(1 / (BLOCK * BLOCK))
    for row in range(rows):
        y = row * BLOCK
        pairs = (width - 1) // EIGHT if y + BLOCK < height else 0
        for pair in range(pairs):
            x = 2 * pair
            a, b, c, d = measured(own, before, after, _N(y * width + pair * EIGHT), _N(width))
            result[0, row, x], result[0, row, x + 1] = a * share, b * share
            result[1, row, x], result[1, row, x + 1] = c * share, d * share
        for x in range(2 * pairs, columns):
            _measure_end(planes, row, x, half, result)


@njit(fastmath=True, nogil=True, cache=True)
def _measure_end(planes: Array, row: int, column: int, scale: Any, result: Array) -> None:
    """The same of a block that may reach to the picture's border, or past it."""
    _, height, width = planes.shape
    top, left = row * BLOCK, column * BLOCK
    below, right = min(height, top + BLOCK), min(width, left + BLOCK)
    active, moving = _F(0), _F(0)
    for y in range(top, below):
        for x in range(left, right):
            own = planes[0, y, x]
            active += abs(planes[0, min(y + 1, height - 1), x] - own)
            active += abs(planes[0, y, min(x + 1, width - 1)] - own)
            moving += abs(planes[1, y, x] - own) + abs(planes[2, y, x] - own)
    share = scale / _F((below - top) * (right - left))
    result[0, row, column], result[1, row, column] = active * share, moving * share


@njit(fastmath=True, nogil=True, cache=True)
def classify(measures: Array, active: Array, moving: Array, result: Array) -> None:
    """Fills (blocks, blocks), uint8, with classes: how many of the ends in `active` and `moving`, float32,
    the means of what `measure` gave around each block, 3x3, are past. Blocks alone would flicker.
    """
    _, rows, columns = measures.shape
    down = np.zeros((2, columns + 2), np.float32)
    for row in range(rows):
        first, end = max(0, row - 1), min(rows, row + 2)
        down[:] = 0
        for n in range(2):
            for other in range(first, end):
                for x in range(columns):
                    down[n, x + 1] += measures[n, other, x]
        for x in range(columns):
            count = (end - first) * (min(columns, x + 2) - max(0, x - 1))
            kind = 0
            for n in range(2):
                mean = (down[n, x] + down[n, x + 1] + down[n, x + 2]) / _F(count)
                ends = active if n == 0 else moving
                found = 0
                for k in range(len(ends)):
                    found += mean > ends[k]
                kind = found if n == 0 else kind * (len(moving) + 1) + found
            result[row, x] = kind
