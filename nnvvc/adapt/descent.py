"""Fitting a few numbers to pictures: gradient steps for a given time, and the mean of the later ones."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_STEPS = 300

Values = NDArray[np.float32]
"""What an update changes a filter by, (count,), in the order of `Adaptable`."""


@dataclass(frozen=True)
class Candidate:
    """Values that an update may be made of.

    gain: what values near them gain, where filtering need not tell: in decibels or, to an encoder, as a share
    of the bits. rounded: takes them as whole multiples of a step, the step, the bits that a gain of 1 is
    worth, and numbers to which differences can be coded, if any; gives better multiples.
    """

    values: Values
    gain: Callable[[Values], float] | None = None
    rounded: Callable[[Sequence[int], float, float, Sequence[int] | None], Iterable[list[int]]] | None = None


def descend(loss: Callable[[Tensor], Tensor], start: Values, seconds: float, learning_rate: float) -> Values:
    """Values with less loss than `start`, after `seconds` or MAX_STEPS. loss: of values, with gradients."""
    change = torch.from_numpy(start.copy()).requires_grad_(True)
    optimizer = torch.optim.Adam([change], learning_rate, betas=(0.9, 0.98))
    average = torch.zeros_like(change)
    weight, began = 0.0, time.monotonic()
    for step in range(MAX_STEPS):
        passed = max(step / MAX_STEPS, (time.monotonic() - began) / seconds if seconds else 1.0)
        if passed >= 1:
            break
        optimizer.param_groups[0]["lr"] = learning_rate * (0.505 + 0.495 * math.cos(math.pi * passed))
        value = loss(change)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if passed > 0.5:
            average += change.detach()
            weight += 1
    result: Values = (average / weight if weight else change.detach()).numpy()
    return result
