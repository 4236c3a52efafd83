"""Training of filters for machines: what one step computes, for one filter or several in competition.

Several filters compete for blocks (Zhang et al., arXiv 2406.12367): each block of a picture is given to one
of them, drawn by softmax(-loss / temperature), and the picture that they make together, as a decoder will, is
what they learn from. The temperature falls from where all are alike to where the best one takes the block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.filters import FilterConfig, PictureFilter, load_filter, save_filter
from nnvvc.models.image import ImageModel
from nnvvc.models.planes import to_rgb
from nnvvc.models.precision import reduced_precision
from nnvvc.models.registry import WEIGHTS
from nnvvc.models.saved import config_of
from nnvvc.models.tasknets import TaskNetwork, feature_loss
from nnvvc.training.coded_patches import Batch, CodedPatches, plainly_enlarged
from nnvvc.training.filter_data import PATCH, learned_coder, make_patches
from nnvvc.training.filter_start import initialise
from nnvvc.training.object_map import object_map
from nnvvc.training.photos import data_folder
from nnvvc.training.runner import to_device
from nnvvc.training.video_patches import make_video_patches

FEATURES: dict[str, tuple[str, ...]] = {
    "nanodet_plus_m": ("feat8", "feat16", "feat32"),
    "picodet_s": ("feat8", "feat16", "feat32"),
    "squeezenet_v1.1": ("f1", "f3", "f7"),
}
"""Per loss network the outputs whose distance to the original's is minimised."""

OBJECT_NETWORK = "nanodet_plus_m"
"""Says where objects are, for losses that are weighted by them."""

Judges = Sequence[str] | Mapping[str, tuple[str, ...]]
"""Names of networks, with the outputs to look at where they are not those of `FilterTask.features`."""

BORDER = 32
"""By how much the part of a patch that the loss looks at is smaller, luma samples."""

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


def compose(candidates: Tensor, winners: Tensor) -> Tensor:
    """(N, 3, side, side) of candidates (branches, N, 3, side, side), block by block.

    winners: (N, rows, columns), which of the candidates each block is of.
    """
    side = candidates.shape[-1]
    chosen = F.interpolate(winners[:, None].float(), (side, side), mode="nearest")
    return sum((candidates[i] * (chosen == i) for i in range(len(candidates))), torch.zeros(()))


