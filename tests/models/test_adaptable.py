"""What an update of a filter may change."""

from typing import get_args

import pytest
import torch

from nnvvc.models.adaptable import Adaptable, Kind
from nnvvc.models.restoration import RestorationConfig, RestorationFilter


def filter_and_input() -> tuple[RestorationFilter, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    model = RestorationFilter(RestorationConfig((4, 4, 4), (0, 0, 1))).eval().requires_grad_(False)
    planes = torch.rand(1, 1, 16, 16), torch.rand(1, 2, 8, 8) - 0.5
    return model, (*planes, torch.tensor([30.0]), torch.tensor([[1.0]]))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_change_changes_what_comes_out_and_nothing_stays_changed(kind: Kind) -> None:
    model, given = filter_and_input()
    adaptable = Adaptable(model, kind)
    before = model(*given)[0]
    changed = adaptable.changed(torch.full((adaptable.count,), 0.5))
    assert (torch.func.functional_call(model, changed, given)[0] - before).abs().max() > 1e-4
    nothing = adaptable.changed(torch.zeros(adaptable.count))
    assert torch.equal(torch.func.functional_call(model, nothing, given)[0], before)
    assert torch.equal(model(*given)[0], before)


def test_kinds_have_the_numbers_they_say() -> None:
    model, _ = filter_and_input()
    shapes = {n: p.shape for n, p in model.named_parameters()}
    biases = sum(s[0] for n, s in shapes.items() if n.endswith("bias"))
    gains = sum(s[0] for s in shapes.values() if len(s) == 4)
    assert Adaptable(model).count == biases
    assert Adaptable(model, "biases and gains").count == biases + gains
    assert Adaptable(model, "last layer").count == 6 * 4 * 9 + 6
    assert Adaptable(model, "all weights").count == sum(s.numel() for s in shapes.values())


def test_a_gain_is_a_factor_of_a_convolutions_outputs() -> None:
    model, _ = filter_and_input()
    adaptable = Adaptable(model, "biases and gains")
    values = torch.zeros(adaptable.count)
    values[-1] = 0.5
    changed = adaptable.changed(values)
    assert torch.equal(changed["head.weight"][-1], 1.5 * model.head.weight[-1])
    assert torch.equal(changed["head.weight"][:-1], model.head.weight[:-1])
