"""One window of a block that moved, in one straight line of instructions: what lies between samples is made
along rows and then down columns without leaving the registers. Compilers leave rows as short as these as they
are; so this is written for LLVM, which numba compiles with, in vectors of WINDOW numbers.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nnvvc.media.motion_planes import TAPS, WINDOW

_ROW = ir.VectorType(ir.FloatType(), WINDOW)
_WHOLE = ir.IntType(64)
_FAST = ("fast",)


def _add_window(
    typing: Any,
    other: Any,
    at: Any,
    line: Any,
    along: Any,
    down: Any,
    shares: Any,
    result: Any,
    to: Any,
    wide: Any,
) -> Any:
    """Adds a window to a flat array, float32, from `to` on, with lines of `wide`: samples between those of
    another one, from `at` on, with lines of `line`, times `shares`, of all its samples.

    along, down: tuples of TAPS, what samples to the right of each other, and below, count for. Numbers are
    uintp.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(number: int, index: Any) -> Any:
            array = context.make_array(signature.args[number])(context, builder, args[number])
            return builder.gep(array.data, [index])

        def row(start: Any, length: Any, number: int) -> Any:
            return builder.gep(start, [builder.mul(length, ir.Constant(_WHOLE, number))])

        def load(start: Any, off: int = 0) -> Any:
            near = builder.gep(start, [ir.Constant(_WHOLE, off)])
            found = builder.load(builder.bitcast(near, _ROW.as_pointer()))
            found.align = 4
            return found

        def everywhere(number: Any) -> Any:
            none = ir.Constant(_ROW, ir.Undefined)
            first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
            same = ir.Constant(ir.VectorType(ir.IntType(32), WINDOW), [0] * WINDOW)
            return builder.shuffle_vector(first, none, same)

        def weighed(vectors: Any, weights: Any) -> Any:
            total = None
            for vector, weight in zip(vectors, weights, strict=True):
                product = builder.fmul(vector, weight, flags=_FAST)
                total = product if total is None else builder.fadd(total, product, flags=_FAST)
            return total

        taps = [[everywhere(builder.extract_value(args[n], k)) for k in range(TAPS)] for n in (3, 4)]
        begin, share, end = place(0, args[1]), place(5, ir.Constant(_WHOLE, 0)), place(6, args[7])
        between: list[Any] = []
        for number in range(WINDOW + TAPS - 1):
            start = row(begin, args[2], number)
            between.append(weighed([load(start, k) for k in range(TAPS)], taps[0]))
            if number >= TAPS - 1:
                whole = weighed(between[-TAPS:], taps[1])
                target = row(end, args[8], number - TAPS + 1)
                weight = load(share, WINDOW * (number - TAPS + 1))
                total = builder.fadd(load(target), builder.fmul(whole, weight, flags=_FAST), flags=_FAST)
                builder.store(total, builder.bitcast(target, _ROW.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(other, at, line, along, down, shares, result, to, wide), generate


add_window: Any = intrinsic(_add_window)
