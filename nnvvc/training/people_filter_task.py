"""Training of the filter for people: least squared error to the original, in 4:2:0."""

import math
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.codecs.neighbours import NEIGHBOURS
from nnvvc.errors import InputError
from nnvvc.models.people import load_people, people_network, save_people
from nnvvc.models.restoration import quantiser_step
from nnvvc.models.tap_shapes import plain_taps
from nnvvc.models.taps import Taps
from nnvvc.training.clip_data import make_clips
from nnvvc.training.moving_photos import PATCH
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

MIXED = 200
"""Patches that mixed taps are made for."""

MIX_SCALE = 8.0
"""Square root of the share of the error that a mixed weight of 1 adds, inverted: updates are sent in steps
that suit that.
"""

FLOOR = 0.03
"""Error, in quantiser steps, below which a patch counts less and less."""


class Batch(TypedDict):
    """luma, chroma: as `RestorationFilter` takes planes, with the neighbours that the filter sees. wanted,
    wanted_chroma: as it returns them. key_qp: (N,). layers: (N, 1 + neighbours).
    """

    luma: Tensor
    chroma: Tensor
    wanted: Tensor
    wanted_chroma: Tensor
    key_qp: Tensor
    layers: Tensor


class CodedPatches:
    """The patches of files of `clip_data`, all on one device; int16, since their samples have 10 bits.

    decoded, original: (n, samples). beside: (n, NEIGHBOURS * samples). layers: (n, 1 + NEIGHBOURS), and
    key_qp: (n,), float32.
    shares: how often each is drawn, by its layer, and by its part of the error of its picture: that is what
    the picture's PSNR is made of. Raises InputError where there are none.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise InputError(f"coded clips to train with, or {HELD_OUT}, are missing: empty their folder")
        decoded, original, beside, layers, key_qp, parts = [], [], [], [], [], []
        for path in paths:
            with np.load(path) as stored:
                decoded.append(torch.from_numpy(stored["decoded"].view(np.int16)))
                original.append(torch.from_numpy(stored["original"].view(np.int16)))
                own = decoded[-1][:, : PATCH * PATCH]
                known = "beside" in stored
                around = (
                    torch.from_numpy(stored["beside"].view(np.int16))
                    if known
                    else decoded[-1].tile(1, NEIGHBOURS)
                )
                beside.append(around)
                layer = torch.from_numpy(stored["layer"]).float()
                around_layers = (
                    torch.from_numpy(stored["beside_layers"]).float()
                    if known
                    else torch.full((len(own), NEIGHBOURS), -1.0)
                )
                layers.append(torch.cat((layer[:, None], around_layers), 1))
                parts.append(_parts(own, original[-1][:, : PATCH * PATCH], layer))
                key_qp.append(torch.full((len(own),), float(stored["key_qp"])))
        self.decoded, self.original, self.beside = torch.cat(decoded), torch.cat(original), torch.cat(beside)
        self.layers, self.key_qp = torch.cat(layers), torch.cat(key_qp)
        weights = np.array(LAYER_WEIGHTS)[self.layer.long().clamp_max(len(LAYER_WEIGHTS) - 1).numpy()]
        weights *= torch.cat(parts).numpy()
        self.shares: NDArray[np.float64] = weights / weights.sum()

    @property
    def layer(self) -> Tensor:
        """(n,), the pictures' own."""
        return self.layers[:, 0]

    def __len__(self) -> int:
        return len(self.layer)

    def to(self, device: torch.device) -> "CodedPatches":
        """Itself, with everything moved."""
        for name in ("decoded", "original", "beside", "layers", "key_qp"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def batch(
        self, rows: Tensor, neighbours: int = NEIGHBOURS, mirrored: bool = False, turned: bool = False
    ) -> Batch:
        """rows: indices, (N,). neighbours: how many, the farthest ones."""
        rows = rows.to(self.layer.device)
        first = NEIGHBOURS - neighbours
        beside = self.beside[rows].view(len(rows), NEIGHBOURS, -1)[:, first:]
        samples = torch.cat((self.decoded[rows][:, None], beside), 1)
        luma, chroma = to_planes(samples.flatten(0, 1), PATCH)
        shown = [p.reshape(len(rows), -1, *p.shape[2:]) for p in (luma, chroma)]
        planes = [*shown, *to_planes(self.original[rows], PATCH)]
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
            "layers": torch.cat((self.layers[rows, :1], self.layers[rows, 1 + first :]), 1),
        }


def to_planes(samples: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, size, size) and chroma (N, 2, size / 2, size / 2) of rows of 10-bit samples."""
    chroma = samples[:, size * size :].float().view(-1, 2, size // 2, size // 2)
    luma = samples[:, : size * size].float().view(-1, 1, size, size)
    return (luma - 64) / 876, (chroma - 512) / 896


def error_left(planes: Tensor, wanted: Tensor, before: Tensor, floor: Tensor) -> Tensor:
    """Squared error over that of the unfiltered planes, per picture: (N,).

    floor: (N,), added to both errors.
    """
    after = (planes - wanted).square().mean((1, 2, 3)) + floor
    return after / ((before - wanted).square().mean((1, 2, 3)) + floor)


def _parts(decoded: Tensor, original: Tensor, layer: Tensor) -> Tensor:
    """(n,): squared error of each patch over the mean of its layer's; both (n, samples) of luma."""
    errors = (decoded - original).float().square().mean(1) + 0.5
    for value in torch.unique(layer):
        own = layer == value
        errors[own] /= errors[own].mean()
    return errors


