"""Motion between pictures: dense inverse search (Kroeger et al., ECCV 2016) and bicubic samples.

A filter's business, not a codec's: nothing is predicted from it, so other versions of the library may differ
in the last bit.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.picture import Plane

SMALLEST = 48
"""Sides of pictures below which motion is not estimated."""

FINE = 352 * 288
"""Samples of pictures up to which motion is estimated at full size, otherwise at half: what moves in small
pictures is small, and they cost little.
"""

COARSE = 4
"""A motion is turned round at a size smaller by this."""

ROUNDS = 3

Flow = NDArray[np.float32]
"""(height, width, 2): columns and rows from a sample to where it is in the other picture."""


def motion(luma: Plane, other: Plane, bit_depth: int) -> Flow:
    """From a picture to another one; of one size, uint16, of `bit_depth`. No motion where they are small."""
    if min(luma.shape) < SMALLEST:
        return np.zeros((*luma.shape, 2), np.float32)
    shift = max(0, bit_depth - 8)
    own, from_there = ((plane >> shift).astype(np.uint8) for plane in (luma, other))
    # Between the library's "ultrafast" and "medium", but with fewer patches: finer than "fast", as quick.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0 if luma.size <= FINE else 1)
    search.setPatchStride(5)
    search.setVariationalRefinementIterations(3)
    found: Flow = search.calc(own, from_there, None)  # type: ignore[call-overload]
    return found


def reduced(flow: Flow) -> Flow:
    """What is kept of a motion to turn it round: it is smooth. Smaller by COARSE, in samples of that size."""
    height, width = flow.shape[:2]
    size = -(-width // COARSE), -(-height // COARSE)
    scale = np.array([size[0] / width, size[1] / height], np.float32)
    small: Flow = cv2.resize(flow, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small * scale


def turned(rough: Flow, shape: tuple[int, ...]) -> Flow:
    """The motion back, about: estimating it takes as long as the first time, this a fourth.

    rough: `reduced` from a motion. shape: height and width.
    """
    places = _grid(*rough.shape[:2])
    back: Flow = -rough
    for _ in range(ROUNDS):
        there = places + back
        back = -cv2.remap(rough, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    scale = np.array([shape[1] / rough.shape[1], shape[0] / rough.shape[0]], np.float32)
    found: Flow = cv2.resize(back * scale, shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return found


def compensated(other: Plane, flow: Flow, bit_depth: int) -> Plane:
    """Another picture's luma, uint16, of `bit_depth`, moved to where things are in this one.

    flow: from this picture to the other.
    """
    if not flow.any():
        return other
    places = flow + _grid(*other.shape)
    moved = cv2.remap(other, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    result: Plane = np.minimum(moved, np.uint16((1 << bit_depth) - 1))
    return result


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Flow:
    """Column and row of every sample."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack((columns, rows), 2)
