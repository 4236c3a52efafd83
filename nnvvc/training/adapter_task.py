"""Training of the adapter of learned key pictures: least squared error of what was coded for machines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.files import atomic_path
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models.adapter import Adapter, AdapterConfig, save_adapter
from nnvvc.models.context import PROFILES
from nnvvc.models.image import ImageModel
from nnvvc.models.layers import set_rounding
from nnvvc.models.planes import LEVELS, MIDDLE, UNIT, planes_of_picture
from nnvvc.models.registry import FILES, IMAGE_MACHINES, WEIGHTS
from nnvvc.picture import Matrix
from nnvvc.training.clip_data import HOLD_OUT
from nnvvc.training.people_filter_task import CHROMA_SHARE, DECIBELS, error_left
from nnvvc.training.photos import Photos, data_folder
from nnvvc.training.runner import to_device

SIDE = 192
"""Of the crops, luma samples; a multiple of what the image codec pads to."""

QPS = (12, 52)
"""First and last QP that crops are coded with."""

VALIDATED = 96
"""Crops for validation; their photos are not among the others."""

FLOOR = 0.1
"""Squared error, in 8-bit levels, below which a crop counts less and less."""


class Batch(TypedDict):
    """coded, original: planes (N, 6, SIDE / 2, SIDE / 2). q: (N,), QP."""

    coded: Tensor
    original: Tensor
    q: Tensor


def make_crops(model: ImageModel, photos: Photos, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Crops as the image codec gives them back, `coded`, and as they were, `original`: (count, 6, SIDE / 2,
    SIDE / 2), 10-bit samples; `qp`, (count,).
    """
    rng = np.random.default_rng(seed)
    coded, originals, qps = [], [], []
    for _ in range(count):
        qp = int(rng.integers(QPS[0], QPS[1] + 1))
        planes = planes_of_picture(rgb_to_picture(photos.crop(rng, SIDE), 10, Matrix.BT709))
        latents = model.code(*model.analyse(planes, qp), qp, PROFILES[0], lambda *_: None)
        coded.append(model.synthesise(latents, qp)[0].numpy().astype(np.uint16))
        originals.append((planes[0] * UNIT + MIDDLE).numpy().astype(np.uint16))
        qps.append(qp)
    return {"coded": np.stack(coded), "original": np.stack(originals), "qp": np.array(qps)}


class AdapterTask:
    """The task that the training runner drives.

    folder: crops as the image codec for machines gives them back, made on the first run, `crops` of them, of
    the pictures in `photos` (default: `train` in the folder that NNVVC_DATA names) by the weights in `model`
    (default: the packaged ones). config: fields of `AdapterConfig`. rounding_from: progress from which
    training sees the rounding of the integer form.
    """

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        crops: int = 2000,
        batch: int = 8,
        rounding_from: float = 0.5,
    ) -> None:
        files = [Path(folder, name) for name in ("train.npz", "held_out.npz")]
        if not all(file.exists() for file in files):
            Path(folder).mkdir(parents=True, exist_ok=True)
            codec = ImageModel.load(Path(model) if model else WEIGHTS / FILES[IMAGE_MACHINES])
            every = Photos(data_folder(photos, "train"))
            held_out, rest = every.divided(HOLD_OUT)
            for file, part, count in zip(files, (rest, held_out), (crops, VALIDATED), strict=True):
                with atomic_path(file) as path, path.open("wb") as opened:
                    made = make_crops(codec, part, count, seed=count)
                    np.savez(opened, allow_pickle=False, **made)
        self._train, self._held_out = (dict(np.load(file)) for file in files)
        self.model = Adapter(AdapterConfig(**(config or {})))
        self.batch, self.rounding_from = batch, rounding_from
        self.progress = 0.0

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches of random crops."""
        rng = np.random.default_rng(seed)
        while True:
            rows = rng.integers(len(self._train["qp"]), size=self.batch)
            yield _batch(self._train, rows)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Log error of luma and chroma by their shares; both are logged as decibels gained."""
        set_rounding(self.model, self.progress >= self.rounding_from)
        luma, chroma = _errors(self.model(batch["coded"], batch["q"]).float(), batch)
        loss = (1 - CHROMA_SHARE) * luma.mean() + CHROMA_SHARE * chroma.mean()
        facts = {"dB": luma, "dB_chroma": chroma}
        return loss, {name: DECIBELS * float(v.detach().mean()) for name, v in facts.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """PSNR gained on held-out crops, in decibels, as the integer form will have it; the score is the
        negative gain of luma.
        """
        set_rounding(self.model, True)
        device = next(self.model.parameters()).device
        found = []
        for start in range(0, len(self._held_out["qp"]), self.batch):
            batch = _batch(self._held_out, np.arange(start, start + self.batch))
            batch = to_device(batch, device)
            found.append(torch.stack(_errors(self.model(batch["coded"], batch["q"]).float(), batch)))
        luma, chroma = (DECIBELS * float(v) for v in torch.cat(found, 1).mean(1))
        return {"dB": luma, "dB_chroma": chroma, "score": -luma}

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `adapter.safetensors` and its model card into the run's folder."""
        save_adapter(self.model, folder / "adapter.safetensors", facts)


def _errors(planes: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log errors of luma and of chroma, (N,) each."""
    floor = torch.tensor(FLOOR / LEVELS**2, device=planes.device)
    wanted, before = batch["original"], batch["coded"]
    luma = error_left(planes[:, :4], wanted[:, :4], before[:, :4], floor)
    chroma = error_left(planes[:, 4:], wanted[:, 4:], before[:, 4:], floor)
    return torch.log(luma), torch.log(chroma)


def _batch(crops: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> Batch:
    rows = rows[rows < len(crops["qp"])]
    coded, original = (
        (torch.from_numpy(crops[name][rows].astype(np.float32)) - MIDDLE) / UNIT
        for name in ("coded", "original")
    )
    return {"coded": coded, "original": original, "q": torch.from_numpy(crops["qp"][rows]).float()}
