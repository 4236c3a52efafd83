"""BD-rate and BD-metric (`bjontegaard`), with what is needed to judge them: overlap, interval, refusal.

Fidelity curves are interpolated as they are. A task curve takes the Pareto front over all points of a codec,
its coded scales included, as the anchors of machine coding do; a monotone cubic fitted to it stands beside.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bjontegaard
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize

METHOD = "pchip"
"""Piecewise cubic interpolation, as JVET's own sheet does it."""
MINIMUM_POINTS = 3
MINIMUM_OVERLAP = 0.05
"""Part of the joint quality range that both curves must cover for a figure to mean anything."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BdResult:
    """One comparison.

    rate: percent of bits at equal quality, negative is better than the anchor. metric: quality at equal rate,
    in the metric's unit. fitted_rate: as rate, through the monotone cubic. overlap: part of the joint quality
    range that both curves cover. interval: 95 % of bootstrap samples of `rate`. refused: why there is none.
    """

    rate: float | None = None
    metric: float | None = None
    fitted_rate: float | None = None
    overlap: float = 0.0
    interval: tuple[float, float] | None = None
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def pareto(rates: Sequence[float] | Values, qualities: Sequence[float] | Values) -> list[int]:
    """Indices of the points that no other beats in both, by rising rate and quality."""
    front: list[int] = []
    best = -np.inf
    for i in sorted(range(len(rates)), key=lambda n: (rates[n], -qualities[n])):
        if qualities[i] > best:
            front.append(i)
            best = qualities[i]
    return front


def monotone_cubic(rates: Values, qualities: Values) -> Values:
    """Least-squares cubic in log rate whose slope is nowhere negative, at the same rates (as VCM fits)."""
    x = np.log10(rates)
    x = (x - x.min()) / (x.max() - x.min())
    powers = np.vander(x, 4)
    grid = np.linspace(0, 1, 33)
    slopes = np.stack([3 * grid**2, 2 * grid, np.ones_like(grid), np.zeros_like(grid)], axis=1)
    scale = float(np.ptp(qualities)) or 1.0
    target = (qualities - qualities.min()) / scale
    solution = minimize(
        lambda c: float(np.sum((powers @ c - target) ** 2)),
        np.array([0.0, 0.0, 1.0, 0.0]),
        jac=lambda c: 2 * powers.T @ (powers @ c - target),
        constraints=[{"type": "ineq", "fun": lambda c: slopes @ c - 1e-3, "jac": lambda c: slopes}],
        method="SLSQP",
    )
    return np.asarray(powers @ solution.x * scale + qualities.min(), np.float64)


def compare(
    anchor: tuple[Sequence[float], Sequence[float]], test: tuple[Sequence[float], Sequence[float]], task: bool
) -> BdResult:
    """BD figures of `test` against `anchor`, each (rates, qualities). task: over Pareto fronts.

    Never raises for curves that cannot be compared: the result says why.
    """
    anchor_curve, anchor_reason = _usable(anchor, task)
    test_curve, test_reason = _usable(test, task)
    if anchor_curve is None or test_curve is None:
        return BdResult(refused=f"anchor {anchor_reason}" if anchor_curve is None else f"test {test_reason}")
    overlap = _overlap(anchor_curve[1], test_curve[1])
    if overlap < MINIMUM_OVERLAP:
        ranges = [f"{c[1].min():.4g} to {c[1].max():.4g}" for c in (anchor_curve, test_curve)]
        how = "do not overlap" if overlap <= 0 else "hardly overlap"
        return BdResult(overlap=max(0.0, overlap), refused=f"qualities {how}: {ranges[0]} and {ranges[1]}")
    rate = _bd_rate(anchor_curve, test_curve)
    metric = None
    if _overlap(np.log(anchor_curve[0]), np.log(test_curve[0])) > 0:
        metric = float(bjontegaard.bd_psnr(*anchor_curve, *test_curve, METHOD, False, min_overlap=0))
    fitted = None
    if task and min(len(anchor_curve[0]), len(test_curve[0])) >= 4:
        fits = [(r, monotone_cubic(r, q)) for r, q in (anchor_curve, test_curve)]
        if _overlap(fits[0][1], fits[1][1]) > 0:
            fitted = _bd_rate(fits[0], fits[1])
    return BdResult(rate, metric, fitted, overlap)


Curve = tuple[Sequence[float], Sequence[float]]
"""Rates and qualities of a codec's points, in any order."""


