"""Training of the learned image codec: rate and distortion over all rates at once."""

import copy
import itertools
import json
import math
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.files import atomic_path
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models.context import PROFILES
from nnvvc.models.image import config_from, save_model
from nnvvc.models.layers import RATES, set_rounding, set_slope
from nnvvc.models.lic import FIRST_STEP, HYPER_STRIDE, Lic, rate_lambda
from nnvvc.models.planes import LEVELS, planes_of_picture
from nnvvc.models.simulate import simulate, squared_error
from nnvvc.picture import Matrix
from nnvvc.training.bank import filled
from nnvvc.training.calibrate import rates_of_qps
from nnvvc.training.fit_tables import fit_tables
from nnvvc.training.more_latents import complete, widened
from nnvvc.training.photos import Photos, data_folder, read_rgb
from nnvvc.training.ranges import spread
from nnvvc.training.replay import Facts
from nnvvc.training.rounding import round_weights
from nnvvc.training.sparse_basis import sparse_rotation

SPARSE_CROPS = 1440
"""Crops of 192x192 that the sparse basis is found on."""
SPARSE_RATES = (22, 27, 32, 37, 42, 47)
NEW_CROPS, NEW_RATES, NEW_ROUNDS = 480, (12, 16, 20, 24), 40
"""Crops of 192x192, rates and rounds of the sparse basis of latents that a start did not have."""
USUAL_CROPS = 24
"""Crops of 256x256 that show what activations usually are."""
USUAL_RATES = (16, 22, 27, 32, 37, 42, 47)
DEAD_ZONE = 0.8
"""A component below this share of its quantiser step is not worth its bits, about."""
SLOPES = 16
"""Steps in which the slope of activations below zero falls."""
MIRRORED = [1, 0, 3, 2, 4, 5]
"""Planes that take each other's place where a picture is mirrored left to right."""
HELD_OUT_SIZE = 384
"""Largest side of the centre crops that the held-out score is taken on."""


