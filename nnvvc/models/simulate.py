"""The learned codec in floating point, with gradients: for training and for finetuning latents."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.layers import ste_round
from nnvvc.models.lic import HYPER_FEATURE_SCALE, LATENT_STRIDE, Lic
from nnvvc.models.planes import LEVELS

_LOGISTIC = math.sqrt(3.0) / math.pi
"""Scale parameter of a logistic distribution of unit standard deviation."""
LOG_SCALE_RANGE = (-3.6, 8.4)
"""log2 of the smallest and largest standard deviation of a symbol, in quantiser steps."""


def logistic_bits(symbol: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of `symbol` (not need be whole) under a logistic of standard deviation 2**log_scale, per element.

    In closed form from the two tails, so that far outliers keep a gradient.
    """
    low, high = LOG_SCALE_RANGE
    inverse = torch.exp2(-log_scale.clamp(low, high)) / _LOGISTIC
    upper, lower = (symbol + 0.5) * inverse, (symbol - 0.5) * inverse
    nats = F.softplus(-upper) + F.softplus(lower) - torch.log(-torch.expm1(-inverse))
    return nats / math.log(2.0)


@torch.no_grad()
def choose_symbols(offset: Tensor, log_scale: Tensor, weight: Tensor) -> Tensor:
    """Whole symbols for `offset` (value less mean, in steps): the nearest, or one towards zero where it
    is cheaper.

    weight: what a squared error of one step costs, in bits.
    """
    nearest = torch.floor(offset + 0.5)
    lower = nearest - torch.sign(nearest)
    saved = logistic_bits(nearest, log_scale) - logistic_bits(lower, log_scale)
    harm = weight * ((offset - lower).square() - (offset - nearest).square())
    return torch.where(saved > harm, lower, nearest)


def _bits(offset: Tensor, chosen: Tensor, log_scale: Tensor, noise: bool) -> Tensor:
    """Bits of `offset` with noise, or of the symbols `chosen` for it, per element.

    Chosen symbols tell scales what they cost, but most of them are zero, whose cost has no slope: means would
    follow the few others alone and drift away from where most values are. Slopes for all but scales are those
    with noise.
    """
    if not (noise or torch.is_grad_enabled()):
        return logistic_bits(chosen, log_scale)
    noisy = offset + torch.rand_like(offset) - 0.5
    if noise:
        return logistic_bits(noisy, log_scale)
    slope = logistic_bits(noisy, log_scale.detach())
    return logistic_bits(chosen, log_scale) + (slope - slope.detach())


@dataclass(frozen=True)
class Coded:
    """Latents as they are coded: decoded (B, latents, H/16, W/16) in quantiser steps, and bits of latents and
    hyper-latents (B,).
    """

    decoded: Tensor
    bits: Tensor
    hyper_bits: Tensor

    @property
    def rate(self) -> Tensor:
        """Bits per luma sample, (B,)."""
        rows, columns = self.decoded.shape[2:]
        return (self.bits + self.hyper_bits) / (LATENT_STRIDE**2 * rows * columns)


@dataclass(frozen=True)
class Pass(Coded):
    """What one pass of the model gives: planes (B, 6, H/2, W/2) beside."""

    planes: Tensor


def simulate(model: Lic, planes: Tensor, q: Tensor, profile: str, noise: bool) -> Pass:
    """Code `planes` (B, 6, H/2, W/2) at the rate indices q (B,) in floating point.

    With `noise` the rate is measured at values with uniform noise instead of rounding, as is usual in
    training.
    """
    latents = model.analysis(planes, q)
    return simulate_latents(model, latents, model.hyper_analysis(latents, q), q, profile, noise)


def simulate_latents(
    model: Lic,
    latents: Tensor,
    hyper: Tensor,
    q: Tensor,
    profile: str,
    noise: bool,
    others: bool = False,
) -> Pass:
    """The same from latents (B, latents, H/16, W/16) and hyper-latents (B, hyper, H/64, W/64) on.

    others: as of `code_latents`.
    """
    coded = code_latents(model, latents, hyper, q, profile, noise, others)
    planes = model.synthesis(in_units(model, coded, q), q)
    return Pass(coded.decoded, coded.bits, coded.hyper_bits, planes)


def in_units(model: Lic, coded: Coded, q: Tensor) -> Tensor:
    """Decoded latents in their own unit."""
    return coded.decoded * torch.exp2(model.log_steps(q))[:, :, None, None]


def code_latents(
    model: Lic,
    latents: Tensor,
    hyper: Tensor,
    q: Tensor,
    profile: str,
    noise: bool,
    others: bool = False,
) -> Coded:
    """As `simulate_latents`, without the synthesis.

    others: gradients of bits tell what a decoded value does to the bits of those that follow it, not what it
    costs itself.
    """
    hyper = hyper.float()
    rounded = ste_round(hyper)
    hyper_scales = model.hyper_scales(q)[:, :, None, None]
    if others:
        hyper_bits = logistic_bits(rounded, hyper_scales).sum((1, 2, 3))
    else:
        hyper_bits = _bits(hyper, rounded.detach(), hyper_scales, noise).sum((1, 2, 3))
    features = model.hyper_synthesis(rounded * HYPER_FEATURE_SCALE, q)

    log_steps = model.log_steps(q)[:, :, None, None]
    weights = model.symbol_weights(q)[:, :, None, None]
    values = latents.float() * torch.exp2(-log_steps)
    canvas = torch.zeros_like(latents, dtype=torch.float32)
    bits = torch.zeros_like(hyper_bits)
    spatial: list[Tensor] = []
    for step in model.context.steps(profile):
        if step.group == 0:
            spatial = [
                model.context.spatial(i, p, canvas, features)
                for i, p in zip(step.contexts, step.phases, strict=True)
            ]
        part = slice(step.start, step.stop)
        decoded = []
        for (dy, dx), around in zip(step.phases, spatial, strict=True):
            known = canvas[:, : step.start, dy::2, dx::2]
            mean, log_scale = model.context.parameters_of(profile, step, around, known, q)
            mean = mean.float() * torch.exp2(-log_steps[:, part])
            value = values[:, part, dy::2, dx::2]
            offset, log_scale = value - mean, log_scale.float() - log_steps[:, part]
            if noise:
                chosen = torch.floor(offset.detach() + 0.5)
            else:
                chosen = choose_symbols(offset.detach(), log_scale.detach(), weights[:, part])
            symbol = offset + (chosen - offset).detach()
            if others:
                cost = logistic_bits((symbol + mean).detach() - mean, log_scale)
            else:
                cost = _bits(offset, chosen, log_scale, noise)
                if not noise:  # a decoded value moves with its mean, whose symbol stays
                    symbol = symbol + (mean - mean.detach())
            bits = bits + cost.sum((1, 2, 3))
            decoded.append((symbol + mean) * torch.exp2(log_steps[:, part]))
        canvas = canvas.clone()
        for (dy, dx), value in zip(step.phases, decoded, strict=True):
            canvas[:, part, dy::2, dx::2] = value
    return Coded(canvas * torch.exp2(-log_steps), bits, hyper_bits)


def squared_error(planes: Tensor, original: Tensor, chroma_weights: tuple[float, float]) -> Tensor:
    """Weighted squared error in 8-bit levels per luma sample, (B,): weights are per chroma sample over
    luma's.
    """
    error = ((planes.float() - original) * LEVELS).square().mean((2, 3))
    cb, cr = chroma_weights
    return error[:, :4].mean(1) + (cb * error[:, 4] + cr * error[:, 5]) / 4
