"""What taps add to a picture, sample by sample: `Taps.forward` without its planes in between."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nnvvc.models.tap_shapes import ALONG, AROUND, BLOCK, CLIPS, DISTANCES, GRID, NEXT, REACH

_AROUND, _NEXT, _ALONG = np.array(AROUND), np.array(NEXT), np.array(ALONG)
_CLIPS = np.array(CLIPS, np.float32)

Array = NDArray[Any]


def add_taps(
    planes: Array, residual: Array, step: float, classes: Array, weights: Array, grid: Array
) -> Array:
    """(H, W), float32, to be added.

    planes: (1 + 2 * len(DISTANCES), H, W), float32, see `Taps.forward`. residual: (H, W), of the network.
    step: in luma's unit. classes: of blocks, uint8. weights: (CLASSES, COUNT), no longer mixed. grid: (2,
    len(ALONG), GRID), with its unit.
    """
    own = np.pad(planes[0], REACH, mode="edge")
    wide = np.empty((len(DISTANCES), planes.shape[1] + 2, planes.shape[2] + 2), np.float32)
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
    for block_row in range(classes.shape[0]):
        w = np.empty((weights.shape[1], width), np.float32)
        for k in range(weights.shape[1]):
            for x in range(width):
                w[k, x] = weights[classes[block_row, x // BLOCK], k]
        total = np.empty(width, np.float32)
        for y in range(block_row * BLOCK, min(height, (block_row + 1) * BLOCK)):
            top = y + REACH
            centre = own[top, REACH : REACH + width]
            for x in range(width):
                total[x] = w[-1, x] * residual[y, x]
            for k in range(len(_AROUND)):
                a, b = _pair(own, top, width, _AROUND[k, 0], _AROUND[k, 1])
                for x in range(width):
                    total[x] += w[k, x] * (a[x] + b[x] - 2 * centre[x])
            at = len(_AROUND)
            for c in range(len(_CLIPS)):
                bound = _CLIPS[c] * step
                for k in range(len(_NEXT)):
                    a, b = _pair(own, top, width, _NEXT[k, 0], _NEXT[k, 1])
                    for x in range(width):
                        pair = a[x] + b[x] - 2 * centre[x]
                        total[x] += w[at + k, x] * min(max(pair, -bound), bound)
                at += len(_NEXT)
            bound = _CLIPS[0] * step
            for n in range(len(wide)):
                a, b = planes[1 + 2 * n, y], planes[2 + 2 * n, y]
                middle = wide[n, y + 1, 1 : 1 + width]
                for x in range(width):
                    c = centre[x]
                    narrow = min(max(a[x] - c, -bound), bound) + min(max(b[x] - c, -bound), bound)
                    total[x] += w[at, x] * narrow + w[at + 1, x] * middle[x]
                at += len(_CLIPS)
                for k in range(len(_NEXT)):
                    dy, dx = _NEXT[k, 0], _NEXT[k, 1]
                    a = wide[n, y + 1 + dy, 1 + dx : 1 + dx + width]
                    b = wide[n, y + 1 - dy, 1 - dx : 1 - dx + width]
                    for x in range(width):
                        total[x] += w[at + k, x] * (a[x] + b[x] - 2 * middle[x])
                at += len(_NEXT)
            for k in range(len(_ALONG)):
                d = _ALONG[k]
                a = own[top, REACH + d : REACH + d + width]
                b = own[top + d, REACH : REACH + width]
                down = grid[1, k, y % GRID]
                for x in range(width):
                    total[x] += grid[0, k, x % GRID] * (a[x] - centre[x]) + down * (b[x] - centre[x])
            for x in range(width):
                result[y, x] = total[x]


@njit(inline="always")
def _pair(plane: Array, top: int, width: int, dy: int, dx: int) -> tuple[Array, Array]:
    """The samples above and below, or to both sides, of a row."""
    a = plane[top + dy, REACH + dx : REACH + dx + width]
    b = plane[top - dy, REACH - dx : REACH - dx + width]
    return a, b