class ImageTask:
    """Trains all networks for mean squared error.

    data: folder of photos (default NNVVC_DATA/train); held_out: folder of pictures for the score
    (NNVVC_DATA/kodak). crops: (progress, batch, size) phases. profiles: how often each profile is
    trained; they share all but their last layers. rates: q is drawn evenly from this range.
    rounding_from: progress from which training sees integer rounding; corrections_from: from which the
    nonlinear branches of the transforms take part. slope: of activations below zero, at the beginning;
    none from `slope_until` on. noise_until: the rate is that of noisy, not of rounded values, until then.
    calibration: the luma PSNR that each QP should give on the held-out pictures;
    rate_offset: without it, the rate index less the QP.
    start: a checkpoint of a run whose weights to start from, but for those that begin like one of `fresh`;
    they are held at the scales of `learn_finely`. Where it has fewer latents the others are what those leave
    (`more_latents`). sparse: rounds of making the components of the linear
    transforms sparse (`sparse_basis`) before anything is trained; the probability model should be fresh then.
    bank: so many crops of the largest size are made once, by all cores, and lie on the device that trains; 0:
    crops are cut anew for every step. fit_rounding: what is exported has its activations where their range is
    used (`ranges`), and weights rounded for their inputs (`rounding`), not to the nearest steps: for
    trainings that never saw rounding.
    """

    def __init__(
        self,
        *,
        config: dict[str, Any] | None = None,
        data: str | None = None,
        held_out: str | None = None,
        crops: list[list[float]] | None = None,
        rates: tuple[float, float] = (17.0, 52.0),
        profiles: dict[str, float] | None = None,
        chroma_weights: tuple[float, float] = (3.2, 2.6),
        rounding_from: float = 0.75,
        corrections_from: float = 0.0,
        slope: float = 0.0,
        slope_until: float = 0.5,
        noise_until: float = 0.0,
        start: str | None = None,
        fresh: tuple[str, ...] = (),
        rate_balance: float = 0.75,
        limit: int | None = None,
        calibration: dict[int, float] | None = None,
        rate_offset: float = 0.0,
        sparse: int = 0,
        bank: int = 0,
        fit_rounding: bool = False,
    ) -> None:
        self.model = Lic(config_from(config or {}))
        self.progress = 0.0
        self.crops = crops or [[0.0, 8, 128]]
        self.low, self.high = rates
        self.rounding_from = rounding_from
        self.profiles = profiles or {"high": 1.0}
        self.corrections_from, self.noise_until = corrections_from, noise_until
        self.slope, self.slope_until = slope, slope_until
        self.chroma_weights = (float(chroma_weights[0]), float(chroma_weights[1]))
        self.rate_balance = rate_balance
        self.photos = Photos(data_folder(data, "train"), limit)
        self.bank = self.fill_bank(bank) if bank else None
        self.rate_offset, self.fit_rounding = rate_offset, fit_rounding
        self.calibration = {int(qp): float(psnr) for qp, psnr in (calibration or {}).items()}
        self.held_out_files = sorted(data_folder(held_out, "kodak").glob("*"))
        self.held_out_views = [_centre(read_rgb(f)) for f in self.held_out_files[4::6]]
        self.held_out = [planes_of_picture(rgb_to_picture(v, 10, Matrix.BT709)) for v in self.held_out_views]
        self._start_from_klt()
        taken: dict[str, Tensor] = {}
        if start is not None:
            state = torch.load(start, map_location="cpu", weights_only=True)
            weights = state["model"] | state["average"]
            taken = {k: v for k, v in weights.items() if not k.startswith(tuple(fresh))}
            latents = len(taken["log_deviation"])
            taken = widened(taken, self.model.state_dict())
            self.model.load_state_dict(taken, strict=False)
            if latents < self.model.config.latents:
                self._complete(latents)
        if sparse:
            self._make_sparse(sparse)
        self.model.learn_finely()
        if any(k.startswith("hyper_") and k not in taken for k in self.model.state_dict()):
            self._start_hyper()

    def _start_from_klt(self) -> None:
        rng = np.random.default_rng(1)
        planes = self.photos.planes(rng, 600, 128)
        blocks = F.pixel_unshuffle(planes * LEVELS, 8).permute(0, 2, 3, 1).reshape(-1, 384).double()
        covariance = blocks.T @ blocks / blocks.shape[0]
        self.model.start_from_klt(covariance, self.chroma_weights)

    def _complete(self, known: int) -> None:
        drawn = self._basis_crops(4, NEW_CROPS)
        complete(self.model, drawn, known, self.chroma_weights, _thresholds(NEW_RATES), NEW_ROUNDS)

    def _basis_crops(self, seed: int, count: int) -> Iterator[Tensor]:
        """Planes of crops that a basis is found on, eight at a time."""
        rng = np.random.default_rng(seed)
        return (self.photos.planes(rng, 8, 192) for _ in range(count // 8))

    @torch.no_grad()
    def _make_sparse(self, rounds: int) -> None:
        model = self.model
        levels = torch.exp2(model.log_deviation)[:, None, None]
        latents = torch.cat(
            [model.analysis.linear_path(planes) * levels for planes in self._basis_crops(3, SPARSE_CROPS)]
        )
        vectors = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        rotation = sparse_rotation(vectors, _thresholds(SPARSE_RATES), rounds)
        deviation = (vectors @ rotation).square().mean(0).sqrt()
        order = deviation.argsort(descending=True)
        model.rotate(rotation[:, order], deviation[order])

    def _start_hyper(self) -> None:
        planes = self.photos.planes(np.random.default_rng(2), 100, 256)
        q = torch.full((len(planes),), 32.0)
        with torch.no_grad():
            self.model.start_hyper(self.model.analysis(planes, q))

    def _usual_pictures(self, model: Lic) -> Callable[[], None]:
        """Runs a model on crops, at all rates and in all profiles."""
        planes = self.photos.planes(np.random.default_rng(8), USUAL_CROPS, 256)

        def run() -> None:
            for rate, profile, part in itertools.product(USUAL_RATES, PROFILES, torch.split(planes, 8)):
                simulate(model, part, torch.full((len(part),), float(rate)), profile, noise=False)

        return run

    def fill_bank(self, count: int) -> list[Tensor]:
        """Samples for `from_bank`: here planes (count, 6, size / 2, size / 2), float16."""
        size = int(max(c[2] for c in self.crops))
        return filled(count, lambda rng: [self.photos.planes(rng, 1, size)[0].half().numpy()])

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        bank = self._bank_on_device()
        while True:
            count, size = self._phase()
            if bank is None:
                planes = self.photos.planes(rng, count, size)
            else:
                planes = _turned(rng, _cut(rng, bank[0][_drawn(rng, bank[0], count)], size)).float()
            q = self._draw_rates(rng, count)
            yield {"planes": planes, "q": q, "profile": self._draw_profile(rng)}

    def _bank_on_device(self) -> list[Tensor] | None:
        device = next(self.model.parameters()).device
        return None if self.bank is None else [t.to(device) for t in self.bank]

    def _phase(self) -> tuple[int, int]:
        """Crops in a batch and their size, now."""
        _, count, size = [c for c in self.crops if c[0] <= self.progress][-1]
        return int(count), int(size)

    def _draw_rates(self, rng: np.random.Generator, count: int) -> Tensor:
        return torch.from_numpy(rng.uniform(self.low, self.high, count).astype(np.float32))

    def _draw_profile(self, rng: np.random.Generator) -> str:
        weights = np.array(list(self.profiles.values()))
        return str(rng.choice(list(self.profiles), p=weights / weights.sum()))

    def kind(self, batch: dict[str, Any]) -> Hashable:
        """See `replay.Losses`."""
        phases = (self.rounding_from, self.corrections_from, self.noise_until)
        shapes = [tuple(v.shape) for v in batch.values() if isinstance(v, Tensor)]
        return batch.get("profile"), self._slope(), *shapes, *(self.progress >= p for p in phases)

    def _slope(self) -> float:
        """Falls in a few steps: each makes other graphs."""
        left = max(0.0, 1 - self.progress / self.slope_until)
        return self.slope * math.ceil(SLOPES * left) / SLOPES

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Facts]:
        set_rounding(self.model, self.progress >= self.rounding_from)
        set_slope(self.model, self._slope())
        corrections = self.progress >= self.corrections_from
        self.model.analysis.corrections = self.model.synthesis.corrections = corrections
        planes, q = batch["planes"], batch["q"]
        result = simulate(self.model, planes, q, batch["profile"], noise=self.progress < self.noise_until)
        rate = result.rate
        error = squared_error(result.planes, planes, self.chroma_weights)
        return self.balanced(rate, error, q)

    def balanced(self, rate: Tensor, error: Tensor, q: Tensor) -> tuple[Tensor, Facts]:
        """The loss of bits and squared errors (B,), and what is logged."""
        # Rates halve every 5 steps of q: without a balance the fine end would drown the coarse one.
        weight = torch.exp2((q - 37.0) / 5.0 * self.rate_balance)
        loss = (weight * (rate + error / rate_lambda(q))).mean()
        return loss, {"bpp": rate.detach().mean(), "mse": error.detach().mean()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score: mean over held-out pictures and rates of log2(bits + distortion / lambda) per sample."""
        device = next(self.model.parameters()).device
        scores: dict[str, float] = {}
        costs = []
        with torch.autocast(device.type, enabled=False):
            for rate in (22, 32, 42, 47):
                bpp, psnr = [], []
                for planes in self.held_out:
                    q = torch.tensor([float(rate)], device=device)
                    original = planes.to(device)
                    result = simulate(self.model, original, q, "high", noise=False)
                    bits = float(result.rate)
                    decoded = (result.planes * 256).round().clamp(-512, 511) / 256
                    error = float(squared_error(decoded, original, self.chroma_weights))
                    luma = float(((decoded - original)[:, :4] * LEVELS).square().mean())
                    costs.append(math.log2(bits + error / float(rate_lambda(q))))
                    bpp.append(bits)
                    psnr.append(10 * math.log10(255**2 / luma))
                scores[f"bpp{rate}"] = sum(bpp) / len(bpp)
                scores[f"psnr{rate}"] = sum(psnr) / len(psnr)
        return {"score": sum(costs) / len(costs), **scores}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `image.safetensors` and its model card `image.json`.

        The QPs are calibrated where the recipe says how, and the probability tables fitted to training
        photos.
        """
        file = folder / "image.safetensors"
        q = torch.arange(RATES, dtype=torch.float32)
        trained = copy.deepcopy(self.model).cpu().eval()
        if self.fit_rounding:
            set_rounding(trained, False)
            run = self._usual_pictures(trained)
            spread(trained, run)
            round_weights(trained, run)
        model = save_model(copy.deepcopy(trained), file, q=q)
        if not self.calibration:
            q = q + self.rate_offset
        else:
            q = rates_of_qps(model, self._calibration_pictures(), self.calibration)
            model = save_model(copy.deepcopy(trained), file, q=q)
        rng = np.random.default_rng(5)
        photos = [self.photos.planes(rng, 1, 256) for _ in range(96)]
        tables = fit_tables(model, photos, [17, 22, 27, 32, 37, 42, 47, 52])
        model = save_model(trained, file, tables, q)
        card = {
            "model": "learned image codec",
            "sha256": model.digest.hex(),
            "bytes": file.stat().st_size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "rate index of QP": [round(float(v), 2) for v in q],
            **facts,
        }
        with atomic_path(file.with_suffix(".json")) as path:
            path.write_text(json.dumps(card, indent=1, default=str) + "\n")

    def _calibration_pictures(self) -> list[Tensor]:
        pictures = [rgb_to_picture(read_rgb(f), 10, Matrix.BT709) for f in self.held_out_files]
        return [planes_of_picture(p, HYPER_STRIDE) for p in pictures]


def _thresholds(rates: tuple[int, ...]) -> list[float]:
    """What a component is worth its bits from, in 8-bit levels, at each of these rate indices."""
    return [DEAD_ZONE * FIRST_STEP * 2 ** ((q - 4) / 6) for q in rates]


def _drawn(rng: np.random.Generator, bank: Tensor, count: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, len(bank), count)).to(bank.device)


def _cut(rng: np.random.Generator, planes: Tensor, size: int) -> Tensor:
    """A window of `size` luma samples, the same in all of a batch of planes."""
    side = size // 2
    top, left = rng.integers(0, planes.shape[-1] - side + 1, 2)
    return planes[..., top : top + side, left : left + side]


def _turned(rng: np.random.Generator, planes: Tensor) -> Tensor:
    """A batch of planes, mirrored at random."""
    return planes[:, MIRRORED].flip(-1) if rng.random() < 0.5 else planes


def _centre(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, of whole hyper-latents at half size too where it is large enough."""
    height, width = (min(s // HYPER_STRIDE * HYPER_STRIDE, HELD_OUT_SIZE) for s in rgb.shape[:2])
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])
