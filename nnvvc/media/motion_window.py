"""Windows of blocks, each in one straight line of instructions, in vectors of WINDOW numbers: compilers leave
rows as short as these as they are, so this is written for LLVM, which numba compiles with.

Planes are flat, float32. Where something begins in them, and the length of their lines, are uintp.
"""

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nnvvc.media.motion_planes import TAPS, WINDOW

_ROW = ir.VectorType(ir.FloatType(), WINDOW)
_WHOLE, _LANE = ir.IntType(64), ir.IntType(32)
_FAST = ("fast",)


class _Lines:
    """Lines of a plane, from a place on."""

    def __init__(self, context: Any, builder: Any, kind: Any, plane: Any, begin: Any, length: Any) -> None:
        self._builder, self._length = builder, length
        self._begin = builder.gep(context.make_array(kind)(context, builder, plane).data, [begin])

    def _place(self, line: int, right: int) -> Any:
        off = self._builder.mul(self._length, _WHOLE(line))
        return self._builder.gep(self._begin, [self._builder.add(off, _WHOLE(right))])

    def load(self, line: int, right: int = 0) -> Any:
        """WINDOW numbers of one."""
        place = self._builder.bitcast(self._place(line, right), _ROW.as_pointer())
        found = self._builder.load(place)
        found.align = 4
        return found

    def store(self, vector: Any, line: int) -> None:
        place = self._builder.bitcast(self._place(line, 0), _ROW.as_pointer())
        self._builder.store(vector, place).align = 4


def _everywhere(builder: Any, numbers: Any, count: int) -> list[Any]:
    """Vectors of the same number, of each of a tuple."""
    none, same = ir.Constant(_ROW, ir.Undefined), ir.Constant(ir.VectorType(_LANE, WINDOW), [0] * WINDOW)
    firsts = (builder.insert_element(none, builder.extract_value(numbers, k), _LANE(0)) for k in range(count))
    return [builder.shuffle_vector(first, none, same) for first in firsts]


def _weighed(builder: Any, vectors: Iterable[Any], weights: Iterable[Any]) -> Any:
    products = [builder.fmul(v, w, flags=_FAST) for v, w in zip(vectors, weights, strict=True)]
    return _total(builder, products)


def _total(builder: Any, vectors: list[Any]) -> Any:
    total = vectors[0]
    for vector in vectors[1:]:
        total = builder.fadd(total, vector, flags=_FAST)
    return total


def _add_moved(
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
    """Adds a window to `result`, from `to` on, with lines of `wide`: samples between those of another plane,
    from `at` on, with lines of `line`, times `shares`, of all samples of the window. along, down: tuples of
    TAPS: what samples to the right of each other, and below, count for.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        samples = _Lines(context, builder, kinds[0], args[0], args[1], args[2])
        weights = _Lines(context, builder, kinds[5], args[5], _WHOLE(0), _WHOLE(WINDOW))
        results = _Lines(context, builder, kinds[6], args[6], args[7], args[8])
        right, below = (_everywhere(builder, args[n], TAPS) for n in (3, 4))
        between: list[Any] = []
        for number in range(WINDOW + TAPS - 1):
            between.append(_weighed(builder, [samples.load(number, k) for k in range(TAPS)], right))
            row = number - TAPS + 1
            if row >= 0:
                moved = _weighed(builder, between[row:], below)
                shared = builder.fmul(moved, weights.load(row), flags=_FAST)
                results.store(builder.fadd(results.load(row), shared, flags=_FAST), row)
        return context.get_dummy_value()

    return types.void(other, at, line, along, down, shares, result, to, wide), generate


def _apart(typing: Any, own: Any, here: Any, other: Any, there: Any, line: Any, weights: Any) -> Any:
    """Sum of how much every second row of a window, from `here` on, differs from what is from `there` on in
    another plane, between four samples. weights: a tuple: of these, rows first. line: of both planes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        first = _Lines(context, builder, kinds[0], args[0], args[1], args[4])
        second = _Lines(context, builder, kinds[2], args[2], args[3], args[4])
        shares = _everywhere(builder, args[5], 4)
        numbers = ir.VectorType(_LANE, WINDOW)
        unsigned = ir.Constant(numbers, [0x7FFFFFFF] * WINDOW)
        sizes = []
        for row in range(0, WINDOW, 2):
            around = [second.load(row + down, right) for down in range(2) for right in range(2)]
            lack = builder.fsub(first.load(row), _weighed(builder, around, shares), flags=_FAST)
            size = builder.and_(builder.bitcast(lack, numbers), unsigned)
            sizes.append(builder.bitcast(size, _ROW))
        total, width = _total(builder, sizes), WINDOW
        while width > 1:
            width //= 2
            halves = (
                ir.Constant(ir.VectorType(_LANE, width), list(range(begin, begin + width)))
                for begin in (0, width)
            )
            parts = [builder.shuffle_vector(total, total, half) for half in halves]
            total = builder.fadd(*parts, flags=_FAST)
        return builder.extract_element(total, _LANE(0))

    return types.float32(own, here, other, there, line, weights), generate


add_moved: Any = intrinsic(_add_moved)
apart: Any = intrinsic(_apart)
