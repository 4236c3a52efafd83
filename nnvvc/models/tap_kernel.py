"""Taps on EIGHT samples at once, in one straight line of instructions."""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nnvvc.models.tap_shapes import AROUND, CLIPS, NEXT, OF_NEIGHBOURS, REACH
from nnvvc.vectors import Arithmetic, Lines


def _own_taps(
    typing: Any,
    own: Any,
    at: Any,
    line: Any,
    weights: Any,
    begin: Any,
    length: Any,
    bounds: Any,
    result: Any,
    to: Any,
) -> Any:
    """Adds to EIGHT numbers of `result`, from `to` on, what taps on the picture itself add.

    own: its samples; from `at` on, REACH lines above and samples to the left of the first one, with lines of
    `line`. weights: from `begin` on, those of each of the samples, in lines of `length`, one after the other.
    bounds: a tuple of what clipped ones are held within.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        samples = Lines(context, builder, kinds[0], args[0], args[1], args[2])
        shares = Lines(context, builder, kinds[3], args[3], args[4], args[5])
        results = Lines(context, builder, kinds[7], args[7], args[8], args[5])
        limits = do.each(args[6], len(CLIPS))
        middle = samples.load(REACH, REACH)
        twice = do.plus(middle, middle)
        total = results.load(0)
        next_ones = {}
        for number, (y, x) in enumerate(AROUND):
            pair = do.plus(samples.load(REACH + y, REACH + x), samples.load(REACH - y, REACH - x))
            pair = do.minus(pair, twice)
            total = do.plus(total, do.times(shares.load(number), pair))
            if (y, x) in NEXT:
                next_ones[y, x] = pair
        number = len(AROUND)
        for limit in limits:
            for place in NEXT:
                clipped = do.within(next_ones[place], limit)
                total = do.plus(total, do.times(shares.load(number), clipped))
                number += 1
        results.store(total, 0)
        return context.get_dummy_value()

    return types.void(own, at, line, weights, begin, length, bounds, result, to), generate


def _next_taps(
    typing: Any,
    narrow: Any,
    wide: Any,
    at: Any,
    line: Any,
    weights: Any,
    begin: Any,
    length: Any,
    result: Any,
    to: Any,
) -> Any:
    """The same of taps on both neighbours at one distance. narrow, wide: sums of the differences to both,
    clipped at both widths; from `at` on, a line above and a sample to the left of the first one.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        near, far = (Lines(context, builder, kinds[k], args[k], args[2], args[3]) for k in range(2))
        shares = Lines(context, builder, kinds[4], args[4], args[5], args[6])
        results = Lines(context, builder, kinds[7], args[7], args[8], args[6])
        middle = far.load(1, 1)
        twice = do.plus(middle, middle)
        parts = [near.load(1, 1), middle]
        for y, x in NEXT:
            parts.append(do.minus(do.plus(far.load(1 + y, 1 + x), far.load(1 - y, 1 - x)), twice))
        added = do.weighed(parts, [shares.load(number) for number in range(OF_NEIGHBOURS)])
        results.store(do.plus(results.load(0), added), 0)
        return context.get_dummy_value()

    return types.void(narrow, wide, at, line, weights, begin, length, result, to), generate


own_taps: Any = intrinsic(_own_taps)
next_taps: Any = intrinsic(_next_taps)
