"""Adam in the eigenbasis of each weight's gradients: fewer steps than Adam where terms of a loss pull apart.

SOAP (Vyas et al., arXiv 2409.11321); what it does for learned image compression is in Zhang and Zhu, arXiv
2601.20769. Rotations are matrix products in bfloat16, where that is fast: they cost little beside the
networks then.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from nnvvc.models.precision import product_dtype

LARGEST_SIDE = 256
"""Sides of a weight matrix larger than this are not rotated."""
REFRESH_EVERY = 20
"""Steps from one look at a basis to the next."""
SEEN_BEFORE_CAPTURE = 3
"""The step of a set of gradients that is captured; libraries choose their kernels in those before it."""


class _Basis:
    """Eigenvectors of the running mean of G G^T (left) or G^T G (right), kept up by power iteration."""

    @staticmethod
    def start(gram: Tensor) -> dict[str, Tensor]:
        damped = gram + 1e-12 * torch.eye(len(gram), device=gram.device)
        vectors = torch.linalg.eigh(damped)[1].flip(1).contiguous()
        return {"gram": gram, "vectors": vectors, "rotation": vectors.to(_type(vectors))}

    @staticmethod
    def refresh(basis: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Bring the basis up to date, in its place.

        Returns its new order, and the rotation from the old basis (in that order).
        """
        old, gram = basis["vectors"], basis["gram"]
        order = torch.einsum("ij,ij->j", old, gram @ old).argsort(descending=True)
        ordered = old[:, order]
        basis["vectors"].copy_(torch.linalg.qr(gram @ ordered)[0])
        basis["rotation"].copy_(basis["vectors"])
        return order, basis["vectors"].T @ ordered


class Soap(torch.optim.Optimizer):
    """Drop-in for Adam. Weights of more dimensions are matrices (outputs, the rest); vectors get Adam.

    lr, betas, eps: as Adam's, and an update has the size of Adam's. Parameters without a gradient are left
    alone. captures: on a GPU, for gradients that lie in the same memory in every step of a kind
    (`replay.Graphs`).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        captures: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        self.captures = captures
        self._captured: dict[tuple[int, ...], torch.cuda.CUDAGraph] = {}
        self._seen: dict[tuple[int, ...], int] = {}
        self._rate: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; `closure` is not supported."""
        for group in self.param_groups:
            self._step(group)

    def _step(self, group: dict[str, Any]) -> None:
        used: list[tuple[nn.Parameter, dict[str, Any]]] = []
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                self._start(state, _matrix(p.grad, p))  # the first gradient only shows the basis
            else:
                used.append((p, state))
        if not used:
            return
        self._update(group, used)
        for number, (_, state) in enumerate(used):
            state["count"] = count = state.get("count", 0) + 1
            if (count + number) % REFRESH_EVERY == 0 or count == 1:
                self._refresh(state)

    def _update(self, group: dict[str, Any], used: list[tuple[nn.Parameter, dict[str, Any]]]) -> None:
        """Move the parameters. Where `captures` is set, the steps are captured for each set of gradients."""
        if not self.captures:
            self._move(group, used, group["lr"])
            return
        place = tuple(p.grad.data_ptr() for p, _ in used if p.grad is not None)
        if self._rate is None:
            self._rate = torch.zeros((), device=used[0][0].device)
        self._rate.fill_(group["lr"])
        self._seen[place] = seen = self._seen.get(place, 0) + 1
        if seen < SEEN_BEFORE_CAPTURE:
            self._move(group, used, self._rate)
            return
        if seen == SEEN_BEFORE_CAPTURE:
            self._captured[place] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._captured[place]):
                self._move(group, used, self._rate)
        self._captured[place].replay()

    def _move(
        self, group: dict[str, Any], used: list[tuple[nn.Parameter, dict[str, Any]]], rate: float | Tensor
    ) -> None:
        first, second = group["betas"]
        rotated = [self._forward(s, _matrix(p.grad, p), second) for p, s in used if p.grad is not None]
        # Adam, applied to nothing: what it makes of zeros is the update.
        updates = [torch.zeros_like(r) for r in rotated]
        adam(
            updates,
            rotated,
            [s["mean"] for _, s in used],
            [s["square"] for _, s in used],
            [],
            [s["step"] for _, s in used],
            fused=True,
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=rate,
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
        for (p, state), update in zip(used, updates, strict=True):
            _matrix(p, p).add_(self._back(state, update))

    @staticmethod
    def _start(state: dict[str, Any], matrix: Tensor) -> None:
        state |= {
            "step": torch.zeros((), device=matrix.device),
            "mean": torch.zeros_like(matrix),
            "square": torch.zeros_like(matrix),
        }
        rows, columns = matrix.shape
        if columns == 1:
            return
        if rows <= LARGEST_SIDE:
            state["left"] = _Basis.start(matrix @ matrix.T)
        if columns <= LARGEST_SIDE:
            state["right"] = _Basis.start(matrix.T @ matrix)

    @staticmethod
    def _forward(state: dict[str, Any], matrix: Tensor, decay: float) -> Tensor:
        """The gradient in the eigenbasis; takes it into the bases' statistics."""
        if "left" not in state and "right" not in state:
            return matrix
        x = g = matrix.to(_type(matrix))
        if "left" in state:
            state["left"]["gram"].lerp_((g @ g.T).float(), 1 - decay)
            x = _rotation(state, "left").T @ x
        if "right" in state:
            state["right"]["gram"].lerp_((g.T @ g).float(), 1 - decay)
            x = x @ _rotation(state, "right")
        return x.float()

    @staticmethod
    def _back(state: dict[str, Any], update: Tensor) -> Tensor:
        if "left" not in state and "right" not in state:
            return update
        x = update.to(_type(update))
        if "left" in state:
            x = _rotation(state, "left") @ x
        if "right" in state:
            x = x @ _rotation(state, "right").T
        return x

    @staticmethod
    def _refresh(state: dict[str, Any]) -> None:
        if "left" in state:
            order, change = _Basis.refresh(state["left"])
            state["square"].copy_(state["square"][order])
            state["mean"].copy_(change @ state["mean"][order])
        if "right" in state:
            order, change = _Basis.refresh(state["right"])
            state["square"].copy_(state["square"][:, order])
            state["mean"].copy_(state["mean"][:, order] @ change.T)


def _rotation(state: dict[str, Any], side: str) -> Tensor:
    basis: dict[str, Tensor] = state[side]
    wanted = _type(basis["vectors"])
    if basis["rotation"].dtype != wanted:  # a state that was loaded comes in the type of its parameter
        basis["rotation"] = basis["rotation"].to(wanted)
    return basis["rotation"]


def _type(x: Tensor) -> torch.dtype:
    return product_dtype() if x.device.type == "cpu" else torch.float32


def _matrix(x: Tensor, like: Tensor) -> Tensor:
    """`x` as (outputs, everything else), in the order in which `like` lies in memory: a view of `like`."""
    if like.dim() < 2:
        return x.view(-1, 1)
    if like.dim() == 4 and not like.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)
