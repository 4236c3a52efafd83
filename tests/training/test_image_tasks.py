"""Training of the image codec, for people and for machines: it learns, and exports what can be used."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from nnvvc.models.image import ImageModel
from nnvvc.training import image_machines
from nnvvc.training.image import ImageTask
from nnvvc.training.image_machines import MachinesTask
from nnvvc.training.image_parts import ProbabilityTask, SynthesisTask
from tests.codecs.loss_networks import use_loss_networks
from tests.models.tiny_image import CONFIG
from tests.training.test_filter_task import photo

Make = Callable[..., ImageTask]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a task of a class, with small networks and three photos."""
    use_loss_networks(tmp_path, monkeypatch)
    for features in ("EARLY", "FULL"):
        names = getattr(image_machines, features)
        monkeypatch.setattr(image_machines, features, {name: ["feat8"] for name in names})
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(5):
        cv2.imwrite(str(photos / f"{i}.png"), photo(i))

    def task(kind: type[ImageTask], **options: Any) -> ImageTask:
        torch.manual_seed(0)
        crops = [[0.0, 2, 128]]
        where = {"data": str(photos), "held_out": str(photos)}
        return kind(config=asdict(CONFIG), crops=crops, noise_until=2.0, **where, **options)

    return task


def _twelve_steps(task: ImageTask) -> tuple[list[float], dict[str, float]]:
    """Losses of twelve steps on one batch, and the last one's facts."""
    batch = next(task.batches(0))
    optimiser = torch.optim.Adam([p for p in task.model.parameters() if p.requires_grad], 2e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(1)
        loss, facts = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses, facts


@pytest.mark.parametrize("kind", [ImageTask, MachinesTask])
def test_it_learns_and_what_it_exports_is_a_model(kind: type[ImageTask], make: Make, tmp_path: Path) -> None:
    task = make(kind, rate_offset=-5.0, profiles={"base": 1.0})
    losses, facts = _twelve_steps(task)
    assert losses[-1] < losses[0]
    assert facts["bpp"] > 0
    assert "score" in task.validate()
    task.export(tmp_path, {"steps": 12})
    model = ImageModel.load(tmp_path / "image.safetensors")
    assert float(model.rates.rate[37]) == 32
    card = json.loads((tmp_path / "image.json").read_text())
    assert card["sha256"] == model.digest.hex() and card["steps"] == 12


@pytest.mark.parametrize(
    ("kind", "options"),
    [(ImageTask, {"sparse": 5}), (ProbabilityTask, {"kept": 8}), (SynthesisTask, {"kept": 8})],
)
def test_it_learns_from_a_sparse_basis_and_in_parts(
    kind: type[ImageTask], options: dict[str, Any], make: Make
) -> None:
    losses, facts = _twelve_steps(make(kind, **options))
    assert losses[-1] < losses[0]
    assert facts["mse"] > 0


@pytest.mark.parametrize(
    ("kind", "trained"),
    [(ProbabilityTask, ("hyper", "context", "log_gain")), (SynthesisTask, ("synthesis",))],
)
def test_parts_leave_the_others_alone(kind: type[ImageTask], trained: tuple[str, ...], make: Make) -> None:
    task = make(kind, kept=8)
    loss, _ = task.loss(next(task.batches(0)))
    loss.backward()  # type: ignore[no-untyped-call]
    moved = {n for n, p in task.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved and all(n.startswith(trained) for n in moved)


def test_machines_weights_start_from_the_peoples(make: Make, tmp_path: Path) -> None:
    people = make(ImageTask)
    with torch.no_grad():
        people.model.synthesis.outlet.bias += 1
    torch.save({"model": people.model.state_dict(), "average": {}}, tmp_path / "checkpoint.pt")
    machines = make(MachinesTask, start=str(tmp_path / "checkpoint.pt"))
    for a, b in zip(people.model.parameters(), machines.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_bits_cost_machines_more_at_coarse_rates(make: Make) -> None:
    prices = image_machines._prices(torch.tensor([17.0, 30.0, 45.0]))
    assert bool((prices.diff() > 0).all())
