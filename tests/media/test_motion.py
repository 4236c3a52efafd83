"""Motion between pictures."""

import numpy as np
import pytest

from nnvvc.media.motion import compensated, motion, reduced, turned
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
    moved = compensated(given, flow, 10)
    assert moved.shape == target.shape and moved.dtype == np.uint16 and moved.max() <= 1023
    before, after = (np.abs(p.astype(int) - target)[8:-8, 8:-8].mean() for p in (given, moved))
    assert after < 0.5 * before
    assert flow[8:-8, 8:-8, 0].mean() == pytest.approx(2 if back else -2, abs=0.5)


def test_small_pictures_are_left_where_they_are() -> None:
    own, other = scene(31, 17)
    assert np.array_equal(compensated(other, motion(own, other, 10), 10), other)
    assert not turned(reduced(motion(own, other, 10)), own.shape).any()
