"""Filters in 8 bits: close to what they are in floating point, whatever the picture."""

import pytest
import torch
from torch import nn

from nnvvc.models.filters import FilterConfig, PictureFilter
from nnvvc.models.quantised import ACTIVATION_MAX, QuantisedConv, available, quantised, rounded
from nnvvc.models.restoration import RestorationConfig, RestorationFilter

pytestmark = pytest.mark.skipif(not available(), reason="no multiplication in 8 bits here")


@pytest.fixture(autouse=True)
def eight_bits_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnvvc.models.quantised.FEW", 0)


@pytest.mark.parametrize("offset", [-3.0, 0.0, 0.4, 3.0])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_convolution_is_off_by_roundings_only(kernel: int, stride: int, offset: float) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(12, 8, kernel, stride, kernel // 2)
    x = torch.randn(1, 12, 17, 22) + offset
    with torch.inference_mode():
        expected, found = layer(x), QuantisedConv(layer)(x)
    # A step of the input, and of the weights, is off by half of it at most; both are independent.
    spread = float(expected.std())
    assert found.shape == expected.shape
    assert float((found - expected).square().mean().sqrt()) < 0.03 * max(spread, 0.1 * abs(offset))


def test_values_are_rounded_to_the_nearest_step() -> None:
    x = torch.linspace(-1, 2, 400_001).view(1, 1, 1, -1)
    whole = rounded(x, 3 / ACTIVATION_MAX, 85)
    back = (whole.float() - 85) * 3 / ACTIVATION_MAX
    assert whole.dtype is torch.uint8 and int(whole.min()) == 0 and int(whole.max()) == ACTIVATION_MAX
    assert float((back - x).abs().max()) <= 1.001 * 1.5 / ACTIVATION_MAX


@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_a_filter_keeps_what_it_adds(leak: float) -> None:
    torch.manual_seed(1)
    model = PictureFilter(FilterConfig(widths=(8, 12, 16), blocks=(1, 1), leak=leak)).requires_grad_(False)
    for branch in model.branches:
        for head in branch.heads.values():  # type: ignore[union-attr, operator]
            nn.init.normal_(head.weight, std=0.05)
    luma, chroma = torch.rand(1, 1, 70, 90), torch.rand(1, 2, 35, 45) - 0.5
    given = (torch.tensor([37.0]), torch.tensor([0.5]), 2)
    with torch.inference_mode():
        (plain,), (eight,) = model(luma, chroma, *given), quantised(model)(luma, chroma, *given)
        unfiltered = PictureFilter(model.config)(luma, chroma, *given)[0]
    for a, b, c in zip(plain, eight, unfiltered, strict=True):
        added, off = (a - c).square().mean().sqrt(), (a - b).square().mean().sqrt()
        assert 0 < float(off) < 0.05 * float(added)


def test_the_filter_for_people_keeps_what_it_adds() -> None:
    torch.manual_seed(2)
    model = RestorationFilter(RestorationConfig((8, 16, 24), (1, 2, 1), 0.1, neighbours=6)).eval()
    model.requires_grad_(False)
    for name in ("head", "blend.conv"):
        nn.init.normal_(model.get_submodule(name).weight, std=0.05)  # type: ignore[arg-type]
    luma, chroma = torch.rand(1, 7, 70, 90), torch.rand(1, 14, 35, 45) - 0.5
    given = torch.tensor([32.0]), torch.ones(1, 7)
    with torch.inference_mode():
        plain, eight = model(luma, chroma, *given), quantised(model, model.precise)(luma, chroma, *given)
    for a, b, own in zip(plain, eight, (luma[:, :1], chroma[:, :2]), strict=True):
        added, off = (a - own).square().mean().sqrt(), (a - b).square().mean().sqrt()
        assert 0 < float(off) < 0.05 * float(added)


def test_a_flat_picture_is_no_problem() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    with torch.inference_mode():
        found = QuantisedConv(layer)(torch.zeros(1, 4, 8, 8))
    assert torch.allclose(found, layer.bias.detach()[None, :, None, None].expand_as(found), atol=1e-6)


def test_a_few_values_are_multiplied_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x, bias = nn.Conv2d(4, 6, 3, 2, 1), torch.randn(1, 4, 20, 20), torch.randn(6)
    monkeypatch.setattr("nnvvc.models.quantised.FEW", 401)
    with torch.inference_mode():
        exact, plain = layer(x) + bias[:, None, None], QuantisedConv(layer)(x, bias)
        assert torch.allclose(plain, exact, atol=1e-5)
        assert torch.equal(QuantisedConv(layer)(x, bias, "relu"), plain.relu())
