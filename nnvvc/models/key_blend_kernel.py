"""What `key_blend_loops` does with two blocks beside each other, in one straight line of instructions: their
rows are EIGHT samples.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nnvvc.vectors import EIGHT, WHOLE, Arithmetic, Lines

SIDE = EIGHT // 2
"""Of the blocks."""

SEEN = SIDE * SIDE + 1 + 2 * SIDE + 5
"""Numbers that are said of each: details, what the mean has more than those around, differences of both key
pictures, their sizes, how much both agree, and slopes.
"""

PAIRS = (
    *((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)),
    *((1, 2), (2, 1), (1, -2), (2, -1), (0, 3), (3, 0)),
)
"""(rows, columns) from a sample to one of each pair around it that has a weight in each block."""

AROUND = ((-1, 0), (0, -1), (0, 1), (1, 0))
"""From a sample to those around it whose mean, in each key picture, has a weight."""

REACH = 3
"""Of these."""

WEIGHED = 5 + len(PAIRS) + 2
"""Weights of samples of each block: of both key pictures clipped narrowly, then widely, of what both agree
on, of pairs, and of what is around in both key pictures.
"""

BEFORE = 4
"""Numbers that are said of each block before these; after them there is what is added to each sample."""

LINE = -(-(BEFORE + WEIGHED + SIDE * SIDE) // EIGHT) * EIGHT
"""Numbers of each block, with some that say nothing: EIGHT divides it."""

_TWO: Any = types.UniTuple(types.float32, 2)  # type: ignore[no-untyped-call]

_LEFT, _RIGHT = range(SIDE), range(SIDE, EIGHT)
"""Numbers of the first block in a row, and of the second."""


def _look(
    typing: Any, own: Any, before: Any, after: Any, at: Any, line: Any, numbers: Any, result: Any, to: Any
) -> Any:
    """What `key_blend.looked_at` says of both, channels of each together, from `to` on; what the means around
    have to do with is left out, and returned: the mean of the first block, and of the second.

    own, before, after: rows of blocks, with lines of `line`, from `at` on; own has one more below, and a
    sample more to the right. numbers: a tuple: one over the quantiser step, what details and what differences
    are held within, one over the samples of a block, and that times the first.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        planes = [Lines(context, builder, kinds[k], args[k], args[3], args[4]) for k in range(3)]
        scale, detail, largest, share, scaled = do.each(args[5], 5)
        rows = [planes[0].load(row) for row in range(SIDE + 1)]
        sides = [
            [do.within(do.times(do.minus(plane.load(row), rows[row]), scale), largest) for row in range(SIDE)]
            for plane in planes[1:]
        ]
        mean = do.times(do.in_halves(do.total(rows[:SIDE])), share)
        details = [do.within(do.times(do.minus(row, mean), scale), detail) for row in rows[:SIDE]]
        # Of 2x2 samples: (upper, lower) x (first, second block) x (left, right).
        means = []
        for side in sides:
            upper, lower = do.plus(*side[:2]), do.plus(*side[2:])
            lanes = range(0, 2 * EIGHT, 2)
            whole = do.plus(do.picked(upper, lower, lanes), do.picked(upper, lower, [n + 1 for n in lanes]))
            means.append(do.times(whole, do.same(0.25)))
        sizes = [do.times(do.total([do.size(d) for d in side]), share) for side in sides]
        both = [do.size(do.alike(a, b)) for a, b in zip(*sides, strict=True)]
        across = [do.size(do.minus(planes[0].load(row, 1), rows[row])) for row in range(SIDE)]
        down = [do.size(do.minus(rows[row + 1], rows[row])) for row in range(SIDE)]
        sizes += [do.times(do.total(both), share)]
        sizes += [do.times(do.total(slopes), scaled) for slopes in (across, down)]
        first, last = do.sums(sizes[:4]), do.in_halves(sizes[4])
        for block, lanes in enumerate((_LEFT, _RIGHT)):
            out = Lines(context, builder, kinds[6], args[6], args[7], WHOLE(1))
            begin = block * SEEN
            half = [n + EIGHT for n in lanes]
            for k in range(0, SIDE, 2):
                out.store(do.picked(details[k], details[k + 1], [*lanes, *half]), begin + k * SIDE)
            places = [2 * block, 2 * block + 1, 2 * block + 4, 2 * block + 5]
            coarse = do.picked(means[0], means[1], [*places, *(n + EIGHT for n in places)])
            out.store(coarse, begin + SIDE * SIDE + 1)
            rest = do.picked(first, last, [*range(block, EIGHT, 2), *half])
            out.store(do.picked(coarse, rest, [5, 6, 7, *range(EIGHT, EIGHT + 5)]), begin + SEEN - EIGHT)
        return context.make_tuple(
            builder, signature.return_type, [do.one_of(mean, lanes[0]) for lanes in (_LEFT, _RIGHT)]
        )

    return _TWO(own, before, after, at, line, numbers, result, to), generate


