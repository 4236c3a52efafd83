"""Latent finetuning: better latents for one picture, for rate and distortion together.

The decoder does not change (Le et al., arXiv 2108.09992; Zhang et al., arXiv 2210.04112). Gradients go
through a floating-point twin of the integer networks that sees their very weights and roundings. What moves
are the targets that symbols are chosen for: from what was decoded, along the gradient of everything but a
symbol's own bits, since these are weighed where it is chosen. Gradients that go through that choice as if it
were not there find nothing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nnvvc.models.exact import ExactConv, ExactLinear, ExactSplit
from nnvvc.models.image import ImageModel
from nnvvc.models.layers import ACT_SHIFT, Conv, Split
from nnvvc.models.lic import LappedInverse, Lic, rate_lambda
from nnvvc.models.precision import reduced_precision
from nnvvc.models.simulate import simulate_latents, squared_error

Distortion = Callable[[Tensor, Tensor], Tensor]
"""(decoded planes, original planes) to squared 8-bit levels per luma sample, or what counts like them,
(B,).
"""

STRIDE = 0.5
"""Of the way to where a step of Newton's leads."""

PATIENT_STRIDE = 0.2
"""The same at first, where steps go on downhill although one made things worse; it ends at nothing."""

SHORTEST_STRIDE = 0.05

HYPER_STEP = 0.4
"""Longest step of a hyper-latent where the others go all the way."""

COARSEST = 12.0
"""Components that a quantiser step is so many deviations of do not move: they are hardly ever worth a symbol,
and what their gradient has is the error of others that they overlap with.
"""

PART = 12
"""Side of the parts that large pictures go in, in hyper-latents: of 64x64 samples."""
CHROMA_WEIGHTS = (3.2, 2.6)


def people_distortion(planes: Tensor, original: Tensor) -> Tensor:
    """The weighted squared error that the `people` model is trained for."""
    return squared_error(planes, original, CHROMA_WEIGHTS)


@dataclass(frozen=True)
class Aim:
    """What latents are finetuned for.

    whole: the distortion has to see all of the picture at once; else large ones go part by part, for their
    memory. patient: it is not smooth, so all steps are taken, each shorter than the one before, and the best
    kept; else what a step made worse is taken back. steps: that an encoder takes without being asked, most
    of what there is to gain; largest: luma samples of the largest picture where it does.
    """

    distortion: Distortion = people_distortion
    whole: bool = False
    patient: bool = False
    steps: int = 4
    largest: int = 1 << 22


PEOPLE = Aim()


def twin(model: ImageModel, q: int) -> Lic:
    """A floating-point model with the weights and roundings of the exact one, for the rate index q alone."""
    result = Lic(model.config).to(model.device)
    exact = dict(model.networks.named_modules())
    with torch.no_grad():
        for name, module in result.named_modules():
            source = exact[name]
            if isinstance(module, Conv) and isinstance(source, ExactConv):
                scale = torch.exp2(-source.exponent.float())
                row = source.bias[q if len(source.bias) > 1 else 0].float()
                module.weight.copy_(source.weight.float() * scale[:, None, None, None])
                module.bias.copy_(row * scale * 2.0**-ACT_SHIFT)
                module.rates = None
                module.rounding = True
            elif isinstance(module, Split) and isinstance(source, ExactSplit):
                module.rounding = True
            elif isinstance(module, LappedInverse) and isinstance(source, ExactLinear):
                module.scale.fill_(1.0)
                module.values.copy_(source.real_weight())
        for own, other in ((result.log_deviation, "log_deviation"), (result.log_gain, "log_gain")):
            own.copy_(getattr(model.networks, other))
        result.hyper_scale.copy_(model.networks.hyper_scale)
    return result.requires_grad_(False).eval()


