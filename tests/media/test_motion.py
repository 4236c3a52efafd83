"""Motion between pictures."""

import numpy as np
import pytest

from nnvvc.media.motion import Target, motion, reduced, turned
from nnvvc.picture import Plane


def scene(width: int, height: int) -> tuple[Plane, Plane]:
    """A picture, and one that shows the same two samples to the right."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(100, 900, (height // 8 + 3, width // 8 + 3)), np.ones((8, 8)))
    drawn = (wide + np.roll(wide, 3, 0) + np.roll(wide, 5, 1)).astype(np.uint16) // 3
    rows = slice(4, 4 + height)
    own, other = (np.ascontiguousarray(drawn[rows, x : x + width]) for x in (4, 6))
    return own, other


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("size", [(96, 80), (101, 67), (400, 290)])
def test_motion_is_followed_and_turned(size: tuple[int, int], back: bool) -> None:
    own, other = scene(*size)
    if back:
        flow, target, given = turned(reduced(motion(own, other, 10)), own.shape), other, own
    else:
        flow, target, given = motion(own, other, 10), own, other
    moved = Target(target, 10).compensated(given, flow)
    assert moved.shape == target.shape and moved.dtype == np.uint16 and moved.max() <= 1023
    before, after = (np.abs(p.astype(int) - target)[8:-8, 8:-8].mean() for p in (given, moved))
    assert after < 0.5 * before
    assert flow[8:-8, 8:-8, 0].mean() == pytest.approx(2 if back else -2, abs=0.5)


def test_small_pictures_are_left_where_they_are() -> None:
    own, other = scene(31, 17)
    assert np.array_equal(Target(own, 10).compensated(other, motion(own, other, 10)), other)
    assert not turned(reduced(motion(own, other, 10)), own.shape).any()


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("size", [(96, 80), (101, 67)])
def test_motion_is_settled(size: tuple[int, int], bit_depth: int) -> None:
    """A motion that is a part of a sample off comes nearer, at any depth."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    draw = lambda off: 512 + 200 * np.sin((x + off) / 3) + 200 * np.cos((y + x + off) / 4)  # noqa: E731
    own, other = ((draw(off) * 2.0 ** (bit_depth - 10)).round().astype(np.uint16) for off in (0, 0.5))
    still = np.zeros((height, width, 2), np.float32)
    moved = Target(own, bit_depth).compensated(other, still)
    before, after = (np.abs(p.astype(int) - own)[8:-8, 8:-8].mean() for p in (other, moved))
    assert moved.shape == own.shape and after < 0.3 * before


def test_motion_stays_where_nothing_tells_it() -> None:
    """Flat pictures do not, whatever their light."""
    flat = np.full((80, 96), 500, np.uint16)
    flow = np.zeros((80, 96, 2), np.float32)
    assert np.array_equal(Target(flat, 10).compensated(flat + 300, flow), flat + 300)