def _spread(
    typing: Any, said: Any, left: Any, first: Any, second: Any, right: Any, result: Any, to: Any, wide: Any
) -> Any:
    """Weights for each sample of a row through both blocks, between those of blocks beside in proportion, to
    `result`, from `to` on, in lines of `wide`.

    said: LINEs of both, from `first` and `second` on, and of those beside them.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        blocks = [Lines(context, builder, kinds[0], args[0], args[k], WHOLE(0)) for k in range(1, 5)]
        results = Lines(context, builder, kinds[5], args[5], args[6], args[7])
        share = do.constants([((2 * n + 1) / EIGHT + 0.5) % 1 for n in range(SIDE)] * 2)
        for group in range(BEFORE, BEFORE + WEIGHED, SIDE):
            quads = [block.half(0, group) for block in blocks]
            pairs = [do.joined(a, b) for a, b in pairwise(quads)]
            for lane in range(min(SIDE, BEFORE + WEIGHED - group)):
                lanes = [lane, lane, EIGHT + lane, EIGHT + lane]
                lanes += [n + SIDE for n in lanes]
                before, after = (do.picked(a, b, lanes) for a, b in pairwise(pairs))
                total = do.plus(before, do.times(do.minus(after, before), share))
                results.store(total, group - BEFORE + lane)
        return context.get_dummy_value()

    return types.void(said, left, first, second, right, result, to, wide), generate


def _parts(do: Arithmetic, planes: list[Lines], row: int, limits: list[Any]) -> Iterator[Any]:
    """What has weights, of a row."""
    narrow, wide, most = limits
    samples, *others = (plane.load(REACH + row, REACH) for plane in planes)
    apart = [do.minus(other, samples) for other in others]
    held = [do.within(d, wide) for d in apart]
    yield from (do.within(d, narrow) for d in apart)
    yield from held
    yield do.alike(*held)
    twice = do.plus(samples, samples)
    for y, x in PAIRS:
        pair = [planes[0].load(REACH + row + k * y, REACH + k * x) for k in (-1, 1)]
        yield do.within(do.minus(do.plus(*pair), twice), most)
    for plane in planes[1:]:
        mean = do.total([plane.load(REACH + row + y, REACH + x) for y, x in AROUND])
        yield do.within(do.minus(do.times(mean, do.same(1 / len(AROUND))), samples), wide)


def _blend(
    typing: Any,
    own: Any,
    before: Any,
    after: Any,
    at: Any,
    line: Any,
    said: Any,
    begin: Any,
    weights: Any,
    upper: Any,
    middle: Any,
    lower: Any,
    length: Any,
    numbers: Any,
    result: Any,
    to: Any,
    wide: Any,
) -> Any:
    """What is added to the samples of both, to `result`, from `to` on, with lines of `wide`.

    own, before, after: with lines of `line`; from `at` on, REACH lines above and samples to the left of the
    first one. said: from `begin` on, two LINEs. weights: of samples in a row, lines of `length`, from
    `middle` on, and those of the blocks above and below. numbers: a tuple: what differences are held within,
    narrowly and widely, and what those to pairs are; and the unit of what is added.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, do = signature.args, Arithmetic(builder)
        planes = [Lines(context, builder, kinds[k], args[k], args[3], args[4]) for k in range(3)]
        both = Lines(context, builder, kinds[5], args[5], args[6], WHOLE(LINE))
        above, here, below = (
            Lines(context, builder, kinds[7], args[7], args[k], args[11]) for k in (8, 9, 10)
        )
        results = Lines(context, builder, kinds[13], args[13], args[14], args[15])
        *limits, unit = do.each(args[12], 4)
        # Four numbers of each block.
        halves = {k: do.joined(both.half(0, k), both.half(1, k)) for k in range(0, LINE, SIDE)}
        for row in range(SIDE):
            nearest = above if row < SIDE // 2 else below
            near, far = do.same(0.0), do.same(0.0)
            # As soon as there is one: all of them would not stay in registers.
            for number, part in enumerate(_parts(do, planes, row, limits)):
                near = do.plus(near, do.times(part, here.load(number)))
                far = do.plus(far, do.times(part, nearest.load(number)))
            share = do.same(abs((row + 0.5) / SIDE - 0.5))
            total = do.plus(near, do.times(do.minus(far, near), share))
            first = BEFORE + WEIGHED + row * SIDE
            lane, half = first % SIDE, halves[first - first % SIDE]
            lanes = [n if n < SIDE else n + SIDE for n in range(lane, lane + SIDE)]
            more = halves.get(first - lane + SIDE, half)
            added = do.picked(half, more, lanes + [n + SIDE for n in lanes])
            results.store(do.plus(total, do.times(added, unit)), row)
        return context.get_dummy_value()

    kinds = own, before, after, at, line, said, begin, weights, upper, middle, lower, length
    return types.void(*kinds, numbers, result, to, wide), generate


look_at: Any = intrinsic(_look)
spread_at: Any = intrinsic(_spread)
blend_at: Any = intrinsic(_blend)
