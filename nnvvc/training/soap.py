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


class _Basis:
    """Eigenvectors of the running mean of G G^T (left) or G^T G (right), kept up by power iteration."""

    @staticmethod
    def start(gram: Tensor) -> dict[str, Tensor]:
        damped = gram + 1e-12 * torch.eye(len(gram), device=gram.device)
        vectors = torch.linalg.eigh(damped)[1].flip(1).contiguous()
        return {"gram": gram, "vectors": vectors, "rotation": vectors.to(_type(vectors))}

    @staticmethod
    def refresh(basis: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Bring the basis up to date: its new order, and the rotation from the old basis (in that order)."""
        old, gram = basis["vectors"], basis["gram"]
        order = torch.einsum("ij,ij->j", old, gram @ old).argsort(descending=True)
        ordered = old[:, order]
        basis["vectors"] = torch.linalg.qr(gram @ ordered)[0]
        basis["rotation"] = basis["vectors"].to(_type(gram))
        return order, basis["vectors"].T @ ordered


class Soap(torch.optim.Optimizer):
    """Drop-in for Adam. Weights of more dimensions are matrices (outputs, the rest); vectors get Adam.

    lr, betas, eps: as Adam's, and an update has the size of Adam's. Parameters without a gradient are left
    alone.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; `closure` is not supported."""
        for group in self.param_groups:
            self._step(group)

    def _step(self, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        used: list[tuple[nn.Parameter, dict[str, Any]]] = []
        rotated: list[Tensor] = []
        for p in group["params"]:
            if p.grad is None:
                continue
            matrix = _matrix(p.grad, p)
            state = self.state[p]
            if not state:
                self._start(state, matrix)
                continue  # the first gradient only shows the basis
            used.append((p, state))
            rotated.append(self._forward(state, matrix, second))
        if not used:
            return
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
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
        for number, ((p, state), update) in enumerate(zip(used, updates, strict=True)):
            _matrix(p, p).add_(self._back(state, update))
            step = int(state["step"])
            if (step + number) % REFRESH_EVERY == 0 or step == 1:
                self._refresh(state)

    @staticmethod
    def _start(state: dict[str, Any], matrix: Tensor) -> None:
        state |= {
            "step": torch.zeros(()),
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
            state["square"] = state["square"][order]
            state["mean"] = change @ state["mean"][order]
        if "right" in state:
            order, change = _Basis.refresh(state["right"])
            state["square"] = state["square"][:, order]
            state["mean"] = state["mean"][:, order] @ change.T


def _rotation(state: dict[str, Any], side: str) -> Tensor:
    result: Tensor = state[side]["rotation"]
    return result.to(_type(result))  # a state that was loaded comes in the type of its parameter


def _type(x: Tensor) -> torch.dtype:
    return product_dtype(x.device.type)


def _matrix(x: Tensor, like: Tensor) -> Tensor:
    """`x` as (outputs, everything else), in the order in which `like` lies in memory: a view of `like`."""
    if like.dim() < 2:
        return x.view(-1, 1)
    if like.dim() == 4 and not like.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)
