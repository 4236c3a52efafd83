"""A recipe: the YAML file that says what is trained, how, for how long and where the run is kept."""

import importlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from nnvvc.errors import ConfigError, InputError

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with the package; `nnvvc train image_people` finds them by name."""

OPTIMIZERS = ("adam", "soap")


@dataclass(frozen=True)
class Recipe:
    """One training run.

    task: class to train, as "package.module:Class"; options: keyword arguments of its constructor.
    run: folder of checkpoint, log, curve and exported model. minutes: training time, validation
    left out; the learning-rate schedule follows it. learning_rate rises over `warmup` (a share of
    the time), stays, and from `decay_from` on falls as a cosine to `final_rate` times itself. optimizer:
    `adam` or `soap`. clip: largest gradient norm. ema: decay per step of the averaged weights.
    validate_every, checkpoint_every: minutes.
    """

    name: str
    task: str
    run: str
    minutes: float = 30.0
    seed: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    warmup: float = 0.01
    decay_from: float = 0.5
    final_rate: float = 0.02
    clip: float = 1.0
    ema: float = 0.998
    validate_every: float = 5.0
    checkpoint_every: float = 2.0
    threads: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 to 1) of the training time."""
        import math

        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        if progress < self.decay_from:
            return self.learning_rate
        share = min((progress - self.decay_from) / max(1.0 - self.decay_from, 1e-9), 1.0)
        low = self.final_rate
        return self.learning_rate * (low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * share)))


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file, or the packaged recipe of that name.

    Raises InputError where there is no such file, ConfigError where its content is not a recipe.
    """
    file = Path(path)
    if not file.exists() and (RECIPES / f"{path}.yaml").exists():
        file = RECIPES / f"{path}.yaml"
    try:
        text = file.read_text()
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise InputError(f"cannot read the recipe {path}; packaged ones: {known or 'none'}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} holds no recipe: `task`, `run` and so on are expected")
    known_keys = {f.name for f in fields(Recipe)}
    if unknown := set(content) - known_keys:
        known = ", ".join(sorted(known_keys))
        raise ConfigError(f"{file}: unknown {', '.join(sorted(unknown))}; known are {known}")
    content.setdefault("name", file.stem)
    content.setdefault("run", f"runs/{file.stem}")
    if not isinstance(content.get("task"), str):
        raise ConfigError(f"{file}: `task` names the class to train, as package.module:Class")
    for f in fields(Recipe):
        if f.type in (float, int) and f.name in content:
            try:
                content[f.name] = f.type(content[f.name])
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{file}: {f.name} must be a number, not {content[f.name]!r}") from error
    recipe = Recipe(**content)
    if recipe.optimizer not in OPTIMIZERS:
        raise ConfigError(f"{file}: optimizer is {' or '.join(OPTIMIZERS)}, not {recipe.optimizer!r}")
    return recipe


def task_class(name: str) -> Any:
    """The class that "package.module:Class" names. Raises ConfigError where there is none."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the recipe's task {name} cannot be loaded: {error}") from error
