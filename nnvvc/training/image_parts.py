"""Training parts of the image codec by themselves, on what the other parts made once: many more steps in the
same time than training all of it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnvvc.models.layers import set_rounding
from nnvvc.models.simulate import code_latents, in_units, squared_error
from nnvvc.training.image import ImageTask
from nnvvc.training.replay import Facts

KEPT = 1280
KEPT_SIZE = 256
AT_ONCE = 8


def _train_only(model: nn.Module, parts: tuple[str, ...]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(parts))


class ProbabilityTask(ImageTask):
    """Trains hyperprior, probability model and gains, for transforms that stay as they are.

    kept: crops that latents are taken of, once, each at a rate of its own. The other options are
    `ImageTask`'s. The error is that of the linear synthesis.
    """

    def __init__(self, *, kept: int = KEPT, **options: Any) -> None:
        super().__init__(**options)
        _train_only(self.model, ("hyper", "context", "log_gain"))
        rng = np.random.default_rng(5)
        drawn = [self._latents(rng) for _ in range(-(-kept // AT_ONCE))]
        self.latents, self.rates = (torch.cat(parts) for parts in zip(*drawn, strict=True))

    @torch.no_grad()
    def _latents(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        q = self._draw_rates(rng, AT_ONCE)
        return self.model.analysis(self.photos.planes(rng, AT_ONCE, KEPT_SIZE), q).half(), q

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        while True:
            count, _ = self._phase()
            drawn = torch.from_numpy(rng.integers(0, len(self.latents), count))
            latents, q = self.latents[drawn].float(), self.rates[drawn]
            yield {"latents": latents, "q": q, "profile": self._draw_profile(rng)}

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Facts]:
        set_rounding(self.model, self.progress >= self.rounding_from)
        latents, q = batch["latents"], batch["q"]
        hyper = self.model.hyper_analysis(latents, q)
        noise = self.progress < self.noise_until
        coded = code_latents(self.model, latents, hyper, q, batch["profile"], noise)
        lost = self.model.synthesis.linear_path(in_units(self.model, coded, q) - latents)
        error = squared_error(lost, torch.zeros_like(lost), self.chroma_weights)
        return self.balanced(coded.rate, error, q)


class SynthesisTask(ImageTask):
    """Trains the nonlinear synthesis on latents as the rest of the codec decodes them.

    kept: crops that are coded once, each at a rate of its own. The other options are `ImageTask`'s.
    """

    def __init__(self, *, kept: int = KEPT, **options: Any) -> None:
        super().__init__(**options)
        _train_only(self.model, ("synthesis",))
        self.model.synthesis.linear.requires_grad_(False)
        rng = np.random.default_rng(6)
        set_rounding(self.model, True)
        self.model.eval()
        batches = [self._coded(rng) for _ in range(-(-kept // AT_ONCE))]
        self.coded = {key: torch.cat([b[key] for b in batches]) for key in batches[0]}

    @torch.no_grad()
    def _coded(self, rng: np.random.Generator) -> dict[str, Tensor]:
        planes = self.photos.planes(rng, AT_ONCE, KEPT_SIZE)
        q = self._draw_rates(rng, AT_ONCE)
        latents = self.model.analysis(planes, q)
        hyper = self.model.hyper_analysis(latents, q)
        coded = code_latents(self.model, latents, hyper, q, "high", noise=False)
        return {"decoded": in_units(self.model, coded, q).half(), "planes": planes.half(), "q": q}

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        while True:
            count, _ = self._phase()
            drawn = torch.from_numpy(rng.integers(0, len(self.coded["q"]), count))
            yield {key: value[drawn].float() for key, value in self.coded.items()}

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Facts]:
        set_rounding(self.model, self.progress >= self.rounding_from)
        planes, q = batch["planes"], batch["q"]
        error = squared_error(self.model.synthesis(batch["decoded"], q), planes, self.chroma_weights)
        return self.balanced(torch.zeros_like(q), error, q)
