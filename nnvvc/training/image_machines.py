"""Training of the image codec for machines: features of task networks decide, with a small squared error."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from nnvvc.media.colour import rgb_to_picture
from nnvvc.models.layers import set_rounding
from nnvvc.models.lic import rate_lambda
from nnvvc.models.planes import planes_of_picture, rgb_of_planes
from nnvvc.models.simulate import simulate, squared_error
from nnvvc.models.tasknets import TaskNetwork, feature_loss
from nnvvc.picture import Chroma, Matrix, PictureFormat
from nnvvc.training.image import ImageTask

EARLY = {"nanodet_plus_m": ["feat8"], "picodet_s": ["feat8"], "squeezenet_v1.1": ["f1", "f3"]}
"""Where the graphs are cut for most steps."""
FULL = {
    "nanodet_plus_m": ["feat8", "feat16", "feat32"],
    "picodet_s": ["feat8", "feat16", "feat32"],
    "squeezenet_v1.1": ["f1", "f3", "f7"],
}


class MachinesTask(ImageTask):
    """As ImageTask, for the features of one task network drawn per step.

    squared_share: what the squared error counts for in the distortion. The feature error is brought to
    the size of the squared error of the same picture, so the balance of rate and distortion stays that of
    the people's model. full_from: progress from which whole graphs are used; before, every eighth step.
    scales: coded scales, drawn per step; features are those of the original at full size.
    """

    def __init__(
        self,
        *,
        squared_share: float = 0.15,
        full_from: float = 0.7,
        scales: tuple[float, ...] = (1.0, 0.5),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.squared_share, self.full_from, self.scales = squared_share, full_from, tuple(scales)
        # Not part of the model: a plain list keeps them out of its parameters.
        self.judges = [(name, TaskNetwork(name)) for name in EARLY]

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        step = 0
        while True:
            _, count, size = [c for c in self.crops if c[0] <= self.progress][-1]
            scale = float(rng.choice(self.scales))
            whole = [self.photos.crop(rng, int(size)) for _ in range(int(count))]
            side = int(size * scale)
            small = [cv2.resize(w, (side, side), interpolation=cv2.INTER_AREA) for w in whole]
            planes = [planes_of_picture(rgb_to_picture(s, 10, Matrix.BT709)) for s in small]
            name, network = self.judges[rng.integers(len(self.judges))]
            full = self.progress >= self.full_from or step % 8 == 7
            step += 1
            yield {
                "planes": torch.cat(planes),
                "rgb": torch.from_numpy(np.stack(whole)).permute(0, 3, 1, 2).float() / 255,
                "q": torch.from_numpy(rng.uniform(self.low, self.high, int(count)).astype(np.float32)),
                "profile": self._draw_profile(rng),
                "judge": (network, tuple((FULL if full else EARLY)[name])),
            }

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        set_rounding(self.model, self.progress >= self.rounding_from)
        planes, q, rgb = batch["planes"], batch["q"], batch["rgb"]
        network, outputs = batch["judge"]
        result = simulate(self.model, planes, q, batch["profile"], noise=False)
        squared = squared_error(result.planes, planes, self.chroma_weights)
        network = network.to(rgb.device)
        with torch.no_grad():
            originals = network(rgb, outputs)
        seen = network(_rgb(result.planes, rgb.shape[-1]), outputs)
        features = feature_loss(seen, originals)[:, 0, 0]
        size = squared.detach() / features.detach().clamp_min(1e-4)
        distortion = self.squared_share * squared + (1 - self.squared_share) * size * features
        weight = torch.exp2((q - 37.0) / 5.0 * self.rate_balance)
        loss = (weight * (result.rate + distortion / rate_lambda(q))).mean()
        facts = {"bpp": result.rate, "mse": squared, "features": features}
        return loss, {k: float(v.detach().mean()) for k, v in facts.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score: mean over held-out crops and rates of log2(rate) + log2(feature error), with both."""
        device = next(self.model.parameters()).device
        costs, errors, rates = [], [], []
        for planes in self.held_out:
            original = planes[:, :, :128, :128].to(device)
            rgb = _rgb(original, 256)
            for qp in (27.0, 37.0, 47.0):
                q = torch.tensor([qp], device=device)
                result = simulate(self.model, original, q, "high", noise=False)
                seen = _rgb(result.planes, 256)
                error = np.mean(
                    [
                        float(feature_loss(n.to(device)(seen, FULL[k]), n(rgb, FULL[k])).mean())
                        for k, n in self.judges
                    ]
                )
                rates.append(float(result.rate))
                errors.append(float(error))
                costs.append(float(np.log2(rates[-1]) + np.log2(error)))
        return {
            "score": float(np.mean(costs)),
            "bpp": float(np.mean(rates)),
            "features": float(np.mean(errors)),
        }


def _rgb(planes: Tensor, size: int) -> Tensor:
    """RGB (B, 3, size, size) of square BT.709 planes; pictures coded smaller are enlarged."""
    side = 2 * planes.shape[-1]
    fmt = PictureFormat(side, side, 10, Chroma.C420, Matrix.BT709)
    return rgb_of_planes(planes, fmt, (size, size))
