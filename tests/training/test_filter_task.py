"""Filter training: data through a real VVC encoder, one and several filters, competition."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from nnvvc.models.filters import load_filter
from nnvvc.models.image import ImageModel
from nnvvc.models.tasknets import feature_loss
from nnvvc.training.coded_patches import CodedPatches, plainly_enlarged
from nnvvc.training.filter_data import (
    CodedFile,
    code_patches,
    cut_patches,
    learned_coder,
    make_patches,
    vvc_coder,
)
from nnvvc.training.filter_start import initialise
from nnvvc.training.filter_task import FEATURES, FilterTask, View, compose
from tests.models.test_tasknets import make_network
from tests.models.tiny_image import MODEL

CUTS = {name: ["feat8"] for name in FEATURES}
TINY = {"widths": [8, 8, 8], "blocks": [0, 1]}


def photo(seed: int, height: int = 280, width: int = 300) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height // 20, width // 20, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), photo(i, 280 if i else 100))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    for name in FEATURES:
        make_network(folder / f"{name}.onnx")
        given = {"order": "RGB", "mean": [0, 0, 0], "scale": [0.01, 0.01, 0.01]}
        (folder / f"{name}.json").write_text(json.dumps({"input": given}))
    return folder


@pytest.fixture(scope="module")
def coded(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    make_patches(photos, folder, part=1, shares={"1/2": 1, "1/4": 1}, qps=(42,))
    return folder


def test_patches_are_coded_at_every_scale(coded: Path) -> None:
    originals = np.load(coded / "rgb1.npy")
    assert originals.shape == (2, 256, 256, 3)
    files = [CodedFile.read(path) for path in coded.glob("p*.npz")]
    assert {f.scale for f in files} == {Fraction(1, 2), Fraction(1, 4)}
    assert [f.index.tolist() for f in files] == [[0, 1], [0, 1]]
    for file in files:
        assert file.planes.shape[1] == int(256 * file.scale) ** 2 * 3 // 2
        luma = file.planes[0, : int(256 * file.scale) ** 2].astype(float)
        mean = (originals[file.index[0]] @ [0.2126, 0.7152, 0.0722]).mean()
        assert (luma.mean() - 64) / 876 * 255 == pytest.approx(mean, abs=3)


def test_mosaics_keep_patches_apart_and_in_order(photos: list[Path]) -> None:
    from nnvvc.training.filter_data import _picture

    patches = [_picture(p, Fraction(1, 4)) for p in cut_patches(photos, np.random.default_rng(0))]
    planes = code_patches([patches[0], patches[1], patches[0]], 27, vvc_coder("faster"))
    for row, picture in zip(planes, (patches[0], patches[1], patches[0]), strict=True):
        original = np.concatenate([p.ravel() for p in picture.planes]).astype(int)
        assert np.abs(row - original).mean() < 12


def test_learned_pictures_are_data_too(photos: list[Path], tmp_path: Path) -> None:
    coder = learned_coder(ImageModel.load(MODEL))
    make_patches(photos, tmp_path, part=1, coder=coder, shares={"1/2": 1}, qps=(20,))
    batch = CodedPatches(tmp_path).sample(Fraction(1, 2), [20], np.random.default_rng(0))
    assert batch["luma"].shape == (1, 1, 128, 128)
    assert 0.001 < float((plainly_enlarged(batch) - batch["original"]).abs().mean()) < 0.2


@pytest.mark.parametrize("branches", [1, 2])
def test_a_few_steps_lower_the_loss(branches: int, coded: Path, networks: Path) -> None:
    torch.manual_seed(0)
    task = FilterTask(
        str(coded),
        networks=str(networks),
        config={**TINY, "branches": branches},
        shares={"1/4": 1.0},
        features=CUTS,
        batch=2,
    )
    optimizer = torch.optim.Adam(task.model.parameters(), 4e-3)
    batch = next(task.batches(1))
    before = float(task.loss_of(batch, ["picodet_s"], View()).detach().mean())
    for step in range(40):
        task.progress = step / 40
        loss, facts = task.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert sum(facts.values()) == pytest.approx(1 if branches > 1 else 0, abs=1e-5)
    after = float(task.loss_of(batch, ["picodet_s"], View()).detach().mean())
    assert after < 0.97 * before, (before, after)


def test_turned_networks_judge_the_blocks_where_they_are(coded: Path, networks: Path) -> None:
    task = FilterTask(str(coded), networks=str(networks), config=TINY, pixel_weight=0.0, features=CUTS)
    rgb = torch.rand(1, 3, 96, 96)
    changed = rgb.clone()
    changed[..., 20:30, 70:80] += 0.2
    for turned in (False, True):
        blocks = task.distortion(changed, rgb, ["picodet_s"], View(turned=turned), grid=2)
        assert blocks[0, 0, 1] > 4 * blocks[0, 1, 0]


def test_a_filter_of_luma_begins_as_the_luma_of_another(coded: Path, networks: Path, tmp_path: Path) -> None:
    whole = FilterTask(str(coded), networks=str(networks), config=TINY)
    torch.nn.init.normal_(whole.model.branches[0].heads["4"].weight)  # type: ignore[index, union-attr, arg-type]
    whole.export(tmp_path, {})
    start = str(tmp_path / "filter.safetensors")
    task = FilterTask(
        str(coded),
        networks=str(networks),
        start=start,
        config={**TINY, "chroma": False},
        features=CUTS,
        ghosts=0.1,
    )
    batch = task.patches.sample(Fraction(1, 4), [42], np.random.default_rng(0))
    arguments = (batch["luma"], batch["chroma"], batch["qp"], batch["scale"], batch["up"])
    (one,), (other,) = task.model(*arguments), load_filter(Path(start))(*arguments)
    assert torch.allclose(one[0], other[0], atol=2e-3)
    assert not torch.allclose(one[1], other[1], atol=2e-3)
    loss, _ = task.loss(batch)
    assert loss.isfinite()


def test_branches_start_near_the_single_filter(coded: Path, networks: Path, tmp_path: Path) -> None:
    single = FilterTask(str(coded), networks=str(networks), config=TINY)
    single.export(tmp_path, {"steps": 0})
    several = FilterTask(
        str(coded),
        networks=str(networks),
        start=str(tmp_path / "filter.safetensors"),
        config={**TINY, "branches": 3},
    )
    state = several.model.state_dict()
    first, last = state["branches.0.block.first.weight"], state["branches.2.block.first.weight"]
    assert not torch.equal(first, last)
    assert torch.allclose(first, last, atol=0.2 * float(first.std()))
    same = load_filter(tmp_path / "filter.safetensors")
    initialise(single.model, same)
    assert torch.equal(single.model.state_dict()["enter.conv.weight"], same.state_dict()["enter.conv.weight"])


def test_pictures_are_composed_of_the_winners_blocks() -> None:
    candidates = torch.arange(3.0).view(3, 1, 1, 1, 1).expand(3, 2, 3, 8, 8)
    winners = torch.tensor([[[0, 1], [2, 2]], [[1, 1], [0, 0]]])
    composed = compose(candidates, winners)
    assert composed.shape == (2, 3, 8, 8)
    assert torch.equal(composed[0, 0, ::4, ::4], winners[0].float())
    assert torch.equal(composed[1, 2, 3::4, 3::4], winners[1].float())


def two_in_competition(coded: Path, networks: Path, **options: Any) -> FilterTask:
    config = {**TINY, "branches": 2}
    return FilterTask(
        str(coded), networks=str(networks), config=config, shares={"1/4": 1.0}, features=CUTS, **options
    )


def test_where_the_temperature_is_infinite_chance_gives_blocks_away(coded: Path, networks: Path) -> None:
    torch.manual_seed(0)
    shares = []
    for temperature in ((float("inf"), float("inf")), (1e-9, 1e-9)):
        task = two_in_competition(coded, networks, temperature=temperature)
        with torch.no_grad():
            # One filter is right to do nothing, the other ruins the picture.
            task.model.branches[1].heads["4"].bias += 1  # type: ignore[index, union-attr, operator]
        batches = task.batches(0)
        shares.append(sum(task.loss(next(batches))[1]["use1"] for _ in range(20)) / 20)
    assert 0.35 < shares[0] < 0.65 and shares[1] == 0


def test_frozen_parts_stay_as_they_are(coded: Path, networks: Path) -> None:
    task = two_in_competition(coded, networks, frozen=["enter", "down", "blocks", "up", "branches.0"])
    loss, _ = task.loss(next(task.batches(0)))
    loss.backward()  # type: ignore[no-untyped-call]
    learning = {
        n.split(".block")[0].split(".heads")[0]
        for n, p in task.model.named_parameters()
        if p.grad is not None
    }
    assert learning == {"branches.1"}


def test_a_wider_last_block_begins_as_the_narrow_one(coded: Path, networks: Path, tmp_path: Path) -> None:
    narrow = FilterTask(str(coded), networks=str(networks), config=TINY)
    torch.nn.init.normal_(narrow.model.branches[0].heads["4"].weight)  # type: ignore[index, union-attr, arg-type]
    narrow.export(tmp_path, {})
    start = tmp_path / "filter.safetensors"
    wide = FilterTask(str(coded), networks=str(networks), start=str(start), config={**TINY, "last_width": 12})
    batch = wide.patches.sample(Fraction(1, 4), [42], np.random.default_rng(0))
    arguments = (batch["luma"], batch["chroma"], batch["qp"], batch["scale"], batch["up"])
    (one,), (other,) = wide.model(*arguments), load_filter(start)(*arguments)
    assert torch.allclose(one[0], other[0], atol=2e-3)


def test_errors_at_objects_count_more() -> None:
    wanted = torch.ones(1, 4, 8, 8)
    found = wanted.clone()
    found[..., :4, :4] += 0.5
    weight = torch.ones(1, 1, 16, 16)
    weight[..., :8, :8] = 3
    plain, weighed = (feature_loss([found], [wanted], 2, w)[0] for w in (None, weight))
    assert float(weighed[0, 0]) > 2.5 * float(plain[0, 0]) and not float(weighed[1, 1])
