"""Motion between pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnvvc.media.motion import MOTION_DEPTH, Sight
from nnvvc.picture import Plane


def scene(width: int, height: int) -> tuple[Plane, Plane]:
    """A picture, and one that shows the same two samples to the right."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(100, 900, (height // 8 + 3, width // 8 + 3)), np.ones((8, 8)))
    drawn = (wide + np.roll(wide, 3, 0) + np.roll(wide, 5, 1)).astype(np.uint16) // 3
    rows = slice(4, 4 + height)
    own, other = (np.ascontiguousarray(drawn[rows, x : x + width]) for x in (4, 6))
    return own, other


def waves(width: int, height: int, off: float, bit_depth: int) -> Plane:
    """Shown `off` samples further to the left."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    drawn = 512 + 200 * np.sin((x + off) / 3) + 200 * np.cos((y + x + off) / 4)
    return (drawn * 2.0 ** (bit_depth - 10)).round().astype(np.uint16)


@pytest.mark.parametrize("size", [(96, 80), (101, 67), (400, 290)])
def test_motion_is_followed(size: tuple[int, int]) -> None:
    own, other = scene(*size)
    sight = Sight(other, 10)
    vectors = Sight(own, 10).motion(sight)
    (moved,) = sight.moved(vectors)
    assert moved.shape == own.shape and moved.dtype == np.float32
    before, after = (np.abs(p.astype(float) - own)[8:-8, 8:-8].mean() for p in (other, moved))
    assert after < 0.2 * before
    assert np.median(vectors[..., 0]) == pytest.approx(-2, abs=0.1)
    assert np.median(vectors[..., 1]) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("size", [(96, 80), (101, 67)])
@pytest.mark.parametrize("off", [0.5, 3.25, -11])
def test_parts_of_samples_are_found(size: tuple[int, int], bit_depth: int, off: float) -> None:
    own, other = waves(*size, 0, bit_depth), Sight(waves(*size, off, bit_depth), bit_depth)
    (moved,) = other.moved(Sight(own, bit_depth).motion(other))
    moved = moved * 2.0 ** (bit_depth - MOTION_DEPTH)
    before = np.abs(waves(*size, off, bit_depth).astype(float) - own)[16:-16, 16:-16].mean()
    assert np.abs(moved - own)[16:-16, 16:-16].mean() < 0.2 * before


def test_what_moves_apart_is_followed_apart() -> None:
    ground, _ = scene(160, 128)
    thing, _ = scene(64, 48)
    thing = 1023 - thing
    own, other = ground.copy(), ground.copy()
    own[40:88, 48:112], other[40:88, 57:121] = thing, thing
    sight = Sight(other, 10)
    vectors = Sight(own, 10).motion(sight)
    # Blocks are 4 samples apart.
    assert np.median(vectors[12:20, 14:26, 0]) == pytest.approx(9, abs=0.2)
    assert np.abs(np.median(vectors[:8], (0, 1))).max() < 0.1


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 9))
def test_any_size_has_a_motion(width: int, height: int, seed: int) -> None:
    """Vectors stay where the edge is, and what does not move comes back as it was."""
    rng = np.random.default_rng(seed)
    own, other = (rng.integers(0, 1024, (height, width)).astype(np.uint16) for _ in range(2))
    there = Sight(other, 10)
    vectors = Sight(own, 10).motion(there)
    assert vectors.shape == (-(-height // 4), -(-width // 4), 2) and np.isfinite(vectors).all()
    (moved,) = there.moved(vectors)
    assert moved.shape == own.shape and np.isfinite(moved).all() and np.abs(moved).max() < 2048
    assert np.allclose(there.moved(np.zeros_like(vectors))[0], other, atol=1e-3)
    wild = np.where(rng.random(vectors.shape) < 0.5, -1e6, 1e6).astype(np.float32)
    assert np.isfinite(there.moved(wild)[0]).all()


def test_flat_pictures_tell_no_motion() -> None:
    flat = np.full((80, 96), 500, np.uint16)
    there = Sight(flat + 300, 10)
    vectors = Sight(flat, 10).motion(there)
    assert not vectors.any()
    assert np.allclose(there.moved(vectors)[0], 800, atol=1e-3)


@pytest.mark.parametrize("size", [(96, 80), (101, 67), (6, 2)])
def test_chroma_goes_along(size: tuple[int, int]) -> None:
    width, height = size
    own, there = scene(width + 8, height + 8)
    luma, chroma = there[4 : 4 + height, 4 : 4 + width], there[4 : 4 + height : 2, 4 : 4 + width : 2]
    other = Sight(luma, 10, [chroma, 1023 - chroma])
    _, first, second = other.moved(Sight(own[4 : 4 + height, 4 : 4 + width], 10).motion(other))
    assert first.shape == second.shape == chroma.shape
    assert np.allclose(first + second, 1023, atol=0.01)
    if width > 50:
        inner = (slice(8, -8),) * 2
        before, after = (
            np.abs(p - own[4 : 4 + height : 2, 4 : 4 + width : 2])[inner].mean()
            for p in (chroma.astype(float), first)
        )
        assert after < 0.3 * before


@pytest.mark.parametrize("size", [(24, 16), (21, 13), (3, 5)])
def test_blocks_overlap_as_they_should(size: tuple[int, int]) -> None:
    """A sample is what four blocks predict, by how near they are; of a ramp, taps make what lies between."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    ramp = 100 + 8 * x + 4 * y
    rng = np.random.default_rng(1)
    vectors = rng.integers(-64, 64, (-(-height // 4), -(-width // 4), 2)).astype(np.float32) / 32
    (moved,) = Sight(ramp.astype(np.uint16), 10).moved(vectors)
    # Weights of the blocks around, by how near their middles are.
    rows, columns = (np.arange(side) / 4 - 3 / 8 for side in (height, width))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    expected = np.zeros((height, width))
    for down in range(2):
        for right in range(2):
            r = (top + down).clip(0, vectors.shape[0] - 1)[:, None]
            c = (left + right).clip(0, vectors.shape[1] - 1)[None]
            share = (1 - np.abs(rows - top - down))[:, None] * (1 - np.abs(columns - left - right))[None]
            expected += share * (8 * vectors[r, c, 0] + 4 * vectors[r, c, 1])
    inner = (slice(5, -5),) * 2
    assert np.allclose(moved[inner], (ramp + expected)[inner], atol=0.3)
