"""Convolutions of single samples, against torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnvvc.models.filters import ConditionalConv
from nnvvc.models.pointwise import enlarged, lines_of, multiply, plain

LEAK = 0.1


@pytest.mark.parametrize("outputs", [1, 8, 16, 24, 31, 40, 48])
@pytest.mark.parametrize(("inputs", "samples"), [(1, 1), (30, 15), (24, 24)])
def test_products_are_what_a_convolution_gives(outputs: int, inputs: int, samples: int) -> None:
    torch.manual_seed(outputs)
    layer = nn.Conv2d(inputs, outputs, 1).requires_grad_(False)
    x, lines = torch.randn(samples, inputs), lines_of(layer.weight, layer.bias)
    wanted = F.linear(x, layer.weight.flatten(1), layer.bias)
    for leak in (1.0, LEAK):
        found = np.empty((samples, lines.shape[1]), np.float32)
        multiply(x.numpy(), lines, np.float32(leak), found)
        assert np.allclose(found[:, :outputs], F.leaky_relu(wanted, leak), atol=1e-5)
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
