"""What taps add to a picture, sample by sample: `Taps.forward` without its planes in between."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nnvvc.models.tap_kernel import next_taps, own_taps
from nnvvc.models.tap_shapes import ALONG, BLOCK, CLIPS, GRID, OF_NEIGHBOURS, PAIRED, REACH
from nnvvc.vectors import EIGHT

_ALONG = np.array(ALONG)

Array = NDArray[Any]

_F, _N = np.float32, np.uintp


def fill_taps(
    planes: Array, residual: Array, step: float, classes: Array, weights: Array, grid: Array, result: Array
) -> None:
    """Fills (H, W), float32, with what is to be added.

    planes: (1 + neighbours, H, W), float32, see `Taps.forward`. residual: (H, W), of the network.
    step: in luma's unit. classes: of blocks, uint8. weights: (CLASSES, count), no longer mixed. grid: (2,
    len(ALONG), GRID), with its unit.
    """
    count, height, width = planes.shape
    # As many columns as vectors reach.
    own = np.pad(planes[0], ((REACH, REACH), (REACH, REACH + EIGHT)), mode="edge")
    apart = np.empty((count // 2, len(CLIPS), height + 2, width + 2 + EIGHT), np.float32)
    bounds = np.array(CLIPS, np.float32) * np.float32(step)
    _clip(planes, bounds, apart)
    _run(own, apart, residual, bounds, classes, weights, grid, result)


@njit(fastmath=True, nogil=True, cache=True)
def _clip(planes: Array, bounds: Array, apart: Array) -> None:
    """Sums of the differences to both neighbours, clipped at each of `bounds`, with a sample more above and
    to the left, and more below and to the right.
    """
    height, width = planes.shape[1:]
    for row in range(height + 2):
        y = min(max(row - 1, 0), height - 1)
        own = planes[0, y]
        for n in range(len(apart)):
            a, b = planes[1 + 2 * n, y], planes[2 + 2 * n, y]
            for c in range(len(bounds)):
                out, bound = apart[n, c, row], bounds[c]
                for x in range(width):
                    s = own[x]
                    out[1 + x] = min(max(a[x] - s, -bound), bound) + min(max(b[x] - s, -bound), bound)
                out[0] = out[1]
                out[width + 1 :] = out[width]


@njit(fastmath=True, nogil=True, cache=True)
def _run(
    own: Array,
    apart: Array,
    residual: Array,
    bounds: Array,
    classes: Array,
    weights: Array,
    grid: Array,
    result: Array,
) -> None:
    height, width = residual.shape
    columns = -(-classes.shape[1] * BLOCK // EIGHT) * EIGHT
    # Weights are spread out first: a row of each.
    w = np.zeros((weights.shape[1], columns), np.float32)
    shares, samples, differences = w.reshape(-1), own.reshape(-1), apart.reshape(-1)
    sums, limits = np.empty(columns, np.float32), (bounds[0], bounds[1])
    along = np.empty((len(_ALONG), width), np.float32)
    for k in range(len(_ALONG)):
        for x in range(width):
            along[k, x] = grid[0, k, x % GRID]
    on_grid = np.any(grid != 0)
    line, pitch, size = own.shape[1], apart.shape[3], apart.shape[2] * apart.shape[3]
    for block_row in range(classes.shape[0]):
        for k in range(weights.shape[1]):
            _spread(weights, k, classes[block_row], w[k])
        for y in range(block_row * BLOCK, min(height, (block_row + 1) * BLOCK)):
            for x in range(width):
                sums[x] = w[-1, x] * residual[y, x]
            for x in range(0, columns, EIGHT):
                to = _N(x)
                own_taps(samples, _N(y * line + x), _N(line), shares, to, _N(columns), limits, sums, to)
                for n in range(len(apart)):
                    first = _N((PAIRED + n * OF_NEIGHBOURS) * columns + x)
                    narrow, wide = differences[2 * n * size :], differences[(2 * n + 1) * size :]
                    at = _N(y * pitch + x)
                    next_taps(narrow, wide, at, _N(pitch), shares, first, _N(columns), sums, to)
            total = result[y]
            total[:] = sums[:width]
            if on_grid:
                _add_on_grid(total, own, y, along, grid)


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
def _spread(weights: Array, number: int, classes: Array, result: Array) -> None:
    """One weight of each block's class, for each of its samples in a row."""
    for i in range(len(classes)):
        weight = weights[classes[i], number]
        for k in range(BLOCK):
            result[BLOCK * i + k] = weight


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
