"""What the filter for people does sample by sample: `prepared`, `differences` and `blended` without their
planes in between, which take longer than the network's convolutions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit

Array = NDArray[Any]

_F = np.float32


def seen_by(
    luma: Array, chroma: Array, step: float, near: int, side: int, limit: float
) -> tuple[Array, Array]:
    """(H / 2, W / 2, 9 + 4 * neighbours), float32, of one picture: up to `near` channels, and the others.

    luma: (1 + neighbours, H, W), float32, sides even. chroma: (2, H / 2, W / 2), float32. step: in luma's
    unit. side: of the surroundings. limit: of neighbours' differences, in steps.
    """
    _, rows, columns = chroma.shape
    channels = 9 + 4 * (len(luma) - 1)
    result = np.empty((rows, columns, min(near, channels)), np.float32)
    others = np.empty((rows, columns, max(0, channels - near)), np.float32)
    sums = np.empty((3, rows, columns), np.float32)
    counts = np.convolve(np.ones(columns, np.float32), np.ones(side, np.float32), "same")
    luma, chroma = np.ascontiguousarray(luma), np.ascontiguousarray(chroma)
    _sums(luma[0], chroma, side // 2, sums)
    _fill(luma, chroma, np.float32(1 / step), side // 2, np.float32(limit), sums, counts, result, others)
    return result, others


@njit(fastmath=True, nogil=True, cache=True)
def _sums(luma: Array, chroma: Array, reach: int, sums: Array) -> None:
    """Of the samples along the row, up to `reach` away; luma's are means of four."""
    _, rows, columns = chroma.shape
    for y in range(rows):
        row = np.zeros(columns + 2 * reach, np.float32)
        for plane in range(3):
            if plane == 0:
                a, b = luma[2 * y], luma[2 * y + 1]
                for x in range(columns):
                    row[reach + x] = (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1]) / 4 - np.float32(0.5)
            else:
                for x in range(columns):
                    row[reach + x] = chroma[plane - 1, y, x]
            total = sums[plane, y]
            for x in range(columns):
                total[x] = row[x]
            for k in range(1, 2 * reach + 1):
                for x in range(columns):
                    total[x] += row[x + k]


@njit(fastmath=True, nogil=True, cache=True)
def _fill(
    luma: Array,
    chroma: Array,
    scale: np.float32,
    reach: int,
    limit: np.float32,
    sums: Array,
    counts: Array,
    result: Array,
    others: Array,
) -> None:
    _, rows, columns = chroma.shape
    near = result.shape[2]
    for y in range(rows):
        first, end = max(0, y - reach), min(rows, y + reach + 1)
        means = np.zeros((3, columns), np.float32)
        for plane in range(3):
            for other in range(first, end):
                for x in range(columns):
                    means[plane, x] += sums[plane, other, x]
            for x in range(columns):
                means[plane, x] /= counts[x] * (end - first)
        out = result[y]
        above, below = luma[0, 2 * y], luma[0, 2 * y + 1]
        for x in range(columns):
            mean = means[0, x] + np.float32(0.5)
            out[x, 0] = (above[2 * x] - mean) * scale
            out[x, 1] = (above[2 * x + 1] - mean) * scale
            out[x, 2] = (below[2 * x] - mean) * scale
            out[x, 3] = (below[2 * x + 1] - mean) * scale
        for n in range(1, len(luma)):
            other, next_other = luma[n, 2 * y], luma[n, 2 * y + 1]
            at = 9 + 4 * (n - 1)
            seen = out if at < near else others[y]
            at = at if at < near else at - near
            for x in range(columns):
                # All four before the first is kept: the compiler does not know that they stay as they are.
                a = (other[2 * x] - above[2 * x]) * scale
                b = (other[2 * x + 1] - above[2 * x + 1]) * scale
                c = (next_other[2 * x] - below[2 * x]) * scale
                d = (next_other[2 * x + 1] - below[2 * x + 1]) * scale
                seen[x, at] = min(max(a, -limit), limit)
                seen[x, at + 1] = min(max(b, -limit), limit)
                seen[x, at + 2] = min(max(c, -limit), limit)
                seen[x, at + 3] = min(max(d, -limit), limit)
        for plane in range(2):
            for x in range(columns):
                out[x, 4 + plane] = (chroma[plane, y, x] - means[1 + plane, x]) * scale
        for plane in range(3):
            for x in range(columns):
                out[x, 6 + plane] = means[plane, x]


