"""Windows of blocks, each in one straight line of instructions."""

from itertools import pairwise
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nnvvc.media.motion_planes import TAPS, WINDOW
from nnvvc.vectors import EIGHT, WHOLE, Arithmetic, Lines

assert WINDOW == EIGHT

PARTS = 4
"""Blocks of half the side, in each direction, that a block's vector is near to."""


def _moved(begun: bool) -> Any:
    """begun: whether there is something in what the lower half of a window goes to."""

    def window(
        typing: Any,
        other: Any,
        at: Any,
        line: Any,
        along: Any,
        down: Any,
        shares: Any,
        result: Any,
        upper: Any,
        lower: Any,
        wide: Any,
    ) -> Any:
        """Adds a window to `result`: its upper half from `upper` on, the other from `lower`, with lines of
        `wide`: samples between those of another plane, from `at` on, with lines of `line`, times `shares`, of
        all samples of the window. along, down: tuples of TAPS: what samples to the right of each other, and
        below, count for.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds, do = signature.args, Arithmetic(builder)
            samples = Lines(context, builder, kinds[0], args[0], args[1], args[2])
            weights = Lines(context, builder, kinds[5], args[5], WHOLE(0), WHOLE(WINDOW))
            halves = [Lines(context, builder, kinds[6], args[6], args[k], args[9]) for k in (7, 8)]
            right, below = do.each(args[3], TAPS), do.each(args[4], TAPS)
            between: list[Any] = []
            for number in range(WINDOW + TAPS - 1):
                between.append(do.weighed([samples.load(number, k) for k in range(TAPS)], right))
                row = number - TAPS + 1
                if row >= 0:
                    half, place = divmod(row, WINDOW // 2)
                    found = do.times(do.weighed(between[row:], below), weights.load(row))
                    if begun or half == 0:
                        found = do.plus(halves[half].load(place), found)
                    halves[half].store(found, place)
            return context.get_dummy_value()

        return types.void(other, at, line, along, down, shares, result, upper, lower, wide), generate

    return window


def _apart(typing: Any, own: Any, here: Any, other: Any, there: Any, line: Any, weights: Any) -> Any:
    """Sum of how much every second row of a window, from `here` on, differs from what is from `there` on in
    another plane, between four samples. weights: a tuple: of these, rows first. line: of both planes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        first = Lines(context, builder, kinds[0], args[0], args[1], args[4])
        second = Lines(context, builder, kinds[2], args[2], args[3], args[4])
        shares = do.each(args[5], 4)
        sizes = []
        for row in range(0, WINDOW, 2):
            around = [second.load(row + down, right) for down in range(2) for right in range(2)]
            sizes.append(do.size(do.minus(first.load(row), do.weighed(around, shares))))
        return do.sum(do.total(sizes))

    return types.float32(own, here, other, there, line, weights), generate


def _all_apart(
    typing: Any, own: Any, here: Any, other: Any, there: Any, line: Any, weights: Any, result: Any, to: Any
) -> Any:
    """What `apart` gives for the windows of PARTS by PARTS blocks, half a window from each other, rows first,
    to `result`, from `to` on. here, there: of the first one.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        first = Lines(context, builder, kinds[0], args[0], args[1], args[4])
        second = Lines(context, builder, kinds[2], args[2], args[3], args[4])
        results = Lines(context, builder, kinds[6], args[6], args[7], WHOLE(EIGHT))
        shares = do.each(args[5], 4)

        def size(row: int, column: int) -> Any:
            around = [second.load(row + down, column + right) for down in range(2) for right in range(2)]
            return do.size(do.minus(first.load(row, column), do.weighed(around, shares)))

        half, columns = WINDOW // 2, range(0, (PARTS + 1) * WINDOW // 2, WINDOW)
        # Of halves of windows, one below the other: all columns of each.
        halves = [
            [do.total([size(row, column) for row in range(top, top + half, 2)]) for column in columns]
            for top in range(0, (PARTS + 1) * half, half)
        ]
        between = range(half, half + EIGHT)
        found = []
        for above, below in pairwise(halves):
            sizes = [do.plus(a, b) for a, b in zip(above, below, strict=True)]
            for part in range(PARTS):
                whole, rest = sizes[part // 2], sizes[(part + 1) // 2]
                found.append(do.picked(whole, rest, between) if part % 2 else whole)
        for number in range(0, PARTS * PARTS, EIGHT):
            results.store(do.sums(found[number : number + EIGHT]), number // EIGHT)
        return context.get_dummy_value()

    return types.void(own, here, other, there, line, weights, result, to), generate


begin_moved: Any = intrinsic(_moved(begun=False))
add_moved: Any = intrinsic(_moved(begun=True))
apart: Any = intrinsic(_apart)
all_apart: Any = intrinsic(_all_apart)