def finetune(
    model: ImageModel,
    planes: Tensor,
    latents: Tensor,
    hyper: Tensor,
    q: int,
    profile: str,
    aim: Aim = PEOPLE,
    *,
    seconds: float = float("inf"),
    steps: int = 1 << 30,
) -> tuple[Tensor, Tensor]:
    """Latents and hyper-latents that cost less than those given; the best seen, at worst those given.

    planes: the padded original. Ends after `seconds`, `steps`, or when nothing more is gained.
    """
    network, rate = twin(model, q), model.rates.rate[q : q + 1]
    rows, columns = hyper.shape[2:]
    parts = [
        (down, across)
        for down in _parts(rows, rows if aim.whole else PART)
        for across in _parts(columns, columns if aim.whole else PART)
    ]
    results = torch.empty_like(latents), torch.empty_like(hyper)
    for down, across in parts:
        seen = partial(_cut, down=down.seen, across=across.seen, rows=rows, columns=columns)
        given = (seen(planes), seen(latents), seen(hyper), rate, profile)
        found = _finetuned(network, *given, seconds / len(parts), steps, aim)
        for result, part in zip(results, found, strict=True):
            inner = _cut(part, down.inner, across.inner, down.length, across.length)
            _cut(result, down.own, across.own, rows, columns)[:] = inner
    return results


@dataclass(frozen=True)
class _Part:
    """Part of a row or column of hyper-latents: its own, what is seen around it, its own within that."""

    own: slice
    seen: slice
    inner: slice

    @property
    def length(self) -> int:
        """Of what is seen."""
        return int(self.seen.stop - self.seen.start)


def _parts(length: int, side: int) -> Iterator[_Part]:
    for first in range(0, length, side):
        last = min(first + side, length)
        seen = slice(max(0, first - 1), min(length, last + 1))
        yield _Part(slice(first, last), seen, slice(first - seen.start, last - seen.start))


def _cut(x: Tensor, down: slice, across: slice, rows: int, columns: int) -> Tensor:
    """What lies at these hyper-latents, of `rows` x `columns`, in a tensor of any resolution."""
    by = x.shape[2] // rows, x.shape[3] // columns
    return x[..., down.start * by[0] : down.stop * by[0], across.start * by[1] : across.stop * by[1]]


def _finetuned(
    network: Lic,
    planes: Tensor,
    latents: Tensor,
    hyper: Tensor,
    rate: Tensor,
    profile: str,
    seconds: float,
    steps: int,
    aim: Aim,
) -> tuple[Tensor, Tensor]:
    weight = 1.0 / float(rate_lambda(rate))
    step_sizes = torch.exp2(network.log_steps(rate))[:, :, None, None]
    curvature = 2 * network.symbol_weights(rate)[:, :, None, None]
    moving = step_sizes < COARSEST
    samples = 4 * planes.shape[2] * planes.shape[3]
    best = latents / step_sizes, hyper
    targets, beside = best
    direction, beside_direction = torch.zeros_like(targets), torch.zeros_like(hyper)
    moments = torch.zeros_like(hyper), torch.zeros_like(hyper)
    stride, best_cost = STRIDE, float("inf")
    start = time.monotonic()
    for step in range(steps):
        given, given_beside = (x.clone().requires_grad_(True) for x in (targets, beside))
        with reduced_precision(planes.device.type):
            result = simulate_latents(
                network, given * step_sizes, given_beside, rate, profile, noise=False, others=True
            )
        distorted = (weight * aim.distortion(result.planes, planes)).sum()
        cost = float(result.rate.detach().sum() + distorted.detach())
        better = cost < best_cost
        if better:
            best, best_cost = (targets, beside), cost
        elapsed = time.monotonic() - start
        if elapsed >= seconds or step + 1 == steps:
            break
        # Where gradients are taken, or were, and the next step begins.
        here = (targets, beside) if aim.patient else best
        if better or aim.patient:
            total = result.bits.sum() + result.hyper_bits.sum() + samples * distorted
            gradient, beside_gradient = torch.autograd.grad(total, (given, given_beside))
            direction = moving * (result.decoded.detach() - targets - gradient / curvature)
            # Hyper-latents have no curvature that is known: Adam without a correction of its start.
            moments = 0.8 * moments[0] + 0.2 * beside_gradient, 0.9 * moments[1] + 0.1 * beside_gradient**2
            beside_direction = -HYPER_STEP * moments[0] / (moments[1].sqrt() + 1e-6)
        else:
            stride /= 2
            if stride < SHORTEST_STRIDE:
                break
        if aim.patient:
            stride = PATIENT_STRIDE * (1 - max((step + 1) / steps, elapsed / seconds))
        targets, beside = here[0] + stride * direction, here[1] + stride * beside_direction
    return best[0] * step_sizes, best[1]
