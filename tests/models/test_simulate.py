"""Bits and their slopes in training: what is measured is what is coded, and means stay where values are."""

import pytest
import torch
from torch import Tensor

from nnvvc.models.simulate import _bits, logistic_bits


def slopes(offset: Tensor, chosen: Tensor, noise: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Bits, and their mean slopes by offset and by scale."""
    torch.manual_seed(0)
    offset = offset.clone().requires_grad_()
    log_scale = torch.full_like(offset, -0.5, requires_grad=True)
    bits = _bits(offset, chosen, log_scale, noise)
    by_offset, by_scale = torch.autograd.grad(bits.mean(), (offset, log_scale))
    return bits.detach(), by_offset.sum(), by_scale.sum()


@pytest.mark.parametrize("noise", [False, True])
def test_an_offset_is_drawn_to_zero_even_where_its_symbol_is_zero(noise: bool) -> None:
    offset = torch.full((4000,), 0.4)
    _, pull, _ = slopes(offset, torch.zeros_like(offset), noise)
    assert pull > 0.2


def test_bits_and_their_slope_by_scale_are_those_of_the_symbols() -> None:
    chosen = torch.tensor([0.0, 0.0, 0.0, 1.0, -2.0])
    bits, _, by_scale = slopes(chosen + 0.3, chosen, noise=False)
    log_scale = torch.full_like(chosen, -0.5, requires_grad=True)
    expected = logistic_bits(chosen, log_scale)
    assert torch.allclose(bits, expected.detach())
    assert torch.allclose(by_scale, torch.autograd.grad(expected.mean(), log_scale)[0].sum())
    with torch.no_grad():
        assert torch.equal(_bits(chosen + 0.3, chosen, log_scale, False), expected.detach())