def rate_against_best(anchors: Sequence[Curve], test: Curve) -> float | None:
    """Percent of bits at equal quality against the best of several task curves at every quality.

    Stricter than `compare` with the front of all their points, which has bends where one curve's best points
    are on the front without being as good as what lies between another's. None where nothing overlaps.
    """
    fronts = [front for front in (_usable(curve, True)[0] for curve in anchors) if front is not None]
    own = _usable(test, True)[0]
    if own is None or not fronts:
        return None
    low = max(own[1].min(), min(f[1].min() for f in fronts))
    high = min(own[1].max(), max(f[1].max() for f in fronts))
    if low >= high:
        return None
    grid = np.linspace(low, high, 2001)
    best = np.stack([_log_rates(front, grid) for front in fronts]).min(0)
    known = np.isfinite(best)
    return float(100 * np.expm1((_log_rates(own, grid) - best)[known].mean()))


def _log_rates(front: tuple[Values, Values], qualities: Values) -> Values:
    """What a curve needs for these qualities; infinite where it does not reach."""
    rates, reached = front
    inside = (qualities >= reached[0]) & (qualities <= reached[-1])
    found = PchipInterpolator(reached, np.log(rates))(qualities)
    return np.asarray(np.where(inside, found, np.inf), np.float64)


def bootstrap_interval(
    anchor: tuple[Values, Values], test: tuple[Values, Values]
) -> tuple[tuple[float, float] | None, int]:
    """95 % interval of the task BD-rate over paired samples, and how many samples gave a figure.

    Rates and qualities are (samples, points); row n of both codecs comes from the same drawn pictures. None
    where under nine in ten samples give a figure: their interval would be one of a selection.
    """
    figures = []
    for n in range(len(anchor[0])):
        curves = [_usable((r[n], q[n]), task=True)[0] for r, q in (anchor, test)]
        if (
            curves[0] is not None
            and curves[1] is not None
            and _overlap(curves[0][1], curves[1][1]) >= MINIMUM_OVERLAP
        ):
            figures.append(_bd_rate(curves[0], curves[1]))
    if len(figures) < 0.9 * len(anchor[0]):
        return None, len(figures)
    low, high = np.percentile(figures, [2.5, 97.5])
    return (float(low), float(high)), len(figures)


def draw_weights(pictures: int, samples: int, seed: int = 0) -> Values:
    """Bootstrap samples as counts (samples, pictures): pictures drawn with replacement."""
    chances = np.full(pictures, 1 / pictures)
    return np.random.default_rng(seed).multinomial(pictures, chances, size=samples).astype(np.float64)


def _usable(
    curve: tuple[Sequence[float] | Values, Sequence[float] | Values], task: bool
) -> tuple[tuple[Values, Values] | None, str]:
    """The points by rising quality, or None and why not."""
    rates, qualities = (np.asarray(values, np.float64) for values in curve)
    known = np.isfinite(rates) & np.isfinite(qualities) & (rates > 0)
    rates, qualities = rates[known], qualities[known]
    if task:
        front = pareto(rates, qualities)
        rates, qualities = rates[front], qualities[front]
    else:
        order = np.argsort(rates)
        rates, qualities = rates[order], qualities[order]
        if np.any(np.diff(qualities) <= 0) or np.any(np.diff(rates) <= 0):
            return None, "does not rise with rate everywhere"
    if len(rates) < MINIMUM_POINTS:
        return None, f"has {len(rates)} points to compare, {MINIMUM_POINTS} are needed"
    return (rates, qualities), ""


def _overlap(a: Values, b: Values) -> float:
    joint = max(a.max(), b.max()) - min(a.min(), b.min())
    return float((min(a.max(), b.max()) - max(a.min(), b.min())) / joint) if joint > 0 else 0.0


def _bd_rate(anchor: tuple[Values, Values], test: tuple[Values, Values]) -> float:
    # The library warns of small overlaps; here every result states its overlap.
    return float(bjontegaard.bd_rate(*anchor, *test, METHOD, False, min_overlap=0))
