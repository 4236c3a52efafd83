"""Vectors of EIGHT float32 numbers in compiled loops, written for LLVM, which numba compiles with: compilers
leave rows as short as these as they are, and what is added up in several passes goes through memory in each.

For intrinsics (`numba.extending.intrinsic`): arrays are flat, float32, and where something begins in them, or
how long their lines are, is uintp.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

EIGHT = 8

VECTOR = ir.VectorType(ir.FloatType(), EIGHT)
_HALF = ir.VectorType(ir.FloatType(), EIGHT // 2)
WHOLE = ir.IntType(64)

_LANE = ir.IntType(32)
_FAST = ("fast",)


class Lines:
    """Lines of an array, from a place on. kind: its type in numba."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, begin: Any, length: Any) -> None:
        self._builder, self._length = builder, length
        self._begin = builder.gep(context.make_array(kind)(context, builder, array).data, [begin])

    def load(self, line: int, right: int = 0) -> Any:
        """Numbers of one, from `right` on."""
        return self._loaded(line, right, VECTOR)

    def half(self, line: int, right: int = 0) -> Any:
        """Half as many numbers of one, for `Arithmetic.joined`."""
        return self._loaded(line, right, _HALF)

    def everywhere(self, line: int, right: int = 0) -> Any:
        """One number of a line, as often as there is room."""
        return Arithmetic(self._builder).everywhere(self._builder.load(self._number(line, right)))

    def store(self, vector: Any, line: int, right: int = 0) -> None:
        self._builder.store(vector, self._place(line, right, VECTOR)).align = 4

    def _loaded(self, line: int, right: int, kind: Any) -> Any:
        found = self._builder.load(self._place(line, right, kind))
        found.align = 4
        return found

    def _place(self, line: int, right: int, kind: Any) -> Any:
        return self._builder.bitcast(self._number(line, right), kind.as_pointer())

    def _number(self, line: int, right: int) -> Any:
        off = self._builder.add(self._builder.mul(self._length, WHOLE(line)), WHOLE(right))
        return self._builder.gep(self._begin, [off])


class Arithmetic:
    """On vectors, in any order of additions."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def everywhere(self, number: Any) -> Any:
        """The same number."""
        none, same = ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_LANE, EIGHT), [0] * EIGHT)
        first = self._builder.insert_element(none, number, _LANE(0))
        return self._builder.shuffle_vector(first, none, same)

    def same(self, number: float) -> Any:
        """The same constant."""
        return self.constants([number] * EIGHT)

    def constants(self, numbers: Sequence[float]) -> Any:
        """EIGHT of them."""
        return ir.Constant(VECTOR, list(numbers))

    def one_of(self, vector: Any, lane: int) -> Any:
        return self._builder.extract_element(vector, _LANE(lane))

    def each(self, numbers: Any, count: int) -> list[Any]:
        """Of a tuple, `everywhere`."""
        return [self.everywhere(self._builder.extract_value(numbers, k)) for k in range(count)]

    def plus(self, a: Any, b: Any) -> Any:
        return self._builder.fadd(a, b, flags=_FAST)

    def minus(self, a: Any, b: Any) -> Any:
        return self._builder.fsub(a, b, flags=_FAST)

    def times(self, a: Any, b: Any) -> Any:
        return self._builder.fmul(a, b, flags=_FAST)

    def total(self, vectors: Sequence[Any]) -> Any:
        found = vectors[0]
        for vector in vectors[1:]:
            found = self.plus(found, vector)
        return found

    def weighed(self, vectors: Sequence[Any], weights: Sequence[Any]) -> Any:
        return self.total([self.times(v, w) for v, w in zip(vectors, weights, strict=True)])

    def size(self, vector: Any) -> Any:
        """Without signs."""
        numbers = ir.VectorType(_LANE, EIGHT)
        unsigned = self._builder.and_(
            self._builder.bitcast(vector, numbers), ir.Constant(numbers, [0x7FFFFFFF] * EIGHT)
        )
        return self._builder.bitcast(unsigned, VECTOR)

    def least(self, a: Any, b: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered("<", a, b, flags=_FAST), a, b)

    def most(self, a: Any, b: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered(">", a, b, flags=_FAST), a, b)

    def within(self, vector: Any, bound: Any) -> Any:
        """Held within -bound and bound, a vector."""
        return self.least(self.most(vector, self.minus(self.same(0.0), bound)), bound)

    def alike(self, a: Any, b: Any) -> Any:
        """The smaller of two where both have the same sign, otherwise 0."""
        none = self.same(0.0)
        return self.plus(self.most(self.least(a, b), none), self.least(self.most(a, b), none))

    def sum(self, vector: Any) -> Any:
        """Of its numbers."""
        width = EIGHT
        while width > 1:
            width //= 2
            halves = (self.picked(vector, vector, range(begin, begin + width)) for begin in (0, width))
            vector = self.plus(*halves)
        return self.one_of(vector, 0)

    def sums(self, vectors: Sequence[Any]) -> Any:
        """A vector: of each of EIGHT of them, or of both halves of each of half as many."""
        width = len(vectors)
        while width > 1:
            width //= 2
            lanes = [n for n in range(2 * EIGHT) if n % (2 * width) < width]
            vectors = [
                self.plus(self.picked(a, b, lanes), self.picked(a, b, [n + width for n in lanes]))
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    def in_halves(self, vector: Any) -> Any:
        """The sum of each half, everywhere in it."""
        width = EIGHT // 2
        while width > 1:
            width //= 2
            vector = self.plus(vector, self.picked(vector, vector, [n ^ width for n in range(EIGHT)]))
        return vector

    def joined(self, first: Any, second: Any) -> Any:
        """Of two halves."""
        lanes = ir.Constant(ir.VectorType(_LANE, EIGHT), list(range(EIGHT)))
        return self._builder.shuffle_vector(first, second, lanes)

    def picked(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Numbers of two vectors, those of the second from EIGHT on."""
        wanted = ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes))
        return self._builder.shuffle_vector(a, b, wanted)
