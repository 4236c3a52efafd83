"""A tiny image model for tests. Run as a module to write the golden files anew:

python -m tests.models.tiny_image
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nnvvc.models.context import PROFILES, ContextConfig
from nnvvc.models.image import ImageModel, save_model
from nnvvc.models.lic import Lic, LicConfig

DATA = Path(__file__).parent.parent / "data"
MODEL = DATA / "tiny_image.safetensors"
GOLDEN = DATA / "tiny_image.json"

CONFIG = LicConfig(
    latents=12,
    quarter=8,
    eighth=8,
    sixteenth=16,
    hyper=8,
    features=16,
    context=ContextConfig(width=16, groups=(2, 4, 6)),
)


def tiny_network(seed: int = 0) -> Lic:
    """An untrained model that starts from the KLT of smooth noise; all its layers do something."""
    torch.manual_seed(seed)
    model = Lic(CONFIG)
    place = torch.arange(8.0)
    line = torch.exp(-(place[:, None] - place[None]).abs() / 8)
    block = torch.kron(line, line).double()
    planes = torch.full((6, 6), 0.2, dtype=torch.float64) + 0.8 * torch.eye(6, dtype=torch.float64)
    planes[:4, :4] = 0.95 + 0.05 * torch.eye(4, dtype=torch.float64)
    model.start_from_klt(400.0 * torch.kron(planes, block), (3.2, 2.6))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        model.hyper_analysis.energy += 1.0
    return model


def fixed_latents(model: ImageModel) -> tuple[Tensor, Tensor]:
    """Latents and hyper-latents of a 128x64 picture, the same everywhere."""
    c = model.config
    numbers = np.arange(c.latents * 32 + c.hyper * 2, dtype=np.uint64) * np.uint64(2654435761)
    noise = ((numbers >> np.uint64(11)) % np.uint64(513)).astype(np.float32) / 128 - 2
    latents = torch.from_numpy(noise[: c.latents * 32]).reshape(1, c.latents, 4, 8)
    return latents, torch.from_numpy(noise[c.latents * 32 :]).reshape(1, c.hyper, 1, 2) * 3


def golden_cases(model: ImageModel) -> dict[str, dict[str, str]]:
    """By profile and QP: the coded bytes, and the digest of the decoded samples."""
    cases = {}
    for profile in PROFILES:
        for qp in (5, 30, 60):
            data, decoded = model.compress(*fixed_latents(model), qp, profile)
            samples = model.synthesise(decoded, qp).numpy().tobytes()
            cases[f"{profile} {qp}"] = {"data": data.hex(), "samples": hashlib.sha256(samples).hexdigest()}
    return cases


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden_cases(save_model(tiny_network(), MODEL)), indent=1) + "\n")
