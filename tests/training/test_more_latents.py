"""Latents added to a trained model: nothing of it changes, and pictures can be said in full."""

from dataclasses import replace

import torch
from torch import Tensor

from nnvvc.models.context import ContextConfig
from nnvvc.models.layers import Conv
from nnvvc.models.lic import Lic, block_kernel
from nnvvc.models.simulate import simulate
from nnvvc.training.more_latents import complete, widened
from tests.models.tiny_image import CONFIG, tiny_network

WEIGHTS = (3.2, 2.6)
MORE = replace(CONFIG, latents=384, context=ContextConfig(width=16, groups=(2, 4, 378)))


def _planes(seed: int, count: int = 8) -> Tensor:
    """Smooth planes with some noise, (count, 6, 64, 64)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 6, 8, 8, generator=generator) - 0.5
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")
    return smooth + 0.05 * torch.randn(count, 6, 64, 64, generator=generator)


def _wider() -> tuple[Lic, Lic]:
    """A model, and one with all latents that starts from it."""
    few = tiny_network().eval()
    torch.manual_seed(1)
    more = Lic(MORE).eval()
    more.load_state_dict(widened(few.state_dict(), more.state_dict()))
    return few, more


@torch.no_grad()
def test_a_model_is_what_it_was_before_its_new_latents_are_filled() -> None:
    few, more = _wider()
    planes, q = _planes(3), torch.full((8,), 30.0)
    for profile in ("fast", "high"):
        was, now = (simulate(model, planes, q, profile, noise=False) for model in (few, more))
        torch.testing.assert_close(now.decoded[:, : CONFIG.latents], was.decoded)
        torch.testing.assert_close(now.planes, was.planes)


@torch.no_grad()
def test_new_latents_are_what_the_others_leave() -> None:
    few, more = _wider()
    complete(more, [_planes(seed, 32) for seed in range(12)], CONFIG.latents, WEIGHTS, [4.0, 8.0], rounds=3)
    left = []
    for model in (few, more):
        planes = _planes(100)
        rest = planes - model.synthesis.linear_path(model.analysis.linear_path(planes))
        left.append(float(rest[:, :, 8:-8, 8:-8].square().mean()))
    assert left[1] < 0.1 * left[0]
    deviations = torch.exp2(more.log_deviation[CONFIG.latents :])
    assert bool((deviations.diff() <= 0).all())
    latents = more.analysis.linear_path(_planes(101))[:, CONFIG.latents :]
    assert 0.5 < float(latents.square().mean().sqrt()) < 1.5


def test_zeros_go_where_latents_enter_as_halves() -> None:
    few, more = _wider()
    layer, wider = few.synthesis.inlet, more.synthesis.inlet
    assert isinstance(layer, Conv) and isinstance(wider, Conv)
    n, m = CONFIG.latents, MORE.latents
    torch.testing.assert_close(wider.weight[:, :n], layer.weight[:, :n])
    torch.testing.assert_close(wider.weight[:, m : m + n], layer.weight[:, n:])
    assert not wider.weight[:, n:m].any() and not wider.weight[:, m + n :].any()


def test_a_kernel_is_a_block() -> None:
    vector = torch.zeros(1, 384)
    vector[0, 2 * 64 + 5 * 8 + 3] = 1.0  # plane 2, row 5, column 3
    planes = torch.nn.functional.conv_transpose2d(
        torch.ones(1, 1, 1, 1), block_kernel(vector), stride=2, padding=1
    )
    planes = torch.nn.functional.pixel_shuffle(torch.nn.functional.pixel_shuffle(planes, 2), 2)
    assert planes.shape == (1, 6, 8, 8)
    assert planes.flatten().nonzero().tolist() == [[2 * 64 + 5 * 8 + 3]]
