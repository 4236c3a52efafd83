"""Convolutions of single samples with channels last, as products of matrices: bias, what is there already and
activation belong to the same pass, and what is small takes as long as its multiplications do.

Weights are (1 + inputs, outputs), float32: biases, then a line for each input.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.compiled import njit
from nnvvc.vectors import EIGHT, VECTOR, WHOLE, Arithmetic, Lines

Array = NDArray[Any]

_N = np.uintp

_TOGETHER = 120
"""Samples whose inputs stay in the nearest cache until all their outputs are there."""


def _products(places: int, vectors: int) -> Any:
    """Of `places` samples, and `vectors` times EIGHT outputs: what is added up stays in registers."""

    def tile(
        typing: Any,
        values: Any,
        at: Any,
        inputs: Any,
        weights: Any,
        begin: Any,
        length: Any,
        result: Any,
        to: Any,
        wide: Any,
        more: Any,
        leak: Any,
    ) -> Any:
        """values: lines of `inputs`, from `at` on. weights: from `begin` on, with lines of `length`. result:
        from `to` on, with lines of `wide`. more: whether what is there is added. leak: what is below zero is
        multiplied by.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds, do = signature.args, Arithmetic(builder)
            results = Lines(context, builder, kinds[6], args[6], args[7], args[8])
            biases = Lines(context, builder, kinds[3], args[3], args[4], args[5])
            each = [(place, part) for place in range(places) for part in range(vectors)]
            totals = {at: _kept(builder) for at in each}
            for (_, part), total in totals.items():
                builder.store(biases.load(0, part * EIGHT), total)
            with builder.if_then(args[9]):
                for (place, part), total in totals.items():
                    there = results.load(place, part * EIGHT)
                    builder.store(do.plus(builder.load(total), there), total)
            with cgutils.for_range(builder, args[2]) as loop:
                number = builder.add(args[1], loop.index)
                line = builder.add(args[4], builder.mul(args[5], builder.add(loop.index, WHOLE(1))))
                given = Lines(context, builder, kinds[0], args[0], number, args[2])
                shares = Lines(context, builder, kinds[3], args[3], line, args[5])
                share = [shares.load(0, part * EIGHT) for part in range(vectors)]
                for place in range(places):
                    value = given.everywhere(place)
                    for part in range(vectors):
                        total = totals[place, part]
                        builder.store(do.plus(builder.load(total), do.times(value, share[part])), total)
            slope = do.everywhere(args[10])
            for (place, part), total in totals.items():
                found = builder.load(total)
                results.store(do.most(found, do.times(found, slope)), place, part * EIGHT)
            return context.get_dummy_value()

        kinds = values, at, inputs, weights, begin, length, result, to, wide, more, leak
        return types.void(*kinds), generate

    return intrinsic(tile)


def _kept(builder: Any) -> Any:
    return cgutils.alloca_once(builder, VECTOR)  # type: ignore[no-untyped-call]


# As many sums as there are registers for, and two or three lines of weights for all of them.
_four_by_three: Any = _products(4, 3)
_six_by_two: Any = _products(6, 2)
_one_by_one: Any = _products(1, 1)


@njit(nogil=True, cache=True)
def _line(
    values: Array,
    at: int,
    samples: int,
    inputs: int,
    weights: Array,
    begin: int,
    outputs: int,
    length: int,
    result: Array,
    to: int,
    wide: int,
    more: bool,
    leak: Any,
) -> None:
    """As a tile, for any number of samples, and of outputs that EIGHT divides."""
    lines, each, apart = _N(length), _N(inputs), _N(wide)
    part = 0
    while part < outputs:
        left = (outputs - part) // EIGHT
        vectors = 3 if left >= 3 and left != 4 else min(left, 2)
        places = 4 if vectors == 3 else 6 if vectors == 2 else 1
        rest, share = samples % places, _N(begin + part)
        for first in range(0, samples - rest, places):
            here, out = _N(at + first * inputs), _N(to + first * wide + part)
            if vectors == 3:
                _four_by_three(values, here, each, weights, share, lines, result, out, apart, more, leak)
            elif vectors == 2:
                _six_by_two(values, here, each, weights, share, lines, result, out, apart, more, leak)
            else:
                _one_by_one(values, here, each, weights, share, lines, result, out, apart, more, leak)
        for last in range(samples - rest, samples):
            for own in range(part, part + vectors * EIGHT, EIGHT):
                here, out, share = _N(at + last * inputs), _N(to + last * wide + own), _N(begin + own)
                _one_by_one(values, here, each, weights, share, lines, result, out, apart, more, leak)
        part += vectors * EIGHT


