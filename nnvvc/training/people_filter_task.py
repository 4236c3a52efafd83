"""Training of the filter for people: least squared error to the original, in 4:2:0."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.models.restoration import (
    RestorationConfig,
    RestorationFilter,
    load_restoration,
    quantiser_step,
    save_restoration,
)
from nnvvc.training.clip_data import PATCH, make_clips
from nnvvc.training.photos import data_folder
from nnvvc.training.runner import to_device

HELD_OUT = "m0"
"""Clip that is for validation only."""

DECIBELS = -10 / math.log(10)
"""Decibels gained for a logarithm of the error left."""

MARGIN = 16
"""Luma samples at a patch's sides that do not count: a mosaic's next patch bleeds into them."""

LAYER_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 3.0)
"""How often patches of a layer are drawn: most pictures are of the last ones."""

CHROMA_SHARE = 0.2
"""Of the loss; the rest is luma's."""

FLOOR = 0.03
"""Error, in quantiser steps, below which a patch counts less and less."""


class Batch(TypedDict):
    """luma, chroma, wanted, wanted_chroma: as `RestorationFilter` takes planes. key_qp, layer: (N,)."""

    luma: Tensor
    chroma: Tensor
    wanted: Tensor
    wanted_chroma: Tensor
    key_qp: Tensor
    layer: Tensor


