"""The filter for people in exact arithmetic."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nnvvc.errors import InexactArithmetic, UnknownModel
from nnvvc.models import exact_restoration
from nnvvc.models.exact_restoration import LIMIT, ExactRestoration, Measured, load_exact, save_exact
from nnvvc.models.restoration import RestorationConfig, RestorationFilter

GAINS = (876.0, 896.0)


def content(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole 10-bit samples."""
    generator = torch.Generator().manual_seed(0)
    chroma = (height + 1) // 2, (width + 1) // 2
    smooth = torch.rand(1, 3, 4, 4, generator=generator)
    luma = torch.nn.functional.interpolate(smooth[:, :1], (height, width), mode="bicubic")
    small = torch.nn.functional.interpolate(smooth[:, 1:], chroma, mode="bicubic")
    noise = torch.randint(-40, 40, (1, 1, height, width), generator=generator)
    return (luma * 700 + 150).round() + noise, (small * 400 + 300).round()


def trained(leak: float = 0.1) -> tuple[RestorationFilter, dict[str, int]]:
    """A filter with answers of several quantiser steps, and its shifts."""
    torch.manual_seed(1)
    model = RestorationFilter(RestorationConfig((8, 8, 16), (1, 1, 1), leak))
    with torch.no_grad():
        model.head.weight *= 20
        model.half().float().eval()
        measured = Measured(model)
        for qp in (22.0, 32.0, 42.0):
            unfiltered(model, *content(64, 96), qp)
    return model, measured.shifts()


@torch.no_grad()
def unfiltered(
    model: RestorationFilter, luma: torch.Tensor, chroma: torch.Tensor, qp: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the filter makes of samples in floating point."""
    y, c = model((luma - 64) / 876, (chroma - 512) / 896, torch.tensor([qp]), torch.zeros(1, 1))
    return y * 876 + 64, c * 896 + 512


@pytest.mark.parametrize("leak", [0.0, 0.1])
@pytest.mark.parametrize("qp", [22, 37])
@pytest.mark.parametrize("size", [(64, 96), (33, 50), (1, 1)])
def test_close_to_the_filter_in_floating_point(size: tuple[int, int], qp: int, leak: float) -> None:
    model, shifts = trained(leak)
    given = content(*size)
    for exact, near, plain in zip(
        ExactRestoration(model, shifts).samples(*given, qp, 64.0, GAINS),
        unfiltered(model, *given, qp),
        given,
        strict=True,
    ):
        assert exact.shape == plain.shape and torch.equal(exact, exact.round())
        change = (near - plain).square().mean()
        assert change > 1 and (exact - near.clamp(0, 1023)).square().mean() < 0.02 * change + 0.2


def test_sums_are_proved_exact() -> None:
    model, shifts = trained()
    exact = ExactRestoration(model, shifts)
    assert len(exact._weights) == 12
    for weight, _ in exact._weights.values():
        assert torch.equal(weight, weight.round()) and weight.abs().max() > 20
        assert float(weight.double().abs().sum((1, 2, 3)).max()) * LIMIT < 2**24


def test_neither_threads_nor_order_nor_a_tile_matter() -> None:
    exact = ExactRestoration(*trained())
    luma, chroma = content(64, 160)
    whole, _ = exact.samples(luma, chroma, 30, 64.0, GAINS)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert torch.equal(exact.samples(luma, chroma, 30, 64.0, GAINS)[0], whole)
    finally:
        torch.set_num_threads(before)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(exact.samples(luma, chroma, 30, 64.0, GAINS)[0], whole)
    part, _ = exact.samples(luma[..., :128], chroma[..., :64], 30, 64.0, GAINS)
    assert torch.equal(part[..., :48], whole[..., :48])


def test_saved_filters_come_back(tmp_path: Path) -> None:
    model, shifts = trained()
    path = tmp_path / "f.safetensors"
    save_exact(model, shifts, path, {"purpose": "test"})
    given = content(40, 24)
    expected = ExactRestoration(model, shifts).samples(*given, 33, 64.0, GAINS)[0]
    assert torch.equal(load_exact(path).samples(*given, 33, 64.0, GAINS)[0], expected)
    with safe_open(path, "pt") as opened:
        about = opened.metadata()[exact_restoration.FORMAT]
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    save_file(tensors, path, {exact_restoration.FORMAT: about.replace('"answer": "', '"answer": "0')})
    with pytest.raises(InexactArithmetic):
        load_exact(path)
    for damage in (b"damaged", path.read_bytes()[:-100], b""):
        path.write_bytes(damage)
        with pytest.raises(UnknownModel):
            load_exact(path)
