"""Motion between pictures, and pictures moved along it: for what decoders do not tell.

Blocks are matched from a small size of the pictures to the full one. At each size they look around, take over
what blocks beside them found, and follow the slopes of the samples (Lucas and Kanade, IJCAI 1981); at full
size they only follow these, and blocks half as far apart take over from each other what fits them. It is a
filter's business, not a codec's: nothing is predicted from it, so that processors may differ in the last bit.
"""

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.media import motion_loops as loops
from nnvvc.picture import Plane

MOTION_DEPTH = 10
"""Bits of the samples here."""

STEP = 8
"""Samples from block to block; half of that in the end."""

SMALLEST = 36
"""Shorter side of the sizes that are halved no more."""

REACH = (4, 1)
"""Samples that are searched at the smallest size, and at larger ones."""

SMALL = 300
"""Shorter side up to which the full size is searched too: there are few sizes to find motion in."""

PRICE = 2.0
"""Of a sample away from where a larger size's vector leads, in mean differences of samples of 10 bits."""

BIAS = 0.7
"""Mean difference that the vector of a block beside has to fit better by."""

QUIET = 5.0
"""Mean difference below which a block's vector is good enough: what is left is noise."""

DIFFERENT = 100.0
"""Differences of samples of 10 bits above which they are taken for other things."""

STIFF = 200.0
"""Mean square of slopes, in samples of 10 bits, at which a block is moved half as far as they say."""

SPREAD = 8.0
"""Of what blocks go by besides their own samples when they follow slopes, in samples, standard deviation."""

Vectors = NDArray[np.float32]
"""(rows, columns, 2): columns and rows, in samples, from a block to where it is in another picture."""

_SHARES = np.arange(loops.FRACTIONS)[:, None] / loops.FRACTIONS
_DISTANCES = np.arange(1 - loops.TAPS // 2, loops.TAPS // 2 + 1) - _SHARES
_LANCZOS = np.sinc(_DISTANCES) * np.sinc(_DISTANCES / (loops.TAPS // 2))
_TAPS = (_LANCZOS / _LANCZOS.sum(1, keepdims=True)).astype(np.float32)
"""What a sample between others is made of."""


class Level:
    """A picture at one size, as `motion_loops` has planes. luma: (height, width), float32, 10 bits."""

    def __init__(self, luma: NDArray[np.float32]) -> None:
        self.size = luma.shape
        before, after = loops.EDGE, loops.EDGE + loops.BEYOND
        plane = cv2.copyMakeBorder(luma, before, after, before, after, cv2.BORDER_REPLICATE)
        self.samples, self.pitch = plane.reshape(-1), plane.shape[1]
        self._slopes: dict[int, NDArray[np.float32]] = {}

    def blocks(self, step: int) -> tuple[int, int]:
        """Rows and columns of blocks, `step` apart."""
        return -(-self.size[0] // step), -(-self.size[1] // step)

    def slopes(self, step: int) -> NDArray[np.float32]:
        """(rows, columns, 3): products of slopes around each block, xx, xy and yy."""
        if step not in self._slopes:
            found = loops.slopes(self.samples, self.pitch, step, *self.blocks(step))
            self._slopes[step] = _around(found, SPREAD / step)
            self._slopes[step][..., ::2] += STIFF
        return self._slopes[step]


class Sight:
    """A picture as motion sees it: its luma at all sizes, each half the one before, the full one first.

    luma, chroma: uint16, of `bit_depth`. chroma: Cb and Cr of half the size, where they are to be moved too.
    """

    def __init__(self, luma: Plane, bit_depth: int, chroma: Sequence[Plane] = ()) -> None:
        samples = _of_motion_depth(luma, bit_depth)
        self._chroma, self._bit_depth = chroma, bit_depth
        self.levels = [Level(samples)]
        while min(samples.shape) > SMALLEST:
            height, width = samples.shape
            half = cv2.resize(samples, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
            samples = half.astype(np.float32, copy=False)
            self.levels.append(Level(samples))

    @cached_property
    def chroma(self) -> list[Level]:
        """Made when it is asked for: of most pictures only the luma is looked at."""
        return [Level(_of_motion_depth(plane, self._bit_depth)) for plane in self._chroma]

    def motion(self, other: "Sight") -> Vectors:
        """From blocks of this picture, STEP / 2 apart, to another one of the same size."""
        vectors = np.zeros((*self.levels[-1].blocks(STEP), 2), np.float32)
        for number, (own, there) in enumerate(zip(self.levels[::-1], other.levels[::-1], strict=True)):
            if number:
                vectors = _finer(2 * vectors, own.blocks(STEP))
            planes = own.samples, there.samples, own.pitch, own.size
            full = own is self.levels[0]
            if not full or min(own.size) <= SMALL:
                loops.search(*planes, STEP, vectors, REACH[min(number, 1)], np.float32(PRICE))
            if not full:
                loops.spread(*planes, STEP, vectors, np.float32(BIAS), np.float32(QUIET))
            _follow(own, there, vectors, STEP)
        vectors = _finer(vectors, own.blocks(STEP // 2))
        loops.spread(*planes, STEP // 2, vectors, np.float32(BIAS), np.float32(QUIET))
        return vectors

    def moved(self, vectors: Vectors) -> list[NDArray[np.float32]]:
        """Its luma, and its chroma if it is there, of MOTION_DEPTH, not rounded, as they look in the picture
        that the vectors are from.
        """
        half = _halved(vectors) if self.chroma else vectors
        return [_moved(self.levels[0], vectors), *(_moved(plane, half) for plane in self.chroma)]


def _of_motion_depth(plane: Plane, bit_depth: int) -> NDArray[np.float32]:
    samples = plane.astype(np.float32)
    if bit_depth != MOTION_DEPTH:
        samples *= 2.0 ** (MOTION_DEPTH - bit_depth)
    return samples


def _moved(plane: Level, vectors: Vectors) -> NDArray[np.float32]:
    step = STEP // 2
    height, width = plane.size
    result = np.zeros([(blocks + 4) * step for blocks in vectors.shape[:2]], np.float32)
    given = plane.samples, plane.pitch, plane.size
    loops.moved(*given, step, vectors, _TAPS, loops.WINDOW, result.reshape(-1))
    return result[2 * step :, 2 * step :][:height, :width]


def _halved(vectors: Vectors) -> Vectors:
    """Those of a plane of half the size, with blocks as far apart."""
    rows, columns = vectors.shape[:2]
    even = cv2.copyMakeBorder(vectors, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE)
    size = even.shape[1] // 2, even.shape[0] // 2
    found = cv2.resize(even, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
    return found * np.float32(0.5)


def _follow(own: Level, other: Level, vectors: Vectors, step: int) -> None:
    """Moves the vectors to where samples are most alike, by a sample at most."""
    planes = own.samples, other.samples, own.pitch, own.size
    leads = loops.leads(*planes, step, vectors, np.float32(DIFFERENT))
    loops.follow(vectors, own.slopes(step), _around(leads, SPREAD / step), np.float32(1))


def _around(blocks: NDArray[np.float32], spread: float) -> NDArray[np.float32]:
    """Their means around each. spread: standard deviation, in blocks."""
    side = 2 * round(2 * spread) + 1
    return cv2.GaussianBlur(blocks, (side, side), spread).astype(np.float32, copy=False)


def _finer(vectors: Vectors, blocks: tuple[int, int]) -> Vectors:
    """Those of blocks half as far apart."""
    rows, columns = vectors.shape[:2]
    found = cv2.resize(vectors, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(found[: blocks[0], : blocks[1]])
