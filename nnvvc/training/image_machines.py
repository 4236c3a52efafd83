"""Training of the image codec for machines: features of task networks decide, with a small squared error."""

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.codecs.cost import price
from nnvvc.media.colour import rgb_to_picture
from nnvvc.media.resample import resample
from nnvvc.models.layers import set_rounding
from nnvvc.models.planes import planes_of_picture, rgb_of_planes
from nnvvc.models.precision import reduced_precision
from nnvvc.models.simulate import simulate
from nnvvc.models.tasknets import TaskNetwork, feature_loss
from nnvvc.picture import Chroma, Matrix, PictureFormat
from nnvvc.training.bank import filled
from nnvvc.training.image import ImageTask
from nnvvc.training.replay import Facts

EARLY = {"nanodet_plus_m": ["feat8"], "picodet_s": ["feat8"], "squeezenet_v1.1": ["f1", "f3"]}
"""Where the graphs are cut for most steps."""
FULL = {
    "nanodet_plus_m": ["feat8", "feat16", "feat32"],
    "picodet_s": ["feat8", "feat16", "feat32"],
    "squeezenet_v1.1": ["f1", "f3", "f7"],
}


QP_OF_RATE = 5.0
"""QP less rate index, about: what the people's weights have after calibration."""
RATE_SHARE = 0.25
"""Bits count per sample of a full-size picture coded at half size."""


class MachinesTask(ImageTask):
    """As ImageTask, for the features of one task network drawn per step.

    What is made small is feature loss (`feature_loss`, absolute: hard pictures get more bits than easy ones)
    and bits at the price that `--effort full` has for them, `codecs.cost.price`. pixel_weight: what squared
    error of RGB in 0..1 counts for beside it. full_from: progress from which whole graphs are used; before,
    every eighth step. scales: coded scales, drawn per step; features are those of the original at full size.
    """

    def __init__(
        self,
        *,
        pixel_weight: float = 20.0,
        full_from: float = 0.7,
        scales: tuple[float, ...] = (1.0, 0.5),
        **options: Any,
    ) -> None:
        self.pixel_weight, self.full_from, self.scales = pixel_weight, full_from, tuple(scales)
        self.distinct = sorted(set(self.scales))
        super().__init__(**options)
        # Not part of the model: a plain list keeps them out of its parameters.
        self.judges = [(name, TaskNetwork(name)) for name in EARLY]

    def fill_bank(self, count: int) -> list[Tensor]:
        """RGB (count, 3, size, size) uint8, and planes at each of `scales`, float16."""
        size = int(max(c[2] for c in self.crops))

        def make(rng: np.random.Generator) -> list[NDArray[np.generic]]:
            whole, small = self._sample(rng, size, self.distinct)
            return [whole.transpose(2, 0, 1), *(planes[0].half().numpy() for planes in small)]

        return filled(count, make)

    def _sample(
        self, rng: np.random.Generator, size: int, scales: list[float]
    ) -> tuple[NDArray[np.uint8], list[Tensor]]:
        """A crop, and its planes at every scale."""
        whole = self.photos.crop(rng, size)
        picture = rgb_to_picture(whole, 10, Matrix.BT709)
        sides = [int(size * s) for s in scales]
        return whole, [planes_of_picture(resample(picture, side, side)) for side in sides]

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        bank = self._bank_on_device()
        step = 0
        while True:
            count, size = self._phase()
            scale = float(rng.choice(self.scales))
            if bank is None:
                samples = [self._sample(rng, size, [scale]) for _ in range(count)]
                rgb = torch.from_numpy(np.stack([w for w, _ in samples])).permute(0, 3, 1, 2)
                planes = torch.cat([p[0] for _, p in samples])
            else:
                drawn = torch.from_numpy(rng.integers(0, len(bank[0]), count)).to(bank[0].device)
                rgb, planes = bank[0][drawn], bank[1 + self.distinct.index(scale)][drawn].float()
            name, network = self.judges[rng.integers(len(self.judges))]
            full = self.progress >= self.full_from or step % 8 == 7
            step += 1
            yield {
                "planes": planes,
                "rgb": rgb.float() / 255,
                "q": self._draw_rates(rng, count),
                "profile": self._draw_profile(rng),
                "judge": (name, network, tuple((FULL if full else EARLY)[name])),
            }

    def kind(self, batch: dict[str, Any]) -> Hashable:
        name, _, outputs = batch["judge"]
        return super().kind(batch), name, outputs

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Facts]:
        set_rounding(self.model, self.progress >= self.rounding_from)
        planes, q, rgb = batch["planes"], batch["q"], batch["rgb"]
        noise = self.progress < self.noise_until
        result = simulate(self.model, planes, q, batch["profile"], noise=noise)
        shown = _rgb(result.planes, rgb.shape[-1])
        pixels = (shown - rgb).square().mean((1, 2, 3))
        name, network, outputs = batch["judge"]
        network = network.to(rgb.device)
        # Depthwise convolutions are faster in float32 on a CPU.
        with reduced_precision(rgb.device.type, name == "squeezenet_v1.1"):
            with torch.no_grad():
                originals = network(rgb, outputs)
            features = feature_loss(network(shown, outputs), originals)[:, 0, 0]
        # Fine rates have larger numbers: without a balance they would drown the coarse ones.
        weight = torch.exp2((q - 37.0) / 5.0 * self.rate_balance)
        bits = RATE_SHARE * result.rate
        loss = (weight * (bits + (features + self.pixel_weight * pixels) / _prices(q))).mean()
        facts = {"bpp": bits, "mse": pixels, "features": features}
        return loss, {k: v.detach().mean() for k, v in facts.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score: mean over held-out crops at half size and rates of log2(bits + feature loss)."""
        device = next(self.model.parameters()).device
        costs: list[float] = []
        scores: dict[str, float] = {}
        for rate in (22.0, 32.0, 42.0):
            bits, errors = [], []
            for original, rgb in self._held_out_views():
                q = torch.tensor([rate], device=device)
                result = simulate(self.model, original.to(device), q, "high", noise=False)
                seen = _rgb(result.planes, rgb.shape[-1])
                error = [
                    feature_loss(n.to(device)(seen, FULL[k]), n(rgb.to(device), FULL[k])).mean()
                    for k, n in self.judges
                ]
                bits.append(RATE_SHARE * float(result.rate))
                errors.append(float(torch.stack(error).mean()))
                costs.append(float(np.log2(bits[-1] + errors[-1] / float(_prices(q)))))
            scores |= {
                f"bpp{rate:.0f}": float(np.mean(bits)),
                f"features{rate:.0f}": float(np.mean(errors)),
            }
        return {"score": float(np.mean(costs)), **scores}

    def _held_out_views(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Planes at half size and RGB at full size of the held-out crops."""
        for view in self.held_out_views:
            height, width = view.shape[:2]
            half = resample(rgb_to_picture(view, 10, Matrix.BT709), width // 2, height // 2)
            yield planes_of_picture(half), torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255


def _prices(q: Tensor) -> Tensor:
    return price(q + QP_OF_RATE)


def _rgb(planes: Tensor, size: int) -> Tensor:
    """RGB (B, 3, size, size) of square BT.709 planes; pictures coded smaller are enlarged."""
    side = 2 * planes.shape[-1]
    fmt = PictureFormat(side, side, 10, Chroma.C420, Matrix.BT709)
    return rgb_of_planes(planes, fmt, (size, size))
