"""Vectors of smaller blocks, against what a search through all of them finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnvvc.media.motion_choice import ALIKE, choose
from nnvvc.media.motion_planes import EDGE, STEP, WINDOW, filled, levels_of

Vectors = NDArray[np.float32]


def apart(own: NDArray[np.float32], other: NDArray[np.float32], y: int, x: int, vector: Vectors) -> float:
    """How much every second row of a window differs; planes have their edges."""
    left, top = (int(np.floor(part)) for part in vector)
    a, b = vector[0] - left, vector[1] - top
    part = other[y + top : y + top + WINDOW + 1, x + left : x + left + WINDOW + 1]
    across = (1 - a) * part[:, :-1] + a * part[:, 1:]
    moved = (1 - b) * across[:-1] + b * across[1:]
    return float(np.abs(own[y : y + WINDOW, x : x + WINDOW] - moved)[::2].sum())


@given(
    height=st.integers(9, 40),
    width=st.integers(9, 40),
    seed=st.integers(0, 2**32 - 1),
    far=st.sampled_from([0.2, 0.6, 5.0]),
)
def test_the_best_of_those_around_is_taken(height: int, width: int, seed: int, far: float) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 1024, (2, height, width), dtype=np.uint16)
    levels = levels_of(height, width, 1)
    flat = [filled(plane, np.float32(1), levels) for plane in planes]
    pitch = int(levels[0, 1])
    own, other = (samples.reshape(-1, pitch) for samples in flat)
    rows, columns = -(-height // STEP), -(-width // STEP)
    vectors = (far * rng.standard_normal((rows, columns, 2))).astype(np.float32).clip(-8, 8)
    result = np.full((-(-height // (STEP // 2)), -(-width // (STEP // 2)), 2), np.nan, np.float32)
    choose(*flat, pitch, (height, width), vectors, result)
    for row, line in enumerate(result):
        for column, found in enumerate(line):
            # Smaller blocks lie between larger ones' middles.
            around = [
                vectors[np.clip((row + i) // 2, 0, rows - 1), np.clip((column + j) // 2, 0, columns - 1)]
                for i in (-1, 1)
                for j in (-1, 1)
            ]
            differ = float(np.ptp(np.stack(around), axis=0).sum())
            if abs(differ - ALIKE) < 1e-4:
                continue
            if differ < ALIKE:
                assert np.isnan(found).all()
                continue
            y, x = (EDGE + n * STEP // 2 - (WINDOW - STEP // 2) // 2 for n in (row, column))
            costs = [apart(own, other, y, x, vector) for vector in around]
            assert apart(own, other, y, x, found) == pytest.approx(min(costs), rel=1e-3)


def test_a_border_within_a_block_is_found() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 1024, (32, 64), dtype=np.uint16)
    own = picture.copy()
    own[:, 28:] = np.roll(picture, -6, 1)[:, 28:]
    levels = levels_of(32, 64, 1)
    flat = [filled(plane, np.float32(1), levels) for plane in (own, picture)]
    vectors = np.zeros((4, 8, 2), np.float32)
    vectors[:, 4:, 0] = 6
    result = np.full((8, 16, 2), 9, np.float32)
    choose(*flat, int(levels[0, 1]), (32, 64), vectors, result)
    # Both blocks between what is still and what moves move, also the one in a larger block that is still.
    assert (result[:, 7, 0] == 6).all() and (result[:, 8, 0] == 6).all()
    assert (result[:, 7:9, 1] == 0).all() and (result[:, :7] == 9).all() and (result[:, 9:] == 9).all()
