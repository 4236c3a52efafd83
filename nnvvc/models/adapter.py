"""The adapter of learned key pictures: what was coded for machines becomes a reference for VVC and a picture
for people (the inner human adapter of NN-VVC, Ahonen et al., IEEE ISM 2023).

It stands inside the coding loop, so it runs in exact integers as the learned codec does, from 10-bit samples
to 10-bit samples: a few layers at a quarter of the luma resolution that add to the picture.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from nnvvc.errors import InexactArithmetic, UnknownModel
from nnvvc.files import atomic_output
from nnvvc.models.exact import (
    INT8,
    REFERENCE,
    SAMPLE_SHIFT,
    check_bounds,
    exact_arithmetic,
    make_exact,
    samples_of,
    take_exact_path,
    use_path,
)
from nnvvc.models.layers import RATES, Conv, Residual, Split
from nnvvc.models.planes import MIDDLE, UNIT, picture_of_samples, planes_of_picture
from nnvvc.picture import Picture

FORMAT = "nnvvc adapter 1"
"""Name of the metadata entry of a weights file."""

ALIGNMENT = 4
"""Pictures are padded to a multiple of this many luma samples."""

INPUT_GAIN = 4
"""Planes times this fill the 8-bit range of activations."""


@dataclass(frozen=True)
class AdapterConfig:
    """width: channels, at a quarter of the luma resolution. blocks: residual blocks."""

    width: int = 48
    blocks: int = 2


class Adapter(nn.Module):
    """Planes (B, 6, H / 2, W / 2), as in `models.planes`, to better ones; H and W multiples of 4.

    The same code computes in floating point, for training, and in whole numbers of 2**-12 once it is exact.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.split = Split()
        self.inlet = Conv(48, config.width, 3, conditioned=True)
        self.blocks = nn.Sequential(*(Residual(config.width) for _ in range(config.blocks)))
        self.outlet = Conv(config.width, 24, 3, wide=True, zero=True)

    def forward(self, planes: Tensor, q: Tensor) -> Tensor:
        """q: (B,), QP that the pictures were coded with."""
        quarter = F.pixel_unshuffle(planes, 2)
        x = self.blocks(self.inlet(self.split(INPUT_GAIN * quarter), q))
        return planes + F.pixel_shuffle(self.outlet(x), 2)


class ExactAdapter:
    """An adapter as it is used. Make it with `load_adapter`. path: how sums are computed here."""

    def __init__(self, network: Adapter) -> None:
        self.network = network.eval().requires_grad_(False)
        self.path = REFERENCE

    def use(self, path: str) -> None:
        """Take `INT8` or `REFERENCE`."""
        use_path(self.network, path)
        self.path = path

    @torch.no_grad()
    def __call__(self, picture: Picture, qp: int) -> Picture:
        """A picture of 10 bits, 4:2:0 or 4:0:0, coded with `qp`, 0 to 63; of any size."""
        samples = planes_of_picture(picture, ALIGNMENT) * UNIT + MIDDLE
        return picture_of_samples(self.samples(samples.to(torch.int32), qp), picture.format)

    @torch.no_grad()
    def samples(self, samples: Tensor, qp: int) -> Tensor:
        """Whole 10-bit samples, (1, 6, H / 2, W / 2) int32, to the same."""
        planes = (samples - MIDDLE) << SAMPLE_SHIFT
        with exact_arithmetic():
            result: Tensor = self.network(planes, torch.tensor([qp]))
        return samples_of(result)

    def known_answer(self) -> str:
        """Digest of what it makes of fixed samples, at several QPs."""
        numbers = np.arange(6 * 32 * 32, dtype=np.uint64) * np.uint64(2654435761)
        noise = ((numbers >> np.uint64(13)) % np.uint64(1024)).astype(np.int32)
        samples = torch.from_numpy(noise).reshape(1, 6, 32, 32)
        digest = hashlib.sha256()
        for qp in (17, 33, 49):
            digest.update(self.samples(samples, qp).numpy().astype(np.int64).tobytes())
        return digest.hexdigest()


def kmac_per_pixel(config: AdapterConfig) -> float:
    """Thousands of multiplications per luma sample."""
    width = config.width
    return 9 * (48 * width + 2 * config.blocks * width**2 + 24 * width) / 16 / 1000


def exact(network: Adapter) -> ExactAdapter:
    """The integer form of a trained adapter, which changes in place. Raises InexactModel."""
    make_exact(network, torch.arange(RATES, dtype=torch.float32))
    return ExactAdapter(network)


def save_adapter(network: Adapter, path: Path, facts: dict[str, Any]) -> None:
    """Make a trained adapter exact, in place; write its weights to `path`, and beside them the model card."""
    adapter = exact(network.cpu())
    about = {"config": asdict(network.config), "answer": adapter.known_answer()}
    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    with atomic_output(path) as output:
        output.write(save_tensors(tensors, {FORMAT: json.dumps(about)}))
    card = {"config": asdict(network.config), "kmac_per_pixel": kmac_per_pixel(network.config)} | facts
    path.with_suffix(".json").write_text(json.dumps(card, indent=1, default=str) + "\n")


def load_adapter(path: Path, wanted: str | None = None) -> ExactAdapter:
    """The adapter that `save_adapter` wrote, on the faster path that gives the known answer, or the one
    `wanted`. Raises UnknownModel for a file that is not sound, InexactArithmetic where no path is right.
    """
    try:
        with safe_open(path, "pt") as opened:
            about = json.loads((opened.metadata() or {})[FORMAT])
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        adapter = exact(Adapter(AdapterConfig(**about["config"])))
        adapter.network.load_state_dict(tensors)
        check_bounds(adapter.network)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnknownModel(f"the adapter weights {path.name} cannot be loaded: {error}") from error
    candidates = [wanted] if wanted else [INT8, REFERENCE]
    if take_exact_path(candidates, adapter.use, lambda: adapter.known_answer() == about["answer"]):
        return adapter
    raise InexactArithmetic(
        "this machine does not compute the adapter exactly: pictures would come out wrong"
    )


__all__ = ["Adapter", "AdapterConfig", "ExactAdapter", "kmac_per_pixel", "load_adapter", "save_adapter"]
