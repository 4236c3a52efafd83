"""Training of the adapter: crops through a small image codec, a few steps, and a file that can be used."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nnvvc.models.adapter import load_adapter
from nnvvc.training import adapter_task
from nnvvc.training.adapter_task import AdapterTask
from nnvvc.training.photos import Photos
from tests.models.tiny_image import MODEL
from tests.training.test_filter_task import photo


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterTask:
    monkeypatch.setattr(adapter_task, "VALIDATED", 4)
    monkeypatch.setattr(adapter_task, "SIDE", 64)
    monkeypatch.setattr(adapter_task, "HOLD_OUT", 2)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), photo(i))
    config = {"width": 8, "blocks": 1}
    return AdapterTask(str(tmp_path / "data"), str(tmp_path / "photos"), str(MODEL), config, crops=6)


def test_pictures_are_divided(tmp_path: Path) -> None:
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), photo(i))
    some, others = Photos(tmp_path).divided(2)
    assert (len(some.pictures), len(others.pictures)) == (3, 2)
    assert not any(np.array_equal(a, b) for a in some.pictures for b in others.pictures)


def test_a_few_steps_bring_crops_nearer(task: AdapterTask, tmp_path: Path) -> None:
    batch = next(task.batches(0))
    assert batch["coded"].shape == (8, 6, 32, 32)
    assert task.validate()["dB"] == 0
    optimiser = torch.optim.Adam(task.model.parameters(), 2e-3)
    for _ in range(25):
        loss, facts = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < -0.05
    assert facts["dB"] > 0
    assert task.validate()["score"] == -task.validate()["dB"]
    task.export(tmp_path, {"steps": 25})
    assert load_adapter(tmp_path / "adapter.safetensors").network.config.width == 8
