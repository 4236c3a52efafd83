"""The learned image codec's networks: a lapped linear transform, learned corrections, hyperprior and rate
control.

Latents are in units of one standard deviation of their component. At rate index q (0 to 63) the quantiser
step of component c is `steps(q)[c]` in that unit; networks see reconstructed latents in that unit too, so
that one network serves all rates, and the quantised scale of a symbol is a network output minus a table
entry.

The linear path starts as a Karhunen-Loeve transform of 16x16 luma blocks with their chroma, which makes a
working transform codec of the untrained model; its kernels reach half a block further on every side and
learn to overlap.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.context import Context, ContextConfig
from nnvvc.models.layers import KNOTS, Conv, Residual, Split, Up, interpolate, whole_precision
from nnvvc.models.planes import LEVELS

LATENT_STRIDE = 16
"""Luma samples from one latent to the next."""
HYPER_STRIDE = 64
"""Luma samples from one hyper-latent to the next; pictures are padded to multiples of it."""
HYPER_FEATURE_SCALE = 0.25
"""Hyper-latents (whole numbers) times this enter the hyper synthesis."""
LINEAR_RATE = 0.1
"""The linear transforms learn at this share of the learning rate: they start near where they end."""
ENERGY_FLOOR = 0.05
"""Magnitudes far below this do not count in the log energies."""
ENERGY_RATE = 0.05
"""As LINEAR_RATE, for the linear path of the hyper analysis."""
ENERGY_GAIN = 0.3
"""Hyper-latents per octave of an orthonormal component of the log energies, at the start."""
ANALYSIS_LEVELS, MEAN_LEVELS, SYNTHESIS_SCALE = 8.0, 16.0, 0.125
"""What 1 in the last weights of the nonlinear analysis and of the means stands for, in 8-bit levels of an
orthonormal transform, and in those of the synthesis, in its unit: a step of training must not move a strong
component, whose unit is hundreds of levels, by more than it is quantised with.
"""
FIRST_STEP = 0.94
"""Quantiser step at q, in 8-bit levels of an orthonormal transform: FIRST_STEP * 2**((q - 4) / 6)."""


def rate_lambda(q: Tensor) -> Tensor:
    """Lagrangian weight lambda(q) = lambda0 * 2**(q / 3): squared 8-bit levels per bit, both per luma
    sample.
    """
    return 0.57 * torch.exp2((q - 12.0) / 3.0)


@dataclass(frozen=True)
class LicConfig:
    """Sizes of the networks: channels at 1/4, 1/8 and 1/16 of the luma resolution, latents, hyper-latents."""

    latents: int = 384
    quarter: int = 48
    eighth: int = 96
    sixteenth: int = 160
    hyper: int = 64
    features: int = 128
    context: ContextConfig = field(default_factory=ContextConfig)


class Lapped(nn.Module):
    """The weights of a linear transform between 96 channels at 1/8 and latents at 1/16, kernel 4, stride
    2.

    The kernel is `scale` (latents, 96) times the trained values, chosen so that these are of the size at
    which one learning rate suits them and all other weights.
    """

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(latents, 96, 4, 4))
        self.register_buffer("scale", torch.ones(latents, 96))
        self.scale: Tensor

    def weight(self) -> Tensor:
        return self.values * self.scale[:, :, None, None]

    @torch.no_grad()
    def start(self, kernel: Tensor, scale: Tensor) -> None:
        """Kernel (latents, 96, 4, 4), of which `scale` is taken out."""
        self.scale.copy_(scale)
        self.values.copy_(kernel / scale[:, :, None, None])


class LappedForward(Lapped):
    """96 channels at 1/8 to latents at 1/16."""

    def forward(self, x: Tensor) -> Tensor:
        return whole_precision(F.conv2d, x, self.weight(), None, 2, 1)


class LappedInverse(Lapped):
    """Latents at 1/16 to 96 channels at 1/8."""

    def forward(self, x: Tensor) -> Tensor:
        return whole_precision(F.conv_transpose2d, x, self.weight(), None, 2, 1)


class Analysis(nn.Module):
    """Planes (B, 6, H/2, W/2) to latents (B, latents, H/16, W/16). Runs in the encoder only, in floating
    point.

    corrections: whether the nonlinear branch takes part; the start of a training goes faster without.
    """

    def __init__(self, c: LicConfig) -> None:
        super().__init__()
        self.corrections = True
        self.linear = LappedForward(c.latents)
        self.inlet = Conv(24, c.quarter, 3, conditioned=True, leaky=True)
        self.quarter = Residual(c.quarter, leaky=True)
        self.down8 = Conv(c.quarter, c.eighth, 2, stride=2, pad=0, leaky=True)
        self.eighth = Residual(c.eighth, leaky=True)
        self.down16 = Conv(c.eighth, c.sixteenth, 2, stride=2, pad=0, leaky=True)
        self.sixteenth = Residual(c.sixteenth, leaky=True)
        self.outlet = Conv(c.sixteenth, c.latents, 3, wide=True, zero=True)

    def linear_path(self, planes: Tensor) -> Tensor:
        """The latents without corrections."""
        result: Tensor = self.linear(F.pixel_unshuffle(F.pixel_unshuffle(planes, 2), 2))
        return result

    def forward(self, planes: Tensor, q: Tensor) -> Tensor:
        linear = self.linear_path(planes)
        if not self.corrections:
            return linear
        x = self.quarter(self.inlet(F.pixel_unshuffle(planes, 2), q))
        x = self.eighth(self.down8(x))
        x = self.sixteenth(self.down16(x))
        result: Tensor = linear + self.outlet(x)
        return result


class Synthesis(nn.Module):
    """Reconstructed latents to planes (B, 6, H/2, W/2). corrections: as in `Analysis`."""

    def __init__(self, c: LicConfig) -> None:
        super().__init__()
        self.corrections = True
        self.linear = LappedInverse(c.latents)
        self.split = Split()
        self.inlet = Conv(2 * c.latents, c.sixteenth, 3, conditioned=True)
        self.sixteenth = Residual(c.sixteenth)
        self.up8 = Up(c.sixteenth, c.eighth)
        self.eighth = nn.Sequential(Residual(c.eighth), Residual(c.eighth))
        self.up4 = Up(c.eighth, c.quarter)
        self.merge = Conv(c.quarter + 48, c.quarter, 3, conditioned=True)
        self.quarter = Residual(c.quarter)
        self.outlet = Conv(c.quarter, 24, 3, wide=True, zero=True)

    def linear_path(self, latents: Tensor) -> Tensor:
        """The planes without corrections."""
        return F.pixel_shuffle(F.pixel_shuffle(self.linear(latents), 2), 2)

    def forward(self, latents: Tensor, q: Tensor) -> Tensor:
        linear = F.pixel_shuffle(self.linear(latents), 2)
        if not self.corrections:
            return F.pixel_shuffle(linear, 2)
        x = self.sixteenth(self.inlet(self.split(latents), q))
        x = self.eighth(self.up8(x))
        x = torch.cat([self.up4(x), self.split(2 * linear)], 1)
        x = self.outlet(self.quarter(self.merge(x, q)))
        return F.pixel_shuffle(linear + x, 2)


class HyperAnalysis(nn.Module):
    """Latents to hyper-latents before rounding, (B, hyper, H/64, W/64). Encoder only.

    The linear path takes mean log energies of the components over 4x4 latents, in the basis of their own
    principal components at first; without it training tends to switch the hyper-latents off before the
    probability model has learned to use them.
    """

    def __init__(self, c: LicConfig) -> None:
        super().__init__()
        self.energy = nn.Parameter(torch.zeros(c.hyper, c.latents))
        self.energy_bias = nn.Parameter(torch.zeros(c.hyper))
        self.split = Split()
        self.inlet = Conv(2 * c.latents, c.features, 1, conditioned=True)
        self.down32 = Conv(c.features, c.features, 4, stride=2, pad=1)
        self.down64 = Conv(c.features, c.features, 4, stride=2, pad=1)
        self.outlet = Conv(c.features, c.hyper, 1, wide=True, conditioned=True, zero=True)

    @staticmethod
    def energies(latents: Tensor) -> Tensor:
        """Mean log2 magnitudes, (B, latents, H/64, W/64)."""
        return F.avg_pool2d(torch.log2(latents.float().abs() + ENERGY_FLOOR), 4)

    def forward(self, latents: Tensor, q: Tensor) -> Tensor:
        weight = (self.energy * ENERGY_RATE)[:, :, None, None]
        linear = F.conv2d(self.energies(latents), weight, self.energy_bias)
        x = self.down64(self.down32(self.inlet(self.split(latents), q)))
        result: Tensor = linear + self.outlet(x, q)
        return result


class HyperSynthesis(nn.Module):
    """Hyper-latents times HYPER_FEATURE_SCALE to features of the probability model, (B, features, H/16,
    W/16).
    """

    def __init__(self, c: LicConfig) -> None:
        super().__init__()
        self.split = Split()
        self.inlet = Conv(2 * c.hyper, c.features, 3, conditioned=True)
        self.up32 = Up(c.features, c.features)
        self.middle = Conv(c.features, c.features, 3)
        self.up16 = Up(c.features, c.features)

    def forward(self, hyper: Tensor, q: Tensor) -> Tensor:
        x = self.inlet(self.split(hyper), q)
        result: Tensor = self.up16(self.middle(self.up32(x)))
        return result


def block_metric(chroma_weights: tuple[float, float]) -> Tensor:
    """What an error of a sample counts for, (6,), float64, by plane; chroma_weights: its square against that
    of luma, for Cb and Cr.
    """
    return torch.tensor([1.0] * 4 + [weight**0.5 for weight in chroma_weights], dtype=torch.float64)


def block_kernel(vectors: Tensor) -> Tensor:
    """Kernels (n, 96, 4, 4) of linear transforms of blocks of 8x8 of the six planes, (n, 384), laid out as
    `pixel_unshuffle(8)` does.
    """
    # Block channel p * 64 + y * 8 + x is, after two unshuffles by 2, channel ((p * 4 + lowest bits of
    # y, x) * 4 + next bits) of the central 2x2 of the kernel.
    blocks = vectors.reshape(-1, 6, 2, 2, 2, 2, 2, 2).permute(0, 1, 4, 7, 3, 6, 2, 5)
    return F.pad(blocks.reshape(-1, 96, 2, 2), (1, 1, 1, 1))


class Lic(nn.Module):
    """All networks of one codec model, with its gain vectors."""

    def __init__(self, config: LicConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or LicConfig()
        self.analysis = Analysis(c)
        self.synthesis = Synthesis(c)
        self.hyper_analysis = HyperAnalysis(c)
        self.hyper_synthesis = HyperSynthesis(c)
        self.context = Context(c.context, c.latents, c.features)
        self.register_buffer("log_deviation", torch.zeros(c.latents))
        self.log_deviation: Tensor
        self.log_gain = nn.Parameter(torch.zeros(len(KNOTS), c.latents))
        self.hyper_scale = nn.Parameter(torch.full((len(KNOTS), c.hyper), 0.0))

    def learn_finely(self) -> None:
        """Set the scales at which the outputs are trained, from the deviations of the components."""
        levels = torch.exp2(-self.log_deviation)
        self.analysis.outlet.learn_at((ANALYSIS_LEVELS * levels).clamp(max=1.0))
        self.synthesis.outlet.learn_at(torch.full_like(self.synthesis.outlet.bias.detach(), SYNTHESIS_SCALE))
        for mean, part in self.context.means():
            mean.learn_at((MEAN_LEVELS * levels[part]).clamp(max=1.0))

    def fold(self) -> None:
        """Hold all weights as they act."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fold()

    def log_steps(self, q: Tensor) -> Tensor:
        """log2 of the quantiser steps at the rate indices q (B,): (B, latents)."""
        base = math.log2(FIRST_STEP) + (q[:, None] - 4.0) / 6.0
        return base - self.log_deviation + interpolate(self.log_gain, q)

    @torch.no_grad()
    def symbol_weights(self, q: Tensor) -> Tensor:
        """Bits that a squared error of one quantiser step is worth, (B, latents): the linear path is
        orthonormal.
        """
        steps = torch.exp2(self.log_steps(q) + self.log_deviation)
        return steps.square() / rate_lambda(q)[:, None]

    def hyper_scales(self, q: Tensor) -> Tensor:
        """log2 of the standard deviations of the hyper-latents: (B, hyper)."""
        return interpolate(self.hyper_scale, q)

    @torch.no_grad()
    def rotate(self, rotation: Tensor, deviation: Tensor) -> None:
        """Let the latents be other components of the same linear transforms.

        rotation (latents, latents): columns are the new components in the old ones, all in levels. deviation
        (latents,): standard deviations of the new ones in levels. Gains are forgotten; of the corrections
        the analysis's are switched off, and the synthesis's inlet keeps what is odd in the latents.
        """
        old = torch.exp2(self.log_deviation)
        forward, inverse = self.analysis.linear, self.synthesis.linear
        kernel = torch.einsum("cijk,cd->dijk", forward.weight() * old[:, None, None, None], rotation)
        forward.start(kernel / deviation[:, None, None, None], forward.scale * (old / deviation)[:, None])
        kernel = torch.einsum("cijk,cd->dijk", inverse.weight() / old[:, None, None, None], rotation)
        inverse.start(kernel * deviation[:, None, None, None], inverse.scale * (deviation / old)[:, None])
        self.log_deviation.copy_(torch.log2(deviation))
        self.log_gain.zero_()
        self.analysis.outlet.weight.zero_()
        self.analysis.outlet.bias.zero_()
        inlet = self.synthesis.inlet.weight
        positive, negative = inlet.chunk(2, 1)
        change = rotation / old[:, None] * deviation
        odd = torch.einsum("ocjk,cd->odjk", (positive - negative) / 2, change)
        inlet.copy_(torch.cat([odd, -odd], 1))

    @torch.no_grad()
    def start_hyper(self, latents: Tensor) -> None:
        """Make the linear path of the hyper analysis a KLT of log energies; latents (B, latents, h, w)."""
        energies = self.hyper_analysis.energies(latents).double().permute(0, 2, 3, 1)
        flat = energies.reshape(-1, energies.shape[-1])
        mean = flat.mean(0)
        values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
        order = values.argsort(descending=True)[: self.config.hyper]
        basis = ENERGY_GAIN * vectors[:, order].T
        self.hyper_analysis.energy.copy_(basis / ENERGY_RATE)
        self.hyper_analysis.energy_bias.copy_(-basis @ mean)
        deviation = ENERGY_GAIN * values[order].clamp_min(0).sqrt()
        self.hyper_scale.copy_(torch.log2(deviation + 0.2).expand_as(self.hyper_scale))

    @torch.no_grad()
    def start_from_klt(self, covariance: Tensor, chroma_weights: tuple[float, float]) -> None:
        """Make the linear paths a KLT.

        covariance (384, 384) of blocks of 8x8 of the six planes in 8-bit levels, laid out as
        `pixel_unshuffle(8)` does; chroma_weights: what a squared error of Cb and Cr counts against one of
        luma, per chroma sample.
        """
        metric = block_metric(chroma_weights)
        weights = metric.repeat_interleave(64)
        values, vectors = torch.linalg.eigh(covariance.double() * weights[:, None] * weights[None, :])
        order = values.argsort(descending=True)[: self.config.latents]
        deviation = values[order].clamp_min(1e-3).sqrt()
        self.log_deviation.copy_(torch.log2(deviation))
        kernel = block_kernel(vectors[:, order].T)
        planes = LEVELS * metric.repeat_interleave(16)[None, :]
        self.analysis.linear.start(
            kernel * (planes / deviation[:, None])[:, :, None, None],
            LINEAR_RATE * planes / deviation[:, None],
        )
        self.synthesis.linear.start(
            kernel * (deviation[:, None] / planes)[:, :, None, None],
            LINEAR_RATE * deviation[:, None] / planes,
        )
