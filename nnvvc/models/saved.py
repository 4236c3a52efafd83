"""Weights and the model card beside them, as filters have them in the package."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nnvvc.errors import UnknownModel

Network = TypeVar("Network", bound=torch.nn.Module)
Config = TypeVar("Config")

Card = dict[str, Any]
"""`config`: the fields of the network's configuration. All else is for readers."""


def config_of(kind: type[Config], given: dict[str, Any]) -> Config:
    """A configuration of plain values, as cards and recipes have them; raises TypeError for a name that is
    not a field.
    """
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def save_weights(model: torch.nn.Module, path: Path, card: Card) -> None:
    """Write float16 weights to `path` (.safetensors), and beside them the card."""
    save_file({k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}, path)
    write_card(path, card)


def write_card(path: Path, card: Card) -> None:
    """The model card beside the weights at `path`."""
    path.with_suffix(".json").write_text(json.dumps(card, indent=1, default=str) + "\n")


def load_weights(path: Path, make: Callable[[Card], Network]) -> Network:
    """The network that `save_weights` wrote, in float32, for inference.

    make: from its card. Raises UnknownModel where the files are not sound.
    """
    try:
        model = make(json.loads(path.with_suffix(".json").read_text()))
        model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnknownModel(f"the filter weights {path.name} cannot be loaded: {error}") from error
    return model.eval().requires_grad_(False)
