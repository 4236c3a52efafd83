"""Eight float32 numbers at a time, in compiled loops: compilers leave rows as short as these as they are."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

EIGHT = ir.VectorType(ir.FloatType(), 8)
_FAST = ("fast",)


def _at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Where eight numbers of a flat array are, from `index` on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), EIGHT.as_pointer())


def _load(builder: Any, place: Any) -> Any:
    found = builder.load(place)
    found.align = 4
    return found


def _all(builder: Any, number: Any) -> Any:
    """Eight times the same."""
    none = ir.Constant(EIGHT, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8))


def _sum(builder: Any, vectors: Any, weights: Any) -> Any:
    """Of four vectors, each with its weight."""
    total = None
    for vector, weight in zip(vectors, weights, strict=True):
        product = builder.fmul(vector, _all(builder, weight), flags=_FAST)
        total = product if total is None else builder.fadd(total, product, flags=_FAST)
    return total


def _four_along(
    typing: Any, source: Any, at: Any, a: Any, b: Any, c: Any, d: Any, result: Any, to: Any
) -> Any:
    """Eight samples of `result` from `to` on: a, b, c, d times those of `source` from `at`, at + 1 and so on.

    source, result: flat arrays of float32; at, to: uintp; a to d: float32.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, at, *weights, result, to = args
        one = ir.Constant(at.type, 1)
        vectors = []
        for _ in range(4):
            vectors.append(_load(builder, _at(context, builder, signature.args[0], source, at)))
            at = builder.add(at, one)
        place = _at(context, builder, signature.args[6], result, to)
        builder.store(_sum(builder, vectors, weights), place).align = 4
        return context.get_dummy_value()

    return types.void(source, at, a, b, c, d, result, to), generate


four_along: Any = intrinsic(_four_along)


def _four_down(
    typing: Any,
    source: Any,
    at: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    weights: Any,
    row: Any,
    result: Any,
    to: Any,
) -> Any:
    """Adds to eight samples of `result` from `to` on: a, b, c, d times those of `source` from `at`, at + 8
    and so on, times the numbers of `weights` from `row` on. All as for `four_along`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, at, a, b, c, d, weights, row, result, to = args
        eight = ir.Constant(at.type, 8)
        vectors = []
        for _ in range(4):
            vectors.append(_load(builder, _at(context, builder, signature.args[0], source, at)))
            at = builder.add(at, eight)
        found = _sum(builder, vectors, (a, b, c, d))
        tent = _load(builder, _at(context, builder, signature.args[6], weights, row))
        place = _at(context, builder, signature.args[8], result, to)
        total = builder.fadd(_load(builder, place), builder.fmul(found, tent, flags=_FAST), flags=_FAST)
        builder.store(total, place).align = 4
        return context.get_dummy_value()

    return types.void(source, at, a, b, c, d, weights, row, result, to), generate


four_down: Any = intrinsic(_four_down)
