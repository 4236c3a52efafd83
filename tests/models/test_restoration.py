"""The network of the filter for people."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from nnvvc.errors import UnknownModel
from nnvvc.models.filters import ConditionalConv, aligned
from nnvvc.models.people import load_people, save_people
from nnvvc.models.restoration import (
    CHROMA_GAIN,
    EnlargingConv,
    RestorationConfig,
    RestorationFilter,
    blended,
    condition,
    kmac_per_pixel,
    phases,
    prepared,
    quantiser_step,
    seen,
)

SMALL = RestorationConfig(widths=(4, 6, 8), blocks=(1, 1, 1))


def planes(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(1, 1, height, width), torch.rand(1, 2, (height + 1) // 2, (width + 1) // 2) - 0.5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (64, 48)])
def test_any_size_comes_back(height: int, width: int) -> None:
    luma, chroma = planes(height, width)
    y, c = RestorationFilter(SMALL)(luma, chroma, torch.tensor([30.0]), torch.tensor([[2.0]]))
    assert (y.shape, c.shape) == (luma.shape, chroma.shape)


def test_it_answers_in_quantiser_steps() -> None:
    """A difference of as many steps gives an answer of as many steps, whatever the QP."""
    luma, chroma = planes(32, 32)
    model = RestorationFilter(SMALL).eval()
    answers = []
    for qp in (20.0, 32.0):
        step = quantiser_step(torch.tensor([qp]))
        given = condition(torch.tensor([26.0]), torch.tensor([0.0]))
        answers.append(model.residual(luma * step, chroma * step, step[:, None, None, None], given)[0])
    # What is left is the surroundings, which stay in samples.
    torch.testing.assert_close(answers[0], answers[1], atol=0.05, rtol=0)
    assert abs(quantiser_step(torch.tensor([10.0])) * 255 - 2) < 1e-5


def test_surroundings_of_flat_planes_leave_nothing() -> None:
    seen = prepared(torch.full((1, 6, 16, 24), 0.3), torch.tensor(0.1))
    assert seen[:, :6].abs().max() < 1e-5
    torch.testing.assert_close(seen[:, 6:], torch.full((1, 3, 16, 24), 0.3))


@pytest.mark.parametrize("neighbours", [0, 6])
def test_the_count_of_multiplications_is_that_of_the_layers(neighbours: int) -> None:
    config = RestorationConfig(neighbours=neighbours)
    model = RestorationFilter(config)
    luma, chroma = planes(64, 64)
    given = torch.tensor([30.0]), torch.ones(1, 1 + neighbours)
    with FlopCounterMode(display=False) as counter:
        model(luma.tile(1, 1 + neighbours, 1, 1), chroma, *given)
        whole = counter.get_total_flops()
        for module in model.modules():
            if isinstance(module, ConditionalConv):
                module.bias(torch.zeros(1, module.bias.in_features))
    # Biases are products too, but not for each sample.
    counted = (whole - (counter.get_total_flops() - whole)) / 2
    counted += 64 * 64 * 2 * neighbours  # both clips of every neighbour
    assert counted / 64**2 / 1000 == pytest.approx(kmac_per_pixel(config))
    assert 4 <= kmac_per_pixel(RestorationConfig()) <= 6.1


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_enlarged_samples_are_those_of_a_pixel_shuffle(count: int, last: bool, trained: bool) -> None:
    torch.manual_seed(2)
    layer = EnlargingConv(5, 3, conditions=4, leak=0.2).requires_grad_(trained)
    torch.nn.init.normal_(layer.bias.weight)
    x, given, skip = torch.randn(count, 5, 4, 6), torch.randn(count, 4), torch.randn(count, 3, 8, 12)
    expected = F.leaky_relu(F.pixel_shuffle(ConditionalConv.forward(layer, x, given), 2) + skip, 0.2)
    if last:
        x, skip = (t.contiguous(memory_format=torch.channels_last) for t in (x, skip))
    assert torch.allclose(layer(x, given, skip), expected, atol=1e-5)


def test_saved_filters_come_back(tmp_path: Path) -> None:
    model = RestorationFilter(SMALL).half().float()
    save_people(model, tmp_path / "f.safetensors", {"purpose": "test"})
    again = load_people(tmp_path / "f.safetensors")
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "f.safetensors").write_bytes(b"damaged")
    with pytest.raises(UnknownModel):
        load_people(tmp_path / "f.safetensors")


@pytest.mark.parametrize("neighbours", [0, 6])
def test_loops_see_what_planes_do(neighbours: int) -> None:
    torch.manual_seed(0)
    luma, chroma = torch.rand(2, 1 + neighbours, 32, 48), torch.rand(2, 2, 16, 24) - 0.5
    step = torch.tensor([0.02, 0.1])[:, None, None, None]
    quick = seen(luma, chroma, step)
    slow = seen(luma.requires_grad_(), chroma, step)
    assert sum(planes.shape[1] for planes in quick) == 9 + 4 * neighbours
    for a, b in zip(quick, slow, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("side", [2, 4])
def test_loops_blend_as_planes_do(side: int, channels: int) -> None:
    torch.manual_seed(0)
    planes, start = torch.rand(2, 7, channels, 30, 45), torch.rand(2, channels, 30, 45)
    weights = torch.randn(2, 12, -(-30 // side), -(-45 // side) + 1)
    step = torch.tensor([0.1, 0.4])[:, None, None, None]
    quick = blended(planes, start, weights, step, (0.5, 2.0), side)
    slow = blended(planes, start, weights.requires_grad_(), step, (0.5, 2.0), side).detach()
    assert quick.shape == start.shape
    assert torch.allclose(quick, slow, atol=1e-5)


def test_neighbours_can_take_the_place_of_the_picture() -> None:
    luma, step = torch.rand(1, 7, 1, 16, 16), torch.ones(1, 1, 1, 1)
    weights = torch.zeros(1, 12, 4, 4)
    weights[:, 6 + 2, :2] = 1  # the third, clipped at the wider one
    rows = blended(luma, luma[:, 0], weights, step, (0.5, 2.0), 4)[0, 0]
    own, third = luma[0, 0, 0], luma[0, 3, 0]
    assert torch.allclose(rows[:6], third[:6], atol=1e-6)
    assert torch.equal(rows[10:], own[10:])
    # From the middle of a block to that of the next one.
    for row, share in zip(range(6, 10), (1 / 8, 3 / 8, 5 / 8, 7 / 8), strict=True):
        assert torch.allclose(rows[row], third[row] + share * (own - third)[row], atol=1e-6)


def test_loops_shuffle_as_pixels_are() -> None:
    residual = torch.rand(2, 6, 8, 16).contiguous(memory_format=torch.channels_last)
    assert torch.equal(phases(residual, 15, 30), F.pixel_shuffle(residual[:, :4], 2)[..., :15, :30])


def test_chroma_of_neighbours_is_blended_as_their_luma_is() -> None:
    torch.manual_seed(3)
    model = RestorationFilter(RestorationConfig((4, 6, 8), (1, 1, 1), neighbours=6)).eval()
    model.requires_grad_(False)
    assert model.blend.conv.bias is not None
    luma, chroma = planes(24, 40)
    luma, own = luma.tile(1, 7, 1, 1), chroma.tile(1, 7, 1, 1)
    given = torch.tensor([30.0]), torch.ones(1, 7)
    plain, alone = model(luma, chroma, *given), model(luma, own, *given)
    assert torch.allclose(plain[1], alone[1], atol=1e-6)
    model.blend.conv.bias[6 + 3] = 1.0  # the fourth, clipped at the wider one
    model.blend.conv.weight.zero_()
    beside = own.clone()
    beside[:, 8:10] += 0.01
    filtered = model(luma, beside, *given)
    assert torch.allclose(filtered[0], plain[0], atol=1e-6)
    assert torch.allclose(filtered[1], plain[1] + CHROMA_GAIN * 0.01, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 32), (17, 30), (2, 2), (50, 64)])
def test_planes_are_aligned_as_by_padding(size: tuple[int, int]) -> None:
    height, width = size
    luma, chroma = planes(*size)
    whole, whole_chroma = aligned(luma, chroma)
    down, right = -height % 16, -width % 16
    assert torch.equal(whole, F.pad(luma, (0, right, 0, down), mode="replicate"))
    half = (0, (width + right) // 2 - chroma.shape[3], 0, (height + down) // 2 - chroma.shape[2])
    assert torch.equal(whole_chroma, F.pad(chroma, half, mode="replicate"))
