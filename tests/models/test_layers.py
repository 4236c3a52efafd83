"""The layer that all networks of the learned codec are made of, as training sees it."""

import pytest
import torch

from nnvvc.models.layers import ACT_MAX, GRADIENT_LEAK, KNOTS, LEAK, Conv, interpolate, set_slope
from tests.models.tiny_image import tiny_network


def silenced(leaky: bool = False) -> Conv:
    """A layer whose only channel is below zero everywhere."""
    layer = Conv(1, 1, 1, leaky=leaky)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-5.0)
    return layer


@pytest.mark.parametrize(("wanted", "passes"), [(1, GRADIENT_LEAK), (-1, 0.0)])
def test_a_silent_channel_can_learn_to_speak_and_is_pushed_no_further(wanted: int, passes: float) -> None:
    layer = silenced().train()
    y = layer(torch.rand(1, 1, 4, 4))
    assert float(y.detach().abs().max()) == 0
    (-wanted * y).sum().backward()
    assert layer.bias.grad is not None
    assert float(layer.bias.grad) == pytest.approx(-wanted * 16 * passes)


@pytest.mark.parametrize(("wanted", "passes"), [(-1, GRADIENT_LEAK), (1, 0.0)])
def test_inside_the_range_the_whole_gradient_passes_and_above_it_what_leads_back(
    wanted: int, passes: float
) -> None:
    layer = silenced().train()
    x = torch.tensor([[[[6.0, 5.0 + 2 * ACT_MAX]]]], requires_grad=True)
    (-wanted * layer(x)).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == pytest.approx([-wanted, -wanted * passes])


def test_leaky_layers_let_some_through() -> None:
    assert float(silenced(leaky=True)(torch.zeros(1, 1, 1, 1)).detach()) == pytest.approx(-5 * LEAK)


def test_a_slope_passes_below_zero_until_it_is_taken_away() -> None:
    layer = silenced().train()
    set_slope(layer, 0.25)
    x = torch.zeros(1, 1, 1, 1, requires_grad=True)
    y = layer(x)
    y.backward()
    assert x.grad is not None
    assert float(y.detach()) == pytest.approx(-5 * 0.25) and float(x.grad) == pytest.approx(0.25)
    assert float(layer.eval()(x).detach()) == pytest.approx(-5 * 0.25)
    set_slope(layer, 0.0)
    assert float(layer(x).detach()) == 0


def test_scaled_layers_act_the_same_after_folding() -> None:
    model = tiny_network().eval()
    model.learn_finely()
    planes, q = (
        torch.randn(1, 6, 32, 32, generator=torch.Generator().manual_seed(0)) / 3,
        torch.tensor([30.0]),
    )
    with torch.no_grad():
        before = model.synthesis(model.analysis(planes, q), q)
        held = model.analysis.outlet.weight.clone()
        model.fold()
        after = model.synthesis(model.analysis(planes, q), q)
    assert torch.allclose(before, after, atol=1e-4)
    assert not torch.equal(held, model.analysis.outlet.weight)
    assert all(m.scale is None for m in model.modules() if isinstance(m, Conv))


def test_rates_between_knots_lie_on_straight_lines() -> None:
    values = torch.randn(len(KNOTS), 3)
    ends = torch.tensor([0.0, 63.0])
    assert torch.equal(interpolate(values, ends), values[[0, -1]])
    middle = torch.tensor([(KNOTS[1] + KNOTS[2]) / 2])
    assert torch.allclose(interpolate(values, middle)[0], (values[1] + values[2]) / 2)
