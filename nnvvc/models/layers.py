"""The convolution that all networks of the learned codec are made of: trained in floating point, run in
integers.

Every activation between layers is unsigned with 8 bits: a value of 0 to 255/32 in steps of 1/32. Signed
values enter a network as two such halves (`split`). Weights are whole multiples of a power of two, per
output channel, at most 63 of them; sums are brought back by shifts only. Where a network ends, `wide`
outputs keep their sign and more bits. The same `forward` code of a network serves training and exact
decoding: only this layer knows the difference.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACT_SHIFT = 5
"""Activations count in 2**-ACT_SHIFT."""
ACT_MAX = 255 / 2**ACT_SHIFT
LEAK = 0.1
"""What passes below zero in `leaky` layers."""
GRADIENT_LEAK = 0.01
"""What passes outside the range of gradients that lead back. Optimisers that bring every gradient to one size
need no more to wake a silent channel; with 0.1 gradients grew from layer to layer.
"""
WEIGHT_MAX = 63
FINE = 64
"""So many times finer are weights of `wide` layers: most of what rounding weights cost was theirs."""
KNOTS = (18, 27, 36, 45, 54)
"""Rate indices q at which conditioning and gain vectors are trained; straight lines between, constant
outside.
"""
RATES = 64
"""Number of rate indices, 0 (finest) to 63."""


def interpolate(knots: Tensor, q: Tensor) -> Tensor:
    """Rows of `knots` (len(KNOTS), ...) at the rate indices `q` (B,), which need not be whole: (B, ...)."""
    step = KNOTS[1] - KNOTS[0]
    place = ((q.to(knots.dtype) - KNOTS[0]) / step).clamp(0, len(KNOTS) - 1)
    # A sum over all knots: its gradient costs less than that of picking two.
    numbers = torch.arange(len(KNOTS), dtype=place.dtype, device=place.device)
    shares = (1 - (place[:, None] - numbers).abs()).clamp_min(0)
    return (shares.reshape(*shares.shape, *[1] * (knots.dim() - 1)) * knots).sum(1)


class _Round(torch.autograd.Function):
    """Round half up, with the identity as gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _Clip(torch.autograd.Function):
    """Clip to the 8-bit range, less `slope` of what is below it; outside GRADIENT_LEAK of those
    gradients passes that lead back.

    Without them a channel that the optimiser once pushed below zero everywhere never comes back. With those
    that lead further out, which nothing answers, channels are pushed there without end.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        result = F.hardtanh(x, 0.0, ACT_MAX)
        ctx.save_for_backward(result == x, x < 0)
        ctx.slope = slope
        return result if not slope else result + slope * x.clamp_max(0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        inside, below = ctx.saved_tensors
        back = torch.where(below, grad < 0, grad > 0)
        leaks = torch.where(back, GRADIENT_LEAK, 0.0)
        outside = torch.where(below, leaks.clamp_min(ctx.slope), leaks)
        return torch.where(inside, grad, outside.to(grad.dtype) * grad), None


def whole_precision(function: Callable[..., Tensor], x: Tensor, *arguments: Any) -> Tensor:
    """`function` of x in float32 under autocast too: what comes out is finer than eight bits can say."""
    with torch.autocast(x.device.type, enabled=False):
        return function(x.float(), *arguments)


def ste_round(x: Tensor) -> Tensor:
    result: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return result


def weight_exponent(weight: Tensor, fine: int = 1) -> Tensor:
    """Largest e per output channel, 0 to 12, with max |weight| * 2**e at most WEIGHT_MAX: float (out, 1,
    1, 1). `fine`, a power of two: for steps so many times finer.
    """
    peak = weight.detach().abs().amax((1, 2, 3), keepdim=True).clamp_min(2.0**-12)
    return torch.floor(torch.log2(WEIGHT_MAX / peak)).clamp(0, 12) + math.log2(fine)


def round_weight(weight: Tensor, fine: int = 1) -> Tensor:
    """The weight as the integer layer will hold it, with the identity as gradient."""
    scale = torch.exp2(weight_exponent(weight, fine))
    return ste_round(weight * scale).clamp(fine * (-WEIGHT_MAX - 1), fine * WEIGHT_MAX) / scale


class Conv(nn.Module):
    """A convolution (padding keeps the size at stride 1) and, unless `wide`, a ReLU clipped to the 8-bit
    range.

    leaky: a leaky ReLU instead, without a clip; for networks that only encoders run, in floating point.
    conditioned: adds a bias per channel that depends on the rate index. zero: starts with zero weights.
    With `rounding` set, training sees the rounding of weights and activations that the integer form will
    have; `slope` of what is below zero passes, for the beginning of a training. Optimisers move all weights
    by about the learning rate: `learn_at` makes that less for outputs whose unit is large.
    """

    scale: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        wide: bool = False,
        leaky: bool = False,
        conditioned: bool = False,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.wide, self.leaky = stride, wide, leaky
        self.pad = kernel // 2 if pad is None else pad
        self.rounding = False
        self.slope = 0.0
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        # Not saved: it follows from the model, and what is exported has none.
        self.register_buffer("scale", None, persistent=False)
        if zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        self.rates = nn.Parameter(torch.zeros(len(KNOTS), outputs)) if conditioned else None

    def forward(self, x: Tensor, q: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """x (B, C, H, W); q (B,) where conditioned; skip is added before the ReLU."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if self.scale is not None:
            weight, bias = weight * self.scale[:, None, None, None], bias * self.scale
        if self.rounding:
            weight = round_weight(weight, self.fine)
        if self.wide:
            y = whole_precision(F.conv2d, x, weight, bias, self.stride, self.pad)
        else:
            y = F.conv2d(x, weight, bias, self.stride, self.pad)
        if self.rates is not None:
            assert q is not None
            y = y + interpolate(self.rates, q)[:, :, None, None].to(y.dtype)
        if skip is not None:
            y = y + skip
        if self.wide:
            return y
        if self.leaky:
            return F.leaky_relu(y, LEAK)
        if self.training or self.slope:
            y = _Clip.apply(y, self.slope)  # type: ignore[no-untyped-call]
        else:
            y = F.hardtanh(y, 0.0, ACT_MAX)
        return ste_round(y * 2**ACT_SHIFT) * 2**-ACT_SHIFT if self.rounding else y

    @property
    def fine(self) -> int:
        """How many times finer its weights are than those of other layers."""
        return FINE if self.wide else 1

    def learn_at(self, scale: Tensor) -> None:
        """From now on the weights and biases are those held here times `scale`, (outputs,)."""
        self.scale = scale.to(self.weight.device)

    @torch.no_grad()
    def fold(self) -> None:
        """Hold the weights as they act."""
        if self.scale is not None:
            self.weight.mul_(self.scale[:, None, None, None])
            self.bias.mul_(self.scale)
            self.scale = None


