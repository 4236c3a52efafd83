"""The network of the filter for people."""

from pathlib import Path

import pytest
import torch

from nnvvc.errors import UnknownModel
from nnvvc.models.restoration import (
    RestorationConfig,
    RestorationFilter,
    condition,
    kmac_per_pixel,
    load_restoration,
    prepared,
    quantiser_step,
    save_restoration,
    seen,
)

SMALL = RestorationConfig(widths=(4, 6, 8), blocks=(1, 1, 1))


def planes(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(1, 1, height, width), torch.rand(1, 2, (height + 1) // 2, (width + 1) // 2) - 0.5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (64, 48)])
def test_any_size_comes_back(height: int, width: int) -> None:
    luma, chroma = planes(height, width)
    y, c = RestorationFilter(SMALL)(luma, chroma, torch.tensor([30.0]), torch.tensor([2.0]))
    assert (y.shape, c.shape) == (luma.shape, chroma.shape)


def test_it_answers_in_quantiser_steps() -> None:
    """A difference of as many steps gives an answer of as many steps, whatever the QP."""
    luma, chroma = planes(32, 32)
    model = RestorationFilter(SMALL).eval()
    answers = []
    for qp in (20.0, 32.0):
        step = quantiser_step(torch.tensor([qp]))
        given = condition(torch.tensor([26.0]), torch.tensor([0.0]))
        answers.append(model.residual(luma * step, chroma * step, step[:, None, None, None], given))
    # What is left is the surroundings, which stay in samples.
    torch.testing.assert_close(answers[0], answers[1], atol=0.05, rtol=0)
    assert abs(quantiser_step(torch.tensor([10.0])) * 255 - 2) < 1e-5


def test_surroundings_of_flat_planes_leave_nothing() -> None:
    seen = prepared(torch.full((1, 6, 16, 24), 0.3), torch.tensor(0.1))
    assert seen[:, :6].abs().max() < 1e-5
    torch.testing.assert_close(seen[:, 6:], torch.full((1, 3, 16, 24), 0.3))


def test_the_count_of_multiplications_is_that_of_the_layers() -> None:
    config = RestorationConfig()
    counted = 0

    def count(module: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        counted_here = module.weight[0].numel() * output.numel()
        nonlocal counted
        counted += counted_here

    model = RestorationFilter(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    model(*planes(64, 64), torch.tensor([30.0]), torch.tensor([1.0]))
    assert counted / 64**2 / 1000 == pytest.approx(kmac_per_pixel(config))
    assert 4 <= kmac_per_pixel(config) <= 6.1


def test_saved_filters_come_back(tmp_path: Path) -> None:
    model = RestorationFilter(SMALL).half().float()
    save_restoration(model, tmp_path / "f.safetensors", {"purpose": "test"})
    again = load_restoration(tmp_path / "f.safetensors")
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "f.safetensors").write_bytes(b"damaged")
    with pytest.raises(UnknownModel):
        load_restoration(tmp_path / "f.safetensors")


@pytest.mark.parametrize("neighbours", [0, 2])
def test_loops_see_what_planes_do(neighbours: int) -> None:
    torch.manual_seed(0)
    luma, chroma = torch.rand(2, 1 + neighbours, 32, 48), torch.rand(2, 2, 16, 24) - 0.5
    step = torch.tensor([0.02, 0.1])[:, None, None, None]
    quick = seen(luma, chroma, step)
    slow = seen(luma.requires_grad_(), chroma, step).detach()
    assert quick.shape == (2, 9 + 4 * neighbours, 16, 24)
    assert torch.allclose(quick, slow, atol=1e-4)
