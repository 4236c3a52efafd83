"""Training of the filter for people, on clips made here."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from nnvvc.errors import InputError
from nnvvc.media import open_sink
from nnvvc.models.key_blend import NETWORK
from nnvvc.models.people import people_network
from nnvvc.models.registry import WEIGHTS
from nnvvc.picture import PictureFormat, VideoFormat
from nnvvc.training import clip_data
from nnvvc.training.clip_data import code_clip, mosaic
from nnvvc.training.moving_photos import PATCH
from nnvvc.training.people_filter_task import PeopleFilterTask, error_left
from nnvvc.training.recipe import load_recipe
from tools.content import clip

CONFIG: dict[str, Any] = {"widths": [8, 8, 8], "blocks": [1, 0, 1], "neighbours": 6}
QUICK: dict[str, Any] = {"widths": [8, 8], "convs": [1, 1]}


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    noise = np.random.default_rng(0).integers(0, 255, (14, 15, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), cv2.resize(noise, (300, 280), interpolation=cv2.INTER_NEAREST))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FRAMES": 9, "ACROSS": 1, "PRESET": "faster"}.items():
            patch.setattr(clip_data, name, value)
        for name in ("m0", "m1"):
            code_clip(lambda: mosaic([folder / "a.png"], np.random.default_rng(1)), folder, name, (42,))
    return folder


def test_files_hold_pairs_and_layers(coded: Path) -> None:
    with np.load(coded / "m1_q42.npz") as stored:
        decoded, original = stored["decoded"].astype(int), stored["original"].astype(int)
        assert decoded.shape == original.shape == (len(stored["layer"]), PATCH**2 * 3 // 2)
        assert stored["layer"].min() == 0 and stored["layer"].max() >= 3
        assert 36 <= stored["key_qp"] <= 42
        assert 0 < np.abs(decoded - original).mean() < 100
        # The first picture has none before it.
        key = np.flatnonzero(stored["layer"] == 0)[0]
        luma = stored["decoded"][key, : PATCH**2]
        assert np.array_equal(stored["beside"][key, : PATCH**2], luma)
        assert not np.array_equal(stored["beside"][key, PATCH**2 :], luma)


def test_error_is_relative() -> None:
    wanted = torch.zeros(2, 1, 4, 4)
    loss = error_left(wanted + 0.1, wanted, wanted + 0.2, torch.zeros(2))
    assert loss.tolist() == pytest.approx([0.25] * 2, abs=1e-4)


@pytest.mark.parametrize(("network", "config"), [(None, CONFIG), (NETWORK, QUICK)])
def test_a_few_steps_gain_decibels(
    coded: Path, tmp_path: Path, network: str | None, config: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    task = PeopleFilterTask(str(coded), config=config, network=network, batch=2)
    before = task.validate()["score"]
    optimizer = torch.optim.Adam(task.model.parameters(), 1e-3)
    for _, batch in zip(range(60), task.batches(0), strict=False):
        loss, facts = task.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert facts["dB"] > 0.05
    assert task.validate()["score"] < before - 0.05
    task.export(tmp_path, {})
    assert (tmp_path / "filter.json").exists()
    assert not torch.equal(task.model.taps.mix, torch.eye(len(task.model.taps.mix)))
    assert task.model.taps.idle
    start = str(tmp_path / "filter.safetensors")
    again = PeopleFilterTask(str(coded), config=config, network=network, start=start)
    assert again.validate()["score"] == pytest.approx(task.validate()["score"], abs=0.05)


@pytest.mark.parametrize("name", ["filter_quick", "filter_people"])
def test_packaged_recipes_make_the_packaged_network(name: str) -> None:
    packaged = json.loads((WEIGHTS / f"{name}.json").read_text())
    assert people_network(load_recipe(name).options).config == people_network(packaged).config


def test_a_folder_without_clips_for_validation_is_an_error(coded: Path, tmp_path: Path) -> None:
    (tmp_path / "m1_q42.npz").write_bytes((coded / "m1_q42.npz").read_bytes())
    with pytest.raises(InputError, match="m0"):
        PeopleFilterTask(str(tmp_path))


def test_clips_are_made_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, video = tmp_path / "photos", tmp_path / "video"
    photos.mkdir()
    video.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        noise = cv2.resize(rng.integers(0, 255, (14, 15, 3), np.uint8), (300, 280))
        cv2.imwrite(str(photos / f"{number}.png"), noise)
    fmt = PictureFormat(200, 196)
    with open_sink(video / "pan.y4m", VideoFormat(fmt)) as sink:
        for picture in clip(fmt, 3):
            sink.write(picture)
    entries = [{"name": n, "path": "pan.y4m", "width": 200, "frames": 3, "use": n} for n in ("train", "dev")]
    (video / "clips.json").write_text(json.dumps(entries))
    for name, value in {
        "FRAMES": 5,
        "ACROSS": 1,
        "MANY_MOSAICS": 2,
        "PHOTO_ROUNDS": 2,
        "QPS": (42,),
        "PRESET": "faster",
    }.items():
        monkeypatch.setattr(clip_data, name, value)
    task = PeopleFilterTask(str(tmp_path / "coded"), str(photos), str(video), batch=1)
    names = {p.name for p in (tmp_path / "coded").iterdir()}
    assert names == {f"{name}_q42.npz" for name in ("m0", "m1", "train_0", "photos0", "photos1")}
    assert next(task.batches(0))["luma"].shape == (1, 1, PATCH, PATCH)
