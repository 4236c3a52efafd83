"""The multi-scale progressive probability model of the latents (Zhang et al., arXiv 2108.10551 and
2210.04112).

The latent picture is coded in a constant number of steps: the four phases of a 2x2 polyphase split,
(0,0), (1,1), (0,1), (1,0), each in one or several channel groups. A step is a dense convolution over what
is known, evaluated at the positions of its own phase only; it gives mean and scale of every new value at
once. The fast profile takes the phases two by two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.layers import Conv, Split

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
PROFILES = ("fast", "base", "high")


@dataclass(frozen=True)
class ContextConfig:
    """width: channels of the context features and of the heads; groups: channel groups of the profile
    `high`.
    """

    width: int = 160
    groups: tuple[int, ...] = (32, 80, 272)


@dataclass(frozen=True)
class Step:
    """Phases coded together, with the context convolution of each, and the channels [start, stop)."""

    phases: tuple[tuple[int, int], ...]
    contexts: tuple[int, ...]
    group: int
    start: int
    stop: int


class Head(nn.Module):
    """From features at the positions of a phase to mean and log2 scale of a channel group."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first = Conv(inputs, width, 1, conditioned=True)
        self.second = Conv(width, width, 1)
        self.mean = Conv(width, outputs, 1, wide=True, zero=True)
        self.scale = Conv(width, outputs, 1, wide=True, zero=True)

    def forward(self, x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        x = self.second(self.first(x, q))
        return self.mean(x), self.scale(x)


class Context(nn.Module):
    """The networks of all profiles; they share the context convolutions and differ in their heads."""

    def __init__(self, config: ContextConfig, latents: int, features: int) -> None:
        super().__init__()
        if sum(config.groups) != latents:
            raise ValueError(f"groups {config.groups} do not add up to {latents} latents")
        self.latents = latents
        self.groups = config.groups
        width = config.width
        self.split = Split()
        self.first = Conv(features, width, 1)
        self.contexts = nn.ModuleList(Conv(2 * latents, width, 3, stride=2, pad=0) for _ in PHASES[1:])
        heads = {p: [latents] for p in ("fast", "base")} | {"high": list(config.groups)}
        self.heads = nn.ModuleDict()
        for profile, sizes in heads.items():
            known = [sum(sizes[:i]) for i in range(len(sizes))]
            self.heads[profile] = nn.ModuleList(
                Head(features + width + 2 * k, width, size) for k, size in zip(known, sizes, strict=True)
            )

    def means(self) -> Iterator[tuple[Conv, slice]]:
        """The layers that give means, and the components that they give them for."""
        for heads in self.heads.values():
            start = 0
            for head in heads:  # type: ignore[attr-defined]
                size = len(head.mean.bias)
                yield head.mean, slice(start, start + size)
                start += size

    def steps(self, profile: str) -> list[Step]:
        """The steps of a profile, in coding order."""
        sizes = self.groups if profile == "high" else (self.latents,)
        phases: list[tuple[tuple[tuple[int, int], ...], tuple[int, ...]]]
        if profile == "fast":
            phases = [(PHASES[:2], (0, 0)), (PHASES[2:], (2, 2))]
        else:
            phases = [((p,), (i,)) for i, p in enumerate(PHASES)]
        steps = []
        for where, contexts in phases:
            start = 0
            for group, size in enumerate(sizes):
                steps.append(Step(where, contexts, group, start, start + size))
                start += size
        return steps

    def spatial(self, index: int, phase: tuple[int, int], canvas: Tensor, features: Tensor) -> Tensor:
        """Features at a phase's positions: hyper features and context of the known latents in `canvas`.

        canvas (B, latents, H, W): known latents, zero where unknown. Returns (B, features + width, H/2, W/2).
        """
        dy, dx = phase
        here = features[:, :, dy::2, dx::2]
        if index == 0:
            context = self.first(here)
        else:
            height, width = canvas.shape[2:]
            around = F.pad(canvas, (1, 1, 1, 1))[:, :, dy : dy + height + 1, dx : dx + width + 1]
            context = self.contexts[index - 1](self.split(around))
        return torch.cat([here, context], 1)

    def parameters_of(
        self, profile: str, step: Step, spatial: Tensor, known: Tensor, q: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log2 scale of one phase's group; known (B, step.start, H/2, W/2): the phase's earlier
        groups.
        """
        head = self.heads[profile][step.group]  # type: ignore[index]
        x = torch.cat([spatial, self.split(known)], 1) if step.start else spatial
        result: tuple[Tensor, Tensor] = head(x, q)
        return result