class Residual(nn.Module):
    """x + two convolutions, clipped to the 8-bit range."""

    def __init__(self, channels: int, leaky: bool = False) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3, leaky=leaky)
        self.second = Conv(channels, channels, 3, leaky=leaky)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x), skip=x)
        return result


class Up(nn.Module):
    """Twice the size: a 1x1 convolution to four times the channels, moved to space."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, 4 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class Split(nn.Module):
    """Signed values as two unsigned halves, (B, C, ...) to (B, 2 C, ...): positive parts, then negative
    parts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rounding = False

    def forward(self, x: Tensor) -> Tensor:
        halves = torch.cat([x, -x], 1)
        halves = F.hardtanh(halves, 0.0, ACT_MAX)
        return ste_round(halves * 2**ACT_SHIFT) * 2**-ACT_SHIFT if self.rounding else halves


def set_rounding(module: nn.Module, on: bool) -> None:
    """Let training see the integer form's rounding (or not) in every layer of `module`."""
    for m in module.modules():
        if isinstance(m, (Conv, Split)):
            m.rounding = on


def set_slope(module: nn.Module, slope: float) -> None:
    """Let this much of what is below zero pass in every clipped layer of `module`."""
    for m in module.modules():
        if isinstance(m, Conv):
            m.slope = slope
