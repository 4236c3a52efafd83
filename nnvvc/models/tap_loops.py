"""What taps add to a picture, sample by sample: `Taps.forward` without its planes in between."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nnvvc.models.tap_shapes import ALONG, AROUND, BLOCK, CLIPS, GRID, NEXT, REACH

_AROUND, _NEXT, _ALONG = np.array(AROUND), np.array(NEXT), np.array(ALONG)
_CLIPS = np.array(CLIPS, np.float32)

Array = NDArray[Any]

_F = np.float32


def add_taps(
    planes: Array, residual: Array, step: float, classes: Array, weights: Array, grid: Array
) -> Array:
    """(H, W), float32, to be added.

    planes: (1 + neighbours, H, W), float32, see `Taps.forward`. residual: (H, W), of the network.
    step: in luma's unit. classes: of blocks, uint8. weights: (CLASSES, count), no longer mixed. grid: (2,
    len(ALONG), GRID), with its unit.
    """
    own = np.pad(planes[0], REACH, mode="edge")
    wide = np.empty((len(planes) // 2, planes.shape[1] + 2, planes.shape[2] + 2), np.float32)
    _clip(planes, np.float32(CLIPS[1] * step), wide)
    result = np.empty_like(residual)
    _run(planes, own, wide, residual, np.float32(step), classes, weights, grid, result)
    return result


@njit(fastmath=True, nogil=True, cache=True)
def _clip(planes: Array, bound: np.float32, wide: Array) -> None:
    """Sums of the clipped differences to both neighbours, with a sample more on all sides."""
    height, width = planes.shape[1:]
    for row in range(height + 2):
        y = min(max(row - 1, 0), height - 1)
        own = planes[0, y]
        for n in range(len(wide)):
            a, b = planes[1 + 2 * n, y], planes[2 + 2 * n, y]
            out = wide[n, row]
            for x in range(width):
                c = own[x]
                out[1 + x] = min(max(a[x] - c, -bound), bound) + min(max(b[x] - c, -bound), bound)
            out[0] = out[1]
            out[width + 1] = out[width]


@njit(fastmath=True, nogil=True, cache=True)
def _run(
    planes: Array,
    own: Array,
    wide: Array,
    residual: Array,
    step: np.float32,
    classes: Array,
    weights: Array,
    grid: Array,
    result: Array,
) -> None:
    height, width = residual.shape
    # Over contiguous rows, which compilers make vector instructions of: weights are spread out first.
    w = np.empty((weights.shape[1], classes.shape[1] * BLOCK), np.float32)
    along = np.empty((len(_ALONG), width), np.float32)
    for k in range(len(_ALONG)):
        for x in range(width):
            along[k, x] = grid[0, k, x % GRID]
    on_grid = np.any(grid != 0)
    centre, double = np.empty(width, np.float32), np.empty(width, np.float32)
    for block_row in range(classes.shape[0]):
        for k in range(weights.shape[1]):
            _spread(weights, k, classes[block_row], w[k])
        for y in range(block_row * BLOCK, min(height, (block_row + 1) * BLOCK)):
            top, total = y + REACH, result[y]
            centre[:] = own[top, REACH : REACH + width]
            for x in range(width):
                double[x] = centre[x] + centre[x]
                total[x] = w[-1, x] * residual[y, x]
            for k in range(len(_AROUND)):
                a, b = _pair(own, top, width, _AROUND[k, 0], _AROUND[k, 1])
                _add(total, w[k], a, b, double)
            at = len(_AROUND)
            for c in range(len(_CLIPS)):
                bound = _CLIPS[c] * step
                for k in range(len(_NEXT)):
                    a, b = _pair(own, top, width, _NEXT[k, 0], _NEXT[k, 1])
                    _add_clipped(total, w[at + k], a, b, double, bound)
                at += len(_NEXT)
            bound = _CLIPS[0] * step
            for n in range(len(wide)):
                middle = wide[n, y + 1, 1 : 1 + width]
                for side in range(2):
                    _add_apart(total, w[at], planes[1 + 2 * n + side, y], centre, bound)
                for x in range(width):
                    total[x] += w[at + 1, x] * middle[x]
                    double[x] = middle[x] + middle[x]
                at += len(_CLIPS)
                for k in range(len(_NEXT)):
                    dy, dx = _NEXT[k, 0], _NEXT[k, 1]
                    a = wide[n, y + 1 + dy, 1 + dx : 1 + dx + width]
                    b = wide[n, y + 1 - dy, 1 - dx : 1 - dx + width]
                    _add(total, w[at + k], a, b, double)
                at += len(_NEXT)
            for k in range(len(_ALONG) if on_grid else 0):
                d, down = _ALONG[k], grid[1, k, y % GRID]
                a = own[top, REACH + d : REACH + d + width]
                b = own[top + d, REACH : REACH + width]
                for x in range(width):
                    total[x] += along[k, x] * (a[x] - centre[x])
                for x in range(width):
                    total[x] += down * (b[x] - centre[x])


@njit(fastmath=True, nogil=True, cache=True)
def _spread(weights: Array, number: int, classes: Array, result: Array) -> None:
    """One weight of each block's class, for each of its samples in a row."""
    for i in range(len(classes)):
        weight = weights[classes[i], number]
        for k in range(BLOCK):
            result[BLOCK * i + k] = weight


