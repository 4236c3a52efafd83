"""Weights that a filter starts from: those of another one, of another number of channels or branches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.filters import FilterConfig, PictureFilter


def initialise(model: PictureFilter, other: PictureFilter, noise: float = 0.02) -> None:
    """Copy weights of `other`; each branch that it lacks starts as its first one, with relative noise.

    A smaller model keeps the channels of `other` that weigh most, and the first blocks; channels that it has
    inside the last block beyond those of `other` have no effect at first.
    """
    state = _shrunk(other, model.config)
    _widen_last(state, model)
    for branch in range(other.config.branches, model.config.branches):
        for name, value in list(state.items()):
            if name.startswith("branches.0."):
                copied = value + noise * value.std(correction=0) * torch.randn_like(value)
                state[name.replace("branches.0.", f"branches.{branch}.")] = copied
    wanted = model.state_dict()
    for name, value in state.items():
        # What the other one does not depend on has no effect at first.
        if name in wanted and value.dim() == 2 and value.shape[1] < wanted[name].shape[1]:
            state[name] = F.pad(value, (0, wanted[name].shape[1] - value.shape[1]))
        elif ".heads." in name and name in wanted:
            # Luma comes first.
            state[name] = value[: len(wanted[name])]
    model.load_state_dict({name: value for name, value in state.items() if name in wanted})


def _widen_last(state: dict[str, Tensor], model: PictureFilter) -> None:
    """Give the last block as many channels as `model` has there; nothing comes of the new ones at first."""
    wanted = model.state_dict()
    for layer, axis in (("first.weight", 0), ("first.bias", 0), ("second.weight", 1)):
        name = f"branches.0.block.{layer}"
        value, fresh = state[name], wanted[name]
        missing = fresh.shape[axis] - value.shape[axis]
        if missing > 0:
            added = fresh.narrow(axis, value.shape[axis], missing)
            state[name] = torch.cat((value, added * (axis == 0)), axis)


def _shrunk(model: PictureFilter, config: FilterConfig) -> dict[str, Tensor]:
    """The weights of `model` that a model of no more channels keeps."""
    state = model.state_dict()
    entries = ("enter", "down1", "down2")
    kept = []
    for name, width in zip(entries, config.widths, strict=True):
        weight = state[f"{name}.conv.weight"].square().sum((1, 2, 3))
        kept.append(weight.topk(width).indices.sort().values)
    k0, k1, k2 = kept
    everything = {
        "enter": (k0, None), "down1": (k1, k0), "down2": (k2, k1), "blocks1": (k1, k1), "blocks2": (k2, k2),
        "blocks3": (k1, k1), "up1": (_shuffled(k1), k2), "up0": (_shuffled(k0), k1),
    }  # fmt: skip
    result = {}
    for name, value in state.items():
        stage = name.split(".")[0]
        outputs, inputs = everything.get(stage, (None if ".heads." in name else k0, k0))
        if outputs is not None:
            value = value[outputs]
        if value.dim() == 4 and inputs is not None:
            value = value[:, inputs]
        result[name] = value
    return result


def _shuffled(channels: Tensor) -> Tensor:
    """The inputs of a pixel shuffle by 2 that become these channels."""
    return (4 * channels[:, None] + torch.arange(4)).flatten()
