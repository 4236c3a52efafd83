"""Making one QP mean what VVC's means: which rate index gives the luma PSNR that VVenC has at each QP."""

import numpy as np
import torch
from torch import Tensor

from nnvvc.models.image import ImageModel
from nnvvc.models.layers import RATES
from nnvvc.models.planes import LEVELS, MIDDLE, UNIT

RATE_INDICES = (8, 16, 24, 32, 40, 48)
"""Rate indices at which a model is measured; straight lines between."""


def luma_psnr(model: ImageModel, pictures: list[Tensor], q: int) -> float:
    """Mean luma PSNR in dB of planes (1, 6, H/2, W/2), padded, coded at the row q of the model's tables."""
    values = []
    for planes in pictures:
        _, decoded = model.compress(*model.analyse(planes, q), q, "base")
        result = (model.synthesise(decoded, q).float() - MIDDLE) / UNIT
        error = ((result - planes)[:, :4] * LEVELS).square().mean()
        values.append(10 * np.log10(255**2 / float(error)))
    return float(np.mean(values))


def rates_of_qps(model: ImageModel, pictures: list[Tensor], wanted: dict[int, float]) -> Tensor:
    """The rate index, a float, for each QP from 0 to 63.

    model: exported with rate index and QP the same. wanted: luma PSNR by QP, on the same pictures;
    further out the rate index follows the QP one to one.
    """
    with torch.no_grad():
        measured = [luma_psnr(model, pictures, q) for q in RATE_INDICES]
    falling = np.minimum.accumulate(measured)
    qps = np.array(sorted(wanted), float)
    slope = (RATE_INDICES[-1] - RATE_INDICES[0]) / (falling[0] - falling[-1])
    psnr = np.array([wanted[int(qp)] for qp in qps])
    rates = np.interp(-psnr, -falling, RATE_INDICES)
    rates = np.where(psnr > falling[0], RATE_INDICES[0] - (psnr - falling[0]) * slope, rates)
    rates = np.where(psnr < falling[-1], RATE_INDICES[-1] + (falling[-1] - psnr) * slope, rates)
    every = np.arange(RATES, dtype=float)
    result = np.interp(every, qps, rates)
    result = np.where(every < qps[0], rates[0] + (every - qps[0]), result)
    result = np.where(every > qps[-1], rates[-1] + (every - qps[-1]), result)
    return torch.from_numpy(result.astype(np.float32))
