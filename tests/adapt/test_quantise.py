"""Numbers are rounded with their loss and their bits in mind."""

import numpy as np
import pytest

from nnvvc.adapt.quantise import Quadratic, rounded
from nnvvc.entropy.small_numbers import LARGEST, encode_numbers

COUNT = 60


def problem(seed: int, alike: float) -> tuple[Quadratic, np.ndarray]:
    """A loss of numbers whose effects are alike, and its best values."""
    rng = np.random.default_rng(seed)
    effects = rng.standard_normal((400, COUNT)) + alike * rng.standard_normal((400, 1))
    values = rng.laplace(0, 0.3, COUNT)
    wanted = effects @ values + rng.standard_normal(400)
    scale = float(wanted @ wanted)
    loss = Quadratic(1.0, effects.T @ effects / scale, effects.T @ wanted / scale)
    return loss, np.linalg.solve(loss.square, loss.against)


def cost(loss: Quadratic, numbers: np.ndarray, step: float, worth: float) -> float:
    return 8 * len(encode_numbers(numbers.tolist())) - worth * loss.decibels(numbers * step)


@pytest.mark.parametrize("alike", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("step", [0.05, 0.2, 0.8])
def test_it_is_better_than_plain_rounding(alike: float, step: float) -> None:
    saved = []
    for seed in range(10):
        loss, best = problem(seed, alike)
        plain = np.clip(np.rint(best / step), -LARGEST, LARGEST).astype(int)
        found = rounded(loss, best, step, 100.0)
        assert np.abs(found).max() <= LARGEST
        saved.append(cost(loss, plain, step, 100.0) - cost(loss, found, step, 100.0))
    # Bits are estimated, and those of so few numbers differ from that.
    assert np.mean(saved) > 0 and min(saved) > -40


def test_differences_are_what_counts() -> None:
    loss, best = problem(1, 1.0)
    before = np.rint(best / 0.1).astype(int)
    assert np.array_equal(rounded(loss, best, 0.1, 1e-6, before), before)
    assert not np.array_equal(rounded(loss, best, 0.1, 1e-6), before)


def test_what_is_worth_nothing_is_zero() -> None:
    loss, best = problem(0, 1.0)
    assert not rounded(loss, best, 0.1, 1e-6).any()
    assert np.count_nonzero(rounded(loss, best, 0.1, 1e6)) > COUNT // 2
