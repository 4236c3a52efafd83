"""Training of filters for machines: what one step computes, for one filter or several in competition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.models.filters import (
    FilterConfig,
    PictureFilter,
    enlargement,
    filter_config,
    load_filter,
    save_filter,
)
from nnvvc.models.planes import to_rgb
from nnvvc.models.precision import reduced_precision
from nnvvc.models.tasknets import TaskNetwork, feature_loss
from nnvvc.training.filter_data import CodedFile, make_patches
from nnvvc.training.photos import data_folder
from nnvvc.training.runner import to_device
from nnvvc.training.video_patches import make_video_patches

FEATURES: dict[str, tuple[str, ...]] = {
    "nanodet_plus_m": ("feat8", "feat16", "feat32"),
    "picodet_s": ("feat8", "feat16", "feat32"),
    "squeezenet_v1.1": ("f1", "f3", "f7"),
}
"""Per loss network the outputs whose distance to the original's is minimised."""

BORDER = 32
"""By how much the part of a patch that the loss looks at is smaller, luma samples."""

HELD_OUT = 64
"""The first patches of part 0 are for validation only."""

VALIDATED = 6
"""Most patches per scale and QP that one validation looks at."""


SIDES = (160, 224, 224, 288)
"""Sides of what loss networks see of a patch in training, its own twice as often as smaller and larger."""


@dataclass(frozen=True)
class View:
    """The part of a patch that the loss networks see: from here on, all but BORDER samples each way.

    side: samples that the networks see it with; None for as many as it has. noise: standard deviation of what
    is added to it. ghosts: deviation of the networks' weights from their own. turned: rows and columns change
    places.
    """

    top: int = BORDER // 2
    left: int = BORDER // 2
    side: int | None = None
    noise: float = 0.0
    ghosts: float = 0.0
    turned: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, noise: float = 0.0, ghosts: float = 0.0) -> "View":
        """A random one: at a single place and size filters learn patterns that please a network at one phase
        of its strides, and at no other.
        """
        top, left = rng.integers(0, BORDER + 1, 2).tolist()
        side = SIDES[int(rng.integers(len(SIDES)))]
        turned = bool(ghosts and rng.integers(2))
        return cls(top, left, side, float(rng.uniform(0, noise)), float(rng.uniform(0, ghosts)), turned)

    def __call__(self, rgb: Tensor) -> Tensor:
        """(N, 3, side - BORDER, side - BORDER) of square patches (N, 3, side, side)."""
        side = rgb.shape[-1] - BORDER
        part = rgb[..., self.top : self.top + side, self.left : self.left + side]
        return part.contiguous(memory_format=torch.channels_last)

    def seen(self, part: Tensor) -> Tensor:
        """What `__call__` gave, as the loss networks see it."""
        if self.turned:
            part = part.transpose(2, 3)
        if self.side in (None, part.shape[-1]):
            return part
        return F.interpolate(part, (self.side, self.side), mode="bilinear", antialias=True)


class Batch(TypedDict):
    """original: RGB (N, 3, side, side) in 0..1. matrix: (N, 2), Kr and Kb.

    luma, chroma, qp, scale, up, layer: as `PictureFilter` takes them.
    """

    original: Tensor
    luma: Tensor
    chroma: Tensor
    qp: Tensor
    scale: Tensor
    matrix: Tensor
    layer: Tensor
    up: int