def blend_into(
    result: Array,
    planes: Array,
    weights: Array,
    step: float,
    clips: tuple[float, ...],
    side: int,
) -> None:
    """Adds to (C, H, W), float32, what the neighbours of one picture add, each with a weight per block.

    planes: (1 + neighbours, C, H, W), float32, the picture's first. weights: (len(clips) * neighbours,
    blocks, blocks), float32. clips: two, in steps. side: of blocks, 2 or 4; see
    `restoration.spread`.
    """
    narrow, wide = np.array(clips, np.float32) * np.float32(step)
    # Planes that are not contiguous have loops of their own, which are slow. Weights are read once.
    _blend(np.ascontiguousarray(planes), weights, narrow, wide, side, result)


@njit(fastmath=True, nogil=True, cache=True)
def _blend(planes: Array, weights: Array, narrow: Any, wide: Any, side: int, result: Array) -> None:
    channels, height, width = result.shape
    neighbours, (_, rows, _) = len(planes) - 1, weights.shape
    # Of the samples of a row in blocks of three rows, and of a row of samples.
    along = np.empty((3, len(weights), weights.shape[2] * side), np.float32)
    spread = np.empty(along.shape[1:], np.float32)
    _along(weights, 0, side, along[0])
    for row in range(min(rows, -(-height // side))):
        if row + 1 < rows:
            _along(weights, row + 1, side, along[(row + 1) % 3])
        for y in range(row * side, min(height, (row + 1) * side)):
            place = (y - row * side + _F(0.5)) / side - _F(0.5)
            other = min(max(row - 1 if place < 0 else row + 1, 0), rows - 1)
            _between(along[row % 3], along[other % 3], abs(place), spread)
            for c in range(channels):
                own, total = planes[0, c, y], result[c, y]
                for n in range(neighbours):
                    there = planes[1 + n, c, y]
                    little, much = spread[n], spread[neighbours + n]
                    for x in range(width):
                        apart = there[x] - own[x]
                        total[x] += little[x] * min(max(apart, -narrow), narrow)
                        total[x] += much[x] * min(max(apart, -wide), wide)


@njit(fastmath=True, nogil=True, cache=True)
def _along(weights: Array, row: int, side: int, result: Array) -> None:
    """Weights for each sample along a row of blocks."""
    last = weights.shape[2] - 1
    for k in range(len(weights)):
        values, out = weights[k, row], result[k]
        for x in range(last + 1):
            before, own, after = values[max(x - 1, 0)], values[x], values[min(x + 1, last)]
            for i in range(side):
                place = (i + _F(0.5)) / side - _F(0.5)
                there = before if place < 0 else after
                out[x * side + i] = own + abs(place) * (there - own)


@njit(fastmath=True, nogil=True, cache=True)
def _between(near: Array, far: Array, share: Any, result: Array) -> None:
    for k in range(len(near)):
        a, b, out = near[k], far[k], result[k]
        for x in range(len(a)):
            out[x] = a[x] + share * (b[x] - a[x])


@njit(fastmath=True, nogil=True, cache=True)
def shuffled(phases: Array, result: Array) -> None:
    """Fills (H, W) with what (4 or more, H / 2, W / 2) has for the four samples of each place."""
    height, width = result.shape
    for y in range(height):
        for x in range(width):
            result[y, x] = phases[2 * (y % 2) + x % 2, y // 2, x // 2]
