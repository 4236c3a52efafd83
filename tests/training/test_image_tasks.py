"""Training of the image codec, for people and for machines: it learns, and exports what can be used."""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torch.nn.functional as F

from nnvvc.models.exact import exact_conv
from nnvvc.models.image import ImageModel
from nnvvc.models.precision import reduced_precision
from nnvvc.training import image, image_machines
from nnvvc.training.image import ImageTask
from nnvvc.training.image_machines import MachinesTask
from nnvvc.training.image_parts import ProbabilityTask, SynthesisTask
from nnvvc.training.ranges import spread
from nnvvc.training.replay import Graphs
from nnvvc.training.runner import to_device
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


def test_activations_are_spread_and_rounding_fitted(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "USUAL_CROPS", 2)
    monkeypatch.setattr(image, "USUAL_RATES", (22, 42))
    task = make(ImageTask, fit_rounding=True)
    _twelve_steps(task)
    before = [p.clone() for p in task.model.parameters()]
    task.export(tmp_path, {})
    # What goes on training is what it was.
    assert all(torch.equal(p, b) for p, b in zip(task.model.parameters(), before, strict=True))
    model = ImageModel.load(tmp_path / "image.safetensors")
    moved = copy.deepcopy(task.model).eval()
    spread(moved, task._usual_pictures(moved))
    assert not torch.equal(moved.synthesis.inlet.weight, task.model.synthesis.inlet.weight)
    nearest = exact_conv(moved.synthesis.inlet, None, None).weight
    fitted = model.networks.synthesis.inlet.weight
    assert not torch.equal(nearest, fitted)
    assert (nearest.int() - fitted.int()).abs().float().mean() < 8


def test_a_bank_holds_what_batches_are_cut_from(make: Make) -> None:
    people = make(ImageTask, bank=3)
    planes = next(people.batches(0))["planes"]
    assert planes.shape == (2, 6, 64, 64) and planes.dtype == torch.float32
    assert people.bank is not None
    assert any(torch.equal(planes[0], b.float()) for b in [*people.bank[0], *mirrored(people.bank[0])])
    machines = make(MachinesTask, bank=3, scales=[0.5, 1.0])
    seen = {tuple(b["planes"].shape) for b, _ in zip(machines.batches(0), range(8), strict=False)}
    assert seen == {(2, 6, 64, 64), (2, 6, 32, 32)}
    losses, _ = _twelve_steps(machines)
    assert losses[-1] < losses[0]


def mirrored(planes: torch.Tensor) -> torch.Tensor:
    """Planes of pictures mirrored left to right, by way of the pictures."""
    luma = F.pixel_shuffle(planes[:, :4], 2).flip(-1)
    return torch.cat([F.pixel_unshuffle(luma, 2), planes[:, 4:].flip(-1)], 1)


def test_graphs_are_told_apart_by_all_that_losses_depend_on(make: Make) -> None:
    task = make(ImageTask, rounding_from=0.5, slope=0.1)
    batch = next(task.batches(0))
    kinds = set()
    for task.progress in (0.0, 0.3, 0.6):
        kinds |= {task.kind({**batch, "profile": p}) for p in ("high", "base")}
    assert len(kinds) == 6
    parts = make(SynthesisTask, kept=8)
    assert parts.kind(next(parts.batches(0))) not in kinds


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_replayed_loss_has_the_gradients_of_a_computed_one(make: Make) -> None:
    task = make(ImageTask)
    task.noise_until = 0.0
    task.model.cuda()
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    graphs = Graphs(task, parameters)
    for seed in range(2):
        batch = to_device(next(task.batches(seed)), torch.device("cuda"))
        torch.manual_seed(0)
        loss, _ = graphs(batch)
        replayed = [None if p.grad is None else p.grad.clone() for p in parameters]
        for p in parameters:
            p.grad = None
        with reduced_precision("cuda"):
            computed, _ = task.loss(batch)
        computed.backward()  # type: ignore[no-untyped-call]
        assert torch.allclose(loss, computed.detach())
        for p, gradient in zip(parameters, replayed, strict=True):
            assert (p.grad is None) == (gradient is None)
            if p.grad is not None and gradient is not None:
                assert torch.allclose(p.grad, gradient, rtol=0.1, atol=1e-2 * float(p.grad.abs().max()))


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
