"""What taps add to a picture, sample by sample: `Taps.forward` without its planes in between."""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from nnvvc.models.tap_shapes import ALONG, AROUND, BLOCK, CLIPS, GRID, NEXT, REACH

_AROUND, _NEXT, _ALONG = np.array(AROUND), np.array(NEXT), np.array(ALONG)
_CLIPS = np.array(CLIPS, np.float32)

Array = NDArray[Any]


def add_taps(
    planes: Array, residual: Array, step: float, classes: Array, weights: Array, grid: Array
) -> Array:
    """(H, W), float32, to be added.

    planes: (3, H, W), float32, the picture and its neighbours. residual: (H, W), of the network. step: in
    luma's unit. classes: of blocks, uint8. weights: (CLASSES, COUNT), no longer mixed. grid: (2, len(ALONG),
    GRID), with its unit.
    """
    padded = np.pad(planes, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    result = np.empty_like(residual)
    wide = np.clip(padded[1:] - padded[:1], -CLIPS[1] * step, CLIPS[1] * step).sum(0)
    _run(padded, wide, residual, np.float32(step), classes, weights, grid, result)
    return result


@njit(parallel=True, fastmath=True, cache=True)
def _run(
    padded: Array,
    wide: Array,
    residual: Array,
    step: np.float32,
    classes: Array,
    weights: Array,
    grid: Array,
    result: Array,
) -> None:
    height, width = residual.shape
    own = padded[0]
    # Over contiguous rows, which compilers make vector instructions of: weights are spread out first.
    for block_row in prange(classes.shape[0]):
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
            for n in range(1, 3):
                a = padded[n, top, REACH : REACH + width]
                for x in range(width):
                    total[x] += w[at, x] * min(max(a[x] - centre[x], -bound), bound)
            middle = wide[top, REACH : REACH + width]
            for x in range(width):
                total[x] += w[at + 1, x] * middle[x]
            at += len(_CLIPS)
            for k in range(len(_NEXT)):
                a, b = _pair(wide, top, width, _NEXT[k, 0], _NEXT[k, 1])
                for x in range(width):
                    total[x] += w[at + k, x] * (a[x] + b[x] - 2 * middle[x])
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
