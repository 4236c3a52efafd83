"""The exact integer form of the learned codec's networks: the same result on every machine.

`make_exact` replaces the layers of a trained `Lic` by integer ones; the networks' own `forward` code then
computes in whole numbers: activations in 2**-5, signed values (latents, means, planes) in 2**-12. Two
ways compute the convolutions, and both give the sums exactly:

- reference: integer values held in float32. `bound` proves, from the L1 norm of each channel's weights,
  that no sum, partial or whole, reaches 2**24, so the order of additions does not matter.
- int8: unsigned 8-bit activations and weights within [-64, 63], summed in int32 by oneDNN.

Where a network ends, weights have FINE times finer steps; such a layer is two convolutions, of the weights'
high and low bits.

The linear transform runs in float64 with the same proof against 2**53.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.int8 import PackedConv
from nnvvc.models.layers import ACT_SHIFT, FINE, WEIGHT_MAX, Conv, Split, interpolate, weight_exponent
from nnvvc.models.lic import LappedInverse
from nnvvc.models.planes import MIDDLE, UNIT

SIGNED_SHIFT = 12
"""Signed values between networks count in 2**-SIGNED_SHIFT."""
SAMPLE_SHIFT = SIGNED_SHIFT - (UNIT.bit_length() - 1)
"""A step of a 10-bit sample is 2**SAMPLE_SHIFT steps of a plane's value."""
SCALE_SHIFT = 4
"""log2 scales count in 2**-SCALE_SHIFT octaves."""
SIGNED_LIMIT = 1 << 20
"""Signed values are clipped to this many steps before they enter the linear transform."""
LINEAR_SHIFT = 14
"""Weights of the linear transform count in 2**-LINEAR_SHIFT."""
BAND_LATENTS = 1024
"""Positions of latents that the linear transform takes at a time."""
BAND_VALUES = 1 << 18
"""Values that what works on each one alone takes at a time."""
REFERENCE, INT8 = "reference", "int8"


class InexactModel(ValueError):
    """A layer's sums cannot be proved exact."""


