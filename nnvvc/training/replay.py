"""Losses and gradients as CUDA graphs.

The image codec's networks are small and many: on a GPU a training step is thousands of short kernels, and
starting them takes Python several times as long as running them. A graph is captured once for each kind of
batch and replayed then.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nnvvc.models.precision import reduced_precision

WARM_UP = 3
"""Steps before a capture: libraries choose their kernels in these."""

Facts = Mapping[str, Tensor | float]
"""What is logged of a step."""


class Losses(Protocol):
    """A task (`runner.Task`) whose losses may be captured, anew for each `kind` of batch.

    `kind` says all that a batch's loss depends on but for what is in tensors, the task's own state included.
    Facts are tensors then.
    """

    def kind(self, batch: Any) -> Hashable: ...
    def loss(self, batch: Any) -> tuple[Tensor, Facts]: ...


def copied(batch: Any, into: Any = None) -> Any:
    """`batch` with its tensors copied, into those of `into` where given."""
    if isinstance(batch, Tensor):
        return batch.clone() if into is None else into.copy_(batch, non_blocking=True)
    if isinstance(batch, dict):
        return {k: copied(v, None if into is None else into[k]) for k, v in batch.items()}
    return batch


class Replayed:
    """One kind of batch: calling it leaves gradients in `parameters` and gives loss and facts.

    Gradients of parameters that this kind does not use are None, as after a backward pass.
    """

    def __init__(self, losses: Losses, parameters: list[nn.Parameter], batch: Any, pool: Any) -> None:
        self.parameters = parameters
        self.batch = copied(batch)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._forget()
                self._run(losses)
        torch.cuda.current_stream().wait_stream(side)
        self._forget()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.result = self._run(losses)
        self.gradients = [p.grad for p in parameters]

    def _forget(self) -> None:
        for p in self.parameters:
            p.grad = None

    def _run(self, losses: Losses) -> tuple[Tensor, Facts]:
        with reduced_precision("cuda"):
            result, facts = losses.loss(self.batch)
        result.backward()  # type: ignore[no-untyped-call]
        return result.detach(), facts

    def __call__(self, batch: Any) -> tuple[Tensor, Facts]:
        copied(batch, self.batch)
        self.graph.replay()
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
        return self.result


class Graphs:
    """The losses of a task, one graph for each kind of batch; its tensors always have the same shapes."""

    def __init__(self, losses: Losses, parameters: list[nn.Parameter]) -> None:
        self.losses, self.parameters = losses, parameters
        self.known: dict[Hashable, Replayed] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, batch: Any) -> tuple[Tensor, Facts]:
        kind = self.losses.kind(batch)
        if kind not in self.known:
            self.known[kind] = Replayed(self.losses, self.parameters, batch, self.pool)
        return self.known[kind](batch)
