"""The adapter of learned key pictures: the same integers on every path, floating point near them, storage."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from nnvvc.errors import InexactArithmetic, UnknownModel
from nnvvc.models.adapter import Adapter, AdapterConfig, kmac_per_pixel, load_adapter, save_adapter
from nnvvc.models.exact import INT8, REFERENCE
from nnvvc.picture import Chroma, Picture, PictureFormat

SMALL = AdapterConfig(width=8, blocks=1)


def shaken() -> Adapter:
    """One that changes pictures."""
    torch.manual_seed(0)
    model = Adapter(SMALL).requires_grad_(False)
    model.outlet.weight.normal_(0, 0.02)
    model.inlet.rates.normal_(0, 0.5)
    return model


def picture(width: int, height: int, chroma: Chroma = Chroma.C420) -> Picture:
    fmt = PictureFormat(width, height, 10, chroma)
    rng = np.random.default_rng(0)
    return Picture(tuple(rng.integers(200, 800, s).astype(np.uint16) for s in fmt.plane_shapes), fmt)


def assert_same(one: Picture, other: Picture) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "adapter.safetensors"
    save_adapter(shaken(), path, {"steps": 0})
    return path


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (97, 65), (64, 64)])
def test_both_paths_give_the_same_samples(weights: Path, size: tuple[int, int]) -> None:
    given = picture(*size)
    results = [load_adapter(weights, path)(given, 33) for path in (REFERENCE, INT8)]
    assert_same(*results)
    assert results[0].format == given.format
    assert not all(np.array_equal(a, b) for a, b in zip(results[0].planes, given.planes, strict=True))


def test_grey_pictures_stay_grey(weights: Path) -> None:
    given = picture(20, 12, Chroma.C400)
    assert load_adapter(weights)(given, 33).format == given.format


def test_qp_changes_the_result(weights: Path) -> None:
    adapter = load_adapter(weights)
    given = picture(64, 64)
    low, high = adapter(given, 20), adapter(given, 50)
    assert not np.array_equal(low.planes[0], high.planes[0])


def test_whole_numbers_follow_floating_point(weights: Path) -> None:
    model, adapter = shaken(), load_adapter(weights)
    samples = torch.randint(200, 800, (1, 6, 32, 32), dtype=torch.int32)
    with torch.no_grad():
        wanted = model((samples - 512) / 256, torch.tensor([33.0])) * 256 + 512
    found = adapter.samples(samples, 33)
    assert (wanted - samples).abs().mean() > 5
    assert (wanted.clamp(0, 1023) - found).abs().mean() < 1.5


def test_an_untrained_adapter_changes_nothing(tmp_path: Path) -> None:
    save_adapter(Adapter(AdapterConfig()), tmp_path / "a.safetensors", {})
    given = picture(30, 22)
    assert_same(load_adapter(tmp_path / "a.safetensors")(given, 40), given)
    assert kmac_per_pixel(AdapterConfig()) < 10


def test_weights_that_are_not_sound_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="cannot be loaded"):
        load_adapter(tmp_path / "none.safetensors")
    data = weights.read_bytes()
    weights.write_bytes(data[:100])
    with pytest.raises(UnknownModel, match="cannot be loaded"):
        load_adapter(weights)
    # Another weight, and the machine's arithmetic does not give the known answer.
    changed = bytearray(data)
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(InexactArithmetic):
        load_adapter(weights)


def test_saving_makes_the_model_exact_in_place(tmp_path: Path) -> None:
    model = shaken()
    save_adapter(copy.deepcopy(model), tmp_path / "a.safetensors", {})
    save_adapter(model, tmp_path / "b.safetensors", {})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
