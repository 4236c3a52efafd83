"""The network that blends key pictures into others."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnvvc.errors import UnknownModel
from nnvvc.models.filters import ConditionalConv
from nnvvc.models.key_blend import (
    KEYS,
    WEIGHTS,
    KeyBlend,
    KeyBlendConfig,
    agreed,
    kmac_per_pixel,
    looked_at,
    seen,
)
from nnvvc.models.people import card_of, load_people, people_network, save_people
from nnvvc.models.quantised import quantised
from nnvvc.models.restoration import RestorationConfig, RestorationFilter, quantiser_step
from nnvvc.models.settled_blend import SettledBlend

GIVEN = torch.tensor([32.0, 27.0]), torch.tensor([[3.0, 0.0, 0.0], [2.0, 0.0, -1.0]])


def planes(height: int, width: int, noise: float = 0.03) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures and their neighbours."""
    torch.manual_seed(1)
    luma = torch.rand(2, 1, height, width) + noise * torch.randn(2, 1 + KEYS, height, width)
    return luma, torch.rand(2, 2 * (1 + KEYS), (height + 1) // 2, (width + 1) // 2) - 0.5


def model(widths: tuple[int, int] = (6, 8), convs: tuple[int, int] = (1, 1)) -> KeyBlend:
    torch.manual_seed(0)
    found = KeyBlend(KeyBlendConfig(widths, convs)).eval()
    nn.init.normal_(found.head.conv.weight, std=0.1)
    return found


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (17, 33), (64, 48), (75, 90)])
def test_loops_do_what_planes_do(height: int, width: int) -> None:
    luma, chroma = planes(height, width)
    step = quantiser_step(GIVEN[0])[:, None, None, None]
    assert torch.allclose(seen(luma, step), looked_at(luma, step), atol=1e-4)
    found = model().requires_grad_(False)
    for i in range(2):
        one = luma[i : i + 1], chroma[i : i + 1], *(g[i : i + 1] for g in GIVEN)
        for a, b, own in zip(found(*one), SettledBlend(found)(*one), (luma, chroma), strict=True):
            assert a.shape == b.shape == (1, a.shape[1], *own.shape[2:])
            assert torch.allclose(a, b, atol=1e-5)
            assert not torch.allclose(a, own[i : i + 1, : a.shape[1]], atol=1e-5)


@pytest.mark.parametrize("widths", [(6, 8), (24, 48)])
@pytest.mark.parametrize("convs", [(0, 0), (1, 1), (2, 1)])
def test_settled_weights_do_what_they_did(widths: tuple[int, int], convs: tuple[int, int]) -> None:
    """With taps, and for one QP after another."""
    luma, chroma = planes(43, 58)
    found = model(widths, convs).requires_grad_(False)
    settled = SettledBlend(found)
    nn.init.normal_(found.taps.weight, std=0.02)
    nn.init.normal_(found.taps.grid, std=0.02)
    both = found(luma, chroma, *GIVEN)
    for i in (0, 1, 0):
        one = settled(luma[i : i + 1], chroma[i : i + 1], *(g[i : i + 1] for g in GIVEN))
        assert all(torch.allclose(a[0], b[i], atol=1e-5) for a, b in zip(one, both, strict=True))


def test_settled_weights_bear_reduced_precision() -> None:
    luma, chroma = (p[:1] for p in planes(40, 56, noise=1e-2))
    given = tuple(g[:1] for g in GIVEN)
    found = SettledBlend(model((8, 16)).requires_grad_(False))
    plain = found(luma, chroma, *given)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = found(luma, chroma, *given)
    for a, b in zip(plain, reduced, strict=True):
        assert b.dtype == torch.float32
        assert 0 < float((a - b).abs().max()) < 5e-3


def test_neighbours_weighed_alike_are_averaged() -> None:
    """With a weight of 1/2 each, what is left of a small difference is half of what both have."""
    luma, chroma = planes(32, 48, noise=1e-3)
    found = model().requires_grad_(False)
    found.head.conv.weight[:], found.head.conv.bias[:] = 0, 0
    found.head.conv.bias[WEIGHTS : WEIGHTS + KEYS] = 0.5
    y, _ = found(luma, chroma, *GIVEN)
    assert torch.allclose(y, luma[:, 1:].mean(1, keepdim=True), atol=1e-5)


def test_only_what_both_have_is_agreed_on() -> None:
    apart = torch.tensor([[1.0, 2.0], [-3.0, -2.0], [1.0, -2.0], [0.0, 5.0]])[:, :, None, None]
    assert agreed(apart).flatten().tolist() == [1, -2, 0, 0]


def test_the_count_of_multiplications_is_that_of_the_layers() -> None:
    found = model((24, 48), (2, 1))
    luma, chroma = (p[:1] for p in planes(64, 64))
    given = tuple(g[:1] for g in GIVEN)
    with FlopCounterMode(display=False) as counter:
        found(luma, chroma, *given)
        whole = counter.get_total_flops()
        for module in found.modules():
            if isinstance(module, ConditionalConv):
                module.bias(torch.zeros(1, module.bias.in_features))
    counted = (whole - (counter.get_total_flops() - whole)) / 2
    # At full size: weights of luma, of what is agreed on, of twelve pairs and of what is around in both key
    # pictures; and half as many for chroma as for luma.
    counted += 64 * 64 * (WEIGHTS + 1 + 12 + 2 + WEIGHTS / 2)
    assert counted / 64**2 / 1000 == pytest.approx(kmac_per_pixel(found.config))


def test_eight_bits_keep_what_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnvvc.models.quantised.FEW", 0)
    luma, chroma = (p[:1] for p in planes(70, 90))
    found = model((16, 24)).requires_grad_(False)
    given = tuple(g[:1] for g in GIVEN)
    with torch.inference_mode():
        plain = found(luma, chroma, *given)
        eight = SettledBlend(quantised(found, found.precise))(luma, chroma, *given)
    for a, b, own in zip(plain, eight, (luma[:, :1], chroma[:, :2]), strict=True):
        added, off = (a - own).square().mean().sqrt(), (a - b).square().mean().sqrt()
        assert 0 < float(off) < 0.05 * float(added)


def test_cards_tell_networks_apart(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    for network in (
        model().half().float(),
        RestorationFilter(RestorationConfig((4, 4, 4), (0, 0, 0))).half().float(),
    ):
        save_people(network, path, {"purpose": "test"})
        again = load_people(path)
        assert type(again) is type(network) and again.config == network.config
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    card = card_of(model())
    assert isinstance(people_network(card), KeyBlend)
    path.write_bytes(b"damaged")
    with pytest.raises(UnknownModel):
        load_people(path)
