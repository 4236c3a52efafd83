"""The training runner: it learns, resumes, averages, logs, and says what is wrong with a recipe."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnvvc.errors import ConfigError, InputError
from nnvvc.training.recipe import RECIPES, Recipe, load_recipe
from nnvvc.training.runner import AVERAGE_EVERY, Average, Runner


class LineTask:
    """Learns y = 2 x."""

    def __init__(self, bias: bool = True) -> None:
        self.model: nn.Module = nn.Linear(1, 1, bias)
        self.progress = 0.0

    def batches(self, seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.rand(16, 1, generator=generator)

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        loss = (self.model(batch).float() - 2 * batch).square().mean()
        return loss, {"error": float(loss.detach())}

    def validate(self) -> dict[str, float]:
        x = torch.linspace(0, 1, 5)[:, None]
        return {"score": float((self.model(x).float() - 2 * x).square().mean())}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        (folder / "done.txt").write_text(f"{facts['steps']} {len(facts['curve'])}")


def recipe(tmp_path: Path, **more: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "line", "task": f"{__name__}:LineTask", "run": str(tmp_path / "run"), "minutes": 1 / 60,
        "learning_rate": 0.05, "ema": 0.9, "validate_every": 0.008, "checkpoint_every": 0.005, "threads": 1,
    }  # fmt: skip
    return Recipe(**{**values, **more})


def test_it_learns_logs_and_exports(tmp_path: Path) -> None:
    scores = Runner(recipe(tmp_path)).run()
    folder = tmp_path / "run"
    rows = list(csv.DictReader((folder / "log.csv").open()))
    assert float(rows[0]["score"]) > 2 * scores["score"]
    assert float(rows[-1]["score"]) == pytest.approx(scores["score"], rel=1e-4)
    assert float(rows[-1]["minutes"]) >= 1 / 60
    assert (folder / "curve.png").stat().st_size > 1000
    steps, points = (folder / "done.txt").read_text().split()
    assert int(steps) > 20
    assert int(points) == len(rows)


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Runner(recipe(tmp_path))
    first.run()
    with pytest.raises(ConfigError, match="--resume"):
        Runner(recipe(tmp_path))
    second = Runner(recipe(tmp_path), minutes=2 / 60, resume=True)
    assert second.step == first.step
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.optimizer.state_dict()["state"][0]["step"] == first.step
    second.run()
    assert second.step > first.step
    minutes = [float(r["minutes"]) for r in csv.DictReader((tmp_path / "run" / "log.csv").open())]
    assert minutes == sorted(minutes)


def test_averaged_weights_come_and_go() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(8.0)
    for _ in range(AVERAGE_EVERY * 20):
        average.update(model)
    with average.applied(model):
        assert float(model.weight) == pytest.approx(8.0, abs=1e-3)
    with torch.no_grad():
        model.weight.fill_(-1.0)
    with average.applied(model):
        assert float(model.weight) == pytest.approx(8.0, abs=1e-3)
    assert float(model.weight) == -1.0


def test_schedule_rises_stays_and_falls() -> None:
    chosen = Recipe("r", "t", "run", learning_rate=1.0, warmup=0.1, decay_from=0.5, final_rate=0.01)
    rates = [chosen.rate(p) for p in (0.0, 0.05, 0.1, 0.4, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([0.001, 0.5, 1.0, 1.0, 1.0, 0.505, 0.01])


def test_packaged_recipes_are_sound() -> None:
    names = [p.stem for p in RECIPES.glob("*.yaml")]
    assert "image_people" in names
    for name in names:
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "no recipe"),
        ("task: [", "not YAML"),
        ("run: x", "`task`"),
        ("task: a:B\nspeed: 3", "unknown speed"),
        ("task: a:B\nminutes: long", "must be a number"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(file)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="nothing to resume"):
        Runner(recipe(tmp_path), resume=True)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        Runner(recipe(tmp_path, task="nnvvc.training.runner:Nothing"))
    with pytest.raises(ConfigError, match="options do not fit"):
        Runner(recipe(tmp_path, options={"speed": 3}))
