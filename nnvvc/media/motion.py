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

SETTLED = 8
"""Side of the blocks whose motion is settled, samples."""

SPREAD = 2.0
"""Of what is around a block, in blocks, standard deviation."""

DIFFERENT = 60
"""Differences of samples of 10 bits above which they are taken for other things."""

STIFF = 100
"""Mean square of slopes, in samples of 10 bits, at which a block is moved half as far as they say."""

Flow = NDArray[np.float32]
"""(height, width, 2): columns and rows from a sample to where it is in the other picture."""


def motion(luma: Plane, other: Plane, bit_depth: int) -> Flow:
    """From a picture to another one; of one size, uint16, of `bit_depth`. No motion where they are small."""
    if min(luma.shape) < SMALLEST:
        return np.zeros((*luma.shape, 2), np.float32)
    shift = max(0, bit_depth - 8)
    own, from_there = ((plane >> shift).astype(np.uint8) for plane in (luma, other))
    # Between the library's "ultrafast" and "medium", with fewer patches and steps: `Target` does the rest.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0 if luma.size <= FINE else 1)
    search.setPatchStride(6)
    search.setGradientDescentIterations(8)
    search.setVariationalRefinementIterations(2)
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


class Target:
    """A picture that others are moved to: luma, uint16, of `bit_depth`."""

    def __init__(self, luma: Plane, bit_depth: int) -> None:
        self.luma, self.bit_depth = luma, bit_depth
        self._most = np.uint16((1 << bit_depth) - 1)
        if min(luma.shape) >= SMALLEST:
            self._look()

    def _look(self) -> None:
        """Where its samples tell motion, of every second row and column: slopes, and what blocks of them add
        up to.
        """
        edged = cv2.copyMakeBorder(self.luma, 1, 2, 1, 2, cv2.BORDER_REPLICATE).astype(np.float32)
        self._own = edged[1:-2:2, 1:-2:2]
        # Differences of samples are twice the slope.
        self._unit = np.float32(2.0 ** (10 - self.bit_depth))
        self._across = (edged[1:-2:2, 2:-1:2] - edged[1:-2:2, :-3:2]) * (self._unit / 2)
        self._down = (edged[2:-1:2, 1:-2:2] - edged[:-3:2, 1:-2:2]) * (self._unit / 2)
        xx = self._around(self._across * self._across) + STIFF
        yy = self._around(self._down * self._down) + STIFF
        xy = self._around(self._across * self._down)
        determinant = xx * yy - xy * xy
        self._inverse = yy / determinant, -xy / determinant, xx / determinant

    def compensated(self, other: Plane, flow: Flow) -> Plane:
        """Another picture's luma moved to where things are in this one. flow: from this picture to the other;
        what moves goes one step further, to where the samples themselves are most alike, at full size (Lucas
        and Kanade, IJCAI 1981), since motion at half size misses sharp detail by a part of a sample.
        """
        if min(other.shape) < SMALLEST:
            return other
        places = flow + _grid(*other.shape)
        apart = (self._own - _moved(other, np.ascontiguousarray(places[::2, ::2]))) * self._unit
        np.clip(apart, -DIFFERENT, DIFFERENT, out=apart)
        x, y = self._around(self._across * apart), self._around(self._down * apart)
        xx, xy, yy = self._inverse
        step = np.clip(np.stack((xx * x + xy * y, xy * x + yy * y), 2), -1, 1)
        places += cv2.resize(step, other.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.minimum(_moved(other, places), self._most)

    def _around(self, products: NDArray[np.float32]) -> NDArray[np.float32]:
        """Their mean around each block."""
        blocks = [-(-side // SETTLED) for side in self.luma.shape[::-1]]
        means = cv2.resize(products, blocks, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(means, (0, 0), SPREAD).astype(np.float32, copy=False)


def _moved(luma: Plane, places: Flow) -> Plane:
    """Samples of a picture at places in it."""
    found: Plane = cv2.remap(luma, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return found


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Flow:
    """Column and row of every sample."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack((columns, rows), 2)
