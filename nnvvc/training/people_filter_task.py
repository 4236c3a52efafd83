"""Training of the filter for people: least squared error to the original, in 4:2:0."""

import math
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.errors import InputError
from nnvvc.models.restoration import (
    RestorationConfig,
    RestorationFilter,
    load_restoration,
    quantiser_step,
    save_restoration,
)
from nnvvc.training.clip_data import PATCH, make_clips
from nnvvc.training.photos import data_folder
from nnvvc.training.replay import Facts
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

DRAWN = 500
"""Batches that are drawn at once."""

VALIDATED = 64
"""Patches that are filtered at once for validation."""

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


class CodedPatches:
    """The patches of files of `clip_data`, all on one device; int16, since their samples have 10 bits.

    decoded, original: (n, samples). layer, key_qp: (n,), float32. Raises InputError where there are none.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise InputError(f"coded clips to train with, or {HELD_OUT}, are missing: empty their folder")
        decoded, original, layer, key_qp = [], [], [], []
        for path in paths:
            with np.load(path) as stored:
                decoded.append(torch.from_numpy(stored["decoded"].view(np.int16)))
                original.append(torch.from_numpy(stored["original"].view(np.int16)))
                layer.append(torch.from_numpy(stored["layer"]).float())
                key_qp.append(torch.full((len(layer[-1]),), float(stored["key_qp"])))
        self.decoded, self.original = torch.cat(decoded), torch.cat(original)
        self.layer, self.key_qp = torch.cat(layer), torch.cat(key_qp)
        weights = np.array(LAYER_WEIGHTS)[self.layer.long().clamp_max(len(LAYER_WEIGHTS) - 1).numpy()]
        self.shares: NDArray[np.float64] = weights / weights.sum()

    def __len__(self) -> int:
        return len(self.layer)

    def to(self, device: torch.device) -> "CodedPatches":
        """Itself, with everything moved."""
        for name in ("decoded", "original", "layer", "key_qp"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def batch(self, rows: Tensor, mirrored: bool = False, turned: bool = False) -> Batch:
        """rows: indices, (N,)."""
        rows = rows.to(self.layer.device)
        planes = [*to_planes(self.decoded[rows], PATCH), *to_planes(self.original[rows], PATCH)]
        if mirrored:
            planes = [p.flip(3) for p in planes]
        if turned:
            planes = [p.transpose(2, 3) for p in planes]
        return {
            "luma": planes[0],
            "chroma": planes[1],
            "wanted": planes[2],
            "wanted_chroma": planes[3],
            "key_qp": self.key_qp[rows],
            "layer": self.layer[rows],
        }


def to_planes(samples: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, size, size) and chroma (N, 2, size / 2, size / 2) of rows of 10-bit samples."""
    rows = samples.float()
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
        files = Path(folder)
        if not list(files.glob("*_q*.npz")):
            self.make_data(files, photos, video)
        paths = sorted(files.glob("*_q*.npz"))
        self._train = CodedPatches([p for p in paths if not _held_out(p)])
        self._held_out = CodedPatches([p for p in paths if _held_out(p)])
        self.model = RestorationFilter(RestorationConfig.of(config or {}))
        if start:
            self.model.load_state_dict(load_restoration(Path(start)).state_dict())
        self.batch = batch
        self.progress = 0.0

    def make_data(self, folder: Path, photos: str | None, video: str | None) -> None:
        """Fill the folder that training reads."""
        make_clips(data_folder(photos, "train"), data_folder(video, "video"), folder)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches of patches from anywhere, mirrored and turned at random."""
        rng = np.random.default_rng(seed)
        patches = self._train.to(next(self.model.parameters()).device)
        while True:
            drawn = rng.choice(len(patches), (DRAWN, self.batch), p=patches.shares)
            for rows in torch.from_numpy(drawn):
                yield patches.batch(rows, mirrored=bool(rng.integers(2)), turned=bool(rng.integers(2)))

    def kind(self, batch: Batch) -> Hashable:
        """See `replay.Losses`."""
        return tuple(batch["luma"].shape)

    def loss(self, batch: Batch) -> tuple[Tensor, Facts]:
        """Log error of luma and chroma by their shares; both are logged as decibels gained."""
        luma, chroma = (errors.mean() for errors in self._errors(batch))
        loss = (1 - CHROMA_SHARE) * luma + CHROMA_SHARE * chroma
        return loss, {"dB": DECIBELS * luma.detach(), "dB_chroma": DECIBELS * chroma.detach()}

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
        patches = self._held_out.to(next(self.model.parameters()).device)
        gains: dict[str, float] = {}
        for qp in torch.unique(patches.key_qp).tolist():
            found = []
            for layer in torch.unique(patches.layer[patches.key_qp == qp]).tolist():
                rows = torch.nonzero((patches.key_qp == qp) & (patches.layer == layer))[:, 0]
                error = torch.zeros(2)
                for some in torch.split(rows, VALIDATED):
                    batch = to_device(patches.batch(some), patches.layer.device)
                    filtered = self.model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layer"])[0]
                    for i, luma in enumerate((filtered, batch["luma"])):
                        error[i] += _inner(luma - batch["wanted"], MARGIN).square().sum().cpu()
                found.append((float(DECIBELS * torch.log(error[0] / error[1])), 2.0 ** max(0, layer - 2)))
            value, weight = np.array(found).T
            gains[f"dB_qp{qp:.0f}"] = float((value * weight).sum() / weight.sum())
        return gains | {"score": -float(np.mean(list(gains.values())))}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        save_restoration(self.model, folder / "filter.safetensors", facts)


def _inner(planes: Tensor, margin: int) -> Tensor:
    return planes[..., margin:-margin, margin:-margin]


def _held_out(path: Path) -> bool:
    return path.stem.rsplit("_", 1)[0] == HELD_OUT