@njit(fastmath=True, nogil=True, cache=True)
def _add(total: Array, weight: Array, a: Array, b: Array, double: Array) -> None:
    for x in range(len(total)):
        total[x] += weight[x] * (a[x] + b[x] - double[x])


@njit(fastmath=True, nogil=True, cache=True)
def _add_clipped(total: Array, weight: Array, a: Array, b: Array, double: Array, bound: Any) -> None:
    for x in range(len(total)):
        total[x] += weight[x] * min(max(a[x] + b[x] - double[x], -bound), bound)


@njit(fastmath=True, nogil=True, cache=True)
def _add_apart(total: Array, weight: Array, a: Array, centre: Array, bound: Any) -> None:
    for x in range(len(total)):
        total[x] += weight[x] * min(max(a[x] - centre[x], -bound), bound)


@njit(inline="always")
def _pair(plane: Array, top: int, width: int, dy: int, dx: int) -> tuple[Array, Array]:
    """The samples above and below, or to both sides, of a row."""
    a = plane[top + dy, REACH + dx : REACH + dx + width]
    b = plane[top - dy, REACH - dx : REACH - dx + width]
    return a, b


@njit(fastmath=True, nogil=True, cache=True)
def measure(planes: Array, scale: Any, result: Array) -> None:
    """Fills (2, blocks, blocks), float32, with what blocks are told apart by: mean differences to the next
    samples, and to the first two neighbours.

    planes: (3 or more, H, W), float32. scale: one over the quantiser step.
    """
    _, height, width = planes.shape
    _, rows, columns = result.shape
    sums = np.empty((2, columns * BLOCK), np.float32)
    half = _F(0.5) * scale
    for row in range(rows):
        sums[:] = 0
        end = min(height, (row + 1) * BLOCK)
        for y in range(row * BLOCK, end):
            own, below, before, after = (
                planes[0, y],
                planes[0, min(height - 1, y + 1)],
                planes[1, y],
                planes[2, y],
            )
            active, moving = sums[0], sums[1]
            for x in range(width):
                active[x] += abs(below[x] - own[x])
            for x in range(width - 1):
                active[x] += abs(own[x + 1] - own[x])
            for x in range(width):
                moving[x] += abs(before[x] - own[x]) + abs(after[x] - own[x])
        for n in range(2):
            for column in range(columns):
                first, last = column * BLOCK, min(width, (column + 1) * BLOCK)
                total = _F(0)
                for x in range(first, last):
                    total += sums[n, x]
                result[n, row, column] = total * half / ((end - row * BLOCK) * (last - first))


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
