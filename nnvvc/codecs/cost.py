"""What coded pictures cost: their loss and their bits in one number, for people or for machines."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nnvvc.options import Purpose
from nnvvc.picture import Picture

if TYPE_CHECKING:
    from torch import Tensor

    Number = TypeVar("Number", float, Tensor)

Cost = Callable[[Sequence[Picture], Sequence[Picture], int, int], float]
"""Of pictures as they are shown, their originals, the bytes that they take and the QP that was asked for."""

LOOKED_AT = 8
"""Of every so many pictures one is given to the loss networks."""


def rate_distortion(shown: Sequence[Picture], originals: Sequence[Picture], size: int, qp: int) -> float:
    """Squared error in 8-bit levels, and `size` bytes at their weight.

    The weight is that of VVC's own decisions, 0.57 * 2 ** ((QP - 12) / 3) a bit (JVET-M0350). Both sides have
    10 bits.
    """
    error = 0.0
    for picture, original in zip(shown, originals, strict=True):
        planes = zip(picture.planes, original.planes, strict=True)
        error += sum(float(np.square(a.astype(np.int32) - b).sum()) for a, b in planes)
    return error / 16 + 0.57 * 2 ** ((qp - 12) / 3) * 8 * size


def price(qp: "Number") -> "Number":
    """What a bit costs machines, in feature loss of a luma sample of the source.

    Fitted to give about the rate of that QP on COCO val2017 at half size.
    """
    result: Number = 0.6 * 2 ** ((qp - 35.3) / 4.5)
    return result


def feature_cost(scale: Fraction) -> Cost:
    """Feature loss of luma samples, for pictures coded at `scale`, and bytes at their price."""
    from nnvvc.adapt.loss_networks import PictureLoss

    def cost(shown: Sequence[Picture], originals: Sequence[Picture], size: int, qp: int) -> float:
        pairs = list(zip(shown, originals, strict=True))[::LOOKED_AT]
        loss = sum(PictureLoss(original)(picture) for picture, original in pairs) / len(pairs)
        samples = len(shown) * originals[0].planes[0].size / float(scale) ** 2
        return loss * samples + price(qp) * 8 * size

    return cost


def cost_for(purpose: Purpose, scale: Fraction) -> Cost:
    """The cost for a purpose; squared error stands for machines too where the loss networks are not there."""
    from nnvvc.adapt.loss_networks import available

    return feature_cost(scale) if purpose == "machines" and available() else rate_distortion
