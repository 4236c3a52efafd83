"""`--effort full` for single pictures: the QP, and the scale, at which their bits are worth it to machines.

With one QP for all, pictures that a detector has no difficulty with cost as many bits as those it needs them
for. Here the QP that was asked for stands for a price of bits, in feature loss of two detectors, and each
picture is coded at the QP where loss and bits together are least. Where the scale is left open it is chosen
in the same way: small objects need samples, large ones do without.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache

from nnvvc.adapt.loss_networks import PictureLoss, require_networks
from nnvvc.codecs.cost import price
from nnvvc.picture import Picture

Trial = Callable[[int], tuple[Picture, int]]
"""Of a QP: the picture as machines see it, and the bytes that it takes."""

FARTHEST = 12
"""How far from the QP that was asked for a picture's may be."""

STEPS = (4, 2)
"""Steps of the search, in QP."""

LOWEST, HIGHEST = 17, 57

EQUAL_RATE = {Fraction(1, 4): -8, Fraction(1, 2): 0, Fraction(3, 4): 5, Fraction(1): 9}
"""What to add to the QP at half size for about the same bits at another scale: VVenC, COCO val2017."""


def chosen_qp(picture: Picture, asked: int, trial: Trial) -> int:
    """The QP for a picture that machines will see. Raises ConfigError where loss networks are not there."""
    scale = Fraction(1)
    return chosen_coding(picture, asked, scale, {scale: trial})[1]


def chosen_coding(
    picture: Picture, asked: int, usual: Fraction, trials: Mapping[Fraction, Trial]
) -> tuple[Fraction, int]:
    """Scale and QP for a picture that machines will see, among the scales of `trials`.

    asked: the QP at the scale `usual`. Raises ConfigError where loss networks are not there.
    """
    require_networks("--effort full for machines")
    weight = price(asked) / (picture.format.width * picture.format.height)
    # What machines are to see in it is what they saw before a background was smoothed.
    loss = PictureLoss(picture.original or picture)

    def best(scale: Fraction, start: int) -> tuple[float, Fraction, int]:
        @cache
        def cost(qp: int) -> float:
            shown, size = trials[scale](qp)
            return loss(shown) + weight * 8 * size

        qp = _best(cost, start)
        return cost(qp), scale, qp

    found = best(usual, asked)
    scales = sorted(trials)
    for towards in (-1, 1):
        # A scale is tried where the one before it was an improvement.
        for scale in scales[scales.index(usual) :: towards][1:]:
            start = found[2] + EQUAL_RATE[scale] - EQUAL_RATE[found[1]]
            other = best(scale, max(LOWEST, min(HIGHEST, start)))
            if other[0] >= found[0]:
                break
            found = other
    return found[1:]


def _best(cost: Callable[[int], float], start: int) -> int:
    best = start
    for step in STEPS:
        while True:
            near = [qp for qp in (best, best + step, best - step) if _allowed(qp, start)]
            nearest = min(near, key=cost)
            if nearest == best:
                break
            best = nearest
    return best


def _allowed(qp: int, start: int) -> bool:
    return qp == start or (abs(qp - start) <= FARTHEST and LOWEST <= qp <= HIGHEST)