@njit(nogil=True, cache=True)
def multiply(values: Array, weights: Array, leak: Any, result: Array) -> None:
    """Fills (samples, outputs), activated: what is below zero is multiplied by `leak`, 0..1.

    values: (samples, inputs), float32. weights: of outputs that EIGHT divides.
    """
    samples, inputs = values.shape
    outputs = weights.shape[1]
    flat, shares, out = values.reshape(-1), weights.reshape(-1), result.reshape(-1)
    for first in range(0, samples, _TOGETHER):
        at, to, count = first * inputs, first * outputs, min(_TOGETHER, samples - first)
        _line(flat, at, count, inputs, shares, 0, outputs, outputs, out, to, outputs, False, leak)


@njit(nogil=True, cache=True)
def enlarge(values: Array, weights: Array, leak: Any, result: Array) -> None:
    """Adds to (2 * H, 2 * W, C), and activates it, four samples for each of (H, W, inputs): those beside each
    other, then those below. weights: of 4 * C outputs; EIGHT divides C.
    """
    rows, columns, inputs = values.shape
    outputs = result.shape[2]
    flat, shares, out = values.reshape(-1), weights.reshape(-1), result.reshape(-1)
    for row in range(rows):
        for part in range(4):
            at, to = row * columns * inputs, ((2 * row + part // 2) * 2 * columns + part % 2) * outputs
            _line(
                flat,
                at,
                columns,
                inputs,
                shares,
                part * outputs,
                outputs,
                4 * outputs,
                out,
                to,
                2 * outputs,
                True,
                leak,
            )


def plain(*tensors: Tensor) -> bool:
    """Whether loops may have them: float32, on the CPU, without gradients."""
    learned = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return not learned and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def enlarged(x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor, leak: float) -> Tensor:
    """`skip`, (1, C, 2 * H, 2 * W), channels last, with what `pixel_shuffle` makes of the products added in
    its place, activated. EIGHT divides C. All `plain`.

    x: (1, inputs, H, W). weight: (4 * C, inputs, 1, 1). bias: (4 * C,).
    """
    values, places = x.permute(0, 2, 3, 1).contiguous(), skip.permute(0, 2, 3, 1)
    enlarge(values[0].numpy(), lines_of_four(weight, bias), np.float32(leak), places[0].numpy())
    return skip


def lines_of(weight: Tensor, bias: Tensor) -> Array:
    """Weights as loops have them, with as many outputs that are zero as EIGHT asks for.

    weight: (outputs, inputs, 1, 1). bias: (outputs,).
    """
    lines = torch.cat((bias.detach()[None], weight.detach().flatten(1).T))
    found: Array = F.pad(lines, (0, -len(bias) % EIGHT)).contiguous().numpy()
    return found


def lines_of_four(weight: Tensor, bias: Tensor) -> Array:
    """The same for `enlarge`. weight: (4 * outputs, inputs, 1, 1), in the order of `pixel_shuffle`. bias:
    (4 * outputs,).
    """
    numbers = zip(weight.reshape(-1, 4, *weight.shape[1:]).unbind(1), bias.reshape(-1, 4).T, strict=True)
    return np.concatenate([lines_of(*one) for one in numbers], 1)
