"""Filters: sizes, the identity at the start, conditioning by biases only, storage."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from nnvvc.errors import UnknownModel
from nnvvc.models.filters import (
    UPS,
    FilterConfig,
    PictureFilter,
    ResidualBlock,
    condition,
    enlargement,
    kmac_per_pixel,
    load_filter,
    resample,
    save_filter,
)

SMALL = FilterConfig(widths=(8, 8, 8), blocks=(1, 1), branches=2)


def planes(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    luma = torch.rand(1, 1, height, width, generator=generator)
    return luma, torch.rand(1, 2, (height + 1) // 2, (width + 1) // 2, generator=generator) - 0.5


def shaken(config: FilterConfig = SMALL) -> PictureFilter:
    """A filter whose heads and condition are not zero."""
    torch.manual_seed(0)
    model = PictureFilter(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    return model


def run(model: PictureFilter, height: int, width: int, up: int, qp: float = 37.0) -> list[torch.Tensor]:
    luma, chroma = planes(height, width)
    results = model(luma, chroma, torch.tensor([qp]), torch.tensor([1 / up]), up, (0, 1))
    return [plane for result in results for plane in result]


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47), (64, 16)])
def test_starts_as_plain_resampling(height: int, width: int, up: int) -> None:
    luma, chroma = planes(height, width)
    for plane, given in zip(run(PictureFilter(SMALL), height, width, up), (luma, chroma) * 2, strict=True):
        assert plane.shape[2:] == (up * given.shape[2], up * given.shape[3])
        assert torch.equal(plane, resample(given, up))


def test_branches_differ_and_padding_does_not_reach_the_upper_left() -> None:
    model = shaken()
    results = run(model, 96, 96, 1)
    assert not torch.allclose(results[0], results[2])
    luma, chroma = planes(96, 96)
    padded = torch.nn.functional.pad(luma, (0, 7, 0, 9), mode="replicate")
    wider = torch.nn.functional.pad(chroma, (0, 4, 0, 5), mode="replicate")
    other = model(padded, wider, torch.tensor([37.0]), torch.tensor([1.0]), 1)[0][0]
    assert torch.allclose(other[..., :8, :8], results[0][..., :8, :8], atol=1e-5)


def test_a_residual_can_be_stronger_or_left_out() -> None:
    model = shaken(FilterConfig(widths=(8, 8, 8), blocks=(1, 1), branches=2, strengths=(1.0, 0.0, 1.5)))
    assert model.config.filters == 6
    luma, chroma = planes(20, 26)
    given = (luma, chroma, torch.tensor([37.0]), torch.tensor([0.5]), 2)
    first, second, off, bold = model(*given, (0, 1, 2, 5))
    for n, plain in enumerate((resample(luma, 2), resample(chroma, 2))):
        assert torch.equal(off[n], plain)
        assert not torch.allclose(first[n], second[n])
        assert torch.allclose(bold[n] - plain, 1.5 * (second[n] - plain), atol=1e-5)


def test_condition_acts_through_biases_and_is_held_in_range() -> None:
    model = shaken()
    assert not torch.allclose(run(model, 32, 32, 1, 27)[0], run(model, 32, 32, 1, 47)[0])
    assert torch.equal(run(model, 32, 32, 1, 57)[0], run(model, 32, 32, 1, 63)[0])
    assert condition(torch.tensor([37.0]), torch.tensor([1.0])).abs().sum() == 0


def test_leaky_filters_feel_what_is_below_zero() -> None:
    x = torch.randn(1, 8, 4, 4) - 9.0
    for leak in (0.0, 0.1):
        block = ResidualBlock(8, leak)
        y = block(x.clone().requires_grad_(True))
        y.sum().backward()
        moved = [float(p.grad.abs().max()) for p in block.parameters() if p.grad is not None]
        assert (min(moved) > 0) == (leak > 0)


def test_filters_of_luma_leave_chroma_alone(tmp_path: Path) -> None:
    model = shaken(replace(SMALL, chroma=False))
    save_filter(model, tmp_path / "luma.safetensors", {})
    results = run(load_filter(tmp_path / "luma.safetensors"), 32, 48, 2)
    luma, chroma = planes(32, 48)
    assert not torch.allclose(results[0], resample(luma, 2))
    assert torch.equal(results[1], resample(chroma, 2))
    assert kmac_per_pixel(model.config, 2) < kmac_per_pixel(SMALL, 2)


def test_save_and_load(tmp_path: Path) -> None:
    model = shaken()
    save_filter(model, tmp_path / "filter.safetensors", {"licence": "test"})
    loaded = load_filter(tmp_path / "filter.safetensors")
    assert loaded.config == SMALL
    for a, b in zip(run(model, 40, 24, 2), run(loaded, 40, 24, 2), strict=True):
        assert torch.allclose(a, b, atol=5e-3)
    (tmp_path / "filter.safetensors").write_bytes(b"damaged")
    with pytest.raises(UnknownModel, match=r"filter\.safetensors"):
        load_filter(tmp_path / "filter.safetensors")


def test_cost_of_the_standard_filter_is_within_its_budget() -> None:
    assert 10 < kmac_per_pixel(FilterConfig(), 1) < kmac_per_pixel(FilterConfig(), 2) < 20


def test_enlargement_reaches_full_size() -> None:
    assert [enlargement(Fraction(s)) for s in ("1", "3/4", "1/2", "1/4")] == [1, 2, 2, 4]
