"""Motion compensation between pictures: dense inverse search (Kroeger et al., ECCV 2016) and bicubic samples.

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


def compensated(luma: Plane, other: Plane, bit_depth: int) -> Plane:
    """Another picture's luma, moved to where things are in `luma`; of one size, uint16, of `bit_depth`."""
    if min(luma.shape) < SMALLEST:
        return other
    shift = max(0, bit_depth - 8)
    own, from_there = ((plane >> shift).astype(np.uint8) for plane in (luma, other))
    # Between the library's "ultrafast" and "medium", but with fewer patches: finer than "fast", as quick.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(1)
    search.setPatchStride(5)
    search.setVariationalRefinementIterations(1)
    places = search.calc(own, from_there, None)  # type: ignore[call-overload]
    places += _grid(*luma.shape)
    moved = cv2.remap(other, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    result: Plane = np.minimum(moved, np.uint16((1 << bit_depth) - 1))
    return result


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 2): column and row of every sample."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack((columns, rows), 2)
