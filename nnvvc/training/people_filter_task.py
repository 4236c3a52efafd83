"""Training of the filter for people: least squared error to the original, at full size, in 4:2:0."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.filters import PictureFilter, filter_config, save_filter
from nnvvc.training.filter_data import make_patches
from nnvvc.training.filter_task import Batch, CodedPatches
from nnvvc.training.photos import data_folder
from nnvvc.training.runner import to_device

FULL = Fraction(1)

DECIBELS = -10 / math.log(10)
"""Decibels gained for a logarithm of the error left."""

LUMA_SHARE = 0.8
"""Of the loss; the rest is chroma's."""


def to_planes(rgb: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, H, W) and chroma (N, 2, H / 2, W / 2), as the filter takes them, of RGB in 0..1.

    matrix: (N, 2), Kr and Kb (H.273). Chroma is the mean of 2x2 samples.
    """
    kr, kb = matrix[:, 0, None, None], matrix[:, 1, None, None]
    r, g, b = rgb.unbind(1)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    chroma = torch.stack(((b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)), 1)
    return luma[:, None], F.avg_pool2d(chroma, 2)


def log_error(planes: Tensor, wanted: Tensor, before: Tensor) -> Tensor:
    """Natural logarithm of the squared error over that of the unfiltered planes, per picture: (N,)."""
    error = (planes - wanted).square().mean((1, 2, 3)) + 1e-7
    return torch.log(error / ((before - wanted).square().mean((1, 2, 3)) + 1e-7))


class PeopleFilterTask:
    """The task that the training runner drives.

    The loss is the mean logarithm of the error left, since rate is compared at equal PSNR, and every picture
    and QP counts alike. folder: coded patches; made of the pictures in `photos` where they are missing, as
    for `FilterTask`. config: fields of `FilterConfig`. batch: pictures per step.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        config: dict[str, Any] | None = None,
        batch: int = 4,
    ) -> None:
        if photos is not None or not list(Path(folder).glob("p*_s11_q*.npz")):
            make_patches(sorted(data_folder(photos, "train").glob("*.*")), Path(folder))
        self.patches = CodedPatches(Path(folder))
        self.model = PictureFilter(filter_config({"ups": [1], **(config or {})}))
        self.batch = batch
        self.progress = 0.0

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches, with a QP drawn for every picture."""
        rng = np.random.default_rng(seed)
        while True:
            qps = rng.choice(self.patches.qps(FULL), self.batch).tolist()
            yield self.patches.sample(FULL, qps, rng)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Log error of luma and chroma by their shares; both are logged as decibels gained."""
        luma, chroma = self._errors(batch)
        loss = LUMA_SHARE * luma.mean() + (1 - LUMA_SHARE) * chroma.mean()
        gains = {
            "dB": DECIBELS * float(luma.detach().mean()),
            "dB_chroma": DECIBELS * float(chroma.detach().mean()),
        }
        return loss, gains

    def _errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        luma, chroma = to_planes(batch["original"], batch["matrix"])
        filtered = self.model(batch["luma"], batch["chroma"], batch["qp"], batch["scale"], 1)[0]
        return log_error(filtered[0], luma, batch["luma"]), log_error(filtered[1], chroma, batch["chroma"])

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Luma PSNR gained on held-out patches, in decibels, per QP; the score is their negative mean."""
        device = next(self.model.parameters()).device
        gains: dict[str, float] = {}
        for qp in self.patches.qps(FULL):
            batch = self.patches.held_out(FULL, qp)
            if batch is not None:
                gains[f"dB_qp{qp}"] = DECIBELS * float(self._errors(to_device(batch, device))[0].mean())
        return gains | {"score": -float(np.mean(list(gains.values())))}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        save_filter(self.model, folder / "filter.safetensors", facts)
