from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.adapt import loss_networks
from nnvvc.adapt.loss_networks import STRIDE, PictureLoss, as_seen, block_side, rgb_of_picture
from nnvvc.entropy.block_map import BLOCK, map_shape
from nnvvc.picture import Picture, PictureFormat
from tests.codecs.loss_networks import use_loss_networks

sides = st.integers(1, 3000)


@given(sides, sides)
def test_blocks_stay_whole_where_networks_see_them(height: int, width: int) -> None:
    side = block_side(height, width)
    assert side % STRIDE == 0 and STRIDE <= side <= BLOCK
    rows, columns = map_shape(width, height)
    assert as_seen(torch.zeros(1, 1, height, width)).shape == (1, 1, rows * side, columns * side)


def test_only_large_pictures_are_brought_down() -> None:
    assert block_side(480, 640) == BLOCK
    assert [block_side(540, 960), block_side(720, 1280), block_side(1080, 1920)] == [96, 64, 32]
    picture = torch.rand(1, 3, 256, 384)
    assert torch.equal(as_seen(picture), picture)


def test_losses_at_several_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    fmt, rng = PictureFormat(200, 120), np.random.default_rng(0)
    original, other = (
        Picture(tuple(rng.integers(16, 235, shape, np.uint16) for shape in fmt.plane_shapes), fmt)
        for _ in range(2)
    )
    with torch.inference_mode():  # whoever asks for a network first, others need its gradients
        loss_networks.loss_network(next(iter(loss_networks.DETECTORS)))
    both = PictureLoss(original, (1.0, 0.5))
    assert both(original) == pytest.approx(0, abs=1e-6)
    assert min(PictureLoss(original)(other), PictureLoss(original, (0.5,))(other)) < both(other)
    rgb = rgb_of_picture(other).requires_grad_(True)
    both.of(rgb).backward()
    assert rgb.grad is not None and float(rgb.grad.abs().sum()) > 0
