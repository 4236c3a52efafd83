"""SOAP: it learns what Adam finds hard, goes on from a saved state, and leaves what has no gradient alone."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nnvvc.training.soap import LARGEST_SIDE, Soap


def problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs of very different, correlated sizes, and what a linear layer should make of them."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0]
    scales = torch.logspace(-2, 0.5, 12)
    x = torch.randn(512, 12, generator=generator) * scales @ mix
    return x, x @ torch.randn(12, 5, generator=generator)


def trained(optimizer: type[torch.optim.Optimizer], steps: int = 300) -> float:
    x, y = problem()
    torch.manual_seed(1)
    layer = nn.Linear(12, 5, bias=True)
    chosen = optimizer(layer.parameters(), lr=0.02)  # type: ignore[call-arg]
    for _ in range(steps):
        loss = (layer(x) - y).square().mean()
        chosen.zero_grad()
        loss.backward()
        chosen.step()
    return float(loss.detach())


def test_it_learns_what_adam_finds_hard() -> None:
    assert trained(Soap) < 0.5 * trained(torch.optim.Adam)


def convolution(columns_last: bool) -> nn.Conv2d:
    torch.manual_seed(2)
    layer = nn.Conv2d(32, 6, 3)
    return layer.to(memory_format=torch.channels_last) if columns_last else layer


def step(layer: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(seed))
    layer(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_memory_layout_does_not_matter() -> None:
    results = []
    for columns_last in (False, True):
        layer = convolution(columns_last)
        optimizer = Soap(layer.parameters(), lr=0.01)
        before = layer.weight.detach().clone()
        for seed in range(6):
            step(layer, optimizer, seed)
        assert not torch.equal(before, layer.weight)
        results.append(layer.weight.detach().contiguous())
    assert torch.allclose(results[0], results[1], atol=2e-3)


def test_a_saved_state_goes_on_as_if_nothing_had_been() -> None:
    layer = convolution(True)
    optimizer = Soap(layer.parameters(), lr=0.01)
    for seed in range(25):
        step(layer, optimizer, seed)
    other = copy.deepcopy(layer)
    resumed = Soap(other.parameters(), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(25, 50):
        step(layer, optimizer, seed)
        step(other, resumed, seed)
    assert torch.equal(layer.weight, other.weight)


def test_no_gradient_no_step() -> None:
    used, unused = nn.Linear(3, 3), nn.Linear(3, 3)
    before = unused.weight.detach().clone()
    optimizer = Soap([*used.parameters(), *unused.parameters()], lr=0.1)
    for _ in range(3):
        used(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    assert torch.equal(unused.weight, before)


@pytest.mark.parametrize("shape", [(2, LARGEST_SIDE + 1), (LARGEST_SIDE + 1, 2), (300, 300), (7,), (5, 1)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    p = nn.Parameter(torch.ones(shape))
    optimizer = Soap([p], lr=0.01)
    for seed in range(4):
        p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
    assert bool(torch.isfinite(p).all()) and not torch.equal(p, torch.ones(shape))
