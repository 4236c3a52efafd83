"""Networks that share what they have in common."""

import torch
from torch import nn

from nnvvc.models.sharing import replaced, shared


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))


def test_parts_of_one_can_be_exchanged_without_the_other() -> None:
    model, given = network(), torch.rand(2, 3)
    before = model(given)
    other = shared(model)
    other[1] = nn.Identity()
    assert other[0] is model[0] and isinstance(model[1], nn.ReLU)
    assert torch.equal(model(given), before) and not torch.equal(other(given), before)


def test_parameters_are_replaced_by_name() -> None:
    model, given = network(), torch.rand(2, 3)
    before = model(given)
    bias = torch.tensor([1.0, -2.0])
    other = replaced(model, {"2.0.bias": bias})
    assert torch.allclose(other(given), before - model[2][0].bias + bias)
    assert torch.equal(model(given), before)
    assert other[0].weight is model[0].weight and not other[2][0].bias.requires_grad


def test_names_that_are_not_there_change_nothing() -> None:
    model = network()
    other = replaced(model, {"bias": torch.zeros(4), "2.bias": torch.zeros(2)})
    assert all(a is b for a, b in zip(model.parameters(), other.parameters(), strict=True))