class Coded:
    """The patches of one file of `clip_data`."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.decoded: NDArray[np.uint16] = stored["decoded"]
            self.original: NDArray[np.uint16] = stored["original"]
            self.layer: NDArray[np.int64] = stored["layer"]
            self.key_qp = float(stored["key_qp"])
        weights = np.array(LAYER_WEIGHTS)[np.minimum(self.layer, len(LAYER_WEIGHTS) - 1)]
        self.weight = float(weights.sum())
        self.shares: NDArray[np.float64] = weights / weights.sum()


def to_planes(samples: NDArray[np.uint16], size: int) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, size, size) and chroma (N, 2, size / 2, size / 2) of rows of 10-bit samples."""
    rows = torch.from_numpy(samples.astype(np.float32))
    luma = (rows[:, : size * size].view(-1, 1, size, size) - 64) / 876
    return luma, (rows[:, size * size :].view(-1, 2, size // 2, size // 2) - 512) / 896


def log_error(planes: Tensor, wanted: Tensor, before: Tensor, floor: Tensor) -> Tensor:
    """Natural logarithm of the squared error over that of the unfiltered planes, per picture: (N,).

    floor: (N,), added to both errors.
    """
    after = (planes - wanted).square().mean((1, 2, 3)) + floor
    return torch.log(after / ((before - wanted).square().mean((1, 2, 3)) + floor))


class PeopleFilterTask:
    """The task that the training runner drives.

    The loss is the mean logarithm of the error left, since rate is compared at equal PSNR, and every picture
    and QP counts alike. folder: coded clips; where there are none they are made, of the folders `photos` and
    `video` (default: `train` and `video` in the folder that NNVVC_DATA names). config: fields of
    `RestorationConfig`. start: filter to start from. batch: patches per step.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        video: str | None = None,
        config: dict[str, Any] | None = None,
        start: str | None = None,
        batch: int = 8,
    ) -> None:
        self._folder = Path(folder)
        self._train: list[Coded] = []
        self._held_out: list[Coded] = []
        self._seen: set[Path] = set()
        if not list(self._folder.glob("*_q*.npz")):
            self.make_data(self._folder, photos, video)
        self.rescan()
        self.model = RestorationFilter(RestorationConfig.of(config or {}))
        if start:
            self.model.load_state_dict(load_restoration(Path(start)).state_dict())
        self.batch = batch
        self.progress = 0.0

    def make_data(self, folder: Path, photos: str | None, video: str | None) -> None:
        """Fill the folder that training reads."""
        make_clips(data_folder(photos, "train"), data_folder(video, "video"), folder)

    def rescan(self) -> None:
        """Take in clips that were coded since."""
        for path in sorted(set(self._folder.glob("*_q*.npz")) - self._seen):
            self._seen.add(path)
            held_out = path.stem.rsplit("_", 1)[0] == HELD_OUT
            (self._held_out if held_out else self._train).append(Coded(path))

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches of patches from anywhere, mirrored and turned at random."""
        rng = np.random.default_rng(seed)
        while True:
            for _ in range(500):
                weights = np.array([f.weight for f in self._train])
                drawn = rng.choice(len(weights), self.batch, p=weights / weights.sum()).tolist()
                files = [self._train[i] for i in drawn]
                rows = [(f, int(rng.choice(len(f.layer), p=f.shares))) for f in files]
                yield batch_of(rows, mirrored=bool(rng.integers(2)), turned=bool(rng.integers(2)))
            self.rescan()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Log error of luma and chroma by their shares; both are logged as decibels gained."""
        luma, chroma = self._errors(batch)
        loss = (1 - CHROMA_SHARE) * luma.mean() + CHROMA_SHARE * chroma.mean()
        gains = {
            "dB": DECIBELS * float(luma.detach().mean()),
            "dB_chroma": DECIBELS * float(chroma.detach().mean()),
        }
        return loss, gains

    def _errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        luma, chroma = self.model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layer"])
        floor = (FLOOR * quantiser_step(batch["key_qp"])).square()
        big = [_inner(p, MARGIN) for p in (luma, batch["wanted"], batch["luma"])]
        small = [_inner(p, MARGIN // 2) for p in (chroma, batch["wanted_chroma"], batch["chroma"])]
        return log_error(big[0], big[1], big[2], floor), log_error(small[0], small[1], small[2], floor)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Luma PSNR gained on held-out patches, in decibels, per QP; the score is their negative mean.

        Per QP and layer the squared errors of all patches are taken together, as in a picture; layers count
        by the number of their pictures in a group.
        """
        device = next(self.model.parameters()).device
        gains: dict[str, float] = {}
        for file in self._held_out:
            found = []
            for layer in np.unique(file.layer):
                rows = [(file, int(i)) for i in np.flatnonzero(file.layer == layer)]
                batch = to_device(batch_of(rows), device)
                filtered = self.model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layer"])[0]
                before = _inner(batch["luma"] - batch["wanted"], MARGIN).square().mean()
                after = _inner(filtered - batch["wanted"], MARGIN).square().mean()
                found.append((float(DECIBELS * torch.log(after / before)), 2.0 ** max(0, layer - 2)))
            value, weight = np.array(found).T
            gains[f"dB_qp{file.key_qp:.0f}"] = float((value * weight).sum() / weight.sum())
        return gains | {"score": -float(np.mean(list(gains.values())))}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        save_restoration(self.model, folder / "filter.safetensors", facts)


def _inner(planes: Tensor, margin: int) -> Tensor:
    return planes[..., margin:-margin, margin:-margin]


def batch_of(rows: list[tuple[Coded, int]], mirrored: bool = False, turned: bool = False) -> Batch:
    """These rows of these files."""
    luma, chroma = to_planes(np.stack([file.decoded[row] for file, row in rows]), PATCH)
    wanted, wanted_chroma = to_planes(np.stack([file.original[row] for file, row in rows]), PATCH)
    planes = [luma, chroma, wanted, wanted_chroma]
    if mirrored:
        planes = [p.flip(3) for p in planes]
    if turned:
        planes = [p.transpose(2, 3) for p in planes]
    return {
        "luma": planes[0],
        "chroma": planes[1],
        "wanted": planes[2],
        "wanted_chroma": planes[3],
        "key_qp": torch.tensor([file.key_qp for file, _ in rows]),
        "layer": torch.tensor([float(file.layer[row]) for file, row in rows]),
    }
