"""Latent finetuning: gradient steps on the latents of one picture, for rate and distortion together.

The decoder does not change (Le et al., arXiv 2108.09992; Zhang et al., arXiv 2210.04112). Gradients go
through a floating-point twin of the integer networks that sees their very weights and roundings.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

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

LEARNING_RATE = 0.03
PATIENCE = 20
CHROMA_WEIGHTS = (3.2, 2.6)


def people_distortion(planes: Tensor, original: Tensor) -> Tensor:
    """The weighted squared error that the `people` model is trained for."""
    return squared_error(planes, original, CHROMA_WEIGHTS)


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
    *,
    seconds: float = float("inf"),
    steps: int = 1 << 30,
    distortion: Distortion = people_distortion,
) -> tuple[Tensor, Tensor]:
    """Latents and hyper-latents that cost less than those given; the best seen, at worst those given.

    planes: the padded original. Ends after `seconds`, `steps`, or when nothing was gained for a while.
    """
    network = twin(model, q)
    rate = model.rates.rate[q : q + 1]
    weight = 1.0 / float(rate_lambda(rate))
    step_sizes = torch.exp2(network.log_steps(rate))[:, :, None, None]
    # In units of the quantiser step, one learning rate suits every component and rate.
    scaled = nn.Parameter((latents / step_sizes).clone())
    free = nn.Parameter(hyper.clone())
    optimizer = torch.optim.Adam([scaled, free], lr=LEARNING_RATE, betas=(0.9, 0.95))
    best, best_cost, best_step = (latents, hyper), float("inf"), 0
    end = time.monotonic() + seconds
    for step in range(steps):
        with reduced_precision(planes.device.type):
            result = simulate_latents(network, scaled * step_sizes, free, rate, profile, noise=False)
        loss = (result.rate + weight * distortion(result.planes, planes)).sum()
        cost = float(loss.detach())
        if cost < best_cost:
            best = ((scaled * step_sizes).detach().clone(), free.detach().clone())
            best_cost, best_step = cost, step
        if time.monotonic() >= end or step - best_step > PATIENCE:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return best
