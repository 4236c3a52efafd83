"""`--effort full` for single pictures: the QP at which a picture's bits are worth it to machines.

With one QP for all, pictures that a detector has no difficulty with cost as many bits as those it needs them
for. Here the QP that was asked for stands for a price of bits, in feature loss of two detectors, and each
picture is coded at the QP where loss and bits together are least.
"""

from collections.abc import Callable
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


def chosen_qp(picture: Picture, asked: int, trial: Trial) -> int:
    """The QP for a picture that machines will see. Raises ConfigError where loss networks are not there."""
    require_networks("--effort full for machines")
    weight = price(asked) / (picture.format.width * picture.format.height)
    loss = PictureLoss(picture)

    @cache
    def cost(qp: int) -> float:
        shown, size = trial(qp)
        return loss(shown) + weight * 8 * size

    best = asked
    for step in STEPS:
        while True:
            near = [qp for qp in (best, best + step, best - step) if _allowed(qp, asked)]
            nearest = min(near, key=cost)
            if nearest == best:
                break
            best = nearest
    return best


def _allowed(qp: int, asked: int) -> bool:
    return qp == asked or (abs(qp - asked) <= FARTHEST and LOWEST <= qp <= HIGHEST)