def exact_arithmetic() -> AbstractContextManager[object]:
    """Inside this context no library may replace a sum of products by something that only approximates it."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.backends.cudnn.flags(enabled=False, allow_tf32=False)


def shift_right(x: Tensor, bits: int) -> Tensor:
    """x / 2**bits of an integer tensor, rounded half up."""
    return (x + (1 << (bits - 1))) >> bits


def in_bands(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function` of tensors (B, C, H, W) that looks at one row at a time, a few rows at a time.

    Large temporaries are memory that the system has to clear first; small ones are there.
    """
    rows = inputs[0].shape[2]
    band = max(1, BAND_VALUES * rows // max(1, inputs[0].numel()))
    if band >= rows:
        return function(*inputs)
    result: Tensor | None = None
    for top in range(0, rows, band):
        part = function(*(x[:, :, top : top + band] for x in inputs))
        if result is None:
            interleaved = part.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if interleaved else torch.contiguous_format
            shape = (*part.shape[:2], rows, part.shape[3])
            result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
        result[:, :, top : top + band] = part
    assert result is not None
    return result


def samples_of(planes: Tensor) -> Tensor:
    """10-bit samples, int32, of planes in 2**-SIGNED_SHIFT."""
    return (shift_right(planes, SAMPLE_SHIFT) + MIDDLE).clamp(0, 1023).to(torch.int32)


class ExactConv(nn.Module):
    """The integer form of `Conv`. Takes and gives activations, or gives int32 values where `wide_shift`
    is set.

    weight (out, in, k, k), int8, or int16 up to FINE * 64 where `wide_shift` is set; exponent int8 (out,):
    weights count in 2**-exponent, sums in 2**-(5 + exponent); bias int32 (RATES or 1, out) in the unit of the
    sums, a row per rate index.
    """

    def __init__(
        self, weight: Tensor, exponent: Tensor, bias: Tensor, stride: int, pad: int, wide_shift: int | None
    ) -> None:
        super().__init__()
        self.stride, self.pad, self.wide_shift = stride, pad, wide_shift
        self.register_buffer("weight", weight)
        self.register_buffer("exponent", exponent)
        self.register_buffer("bias", bias)
        self.weight: Tensor
        self.exponent: Tensor
        self.bias: Tensor
        self.path = REFERENCE
        self._prepared: dict[str, Tensor] = {}
        self._scaled: PackedConv
        self._sums: list[Callable[..., Tensor]] = []

    def _parts(self) -> list[Tensor]:
        """The weight as int8: whole, or what counts in FINE steps and what is left."""
        if self.weight.abs().max() <= WEIGHT_MAX + 1:
            return [self.weight.to(torch.int8)]
        high = (self.weight + FINE // 2) >> (FINE.bit_length() - 1)
        return [part.clamp(-128, 127).to(torch.int8) for part in (high, self.weight - FINE * high)]

    def bound(self) -> int:
        """Largest absolute value that any partial sum of this layer can have; raises InexactModel from
        2**24 on.
        """
        parts = [part.to(torch.int64).abs().sum((1, 2, 3)) * 255 for part in self._parts()]
        if self.wide_shift is None:  # float64 has room for what comes to the sums of wide layers
            exponent = self.exponent.to(torch.int64)
            skip, half = 255 << exponent, (1 << exponent) >> 1
            parts[0] += self.bias.to(torch.int64).abs().amax(0) + skip + half
        total = int(torch.stack(parts).max())
        if total >= 1 << 24:
            raise InexactModel(f"sums may reach {total}, over 2**24")
        return total

    def use(self, path: str) -> None:
        """Choose how sums are computed."""
        self.path = path
        self._prepared = {}

    def _prepare(self) -> dict[str, Tensor]:
        if not self._prepared:
            scale = torch.exp2(-self.exponent.float())
            self._prepared = {"scale": scale, "column": scale[None, :, None, None]}
            parts = self._parts()
            if self.path == REFERENCE:
                weights = [part.float().contiguous(memory_format=torch.channels_last) for part in parts]
                self._sums = [partial(self._reference, weight) for weight in weights]
            else:
                geometry = [self.stride] * 2, [self.pad] * 2
                self._scaled = PackedConv(parts[0], scale, *geometry)
                self._sums = [PackedConv(part, torch.ones_like(scale), *geometry) for part in parts]
        return self._prepared

    def _reference(self, weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, None, self.stride, self.pad) + bias[None, :, None, None]

    def forward(self, x: Tensor, q: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """x: activations, float32 (reference) or uint8 (int8 path); q: one rate index, shared by the
        batch.
        """
        p = self._prepare()
        bias = self.bias[0 if q is None or len(self.bias) == 1 else int(q[0])]
        if self.path == INT8:
            x = x.contiguous(memory_format=torch.channels_last)
            if skip is None and self.wide_shift is None:
                # A sum plus a quarter is never half-way: to the nearest is then the same as half up.
                return self._scaled(x, (bias.float() + 0.25) * p["scale"], torch.uint8)
        if self.wide_shift is not None:
            return self._wide(x, bias)
        total = self._sums[0](x, bias.float())
        if skip is None:
            return in_bands(lambda t: self._activation(t * p["column"]), total)
        return in_bands(lambda t, s: self._activation(t * p["column"] + s.float()), total, skip)

    def _wide(self, x: Tensor, bias: Tensor) -> Tensor:
        """int32 values: sums in float64, which holds them exactly, times powers of two."""
        assert self.wide_shift is not None
        shift = self.wide_shift - ACT_SHIFT - self.exponent.to(torch.int32)[None, :, None, None]
        up = torch.exp2(shift.double())
        offset = bias.double()[None, :, None, None]

        def value(low: Tensor, high: Tensor | None = None) -> Tensor:
            total = low.double() if high is None else low.double() + high.double() * FINE
            return torch.floor((total + offset) * up + 0.5).to(torch.int32)

        zero = torch.zeros(len(bias), device=bias.device)
        return in_bands(value, *(sums(x, zero) for sums in reversed(self._sums)))

    def _activation(self, value: Tensor) -> Tensor:
        rounded = torch.floor(value + 0.5).clamp(0, 255)
        return rounded.to(torch.uint8) if self.path == INT8 else rounded


class ExactSplit(nn.Module):
    """The integer form of `Split`: int64 values in 2**-12 to activations."""

    def __init__(self) -> None:
        super().__init__()
        self.path = REFERENCE

    def use(self, path: str) -> None:
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return in_bands(self._halves, x)

    def _halves(self, x: Tensor) -> Tensor:
        shift = SIGNED_SHIFT - ACT_SHIFT
        x = x.clamp(-SIGNED_LIMIT, SIGNED_LIMIT).to(torch.int32)
        halves = torch.cat([x, -x], 1)
        halves = shift_right(halves, shift).clamp(0, 255)
        return halves.to(torch.uint8 if self.path == INT8 else torch.float32)


class ExactLinear(nn.Module):
    """The integer form of `LappedInverse`: values in 2**-12 to the same, int32, in float64. weight: int16."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.weight: Tensor

    def bound(self) -> int:
        """Largest absolute value that any partial sum can have; raises InexactModel where it is too large."""
        total = int((self.weight.to(torch.int64).abs().sum((0, 2, 3)) * SIGNED_LIMIT).max())
        # Sums are exact in float64 up to 2**53, and must fit int32 after the shift.
        if total >= 1 << (30 + LINEAR_SHIFT):
            raise InexactModel(f"sums may reach {total}, over 2**{30 + LINEAR_SHIFT}")
        return total

    def real_weight(self) -> Tensor:
        """The weight as the floating-point layer has it."""
        return self.weight.float() * 2.0**-LINEAR_SHIFT

    def use(self, path: str) -> None:
        """There is only one way."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, latents, h, w) to (B, 96, 2 h, 2 w), a few rows at a time: temporaries that stay small
        are fast.
        """
        count, latents, rows, columns = x.shape
        matrix = self.weight.double().reshape(latents, -1).T
        result = torch.empty(count, 96, 2 * rows, 2 * columns, dtype=torch.int32, device=x.device)
        band = max(1, BAND_LATENTS // columns)
        # Two rows of a band's results reach into the next one.
        carried = torch.zeros(count, 96, 2, 2 * columns + 2, dtype=torch.float64, device=x.device)
        for top in range(0, rows, band):
            part = x[:, :, top : top + band]
            height = part.shape[2]
            part = part.clamp(-SIGNED_LIMIT, SIGNED_LIMIT).double().reshape(count, latents, -1)
            products = (matrix @ part).reshape(count, 96, 4, 4, height, columns)
            total = F.pad(carried, (0, 0, 0, 2 * height))
            for dy in range(4):
                for dx in range(4):
                    total[:, :, dy : dy + 2 * height : 2, dx : dx + 2 * columns : 2] += products[:, :, dy, dx]
            last = 1 if top + height == rows else 0
            done = total[:, :, (1 if top == 0 else 0) : 2 * height + last, 1:-1]
            above = max(0, 2 * top - 1)
            whole = torch.floor(done * 2.0**-LINEAR_SHIFT + 0.5).to(torch.int32)
            result[:, :, above : above + whole.shape[2]] = whole
            carried = total[:, :, 2 * height :]
        return result


def exact_conv(layer: Conv, wide_shift: int | None, q: Tensor | None) -> ExactConv:
    """The integer form of a trained layer; q (RATES,): the rate index that each row of biases is for."""
    weight = layer.weight.detach().double().cpu()
    fine = layer.fine
    exponent = weight_exponent(weight, fine)
    while True:
        whole = torch.floor(weight * torch.exp2(exponent) + 0.5)
        whole = whole.clamp(fine * (-WEIGHT_MAX - 1), fine * WEIGHT_MAX)
        # Where a channel's sums could pass the limit it gets a coarser step.
        over = whole.abs().sum((1, 2, 3), keepdim=True) * 255 >= fine * 2**23
        if not bool(over.any()):
            break
        exponent = exponent - over.to(exponent.dtype)
    flat = exponent.reshape(-1)
    bias = layer.bias.detach().double().cpu()[None]
    if layer.rates is not None and q is not None:
        bias = bias + interpolate(layer.rates.detach().double().cpu(), q.double())
    bias = torch.floor(bias * torch.exp2(flat + ACT_SHIFT) + 0.5).clamp(fine * -(2**22), fine * 2**22)
    whole = whole.to(torch.int16 if layer.wide else torch.int8)
    return ExactConv(whole, flat.to(torch.int8), bias.to(torch.int32), layer.stride, layer.pad, wide_shift)


def exact_linear(layer: LappedInverse) -> ExactLinear:
    """The integer form of the synthesis's linear path."""
    weight = torch.floor(layer.weight().detach().double().cpu() * 2**LINEAR_SHIFT + 0.5)
    return ExactLinear(weight.clamp(-(2**15), 2**15 - 1).to(torch.int16))


def make_exact(network: nn.Module, q: Tensor) -> nn.Module:
    """Replace every layer below `network` by its integer form, in place. Raises InexactModel.

    q (RATES,): the rate index that each row of the rate-dependent biases is made for.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, Conv):
            shift = (SCALE_SHIFT if name == "scale" else SIGNED_SHIFT) if child.wide else None
            layer: nn.Module = exact_conv(child, shift, q)
        elif isinstance(child, Split):
            layer = ExactSplit()
        elif isinstance(child, LappedInverse):
            layer = exact_linear(child)
        else:
            make_exact(child, q)
            continue
        if isinstance(layer, (ExactConv, ExactLinear)):
            layer.bound()
        setattr(network, name, layer)
    return network


def use_path(network: nn.Module, path: str) -> None:
    """Let every integer layer of `network` compute in the given way."""
    for module in network.modules():
        if isinstance(module, (ExactConv, ExactSplit, ExactLinear)):
            module.use(path)


def check_bounds(network: nn.Module) -> None:
    """Prove all sums of `network` exact, from the weights that it has now. Raises InexactModel."""
    for module in network.modules():
        if isinstance(module, (ExactConv, ExactLinear)):
            module.bound()


def take_exact_path(candidates: Sequence[str], use: Callable[[str], None], right: Callable[[], bool]) -> bool:
    """`use` the first of the paths on which this machine is `right`; whether there is one."""
    for candidate in candidates:
        use(candidate)
        try:
            if right():
                return True
        except (RuntimeError, NotImplementedError):  # this build of torch lacks the operator
            continue
    return False
