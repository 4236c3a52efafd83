"""Patches of coded clips for the filter for machines on video."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnvvc.training import clip_data, coded_patches, video_patches
from nnvvc.training.coded_patches import CodedPatches
from nnvvc.training.filter_data import CodedFile
from nnvvc.training.moving_photos import PATCH
from nnvvc.training.video_patches import make_video_patches
from tests.training.test_filter_task import photo


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    (folder / "photos").mkdir()
    for i in range(2):
        cv2.imwrite(str(folder / "photos" / f"{i}.png"), photo(i))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FRAMES": 9, "ACROSS": 2, "MOSAICS": 2, "HOLD_OUT": 2}.items():
            patch.setattr(clip_data, name, value)
        patch.setattr(video_patches, "PRESET", "faster")
        patch.setattr(video_patches, "CODED", {"1/2": (42,), "1": (32, 42)})
        make_video_patches(folder / "photos", None, folder)
    return folder


def test_rows_go_patch_by_patch_and_lie_on_the_original(coded: Path) -> None:
    originals = np.load(coded / "rgb0.npy")
    for path in coded.glob("p0_*.npz"):
        file = CodedFile.read(path)
        frames = len(file.layer) // 4
        assert len(originals) == len(file.planes) == 4 * frames
        assert file.layer.tolist() == file.layer[:frames].tolist() * 4
        assert file.layer.min() == 0 and file.layer.max() >= 3
        side = int(PATCH * file.scale)
        for row, rgb in zip(file.planes, originals, strict=True):
            luma = row[: side * side].reshape(side, side).astype(float)
            grey = cv2.resize(rgb @ np.array([0.2126, 0.7152, 0.0722]), (side, side), interpolation=3)
            assert np.abs((luma - 64) / 876 * 255 - grey).mean() < 15


def test_batches_know_the_layer(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded_patches, "HELD_OUT", 8)
    patches = CodedPatches(coded)
    assert patches.scales == [Fraction(1, 2), Fraction(1)]
    assert patches.qps(Fraction(1)) == [32, 42]
    batch = patches.sample(Fraction(1, 2), [42, 42, 42, 42], np.random.default_rng(0))
    assert batch["luma"].shape == (4, 1, PATCH // 2, PATCH // 2)
    assert batch["original"].shape == (4, 3, PATCH, PATCH)
    assert batch["layer"].unique().numel() > 1
