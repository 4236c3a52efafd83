"""Weights rounded for what goes through them.

The nearest step is best for each weight by itself. Inputs of a layer are alike, though, so what one weight's
rounding does others can take back: columns are rounded one after the other, and the error of each is spread
over those that are still to come, by the inputs' covariance (GPTQ: Frantar et al., arXiv 2210.17323). What
the means of the inputs make of the rest goes to the bias.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.layers import WEIGHT_MAX, Conv, weight_exponent

DAMPING = 0.01
"""Of the mean variance: how far the covariance of the inputs is trusted."""
COLUMNS = 128
"""Columns after which errors are spread over all that are to come."""
POSITIONS = 64
"""Of a picture, at most, that the inputs of a layer are looked at each time it runs."""


class _Inputs:
    """Mean and covariance of what goes into a layer's windows."""

    def __init__(self, layer: Conv) -> None:
        size = layer.weight[0].numel()
        self.count, self.sum = 0, torch.zeros(size)
        self.products = torch.zeros(size, size)
        self._generator = torch.Generator().manual_seed(size)

    def note(self, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(layer, Conv)
        x: Tensor = arguments[0]
        windows = F.unfold(x.float(), layer.weight.shape[2:], 1, layer.pad, layer.stride)
        rows = windows.transpose(1, 2).reshape(-1, windows.shape[1])
        chosen = torch.randperm(len(rows), generator=self._generator)[: POSITIONS * len(x)]
        rows = rows[chosen]
        self.count += len(rows)
        self.sum += rows.sum(0)
        self.products.addmm_(rows.T, rows)

    def moments(self) -> tuple[Tensor, Tensor]:
        """(inputs,) and (inputs, inputs), float64."""
        mean = self.sum.double() / self.count
        return mean, self.products.double() / self.count - torch.outer(mean, mean)


@torch.no_grad()
def round_weights(model: nn.Module, run: Callable[[], None]) -> None:
    """Round the weights of every `Conv` of a trained model, in place, for the inputs that it has in `run`.

    They stay floating-point numbers, on the steps that the integer form will have. Layers that `run` does not
    reach keep their weights.
    """
    inputs = {m: _Inputs(m) for m in model.modules() if isinstance(m, Conv)}
    handles = [layer.register_forward_pre_hook(inputs[layer].note) for layer in inputs]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    for layer, seen in inputs.items():
        if seen.count:
            _round(layer, *seen.moments())


def _round(layer: Conv, mean: Tensor, covariance: Tensor) -> None:
    scale = torch.ones(len(layer.bias)) if layer.scale is None else layer.scale
    weight = (layer.weight * scale[:, None, None, None]).double()
    step = torch.exp2(-weight_exponent(weight, layer.fine)).reshape(-1)
    rounded = rounded_rows(weight.flatten(1), step, covariance, layer.fine * WEIGHT_MAX)
    layer.bias.add_((weight.flatten(1) - rounded) @ mean / scale)
    layer.weight.copy_(rounded.view_as(weight) / scale[:, None, None, None])


def rounded_rows(weight: Tensor, step: Tensor, covariance: Tensor, most: int) -> Tensor:
    """weight (outputs, inputs) in whole `step`s (outputs,), at most `most` of them; float64.

    covariance (inputs, inputs): of the inputs.
    """
    order = covariance.diagonal().argsort(descending=True)
    spread = covariance[order][:, order]
    damping = DAMPING * spread.diagonal().mean().clamp_min(1e-12)
    spread = spread + damping * torch.eye(len(order), dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(spread)), upper=True)
    rest = weight[:, order].clone()
    result = torch.empty_like(rest)
    errors = torch.empty_like(rest)
    for start in range(0, len(order), COLUMNS):
        stop = min(start + COLUMNS, len(order))
        for i in range(start, stop):
            result[:, i] = (rest[:, i] / step).round().clamp(-most, most) * step
            errors[:, i] = (rest[:, i] - result[:, i]) / factor[i, i]
            rest[:, i + 1 : stop] -= errors[:, i, None] * factor[i, i + 1 : stop]
        rest[:, stop:] -= errors[:, start:stop] @ factor[start:stop, stop:]
    return result[:, order.argsort()]
