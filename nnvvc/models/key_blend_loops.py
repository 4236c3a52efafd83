"""What `key_blend` does sample by sample, block row by block row: planes in between would take longer than
its network does.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nnvvc.models.restoration_loops import four_times

Array = NDArray[Any]

SIDE = 4
"""Of the blocks."""

_F = np.float32


@njit(inline="always")
def _within(value: Any, bound: Any) -> Any:
    return min(max(value, -bound), bound)


@njit(inline="always")
def _alike(a: Any, b: Any) -> Any:
    """The smaller of two differences where both have the same sign, otherwise 0."""
    zero = _F(0)
    return max(min(a, b), zero) + min(max(a, b), zero)


@njit(fastmath=True, nogil=True, cache=True)
def look(luma: Array, scale: Any, detail: Any, largest: Any, result: Array) -> None:
    """Fills (blocks, blocks, 30), float32, with what `key_blend.looked_at` says.

    luma: (3, H, W), float32, of any size: blocks may reach past it, its last row and column go on there.
    scale: one over the quantiser step. detail, largest: what details and differences are held within.
    """
    rows, columns, _ = result.shape
    size = SIDE * SIDE
    width = SIDE * columns
    # Rows of samples, and of both differences; and sums down each column of samples.
    own = np.empty((SIDE + 1, width), np.float32)
    left, right = np.empty((SIDE, width), np.float32), np.empty((SIDE, width), np.float32)
    sums = np.empty((6, width), np.float32)
    means = np.empty((rows, columns), np.float32)
    share = _F(1 / size)
    _row(luma[0], 0, own[SIDE])
    for block in range(rows):
        own[0, :] = own[SIDE]
        for i in range(1, SIDE + 1):
            _row(luma[0], SIDE * block + i, own[i])
        if block == rows - 1:
            own[SIDE, :] = own[SIDE - 1]
        sums[:] = 0
        for i in range(SIDE):
            _row(luma[1], SIDE * block + i, left[i])
            _row(luma[2], SIDE * block + i, right[i])
            at, below, a, b = own[i], own[i + 1], left[i], right[i]
            for x in range(width):
                before = _within((a[x] - at[x]) * scale, largest)
                after = _within((b[x] - at[x]) * scale, largest)
                a[x], b[x] = before, after
                sums[0, x] += abs(before)
                sums[1, x] += abs(after)
                sums[2, x] += abs(_alike(before, after))
                sums[4, x] += abs(below[x] - at[x])
                sums[5, x] += at[x]
            for x in range(width - 1):
                sums[3, x] += abs(at[x + 1] - at[x])
        for x in range(columns):
            out, first = result[block, x], SIDE * x
            mean = _F(0)
            for k in range(SIDE):
                mean += sums[5, first + k]
            mean *= share
            means[block, x] = mean
            for n in range(5):
                total = _F(0)
                for k in range(SIDE):
                    total += sums[n, first + k]
                out[size + 1 + 2 * SIDE + n] = total * (share if n < 3 else share * scale)
            for i in range(SIDE):
                for k in range(SIDE):
                    out[SIDE * i + k] = _within((own[i, first + k] - mean) * scale, detail)
            for i in range(2):
                for k in range(2):
                    at = first + 2 * k
                    a, b = left[2 * i, at] + left[2 * i, at + 1], right[2 * i, at] + right[2 * i, at + 1]
                    a += left[2 * i + 1, at] + left[2 * i + 1, at + 1]
                    b += right[2 * i + 1, at] + right[2 * i + 1, at + 1]
                    out[size + 1 + 2 * i + k] = a * _F(0.25)
                    out[size + 1 + SIDE + 2 * i + k] = b * _F(0.25)
    _around(means, scale, detail, result[..., size])


@njit(fastmath=True, nogil=True, cache=True)
def _row(plane: Array, row: int, result: Array) -> None:
    """A row, with what is beyond its end."""
    height, width = plane.shape
    line = plane[min(row, height - 1)]
    result[:width] = line
    result[width:] = line[width - 1]


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
def blend(
    luma: Array, weights: Array, residual: Array, pairs: Array, unit: Any, bounds: Array, result: Array
) -> None:
    """Fills (H, W), float32, with what is added to the picture.

    luma: (3, H, W), float32. weights: (5 + len(pairs), blocks, blocks), of both key pictures clipped at the
    first of `bounds`, then at the second; of what both agree on; and of pairs of samples around, clipped at
    the last. pairs: (rows, columns) to one of them, up to 2. residual: (16, blocks, blocks), in `unit`.
    """
    narrow, wide, pair = bounds
    height, width = result.shape
    columns = weights.shape[2]
    spread = np.empty((len(weights), columns * SIDE), np.float32)
    # Rows that are looked at around the one that is filtered, with what is beyond their ends.
    rows = np.empty((8, width + 4), np.float32)
    for y in range(-2, height + 2):
        _edged(luma[0, min(max(y, 0), height - 1)], rows[(y + 8) % 8])
        if y < 2:
            continue
        here = y - 2
        block = here // SIDE
        if here % SIDE == 0:
            for k in range(len(weights)):
                four_times(weights[k, block], spread[k])
        own, before, after, out = luma[0, here], luma[1, here], luma[2, here], result[here]
        _phases(residual, here, unit, out)
        for x in range(width):
            a, b = before[x] - own[x], after[x] - own[x]
            near, far = _within(a, wide), _within(b, wide)
            total = spread[0, x] * _within(a, narrow) + spread[1, x] * _within(b, narrow)
            out[x] += total + spread[2, x] * near + spread[3, x] * far + spread[4, x] * _alike(near, far)
        for k in range(len(pairs)):
            dy, dx = pairs[k]
            a, b = rows[(here + dy + 8) % 8, 2 + dx :], rows[(here - dy + 8) % 8, 2 - dx :]
            weight = spread[5 + k]
            for x in range(width):
                out[x] += weight[x] * _within(a[x] + b[x] - own[x] - own[x], pair)


@njit(fastmath=True, nogil=True, cache=True)
def _edged(line: Array, result: Array) -> None:
    width = len(line)
    result[2 : width + 2] = line
    result[:2] = line[0]
    result[width + 2 :] = line[width - 1]


@njit(fastmath=True, nogil=True, cache=True)
def _phases(residual: Array, y: int, unit: Any, out: Array) -> None:
    """A row of what (16, blocks, blocks) has for the samples of each block."""
    width = len(out)
    for column in range(SIDE):
        own = residual[SIDE * (y % SIDE) + column, y // SIDE]
        for x in range((width - column + SIDE - 1) // SIDE):
            out[SIDE * x + column] = own[x] * unit
