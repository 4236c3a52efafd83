import torch
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.adapt.loss_networks import STRIDE, as_seen, block_side
from nnvvc.entropy.block_map import BLOCK, map_shape

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
