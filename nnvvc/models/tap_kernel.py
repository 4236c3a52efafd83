"""Taps on two blocks beside each other at once, in one straight line of instructions: their rows are EIGHT
samples, and a weight that is loaded serves all of them.

Weights are lines of EIGHT, one for each sample of a row, from `begin` on. Pairs of samples are added up as
they are, so that what is between them counts less: see `tap_loops`.
"""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nnvvc.models.tap_shapes import AROUND, BLOCK, CLIPS, NEXT, OF_NEIGHBOURS, REACH
from nnvvc.vectors import EIGHT, WHOLE, Arithmetic, Lines

assert 2 * BLOCK == EIGHT

_FOUR: Any = types.UniTuple(types.float32, 4)  # type: ignore[no-untyped-call]

BESIDES = 2
"""Weights that come before those of taps."""


def _own_taps(
    typing: Any,
    own: Any,
    at: Any,
    line: Any,
    weights: Any,
    begin: Any,
    bounds: Any,
    result: Any,
    to: Any,
    wide: Any,
) -> Any:
    """Weighs both blocks in `result`, from `to` on, with lines of `wide`, and adds what taps on the picture
    itself do.

    own: its samples; from `at` on, REACH lines above and samples to the left of the first one, with lines of
    `line`. weights: of what is there, of samples themselves, then as `tap_shapes` has them. bounds: a tuple
    of what clipped ones are held within.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        samples = Lines(context, builder, kinds[0], args[0], args[1], args[2])
        shares = Lines(context, builder, kinds[3], args[3], args[4], WHOLE(EIGHT))
        results = Lines(context, builder, kinds[6], args[6], args[7], args[8])
        limits = do.each(args[5], len(CLIPS))
        totals, twice = [], []
        for row in range(BLOCK):
            middle = samples.load(REACH + row, REACH)
            both = [results.load(row), middle]
            totals.append(do.weighed(both, [shares.load(number) for number in range(BESIDES)]))
            twice.append(do.plus(middle, middle))
        for number, (y, x) in enumerate(AROUND):
            share = shares.load(BESIDES + number)
            clipped = []
            if (y, x) in NEXT:
                first = BESIDES + len(AROUND) + NEXT.index((y, x))
                clipped = [(limit, shares.load(first + k * len(NEXT))) for k, limit in enumerate(limits)]
            for row in range(BLOCK):
                above, below = REACH + row - y, REACH + row + y
                pair = do.plus(samples.load(above, REACH - x), samples.load(below, REACH + x))
                totals[row] = do.plus(totals[row], do.times(share, pair))
                for limit, weight in clipped:
                    held = do.within(do.minus(pair, twice[row]), limit)
                    totals[row] = do.plus(totals[row], do.times(weight, held))
        for row, total in enumerate(totals):
            results.store(total, row)
        return context.get_dummy_value()

    return types.void(own, at, line, weights, begin, bounds, result, to, wide), generate


def _next_taps(
    typing: Any,
    narrow: Any,
    wide: Any,
    at: Any,
    line: Any,
    weights: Any,
    begin: Any,
    result: Any,
    to: Any,
    length: Any,
) -> Any:
    """The same of taps on both neighbours at one distance, `result` with lines of `length`. narrow, wide:
    sums of the differences to both, clipped at both widths; from `at` on, a line above and a sample to the
    left of the first one.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        near, far = (Lines(context, builder, kinds[k], args[k], args[2], args[3]) for k in range(2))
        shares = Lines(context, builder, kinds[4], args[4], args[5], WHOLE(EIGHT))
        results = Lines(context, builder, kinds[6], args[6], args[7], args[8])
        weights = [shares.load(number) for number in range(OF_NEIGHBOURS)]
        for row in range(BLOCK):
            parts = [near.load(row + 1, 1), far.load(row + 1, 1)]
            parts += [do.plus(far.load(row + 1 - y, 1 - x), far.load(row + 1 + y, 1 + x)) for y, x in NEXT]
            results.store(do.plus(results.load(row), do.weighed(parts, weights)), row)
        return context.get_dummy_value()

    return types.void(narrow, wide, at, line, weights, begin, result, to, length), generate


def _measured(typing: Any, own: Any, before: Any, after: Any, at: Any, line: Any) -> Any:
    """Sums over the first block, then the second, of differences to the next samples, to the right and below,
    and the same of those to both neighbours. own, before, after: from `at` on, with lines of `line`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        planes = [Lines(context, builder, kinds[k], args[k], args[3], args[4]) for k in range(3)]
        rows = [planes[0].load(row) for row in range(BLOCK + 1)]
        active, moving = [], []
        for row in range(BLOCK):
            active += [do.minus(other, rows[row]) for other in (planes[0].load(row, 1), rows[row + 1])]
            moving += [do.minus(plane.load(row), rows[row]) for plane in planes[1:]]
        whole = [do.in_halves(do.total([do.size(d) for d in parts])) for parts in (active, moving)]
        numbers = [do.one_of(total, lane) for total in whole for lane in (0, BLOCK)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return _FOUR(own, before, after, at, line), generate


own_taps: Any = intrinsic(_own_taps)
measured: Any = intrinsic(_measured)
next_taps: Any = intrinsic(_next_taps)
