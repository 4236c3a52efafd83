"""Motion between pictures, and pictures moved along it: for what decoders do not tell.

Blocks are matched from a small size of the pictures to the full one. At each size they look around, take over
what blocks beside them found, and follow the slopes of the samples (Lucas and Kanade, IJCAI 1981); at full
size they follow these first. Blocks half as far apart go along with those around. It is a filter's business,
not a codec's: nothing is predicted from it, so that processors may differ in the last bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnvvc.media import motion_loops
from nnvvc.media.motion_compensation import FRACTIONS, moved
from nnvvc.media.motion_planes import TAPS, filled, levels_of
from nnvvc.picture import Plane

MOTION_DEPTH = 10
"""Bits of the samples here."""

Vectors = NDArray[np.float32]
"""(rows, columns, 2): columns and rows, in samples, from a block to where it is in another picture."""

_SHARES = np.arange(FRACTIONS)[:, None] / FRACTIONS
_DISTANCES = np.arange(1 - TAPS // 2, TAPS // 2 + 1) - _SHARES
_LANCZOS = np.sinc(_DISTANCES) * np.sinc(_DISTANCES / (TAPS // 2))
_TAPS = (_LANCZOS / _LANCZOS.sum(1, keepdims=True)).astype(np.float32)
"""What a sample between others is made of."""

_AS_IT_IS = 0.0, 1.0


class Sight:
    """A picture as motion sees it: its luma at all sizes, each half the one before, the full one first.

    luma, chroma: uint16, of `bit_depth`. chroma: Cb and Cr of half the size, where they are to be moved too.
    """

    def __init__(self, luma: Plane, bit_depth: int, chroma: Sequence[Plane] = ()) -> None:
        self._levels, self._scale = levels_of(*luma.shape), np.float32(2.0 ** (MOTION_DEPTH - bit_depth))
        self._samples = filled(luma, self._scale, self._levels)
        self._sizes, self._chroma = [plane.shape for plane in (luma, *chroma)], chroma
        # Made when they are asked for: most pictures are either looked at, or looked from.
        self._slopes: NDArray[np.float32] | None = None
        self._planes: list[NDArray[np.float32]] = []

    def motion(self, other: "Sight") -> Vectors:
        """From blocks of this picture, STEP / 2 apart, to another one of the same size."""
        if self._slopes is None:
            self._slopes = motion_loops.all_slopes(self._samples, self._levels)
        found: Vectors = motion_loops.motion(self._samples, self._slopes, other._samples, self._levels)
        return found

    def moved(self, vectors: Vectors) -> list[NDArray[np.float32]]:
        """Its luma, and its chroma if it is there, of MOTION_DEPTH, not rounded, as they look in the picture
        that the vectors are from.
        """
        planes = [np.empty(size, np.float32) for size in self._sizes]
        self.move(vectors, planes, [_AS_IT_IS] * len(planes))
        return planes

    def move(
        self,
        vectors: Vectors,
        planes: Sequence[NDArray[np.float32]],
        levels: Sequence[tuple[float, float]],
    ) -> None:
        """The same into planes that are there. levels: what is taken from samples of each, and what they are
        divided by then.
        """
        if not self._planes:
            self._planes = [filled(plane, self._scale, levels_of(*plane.shape, 1)) for plane in self._chroma]
        given = zip((self._samples, *self._planes), planes, levels, strict=True)
        for number, (samples, plane, (offset, gain)) in enumerate(given):
            pitch = levels_of(*plane.shape)[0, 1]
            numbers = np.float32(-offset), np.float32(1 / gain)
            moved(samples, pitch, vectors, min(number, 1), _TAPS, *numbers, plane)
