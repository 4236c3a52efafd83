"""Training of the filter for the image codec's pictures, on photos made here."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nnvvc.codecs.picture_coder import image_model
from nnvvc.models import registry
from nnvvc.models.exact_restoration import load_exact
from nnvvc.training import image_filter_task
from nnvvc.training.image_filter_task import ImageFilterTask
from nnvvc.training.moving_photos import PATCH
from tests.models.tiny_image import MODEL
from tests.training.test_filter_task import photo


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFilterTask:
    weights = tmp_path / "weights"
    (tmp_path / "photos").mkdir()
    weights.mkdir()
    (weights / "image_people.safetensors").write_bytes(MODEL.read_bytes())
    monkeypatch.setattr(registry, "WEIGHTS", weights)
    registry.reference.cache_clear()
    image_model.cache_clear()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), photo(number))
    monkeypatch.setattr(image_filter_task, "QPS", (37,))
    config = {"widths": [8, 8, 8], "blocks": [1, 0, 1], "leak": 0.1}
    task = ImageFilterTask(str(tmp_path / "coded"), str(tmp_path / "photos"), config, batch=2)
    registry.reference.cache_clear()
    image_model.cache_clear()
    return task


def test_photos_are_coded_by_the_image_codec(task: ImageFilterTask, tmp_path: Path) -> None:
    assert {p.name for p in (tmp_path / "coded").iterdir()} == {"m0_q37.npz", "photos_q37.npz"}
    with np.load(tmp_path / "coded" / "photos_q37.npz") as stored:
        decoded, original = stored["decoded"].astype(int), stored["original"].astype(int)
        assert decoded.shape == original.shape == (2, PATCH**2 * 3 // 2)
        assert stored["key_qp"] == 37 and not stored["layer"].any()
        assert 0 < np.abs(decoded - original).mean() < 100


def test_what_was_trained_is_written_in_exact_form(task: ImageFilterTask, tmp_path: Path) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(task.model.parameters(), 2e-3)
    for _, batch in zip(range(20), task.batches(0), strict=False):
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    task.export(tmp_path, {"purpose": "test"})
    exact = load_exact(tmp_path / "filter.safetensors")
    luma = torch.randint(300, 600, (1, 1, 32, 32)).float()
    found, _ = exact.samples(luma, torch.full((1, 2, 16, 16), 512.0), 37, 64.0, (876.0, 896.0))
    assert not torch.equal(found, luma)
