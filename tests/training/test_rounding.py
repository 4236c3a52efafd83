"""Weights rounded for their inputs: on the steps of integers, and closer than the nearest ones."""

import pytest
import torch
from torch import nn

from nnvvc.models.layers import FINE, Conv, round_weight, set_rounding
from nnvvc.models.simulate import simulate
from nnvvc.training.rounding import round_weights, rounded_rows
from tests.models.tiny_image import tiny_network


def alike(count: int, generator: torch.Generator) -> torch.Tensor:
    """Inputs (N, 8, 9, 9), positive, that have much in common."""
    common = torch.rand(count, 1, 9, 9, generator=generator) * 3
    return common + torch.rand(count, 8, 9, 9, generator=generator)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_outputs_are_closer_than_with_the_nearest_weights(wide: bool, stride: int) -> None:
    generator = torch.Generator().manual_seed(2)
    layer = Conv(8, 5, 3, stride=stride, wide=wide, conditioned=True)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
        layer.weight[:, 0] *= 20
    layer.learn_at(torch.full((5,), 0.5))
    x, others = alike(16, generator), alike(16, generator)
    q = torch.full((16,), 30.0)

    def outputs(rounding: bool) -> torch.Tensor:
        set_rounding(layer, rounding)
        weight = layer.weight * 0.5
        if rounding:
            weight = round_weight(weight, FINE if wide else 1)
        return nn.functional.conv2d(others, weight, layer.bias * 0.5, stride, layer.pad).detach()

    exact, nearest = outputs(False), outputs(True)
    set_rounding(layer, False)
    round_weights(layer, lambda: _run(layer, x, q))
    ours = outputs(True)
    assert torch.allclose(ours, outputs(False), atol=1e-6)  # nothing is left to round
    assert (ours - exact).square().mean() < 0.3 * (nearest - exact).square().mean()


def _run(layer: Conv, x: torch.Tensor, q: torch.Tensor) -> None:
    layer(x, q)


def test_without_covariance_it_is_the_nearest() -> None:
    weight = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    result = rounded_rows(weight, step, torch.eye(6, dtype=torch.float64), 63)
    assert torch.equal(result, (weight / step[:, None]).round() * step[:, None])


def test_a_whole_model_keeps_its_function() -> None:
    model = tiny_network().eval()
    planes = torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.3
    q = torch.tensor([20.0, 40.0])

    def run() -> None:
        for profile in ("fast", "base", "high"):
            simulate(model, planes, q, profile, noise=False)

    with torch.no_grad():
        before = simulate(model, planes, q, "high", noise=False)
        round_weights(model, run)
        after = simulate(model, planes, q, "high", noise=False)
    assert torch.allclose(before.rate, after.rate, rtol=0.05)
    for module in model.modules():
        if isinstance(module, Conv):
            assert torch.allclose(round_weight(module.weight, FINE if module.wide else 1), module.weight)