class CodedPatches:
    """Patches coded by VVC, as `filter_data` keeps them. The folder may grow: `rescan` sees what is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._originals: dict[int, NDArray[np.uint8]] = {}
        self._coded: dict[tuple[Fraction, int], list[CodedFile]] = {}
        self._seen: set[Path] = set()
        self.rescan()

    def rescan(self) -> None:
        for path in sorted(set(self.folder.glob("p*_s*_q*.npz")) - self._seen):
            self._seen.add(path)
            file = CodedFile.read(path)
            if file.part not in self._originals:
                self._originals[file.part] = np.load(self.folder / f"rgb{file.part}.npy", mmap_mode="r")
            self._coded.setdefault((file.scale, file.qp), []).append(file)

    @property
    def scales(self) -> list[Fraction]:
        return sorted({scale for scale, _ in self._coded})

    def qps(self, scale: Fraction) -> list[int]:
        return sorted(qp for s, qp in self._coded if s == scale)

    def sample(self, scale: Fraction, qps: list[int], rng: np.random.Generator) -> Batch:
        """One random training patch at each of the QPs, mirrored at random."""
        rows = []
        for qp in qps:
            files = self._coded[scale, qp]
            file = files[rng.integers(len(files))]
            first = int(np.searchsorted(file.index, HELD_OUT)) if file.part == 0 else 0
            rows.append((file, int(rng.integers(first, len(file.index)))))
        batch = self._batch(rows)
        for i in np.flatnonzero(rng.integers(2, size=len(rows))):
            for planes in (batch["original"], batch["luma"], batch["chroma"]):
                planes[i] = planes[i].flip(2)
        return batch

    def held_out(self, scale: Fraction, qp: int) -> Batch | None:
        """Validation patches of one scale and QP; None where there are none."""
        rows = [
            (file, row)
            for file in self._coded.get((scale, qp), [])
            if file.part == 0
            for row in range(int(np.searchsorted(file.index, HELD_OUT)))
        ]
        return self._batch(rows[:: -(-len(rows) // VALIDATED)]) if rows else None

    def _batch(self, rows: list[tuple[CodedFile, int]]) -> Batch:
        scale = rows[0][0].scale
        rgb = np.stack([self._originals[file.part][file.index[row]] for file, row in rows])
        side = int(rgb.shape[1] * scale)
        samples = torch.from_numpy(np.stack([file.planes[row] for file, row in rows]).astype(np.float32))
        return {
            "original": torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255,
            "luma": (samples[:, : side * side].view(-1, 1, side, side) - 64) / 876,
            "chroma": (samples[:, side * side :].view(-1, 2, side // 2, side // 2) - 512) / 896,
            "qp": torch.tensor([float(file.qp) for file, _ in rows]),
            "scale": torch.full((len(rows),), float(scale)),
            "matrix": torch.tensor([file.matrix for file, _ in rows]),
            "layer": torch.tensor([float(file.layer[row]) for file, row in rows]),
            "up": enlargement(scale),
        }


@torch.no_grad()
def plainly_enlarged(batch: Batch) -> Tensor:
    """RGB of the decoded pictures without filter, at full size."""
    size = batch["original"].shape[2], batch["original"].shape[3]
    luma = F.interpolate(batch["luma"], size, mode="bicubic")
    return to_rgb(luma, batch["chroma"], batch["matrix"], size)


def initialise(model: PictureFilter, other: PictureFilter, noise: float = 0.02) -> None:
    """Copy weights of `other`; each branch that it lacks starts as its first one, with relative noise.

    A smaller model keeps the channels of `other` that weigh most, and the first blocks.
    """
    state = _shrunk(other, model.config)
    for branch in range(other.config.branches, model.config.branches):
        for name, value in list(state.items()):
            if name.startswith("branches.0."):
                copied = value + noise * value.std(correction=0) * torch.randn_like(value)
                state[name.replace("branches.0.", f"branches.{branch}.")] = copied
    wanted = model.state_dict()
    for name, value in state.items():
        # What the other one does not depend on has no effect at first.
        if name in wanted and value.dim() == 2 and value.shape[1] < wanted[name].shape[1]:
            state[name] = F.pad(value, (0, wanted[name].shape[1] - value.shape[1]))
        elif ".heads." in name and name in wanted:
            # Luma comes first.
            state[name] = value[: len(wanted[name])]
    model.load_state_dict({name: value for name, value in state.items() if name in wanted})


def _shrunk(model: PictureFilter, config: FilterConfig) -> dict[str, Tensor]:
    """The weights of `model` that a model of no more channels keeps."""
    state = model.state_dict()
    entries = ("enter", "down1", "down2")
    kept = []
    for name, width in zip(entries, config.widths, strict=True):
        weight = state[f"{name}.conv.weight"].square().sum((1, 2, 3))
        kept.append(weight.topk(width).indices.sort().values)
    k0, k1, k2 = kept
    everything = {
        "enter": (k0, None), "down1": (k1, k0), "down2": (k2, k1), "blocks1": (k1, k1), "blocks2": (k2, k2),
        "blocks3": (k1, k1), "up1": (_shuffled(k1), k2), "up0": (_shuffled(k0), k1),
    }  # fmt: skip
    result = {}
    for name, value in state.items():
        stage = name.split(".")[0]
        outputs, inputs = everything.get(stage, (None if ".heads." in name else k0, k0))
        if outputs is not None:
            value = value[outputs]
        if value.dim() == 4 and inputs is not None:
            value = value[:, inputs]
        result[name] = value
    return result


def _shuffled(channels: Tensor) -> Tensor:
    """The inputs of a pixel shuffle by 2 that become these channels."""
    return (4 * channels[:, None] + torch.arange(4)).flatten()


class FilterTask:
    """The task that the training runner drives.

    folder: coded patches; made of the pictures in `photos` (default: `train` in the folder that NNVVC_DATA
    names) where they are missing; for a filter of video of clips that are made of them, and of those in
    `video`. networks: folder of the task networks. start: filter to start from, with one branch or as many,
    and no fewer channels. config: fields of `FilterConfig`. shares: how often each scale is drawn. batch:
    pictures per step. features: networks and their outputs that judge, `FEATURES` where not given.
    networks_per_step: how many of them judge a step. noise: largest standard deviation of the noise that
    networks see on both pictures, of RGB in 0..1: what a filter learns then depends less on the network.
    ghosts: largest relative deviation of the networks' weights, drawn anew for every step, for the same end.
    pixel_weight: of the mean squared error of RGB in 0..1. temperature: of the competition at the beginning
    and at the end, in units of the loss; used where the filter has several branches.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        video: str | None = None,
        networks: str | None = None,
        start: str | None = None,
        config: dict[str, Any] | None = None,
        shares: dict[str, float] | None = None,
        batch: int = 4,
        features: dict[str, list[str]] | None = None,
        networks_per_step: int = 2,
        noise: float = 0.0,
        ghosts: float = 0.0,
        pixel_weight: float = 20.0,
        temperature: tuple[float, float] = (0.1, 0.002),
    ) -> None:
        self.model = PictureFilter(filter_config(config or {}))
        if photos is not None or not list(Path(folder).glob("p*_s*_q*.npz")):
            pictures = data_folder(photos, "train")
            if self.model.config.video:
                make_video_patches(pictures, data_folder(video, "video"), Path(folder))
            else:
                make_patches(sorted(pictures.glob("*.*")), Path(folder))
        self.patches = CodedPatches(Path(folder))
        if start:
            initialise(self.model, load_filter(Path(start)))
        self.features = {name: tuple(outputs) for name, outputs in (features or FEATURES).items()}
        folder_of_networks = Path(networks) if networks else None
        self.networks = {name: TaskNetwork(name, folder_of_networks) for name in self.features}
        self.shares = {
            Fraction(k): v for k, v in (shares or {"1/2": 0.4, "1": 0.2, "3/4": 0.25, "1/4": 0.15}).items()
        }
        self.batch, self.pixel_weight = batch, pixel_weight
        self.networks_per_step, self.noise, self.ghosts = networks_per_step, noise, ghosts
        self.temperature = temperature
        self.progress = 0.0
        self._rng = np.random.default_rng()

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches of one scale each, with a QP drawn for every picture."""
        self._rng = rng = np.random.default_rng(seed)
        while True:
            scales = [s for s in self.shares if s in self.patches.scales]
            weights = np.array([self.shares[s] for s in scales])
            for _ in range(500):
                scale = scales[rng.choice(len(scales), p=weights / weights.sum())]
                qps = rng.choice(self.patches.qps(scale), self.batch).tolist()
                yield self.patches.sample(scale, qps, rng)
            self.patches.rescan()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Feature loss plus weighted squared error, averaged; branches are weighted by softmax(-loss / T)."""
        names = self._rng.choice(list(self.features), self.networks_per_step, replace=False).tolist()
        view = View.draw(self._rng, self.noise, self.ghosts)
        losses = self.loss_of(batch, names, view, grid=2 if self.model.config.branches > 1 else 1)
        if len(losses) == 1:
            return losses[0].mean(), {}
        weights = torch.softmax(-losses.detach() / self._temperature(), 0)
        usage = {f"use{i}": float(w) for i, w in enumerate(weights.mean((1, 2, 3)))}
        return (weights * losses).sum(0).mean(), usage

    def _temperature(self) -> float:
        start, end = self.temperature
        return float(start * (end / start) ** min(1.0, self.progress / 0.8))

    def loss_of(self, batch: Batch, names: Sequence[str], view: View, grid: int = 1) -> Tensor:
        """Loss of every branch, (branches, N, grid, grid)."""
        n, k = len(batch["qp"]), self.model.config.branches
        inputs = (batch["luma"], batch["chroma"], batch["qp"], batch["scale"], batch["up"])
        filtered = self.model(*inputs, tuple(range(k)), batch["layer"])
        luma, chroma = (torch.cat(planes) for planes in zip(*filtered, strict=True))
        size = batch["original"].shape[2], batch["original"].shape[3]
        rgb = to_rgb(luma, chroma, batch["matrix"].repeat(k, 1), size)
        return self.distortion(rgb, batch["original"], names, view, grid).view(k, n, grid, grid)

    def distortion(
        self, rgb: Tensor, original: Tensor, names: Sequence[str], view: View, grid: int = 1
    ) -> Tensor:
        """(N, grid, grid) for N pictures, which may be several versions of fewer originals in turn."""
        rgb, original = view(rgb), view(original)
        repeat = len(rgb) // len(original)
        error = (rgb - original.repeat(repeat, 1, 1, 1)).square().mean(1, keepdim=True)
        total = self.pixel_weight * F.adaptive_avg_pool2d(error, grid)[:, 0]
        rgb, original = view.seen(rgb), view.seen(original)
        if view.noise:
            disturbance = view.noise * torch.randn_like(original)
            original = original + disturbance
            rgb = rgb + disturbance.repeat(repeat, 1, 1, 1)
        for name in names:
            network = self.networks[name].to(rgb.device)
            network.disturb(view.ghosts)
            # Depthwise convolutions are faster in float32 on a CPU.
            with reduced_precision(rgb.device.type, name == "squeezenet_v1.1"):
                with torch.no_grad():
                    wanted = network(original, self.features[name])
                found = network(rgb, self.features[name])
            wanted = [w.repeat(repeat, 1, 1, 1) for w in wanted]
            blocks = feature_loss(found, wanted, grid) / len(names)
            total = total + (blocks.transpose(1, 2) if view.turned else blocks)
        return total

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss on held-out patches per scale, as a ratio to that without filter (best branch per block)."""
        results: dict[str, float] = {}
        device = next(self.model.parameters()).device
        view = View()
        grid = 2 if self.model.config.branches > 1 else 1
        for scale in self.patches.scales:
            ratios = []
            for qp in self.patches.qps(scale):
                batch = self.patches.held_out(scale, qp)
                if batch is None:
                    continue
                batch = to_device(batch, device)
                plain = plainly_enlarged(batch)
                for name in self.features:
                    before = self.distortion(plain, batch["original"], [name], view).mean()
                    after = self.loss_of(batch, [name], view, grid).amin(0).mean()
                    ratios.append(float(after / before))
            if ratios:
                results[f"scale {scale}"] = float(np.mean(ratios))
        results["score"] = float(np.mean(list(results.values())))
        return results

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        save_filter(self.model, folder / "filter.safetensors", facts)
