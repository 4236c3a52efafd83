import numpy as np
import pytest

from nnvvc.evaluation import bd

# Curves of JCTVC-E137 with the BD-rate that Netflix' vmaf and the Android test suite publish for them.
PUBLISHED = [
    (
        ([108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911]),
        ([108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147]),
        -0.465215420752807,
    ),
    (
        ([40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603]),
        ([40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822]),
        -1.8779823450567612,
    ),
]


@pytest.mark.parametrize(("anchor", "test", "expected"), PUBLISHED)
def test_published_pairs(
    anchor: tuple[list[float], list[float]], test: tuple[list[float], list[float]], expected: float
) -> None:
    result = bd.compare(anchor, test, task=False)
    assert result.rate == pytest.approx(expected, abs=0.05)
    assert result.refused is None


def test_half_the_bits_is_minus_fifty() -> None:
    rates, qualities = [1.0, 2.0, 4.0, 8.0], [30.0, 33.0, 36.0, 38.0]
    result = bd.compare((rates, qualities), ([r / 2 for r in rates], qualities), task=True)
    assert result.rate == pytest.approx(-50)
    assert result.fitted_rate == pytest.approx(-50, abs=0.1)
    assert result.overlap == 1
    assert result.metric is not None and result.metric > 0


def test_curves_apart_are_refused() -> None:
    result = bd.compare(([1, 2, 4], [30, 31, 32]), ([1, 2, 4], [40, 41, 42]), task=False)
    assert result.rate is None
    assert result.refused is not None and "do not overlap" in result.refused


def test_falling_fidelity_is_refused_and_task_takes_the_front() -> None:
    anchor = ([1, 2, 4, 8], [0.3, 0.4, 0.5, 0.6])
    dented = ([1, 2, 3, 4, 8], [0.3, 0.4, 0.35, 0.5, 0.6])
    refused = bd.compare(anchor, dented, task=False).refused
    assert refused is not None and "does not rise" in refused
    assert bd.compare(anchor, dented, task=True).rate == pytest.approx(0, abs=1e-9)


def test_too_few_points_are_refused() -> None:
    assert "points" in str(bd.compare(([1, 2, 4], [1, 2, 3]), ([1, 2], [1, 2]), task=True).refused)


def test_pareto_front() -> None:
    assert bd.pareto([1, 2, 2, 3, 4], [1.0, 0.5, 2.0, 1.9, 3.0]) == [0, 2, 4]


def test_monotone_cubic_rises_and_keeps_a_cubic() -> None:
    rates = np.array([1.0, 2, 4, 8, 16, 32])
    line = np.log10(rates) * 3 + 1
    np.testing.assert_allclose(bd.monotone_cubic(rates, line), line, atol=1e-3)
    noisy = bd.monotone_cubic(rates, np.array([1.0, 3, 2.5, 2.6, 4, 3.9]))
    assert np.all(np.diff(noisy) >= 0)


def test_interval_holds_the_figure_and_needs_samples() -> None:
    rng = np.random.default_rng(0)
    rates = np.tile([1.0, 2, 4, 8], (200, 1))
    quality = np.tile([1.0, 2, 3, 4], (200, 1)) + rng.normal(0, 0.05, (200, 1))
    interval, samples = bd.bootstrap_interval((rates, quality), (rates / 2, quality))
    assert samples == 200
    assert interval is not None and interval[0] == pytest.approx(-50) and interval[1] == pytest.approx(-50)
    assert bd.bootstrap_interval((rates, quality), (rates, quality + 10)) == (None, 0)


def test_draws_are_the_same_every_time() -> None:
    weights = bd.draw_weights(10, 5)
    assert np.array_equal(weights, bd.draw_weights(10, 5))
    assert np.all(weights.sum(axis=1) == 10)


def test_the_best_of_several_curves() -> None:
    rates, qualities = [1.0, 2.0, 4.0, 8.0], [30.0, 33.0, 36.0, 38.0]
    coarse = ([1.0, 2.0, 4.0], [30.0, 33.0, 36.0])
    # Its one good point is on the front of all, and bends it down.
    other = ([2.8, 7.0, 16.0], [33.1, 37.9, 40.0])
    test = ([r / 2 for r in rates], qualities)
    assert bd.rate_against_best([(rates, qualities)], test) == pytest.approx(-50)
    strict = bd.rate_against_best([(rates, qualities), other], test)
    front = bd.compare((rates + other[0], qualities + other[1]), test, task=True).rate
    assert strict is not None and front is not None and front < strict
    assert strict == pytest.approx(-50, abs=2)
    found = bd.rate_against_best([coarse, other], coarse)
    assert found is not None and found >= 0
    assert bd.rate_against_best([([1, 2, 4], [50, 51, 52])], test) is None