class PeopleFilterTask:
    """The task that the training runner drives.

    The loss is the error left, relative to what there was, of patches that are drawn by their part of the
    picture's error: together, what its PSNR gains, and every picture and QP counts alike. folder: coded
    clips; where there are none they are made, of the folders `photos` and `video` (default: `train` and
    `video` in the folder that NNVVC_DATA names). network, config: see `people_network`. start: filter to
    start from. batch: patches per step.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        video: str | None = None,
        config: dict[str, Any] | None = None,
        network: str | None = None,
        start: str | None = None,
        batch: int = 8,
    ) -> None:
        files = Path(folder)
        if not list(files.glob("*_q*.npz")):
            self.make_data(files, photos, video)
        paths = sorted(files.glob("*_q*.npz"))
        self._train = CodedPatches([p for p in paths if not _held_out(p)])
        self._held_out = CodedPatches([p for p in paths if _held_out(p)])
        self.model = people_network({"network": network, "config": config or {}})
        if start:
            self.model.load_state_dict(load_people(Path(start)).state_dict())
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
                ways = {"mirrored": bool(rng.integers(2)), "turned": bool(rng.integers(2))}
                yield patches.batch(rows, self.model.neighbours, **ways)

    def kind(self, batch: Batch) -> Hashable:
        """See `replay.Losses`."""
        return tuple(batch["luma"].shape)

    def loss(self, batch: Batch) -> tuple[Tensor, Facts]:
        """Error left of luma and chroma by their shares; both are logged as decibels gained."""
        luma, chroma = (errors.mean() for errors in self._errors(batch))
        loss = (1 - CHROMA_SHARE) * luma + CHROMA_SHARE * chroma
        found = {"dB": luma, "dB_chroma": chroma}
        return loss, {name: DECIBELS * torch.log(left.detach()) for name, left in found.items()}

    def _errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        luma, chroma = self.model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layers"])
        floor = (FLOOR * quantiser_step(batch["key_qp"])).square()
        big = [_inner(p, MARGIN) for p in (luma, batch["wanted"], batch["luma"][:, :1])]
        small = [_inner(p, MARGIN // 2) for p in (chroma, batch["wanted_chroma"], batch["chroma"][:, :2])]
        return error_left(big[0], big[1], big[2], floor), error_left(small[0], small[1], small[2], floor)

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
                    batch = to_device(patches.batch(some, self.model.neighbours), patches.layer.device)
                    filtered = self.model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layers"])[0]
                    for i, luma in enumerate((filtered, batch["luma"][:, :1])):
                        error[i] += _inner(luma - batch["wanted"], MARGIN).square().sum().cpu()
                found.append((float(DECIBELS * torch.log(error[0] / error[1])), 2.0 ** max(0, layer - 2)))
            value, weight = np.array(found).T
            gains[f"dB_qp{qp:.0f}"] = float((value * weight).sum() / weight.sum())
        return gains | {"score": -float(np.mean(list(gains.values())))}

    @torch.no_grad()
    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        if self.model.neighbours:
            self.model.taps.mix.copy_(self._mix())
        save_people(self.model, folder / "filter.safetensors", facts)

    def _mix(self) -> Tensor:
        """See `Taps`: mixed weights of 1 add alike much, some hundredth of the error there is, and each
        something of its own.
        """
        patches = self._train
        drawn = np.random.default_rng(0).choice(len(patches), MIXED, p=patches.shares)
        neighbours = self.model.neighbours
        taps, plain = Taps(neighbours), plain_taps(neighbours)
        square = torch.zeros(plain, plain, dtype=torch.float64)
        for rows in torch.split(torch.from_numpy(drawn), self.batch):
            batch = to_device(patches.batch(rows, neighbours), torch.device("cpu"))
            step = quantiser_step(batch["key_qp"])[:, None, None, None]
            own = batch["luma"][:, :1]
            basis = taps.basis(batch["luma"], torch.zeros_like(own), step)[:, :plain].flatten(2).double()
            error = (own - batch["wanted"]).square().mean((1, 2, 3)) + (FLOOR * step.flatten()).square()
            square += torch.einsum("nkp,njp,n->kj", basis, basis, 1 / error.double()) / (
                basis.shape[2] * MIXED
            )
        values, vectors = torch.linalg.eigh(square.detach())
        mix: Tensor = vectors * values.clamp_min(1e-4 * values[-1]).rsqrt() / MIX_SCALE
        return mix.float()


def _inner(planes: Tensor, margin: int) -> Tensor:
    return planes[..., margin:-margin, margin:-margin]


def _held_out(path: Path) -> bool:
    return path.stem.rsplit("_", 1)[0] == HELD_OUT
