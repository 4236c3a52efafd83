"""The one training loop of the project: any task, on a CPU or a CUDA device, resumable at any moment.

A run's folder holds `checkpoint.pt` (weights, averaged weights, optimiser, step, time), `log.csv` (one
line per validation), `curve.png`, and what the task exports at the end. Stopping it at any moment, by a
signal too, loses at most `checkpoint_every` minutes.
"""

import csv
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, distributed, nn

from nnvvc.errors import ConfigError, InputError
from nnvvc.files import atomic_path
from nnvvc.models.precision import reduced_precision
from nnvvc.training.recipe import Recipe, task_class
from nnvvc.training.replay import Facts, Graphs
from nnvvc.training.soap import Soap

AVERAGE_EVERY = 4
SYNCHRONISE_EVERY = 16
"""Steps that workers train by themselves before their weights are averaged."""


class Task(Protocol):
    """What the runner needs to know of something that is trained.

    model: the module whose parameters that require gradients are trained. progress: set by the
    runner before every batch, 0 to 1, for tasks that go through phases. `batches` yields without
    end (its content may depend on `progress`); `loss` gets one of these, with its tensors on the
    model's device, under autocast; the second result is logged. `validate` runs with the averaged
    weights in the model; its entry `score` is the curve's. `export` writes the model with the
    averaged weights into the run's folder.
    """

    model: nn.Module
    progress: float

    def batches(self, seed: int) -> Iterator[Any]: ...
    def loss(self, batch: Any) -> tuple[Tensor, Facts]: ...
    def validate(self) -> dict[str, float]: ...
    def export(self, folder: Path, facts: dict[str, Any]) -> None: ...


def to_device(batch: Any, device: torch.device) -> Any:
    """`batch` with every tensor in it on `device`, pictures as channels-last."""
    if isinstance(batch, Tensor):
        layout = torch.channels_last if batch.dim() == 4 else torch.preserve_format
        return (
            batch.to(device, non_blocking=True).contiguous(memory_format=layout)
            if batch.dim() == 4
            else (batch.to(device, non_blocking=True, memory_format=layout))
        )
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


