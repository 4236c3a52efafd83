"""Convolutions of single samples, against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnvvc.models.filters import ConditionalConv
from nnvvc.models.pointwise import enlarged, multiplied, plain

LEAK = 0.1


@pytest.mark.parametrize("outputs", [1, 8, 16, 24, 31, 40, 48])
@pytest.mark.parametrize(("inputs", "height", "width"), [(1, 1, 1), (30, 3, 5), (24, 4, 6)])
def test_products_are_what_a_convolution_gives(outputs: int, inputs: int, height: int, width: int) -> None:
    torch.manual_seed(outputs)
    layer = nn.Conv2d(inputs, outputs, 1).requires_grad_(False)
    x = torch.randn(1, inputs, height, width)
    for leak in (1.0, LEAK):
        found = multiplied(x, layer.weight, layer.bias, leak)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(found[:, :outputs], F.leaky_relu(layer(x), leak), atol=1e-5)
        assert not found[:, outputs:].any()


@pytest.mark.parametrize("outputs", [8, 16, 24])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (3, 9)])
def test_four_samples_are_added_for_each(outputs: int, height: int, width: int) -> None:
    torch.manual_seed(outputs)
    layer = nn.Conv2d(10, 4 * outputs, 1).requires_grad_(False)
    x, skip = torch.randn(1, 10, height, width), torch.randn(1, outputs, 2 * height, 2 * width)
    wanted = F.leaky_relu(skip + F.pixel_shuffle(layer(x), 2), LEAK)
    place = skip.contiguous(memory_format=torch.channels_last)
    found = enlarged(x, layer.weight, layer.bias, place, LEAK)
    assert found is place and torch.allclose(found, wanted, atol=1e-5)


def test_loops_are_kept_from_what_is_learned() -> None:
    layer, x = ConditionalConv(4, 8, 1), torch.zeros(1, 4, 2, 2)
    assert plain(x) and not plain(x, *layer.parameters()) and not plain(x.bfloat16())
    with torch.no_grad():
        assert plain(x, *layer.parameters())
    assert plain(x, *layer.requires_grad_(False).parameters())
