"""Filters in 8 bits: weights and activations of every convolution are rounded for the one picture at hand.

For networks whose result need not be the same everywhere. The range of what a layer is given is that of the
picture, so nothing is clipped and nothing has to be calibrated (dynamic quantisation). Sums are of oneDNN's
8-bit convolution: exact, and brought back to floating point.
"""

from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nnvvc.models.filters import ConditionalConv, ResidualBlock, ResidualConv
from nnvvc.models.int8 import PackedConv
from nnvvc.models.layers import WEIGHT_MAX
from nnvvc.models.precision import has_bfloat16
from nnvvc.models.quantised_loops import add_leaky, round_into
from nnvvc.models.sharing import shared

ACTIVATION_MAX = 255

FEW = 2048
"""Places of a layer's input that are multiplied as fast in floating point: 8 bits have to be prepared for."""

Network = TypeVar("Network", bound=nn.Module)


class QuantisedConv(nn.Module):
    """The 8-bit form of a convolution of one group. Takes and gives float32, (N, C, H, W)."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        unit = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / WEIGHT_MAX
        whole = torch.round(weight / unit[:, None, None, None]).to(torch.int8)
        self._conv = PackedConv(whole, unit, list(layer.stride), list(layer.padding))  # type: ignore[arg-type]
        self._bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().float()
        self._layer = layer

    def forward(self, x: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
        """bias: (C,), added to the layer's. then: `relu`, or `none`."""
        x = x.contiguous(memory_format=torch.channels_last)
        total = self._bias if bias is None else self._bias + bias
        if x.shape[2] * x.shape[3] < FEW:
            y = F.conv2d(x, self._layer.weight, total, self._layer.stride, self._layer.padding)
            return F.relu_(y) if then == "relu" else y
        low, high = (float(v) for v in torch.aminmax(x.permute(0, 2, 3, 1)))
        low, high = min(low, 0.0), max(high, 0.0)
        unit = max(high - low, 1e-12) / ACTIVATION_MAX
        zero = round(-low / unit)
        return self._conv(rounded(x, unit, zero), total, unit=unit, zero=zero, then=then)


class QuantisedConditional(nn.Module):
    """The 8-bit form of `ConditionalConv`, for one picture at a time."""

    def __init__(self, layer: ConditionalConv) -> None:
        super().__init__()
        self.conv, self.bias = QuantisedConv(layer.conv), layer.bias

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        y: Tensor = self.conv(x, self.bias(given)[0])
        return y


class QuantisedBlock(nn.Module):
    """The 8-bit form of a `ResidualBlock`."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.leak = block.leak
        self.first, self.second = QuantisedConv(block.first), QuantisedConv(block.second)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        inside = F.leaky_relu_(self.first(x), self.leak) if self.leak else self.first(x, then="relu")
        return _added(self.second(inside), x, self.leak)


class QuantisedResidual(nn.Module):
    """The 8-bit form of a `ResidualConv`."""

    def __init__(self, layer: ResidualConv) -> None:
        super().__init__()
        self.leak, self.conv = layer.leak, QuantisedConv(layer)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return _added(self.conv(x), x, self.leak)


def _added(y: Tensor, x: Tensor, leak: float) -> Tensor:
    """Both together, activated. x: with channels last."""
    result = y.contiguous(memory_format=torch.channels_last)
    add_leaky(_values(result), _values(x), np.float32(leak))
    return result


def rounded(x: Tensor, unit: float, zero: int) -> Tensor:
    """x, (N, C, H, W), channels last, in steps of `unit` from `-zero * unit` on: uint8, laid out the same."""
    result = torch.empty(x.shape, dtype=torch.uint8, memory_format=torch.channels_last)
    round_into(_values(x), np.float32(1 / unit), np.float32(zero), _values(result))
    return result


def _values(x: Tensor) -> NDArray[Any]:
    """All values of a tensor with channels last, as they lie in memory."""
    found: NDArray[Any] = x.permute(0, 2, 3, 1).numpy().reshape(-1)
    return found


def quantised(network: Network, but: tuple[str, ...] = ("enter",)) -> Network:
    """`network` with all its convolutions in 8 bits, for inference on one picture at a time. It shares the
    others with it.

    but: parts that keep what they are: the first layers of filters see samples of 10 bits.
    """
    result = shared(network)
    for name, child in network.named_children():
        if name not in but:
            setattr(result, name, _quantised(child, but))
    return result


def _quantised(part: nn.Module, but: tuple[str, ...]) -> nn.Module:
    if isinstance(part, ResidualBlock):
        return QuantisedBlock(part)
    if isinstance(part, ResidualConv):
        return QuantisedResidual(part)
    if isinstance(part, ConditionalConv):
        return QuantisedConditional(part)
    if isinstance(part, nn.Conv2d):
        return QuantisedConv(part)
    return quantised(part, but)


@cache
def available() -> bool:
    """Whether this machine and this build of torch multiply in 8 bits."""
    try:
        with torch.inference_mode():
            layer, given = nn.Conv2d(3, 4, 3, padding=1), torch.rand(1, 3, 8, 8)
            return bool(torch.allclose(QuantisedConv(layer)(given), layer(given), atol=0.05))
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def fastest(network: Network, but: tuple[str, ...] = ("enter",)) -> Network:
    """The network in the form that is fastest here: 8 bits, but for processors that multiply in bfloat16.

    but: see `quantised`.
    """
    return quantised(network, but) if not has_bfloat16() and available() else network