class Average:
    """Exponential moving average of a module's floating-point parameters and buffers."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.values = {k: v.detach().float().clone() for k, v in self._state(model).items()}

    @staticmethod
    def _state(model: nn.Module) -> dict[str, Tensor]:
        return {k: v for k, v in model.state_dict().items() if v.is_floating_point()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take a step's weights in; done every few steps, with the decay of as many."""
        self.steps += 1
        if self.steps % AVERAGE_EVERY:
            return
        decay = min(self.decay, (1.0 + self.steps) / (10.0 + self.steps)) ** AVERAGE_EVERY
        state = self._state(model)
        keys = list(self.values)
        torch._foreach_lerp_([self.values[k] for k in keys], [state[k].float() for k in keys], 1.0 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The averaged weights are in the model inside the block, the trained ones again after it."""
        state = self._state(model)
        kept = {k: v.detach().clone() for k, v in state.items()}
        with torch.no_grad():
            for key, value in state.items():
                value.copy_(self.values[key])
        try:
            yield
        finally:
            with torch.no_grad():
                for key, value in state.items():
                    value.copy_(kept[key])


class Workers:
    """Processes that train together, as torchrun starts them; one process by itself is rank 0 of 1.

    Each takes its own steps on its own batches; every SYNCHRONISE_EVERY steps the weights are averaged (local
    SGD), which waits far less for the slowest than averaging every gradient.
    """

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if self.count > 1:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @torch.no_grad()
    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the workers."""
        if self.count > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            distributed.all_reduce(flat)
            flat /= self.count
            for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
                tensor.copy_(part.reshape(tensor.shape))


class Runner:
    """Trains the task of a recipe.

    minutes: overrides the recipe's training time. resume: go on from the run folder's checkpoint. Raises
    ConfigError where the run exists and `resume` was not said, InputError where there is nothing to resume.
    """

    def __init__(self, recipe: Recipe, *, minutes: float | None = None, resume: bool = False) -> None:
        self.recipe = recipe
        self.budget = 60.0 * (recipe.minutes if minutes is None else minutes)
        self.folder = Path(recipe.run)
        self.checkpoint = self.folder / "checkpoint.pt"
        if resume and not self.checkpoint.exists():
            raise InputError(f"nothing to resume: {self.checkpoint} does not exist")
        if not resume and self.checkpoint.exists():
            raise ConfigError(f"{self.folder} holds a run: say --resume, or give the recipe another `run`")
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        random.seed(recipe.seed)
        np.random.seed(recipe.seed)  # noqa: NPY002 (tasks may use libraries that draw from it)
        self.workers = Workers()
        cuda = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        self.device = torch.device(cuda if torch.cuda.is_available() else "cpu")
        try:
            self.task: Task = task_class(recipe.task)(**recipe.options)
        except TypeError as error:
            raise ConfigError(f"the recipe's options do not fit {recipe.task}: {error}") from error
        self.task.progress = 0.0
        self.model = self.task.model.to(self.device, memory_format=torch.channels_last)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.graphs: Graphs | None = None
        if self.device.type == "cuda" and hasattr(self.task, "kind"):
            self.graphs = Graphs(self.task, self.trained)
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer == "soap":
            self.optimizer = Soap(self.trained, recipe.learning_rate, captures=self.graphs is not None)
        else:
            self.optimizer = torch.optim.Adam(
                self.trained, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True
            )
        self.average = Average(self.model, recipe.ema)
        self.step, self.seconds = 0, 0.0
        self.stopping = False
        if resume:
            self._load()

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values = {k: v.to(self.device) for k, v in state["average"].items()}
        self.average.steps = self.step = int(state["step"])
        self.seconds = float(state["seconds"])

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "seconds": self.seconds,
        }
        with atomic_path(self.checkpoint) as path:
            torch.save(state, path)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> dict[str, float]:
        """Train until the time is used up or a signal comes; returns the last validation."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        recipe, scores = self.recipe, dict[str, float]()
        workers = self.workers
        batches = iter(self.task.batches(recipe.seed + self.step + 1000003 * workers.rank))
        last_validation = last_checkpoint = self.seconds
        if self.step == 0 and workers.rank == 0:
            scores = self.validate({}, 0.0)
        logged: dict[str, float] = {}
        skipped = 0
        done = False
        while not done:
            start = time.perf_counter()
            self.task.progress = progress = self.seconds / self.budget
            rate = recipe.rate(progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            batch = to_device(next(batches), self.device)
            self.model.train()
            loss, facts = self._gradients(batch)
            norm = float(nn.utils.clip_grad_norm_(self.trained, recipe.clip))
            if np.isfinite(norm):
                self.optimizer.step()
                self.average.update(self.model)
            else:
                skipped += 1
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % SYNCHRONISE_EVERY == 0 or workers.count == 1:
                # The clock and the wish to stop are shared too: all workers leave the loop together.
                clock = torch.tensor([self.seconds, float(self.stopping)], device=self.device)
                workers.average([*(p.data for p in self.trained), clock])
                self.seconds = float(clock[0])
                done = self.seconds >= self.budget or float(clock[1]) > 0
            self.seconds += time.perf_counter() - start
            if workers.rank:
                continue
            for key, value in {**facts, "loss": loss, "norm": norm}.items():
                value = float(value)
                if np.isfinite(value):
                    logged[key] = value if key not in logged else 0.98 * logged[key] + 0.02 * value
            if self.step % 50 == 0:
                self._report(logged, rate, skipped)
            if self.seconds - last_checkpoint > 60.0 * recipe.checkpoint_every:
                self.save()
                last_checkpoint = self.seconds
            if self.seconds - last_validation > 60.0 * recipe.validate_every:
                scores = self.validate(logged, rate)
                last_validation = self.seconds
        if workers.rank:
            return scores
        self.save()
        if not self.stopping:
            scores = self.validate(logged, 0.0)
            self.export(scores)
        return scores

    def _gradients(self, batch: Any) -> tuple[Tensor, Facts]:
        """Leave a batch's gradients in the parameters; its loss and facts."""
        if self.graphs is not None:
            return self.graphs(batch)
        with reduced_precision(self.device.type):
            loss, facts = self.task.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), facts

    def export(self, scores: dict[str, float]) -> None:
        """Let the task write its model, with the averaged weights."""
        facts = {
            "recipe": vars(self.recipe),
            "steps": self.step,
            "minutes": round(self.seconds / 60.0, 1),
            "device": self.device.type,
            "scores": scores,
            "curve": self.curve(),
        }
        self.model.eval()
        with self.average.applied(self.model):
            self.task.export(self.folder, facts)

    def _report(self, logged: dict[str, float], rate: float, skipped: int) -> None:
        parts = " ".join(f"{k} {v:.4g}" for k, v in logged.items())
        left = (self.budget - self.seconds) / 60.0
        tail = f" skipped {skipped}" if skipped else ""
        end = "\r" if sys.stderr.isatty() else "\n"
        line = f"{self.recipe.name} step {self.step} {self.seconds / 60.0:.1f} min ({left:.0f} left)"
        print(f"{line} rate {rate:.2g} {parts}{tail}", end=end, file=sys.stderr, flush=True)

    @torch.no_grad()
    def validate(self, logged: dict[str, float], rate: float) -> dict[str, float]:
        """Held-out scores of the averaged weights; adds a line to the log and redraws the curve."""
        self.model.eval()
        with self.average.applied(self.model), reduced_precision(self.device.type):
            scores = {k: float(v) for k, v in self.task.validate().items()}
        row = {
            "step": self.step,
            "minutes": self.seconds / 60.0,
            "rate": rate,
            **scores,
            **{f"train_{k}": v for k, v in logged.items()},
        }
        rows = [*self._rows(), {k: f"{v:.6g}" for k, v in row.items()}]
        with atomic_path(self.folder / "log.csv") as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(k for r in rows for k in r)), restval="")
            writer.writeheader()
            writer.writerows(rows)
        print(
            f"{self.recipe.name} step {self.step}: " + " ".join(f"{k} {v:.4g}" for k, v in scores.items()),
            file=sys.stderr,
            flush=True,
        )
        self._plot()
        return scores

    def _rows(self) -> list[dict[str, str]]:
        log = self.folder / "log.csv"
        if self.step == 0 or not log.exists():
            return []
        with log.open(newline="") as file:
            return [r for r in csv.DictReader(file) if int(float(r["step"])) < self.step]

    def curve(self) -> list[tuple[float, float]]:
        """(minutes, held-out score) of every validation so far."""
        log = self.folder / "log.csv"
        if not log.exists():
            return []
        with log.open(newline="") as file:
            return [(float(r["minutes"]), float(r["score"])) for r in csv.DictReader(file)]

    def _plot(self) -> None:
        os.environ.setdefault("MPLBACKEND", "Agg")
        try:
            from matplotlib.figure import Figure
        except ImportError:  # the curve is also in log.csv
            return
        curve = self.curve()
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([x for x, _ in curve], [y for _, y in curve], marker=".")
        axes.set(xlabel="training time, minutes", ylabel="held-out score", title=self.recipe.name)
        axes.grid(alpha=0.3)
        with atomic_path(self.folder / "curve.png") as path:
            figure.savefig(path, dpi=110)
