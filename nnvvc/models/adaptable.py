"""Which numbers of a filter may change with the content, and the filter with such a change."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from nnvvc.models.sharing import replaced

Kind = Literal["sent", "biases", "biases and gains", "last layer", "all weights"]
"""sent: what streams carry, biases of every layer, and taps where there are any; the others are for
comparison. gains: factors of every convolution's outputs, as differences to 1.
"""


TAPS, GRID_TAPS = "taps.weight", "taps.grid"
"""The parameters of a filter's taps."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class _Part:
    """Some of the values: `count` of them make a changed tensor of the parameter `name`."""

    name: str
    count: int
    apply: Callable[[Tensor, Tensor], Tensor]


def _add(parameter: Tensor, values: Tensor) -> Tensor:
    return parameter + values.view_as(parameter)


def _scale(parameter: Tensor, values: Tensor) -> Tensor:
    return parameter * (1 + values[:, None, None, None])


class Adaptable(Generic[Network]):
    """The numbers of one kind, in the order of a filter's layers; an update has a value for each.

    count: of them. places: where those of a parameter are.
    """

    def __init__(self, model: Network, kind: Kind = "sent") -> None:
        self.model = model
        parameters: Mapping[str, Tensor] = dict(model.named_parameters())
        self._parts: list[_Part] = []
        for name, parameter in parameters.items():
            chosen = {
                "sent": name.endswith("bias") or name in (TAPS, GRID_TAPS),
                "biases": name.endswith("bias"),
                "biases and gains": name.endswith("bias"),
                "last layer": name.startswith("head."),
                "all weights": name not in (TAPS, GRID_TAPS),
            }[kind]
            if chosen:
                self._parts.append(_Part(name, parameter.numel(), _add))
        if kind == "biases and gains":
            self._parts += [_Part(n, len(p), _scale) for n, p in parameters.items() if p.dim() == 4]
        ends = list(itertools.accumulate(part.count for part in self._parts))
        self.count = ends[-1]
        self.places = {p.name: slice(end - p.count, end) for p, end in zip(self._parts, ends, strict=True)}

    def changed(self, values: Tensor) -> dict[str, Tensor]:
        """The parameters with `values`, (count,), applied, for `torch.func.functional_call`."""
        parameters = dict(self.model.named_parameters())
        parts = torch.split(values, [part.count for part in self._parts])
        return {
            part.name: part.apply(parameters[part.name], own)
            for part, own in zip(self._parts, parts, strict=True)
        }

    def applied(self, values: Tensor) -> Network:
        """The model with `values`, (count,), applied, for inference: it shares what they do not change."""
        return replaced(self.model, self.changed(values))