class FilterTask:
    """The task that the training runner drives.

    folder: coded patches; made of the pictures in `photos` (default: `train` in the folder that NNVVC_DATA
    names) where they are missing; for a filter of video of clips that are made of them, and of those in
    `video`. learned: weights of the image codec, a file or the name of a packaged one, that patches are coded
    with in place of VVC. networks: folder of the task networks. start: filter to start from, with one branch
    or as many, and no fewer channels. frozen: beginnings of names of parameters that stay as they start.
    config: fields of `FilterConfig`. shares: how often each scale is drawn. batch: pictures per step.
    features: networks and their outputs that judge, `FEATURES` where not given.
    networks_per_step: how many of them judge a step. noise: largest standard deviation of the noise that
    networks see on both pictures, of RGB in 0..1: what a filter learns then depends less on the network.
    ghosts: largest relative deviation of the networks' weights, drawn anew for every step, for the same end.
    pixel_weight: of the mean squared error of RGB in 0..1. objects: how much more than elsewhere features
    count where `OBJECT_NETWORK` is sure of an object in the original. Where the filter has several branches
    they compete for blocks of `block` luma samples each way, at a temperature, in units of the loss, that
    goes from the first of two to the second; infinite ones make blocks fall to branches by chance: the
    branches learn independently.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        video: str | None = None,
        learned: str | None = None,
        networks: str | None = None,
        start: str | None = None,
        frozen: Sequence[str] = (),
        config: dict[str, Any] | None = None,
        shares: dict[str, float] | None = None,
        batch: int = 4,
        features: dict[str, list[str]] | None = None,
        networks_per_step: int = 2,
        noise: float = 0.0,
        ghosts: float = 0.0,
        pixel_weight: float = 20.0,
        objects: float = 0.0,
        block: int = 128,
        temperature: tuple[float, float] = (0.1, 0.002),
    ) -> None:
        self.model = PictureFilter(config_of(FilterConfig, config or {}))
        if photos is not None or not list(Path(folder).glob("p*_s*_q*.npz")):
            pictures = data_folder(photos, "train")
            if self.model.config.video:
                make_video_patches(pictures, data_folder(video, "video"), Path(folder))
            else:
                coder = learned_coder(ImageModel.load(WEIGHTS / learned)) if learned else None
                make_patches(sorted(pictures.glob("*.*")), Path(folder), coder=coder)
        self.patches = CodedPatches(Path(folder))
        if start:
            initialise(self.model, load_filter(Path(start)))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not name.startswith(tuple(frozen)))
        self.features = {name: tuple(outputs) for name, outputs in (features or FEATURES).items()}
        folder_of_networks = Path(networks) if networks else None
        needed = [*self.features, *([OBJECT_NETWORK] if objects else [])]
        self.networks = {name: TaskNetwork(name, folder_of_networks) for name in dict.fromkeys(needed)}
        self.shares = {
            Fraction(k): v for k, v in (shares or {"1/2": 0.4, "1": 0.2, "3/4": 0.25, "1/4": 0.15}).items()
        }
        self.batch, self.pixel_weight = batch, pixel_weight
        self.networks_per_step, self.noise, self.ghosts = networks_per_step, noise, ghosts
        self.objects, self.temperature = objects, temperature
        self.grid = PATCH // block if self.model.config.branches > 1 else 1
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
        """Feature loss plus weighted squared error, averaged; and the share of blocks of each branch."""
        names = self._rng.choice(list(self.features), self.networks_per_step, replace=False).tolist()
        view = View.draw(self._rng, self.noise, self.ghosts)
        candidates = self.filtered(batch)
        count = len(candidates)
        if count == 1:
            return self.distortion(candidates[0], batch["original"], names, view).mean(), {}
        with torch.no_grad():
            early = {name: self.features[name][:1] for name in names}
            losses = self._of_branches(candidates, batch["original"], early, view, self.grid)
            shares = torch.softmax(-losses / self._temperature(), 0)
            winners = torch.multinomial(shares.flatten(1).T, 1).T.view(shares.shape[1:])
        usage = {f"use{i}": float((winners == i).float().mean()) for i in range(count)}
        composed = compose(candidates, winners)
        return self.distortion(composed, batch["original"], names, view).mean(), usage

    def _temperature(self) -> float:
        start, end = self.temperature
        return start if start == end else start * (end / start) ** min(1.0, self.progress / 0.8)

    def filtered(self, batch: Batch) -> Tensor:
        """RGB of every branch, (branches, N, 3, side, side)."""
        k = self.model.config.branches
        inputs = (batch["luma"], batch["chroma"], batch["qp"], batch["scale"], batch["up"])
        planes = self.model(*inputs, tuple(range(k)), batch["layer"])
        luma, chroma = (torch.cat(p) for p in zip(*planes, strict=True))
        size = batch["original"].shape[2], batch["original"].shape[3]
        return to_rgb(luma, chroma, batch["matrix"].repeat(k, 1), size).view(k, -1, 3, *size)

    def loss_of(self, batch: Batch, names: Judges, view: View, grid: int = 1) -> Tensor:
        """Loss of every branch, (branches, N, grid, grid)."""
        return self._of_branches(self.filtered(batch), batch["original"], names, view, grid)

    def _of_branches(
        self, candidates: Tensor, original: Tensor, names: Judges, view: View, grid: int
    ) -> Tensor:
        losses = self.distortion(candidates.flatten(0, 1), original, names, view, grid)
        return losses.view(len(candidates), -1, grid, grid)

    def distortion(
        self,
        rgb: Tensor,
        original: Tensor,
        names: Judges,
        view: View,
        grid: int = 1,
    ) -> Tensor:
        """(N, grid, grid) for N pictures, which may be several versions of fewer originals in turn."""
        looked_at = names if isinstance(names, Mapping) else {name: self.features[name] for name in names}
        rgb, original = view(rgb), view(original)
        repeat = len(rgb) // len(original)
        error = (rgb - original.repeat(repeat, 1, 1, 1)).square().mean(1, keepdim=True)
        total = self.pixel_weight * F.adaptive_avg_pool2d(error, grid)[:, 0]
        rgb, original = view.seen(rgb), view.seen(original)
        if view.noise:
            disturbance = view.noise * torch.randn_like(original)
            original = original + disturbance
            rgb = rgb + disturbance.repeat(repeat, 1, 1, 1)
        weight = None
        if self.objects:
            detector = self.networks[OBJECT_NETWORK].to(rgb.device)
            detector.disturb(0.0)
            weight = (1 + self.objects * object_map(detector, original)).repeat(repeat, 1, 1, 1)
        for name, outputs in looked_at.items():
            network = self.networks[name].to(rgb.device)
            network.disturb(view.ghosts)
            # Depthwise convolutions are faster in float32 on a CPU.
            with reduced_precision(rgb.device.type, name == "squeezenet_v1.1"):
                with torch.no_grad():
                    wanted = network(original, outputs)
                found = network(rgb, outputs)
            wanted = [w.repeat(repeat, 1, 1, 1) for w in wanted]
            blocks = feature_loss(found, wanted, grid, weight) / len(looked_at)
            total = total + (blocks.transpose(1, 2) if view.turned else blocks)
        return total

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss on held-out patches per scale, as a ratio to that without filter (best branch per block)."""
        results: dict[str, float] = {}
        device = next(self.model.parameters()).device
        view = View()
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
                    after = self.loss_of(batch, [name], view, self.grid).amin(0).mean()
                    ratios.append(float(after / before))
            if ratios:
                results[f"scale {scale}"] = float(np.mean(ratios))
        results["score"] = float(np.mean(list(results.values())))
        return results

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors` and its model card into the run's folder."""
        save_filter(self.model, folder / "filter.safetensors", facts)
