"""Pictures at all sizes, each half the one before, as motion is looked for in them.

All sizes lie in one flat array, float32, samples of 10 bits, with EDGE samples of their border repeated on
all sides and BEYOND more on the right and below. `levels` says where: (sizes + 1, 5), integers, the full size
first, and then where the last one ends.

What must be fast is written for the compiler: indices are unsigned, since signed ones are asked first whether
they count from the end; sums over a block go down its columns, so that a register holds its row; a row that
is written has a length that the compiler does not know, since it leaves short loops as they are. And what a
picture takes is a few long calls: threads wait for each other between them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit

Array = NDArray[Any]

STEP = 8
"""Samples from block to block where motion is looked for; half of that in the end."""

SMALLEST = 36
"""Shorter side of the sizes that are halved no more."""

EDGE = 32
"""Samples that a plane has more on each side; on the right and below, there are BEYOND more."""

BEYOND = 16

WINDOW = 8
"""Side of what a block sees."""

TAPS = 6
"""Samples that one between them is made of."""

BEFORE, AFTER = 20, 12
"""Samples that blocks may begin before the plane, or past its end: their windows stay within its edge."""

_F = np.float32


@lru_cache(maxsize=64)
def levels_of(height: int, width: int, most: int = 64) -> Array:
    """Of a picture, `most` sizes at most: where each begins, the length of its lines, its rows, its columns,
    and where what each of its blocks, STEP apart, has three numbers of begins.
    """
    found, samples, numbers = [], 0, 0
    for _ in range(most):
        pitch = width + 2 * EDGE + BEYOND
        found.append((samples, pitch, height, width, numbers))
        samples += pitch * (height + 2 * EDGE + BEYOND)
        numbers += 3 * -(-height // STEP) * -(-width // STEP)
        if min(height, width) <= SMALLEST:
            break
        height, width = -(-height // 2), -(-width // 2)
    found.append((samples, 0, 0, 0, numbers))
    return np.array(found)


@njit(fastmath=True, nogil=True, cache=True)
def filled(plane: Array, scale: Any, levels: Array) -> Array:
    """All sizes of a plane, (H, W), uint16, times `scale`. levels: see `levels_of`."""
    samples = np.empty(levels[-1, 0], np.float32)
    for number in range(len(levels) - 1):
        begin, pitch, height, width, _ = levels[number]
        level = samples[begin : levels[number + 1, 0]].reshape((-1, pitch))
        for y in range(height):
            line = level[EDGE + y]
            if number == 0:
                given, out = plane[y], line[EDGE:]
                for x in range(width):
                    out[x] = _F(given[x]) * scale
            else:
                before, wide = levels[number - 1, 0], levels[number - 1, 1]
                at = before + (EDGE + 2 * y) * wide + EDGE
                above, below, out = samples[at:], samples[at + wide :], line[EDGE:]
                for x in range(width):
                    total = above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]
                    out[x] = total * _F(0.25)
            for x in range(EDGE):
                line[x] = line[EDGE]
            for x in range(EDGE + width, pitch):
                line[x] = line[EDGE + width - 1]
        for y in range(EDGE):
            _copy(level[EDGE], level[y])
        for y in range(EDGE + height, len(level)):
            _copy(level[EDGE + height - 1], level[y])
    return samples


@njit(nogil=True, cache=True)
def _copy(line: Array, result: Array) -> None:
    """As slices do, which take long to compile."""
    for x in range(len(line)):
        result[x] = line[x]


@njit(inline="always")
def held(number: int, step: int, offset: np.float32, size: int) -> Any:
    """One part of a block's vector, so that it stays within the edge. number: of its row, or column."""
    return min(max(offset, _F(-number * step - BEFORE)), _F(size - number * step + AFTER))


@njit(inline="always")
def begins(number: int, step: int, side: int) -> Any:
    """Where what a block sees begins in the plane, along one side of it."""
    return EDGE + number * step + (step - side) // 2


@njit(inline="always")
def led(y: int, x: int, pitch: int, u: Any, v: Any) -> Any:
    """Where what begins at a row and a column does in the flat array, and where it does when (u, v) moved it;
    and the weights of the four samples around each place there.
    """
    left, top = np.floor(u), np.floor(v)
    a, b = u - left, v - top
    both = a * b
    here, there = np.uintp(y * pitch + x), np.uintp((y + int(top)) * pitch + x + int(left))
    return here, there, (_F(1) - a - b + both, a - both, b - both, both)
