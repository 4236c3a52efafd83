"""Linear taps beside a filter's network."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.models.restoration import RestorationConfig, RestorationFilter
from nnvvc.models.tap_shapes import GRID, LAYERS, SETS, plain_taps
from nnvvc.models.taps import Taps, _slow_classes, block_classes, classes, grid_basis, of_layer

STEP = torch.full((1, 1, 1, 1), 0.02)
LAYER = torch.tensor([2.0])


def planes(height: int, width: int, seed: int = 0, neighbours: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture among its neighbours, and what a network would add to it."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(1, 1, height, width, generator=generator).cumsum(3) / width
    noise = 0.02 * torch.rand(1, 1 + neighbours, height, width, generator=generator)
    return smooth + noise, 0.01 * torch.randn(1, 1, height, width, generator=generator)


def taps(seed: int, neighbours: int = 6, *, alike: bool = False) -> Taps:
    torch.manual_seed(seed)
    found = Taps(neighbours).requires_grad_(False)
    found.weight.normal_(0, 0.2)
    found.grid.normal_(0, 0.2)
    found.mix.normal_(0, 0.2)
    if alike:
        found.weight[1:] = 0
    return found


@given(
    st.integers(1, 41),
    st.integers(1, 41),
    st.integers(0, 9),
    st.booleans(),
    st.integers(0, 8),
    st.sampled_from((2, 6)),
)
def test_loops_do_what_planes_do(
    height: int, width: int, seed: int, alike: bool, layer: int, neighbours: int
) -> None:
    luma, residual = planes(height, width, seed, neighbours)
    found = taps(seed, neighbours, alike=alike)
    given_to = luma, residual, STEP, torch.tensor([float(layer)])
    quick = found(*given_to)
    found.requires_grad_(True)
    assert torch.allclose(quick, found(*given_to), atol=1e-5)
    assert bool(quick.any()) == (layer > 0)


def test_what_is_added_is_the_sum_of_the_basis() -> None:
    luma, residual = planes(24, 40)
    found = taps(1)
    own = of_layer(found.weight, 2)[classes(luma, STEP)]
    expected = (found.basis(luma, residual, STEP) * own.permute(0, 3, 1, 2)).sum(1, keepdim=True)
    on_grid = (grid_basis(luma) * found.grid.view(1, -1, 1, 1)).sum(1, keepdim=True)
    assert found.weight.shape == (SETS, plain_taps(6) + 1)
    assert torch.allclose(found(luma, residual, STEP, LAYER), expected + on_grid, atol=1e-5)


@given(st.integers(1, 41), st.integers(1, 41), st.integers(0, 9))
def test_loops_tell_blocks_apart_as_planes_do(height: int, width: int, seed: int) -> None:
    luma, _ = planes(height, width, seed)
    quick = torch.from_numpy(block_classes(luma[0].numpy(), float(STEP)))[None]
    slow = _slow_classes(luma, STEP)
    # Where a measure is next to an end, the order of a sum decides.
    assert quick.shape == slow.shape and float((quick != slow).float().mean()) < 0.05


def test_blocks_are_told_apart_by_detail_and_by_motion() -> None:
    luma = torch.full((1, 7, 64, 96), 0.5)
    luma[:, :, :, 32:64] += 0.1 * (torch.arange(32) % 2)
    luma[:, 1:, :, 64:] += 0.1
    found = classes(luma, STEP)
    flat, busy, moving = found[0, 32, 8].item(), found[0, 32, 48].item(), found[0, 32, 88].item()
    assert len({flat, busy, moving}) == 3 and flat == 0
    assert found.shape == (1, 64, 96) and found.max() < len(of_layer(Taps(6).weight, LAYERS))


def test_grid_taps_go_by_the_place_in_a_block() -> None:
    found = Taps(6).requires_grad_(False)
    assert found.idle
    found.grid[0, 2, 3] = 1.0
    assert not found.idle
    luma = torch.arange(32).float().repeat(1, 7, 8, 1)
    changed = found(luma, torch.zeros(1, 1, 8, 32), STEP, LAYER)[0, 0, 4].nonzero()[:, 0]
    assert changed.tolist() == list(range(3, 32, GRID))


@pytest.mark.parametrize("layer", [0.0, 2.0])
def test_key_pictures_have_no_taps(layer: float) -> None:
    torch.manual_seed(0)
    config = RestorationConfig((4, 4, 4), (0, 0, 0), neighbours=6)
    model = RestorationFilter(config).eval().requires_grad_(False)
    luma, _ = planes(32, 48)
    given_to = luma, torch.zeros(1, 2, 16, 24), torch.tensor([30.0]), torch.tensor([[layer] * 7])
    before = model(*given_to)[0]
    model.taps.weight.fill_(0.5)
    assert np.array_equal(before.numpy(), model(*given_to)[0].numpy()) == (layer == 0)
