"""A picture: sample planes and what they mean. The one class that every part of the codec passes around."""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.errors import InputError

Plane = NDArray[np.uint16]

MAX_DIMENSION = 16384
"""Largest width or height, in luma samples, that is read, written or decoded."""

MAX_SAMPLES = 8192 * 8192
"""Largest number of luma samples in a picture."""


class Matrix(IntEnum):
    """`matrix_coefficients` of ITU-T H.273, as far as they are converted here."""

    BT709 = 1
    UNSPECIFIED = 2
    BT601 = 6
    BT2020 = 9


class Chroma(IntEnum):
    """`chroma_format_idc` of ITU-T H.266 clause 6.2; other formats are converted to 4:2:0 on reading."""

    C400 = 0
    C420 = 1


class ChromaSiting(IntEnum):
    """Where 4:2:0 chroma samples lie; values as `chroma_sample_loc_type` of ITU-T H.273, 7 where unknown."""

    LEFT = 0
    CENTER = 1
    TOP_LEFT = 2
    UNSPECIFIED = 7


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What a sample means.

    width, height: luma samples, 1 or more. bit_depth: 8 to 16. A `matrix` of `UNSPECIFIED` means BT.601 below
    720 lines, else BT.709 (`effective_matrix`). A `siting` of `UNSPECIFIED` is taken as `LEFT`.
    """

    width: int
    height: int
    bit_depth: int = 8
    chroma: Chroma = Chroma.C420
    matrix: Matrix = Matrix.UNSPECIFIED
    full_range: bool = False
    siting: ChromaSiting = ChromaSiting.UNSPECIFIED

    def __post_init__(self) -> None:
        """Raises InputError for dimensions or a depth out of range."""
        if not (1 <= self.width <= MAX_DIMENSION and 1 <= self.height <= MAX_DIMENSION):
            raise InputError(
                f"picture size {self.width}x{self.height} is outside 1x1 to {MAX_DIMENSION}x{MAX_DIMENSION}"
            )
        if self.width * self.height > MAX_SAMPLES:
            raise InputError(f"picture size {self.width}x{self.height} is over {MAX_SAMPLES} samples")
        if not 8 <= self.bit_depth <= 16:
            raise InputError(f"bit depth {self.bit_depth} is not between 8 and 16")

    @property
    def chroma_width(self) -> int:
        return (self.width + 1) // 2

    @property
    def chroma_height(self) -> int:
        return (self.height + 1) // 2

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each plane: luma, then Cb and Cr where there is chroma."""
        luma = (self.height, self.width)
        if self.chroma is Chroma.C400:
            return (luma,)
        chroma = (self.chroma_height, self.chroma_width)
        return (luma, chroma, chroma)

    @property
    def samples(self) -> int:
        """Samples of all planes together."""
        return sum(h * w for h, w in self.plane_shapes)

    @property
    def effective_matrix(self) -> Matrix:
        if self.matrix is not Matrix.UNSPECIFIED:
            return self.matrix
        return Matrix.BT601 if self.height < 720 else Matrix.BT709


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """A sequence of pictures of one format.

    fps: pictures per second. frames: their number where it is known beforehand. still: a single picture that
    came from a picture file, not a video of one frame.
    """

    picture: PictureFormat
    fps: Fraction = Fraction(30)
    frames: int | None = None
    still: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Sample planes of one picture.

    planes: luma (height, width), then Cb and Cr ((height + 1) // 2, (width + 1) // 2) for 4:2:0; uint16 at
    any depth, values 0 to 2**bit_depth - 1. original: what it was before an encoder prepared it, of the same
    format, where that was done.
    """

    planes: tuple[Plane, ...]
    format: PictureFormat
    original: "Picture | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        shapes = tuple(p.shape for p in self.planes)
        if shapes != self.format.plane_shapes or any(p.dtype != np.uint16 for p in self.planes):
            raise ValueError(f"planes {shapes} do not fit {self.format}")

    def with_bit_depth(self, bit_depth: int) -> "Picture":
        """The same picture at another depth: up is a shift, down is rounded to nearest and clipped."""
        shift = bit_depth - self.format.bit_depth
        if shift == 0:
            return self
        fmt = replace(self.format, bit_depth=bit_depth)
        if shift > 0:
            return Picture(tuple(p << np.uint16(shift) for p in self.planes), fmt)
        # The largest sample plus one half overflows 16 bits only where it has all of them.
        wide = np.uint16 if self.format.bit_depth < 16 else np.uint32
        half, top = wide(1 << (-shift - 1)), wide((1 << bit_depth) - 1)
        down = []
        for plane in self.planes:
            rounded = plane + half
            rounded >>= wide(-shift)
            # Few pictures have samples that round above the top; looking is faster than clipping.
            if rounded.max() > top:
                np.minimum(rounded, top, out=rounded)
            down.append(rounded.astype(np.uint16, copy=False))
        return Picture(tuple(down), fmt)

    def with_chroma(self, chroma: Chroma) -> "Picture":
        """The same picture as 4:2:0 (mid-grey chroma is added) or 4:0:0 (chroma is dropped)."""
        if chroma is self.format.chroma:
            return self
        fmt = replace(self.format, chroma=chroma)
        if chroma is Chroma.C400:
            return Picture(self.planes[:1], fmt)
        grey = np.full((fmt.chroma_height, fmt.chroma_width), 1 << (fmt.bit_depth - 1), np.uint16)
        return Picture((self.planes[0], grey, grey.copy()), fmt)

    def raw_planes(self) -> "list[NDArray[Any]]":
        """The planes as they are stored: one byte a sample at 8 bits, else two bytes little endian."""
        dtype = "u1" if self.format.bit_depth == 8 else "<u2"
        return [np.ascontiguousarray(p.astype(dtype, copy=False)) for p in self.planes]

    def tobytes(self) -> bytes:
        """All planes one after the other, as in `raw_planes`."""
        return b"".join(plane.data for plane in self.raw_planes())

    @classmethod
    def frombytes(cls, data: bytes | memoryview, fmt: PictureFormat) -> "Picture":
        """The inverse of `tobytes`; raises InputError where `data` has the wrong length.

        At more than 8 bits the planes are views of `data`.
        """
        dtype = np.dtype("u1" if fmt.bit_depth == 8 else "<u2")
        if len(data) != fmt.samples * dtype.itemsize:
            raise InputError(f"a picture of {fmt.samples * dtype.itemsize} bytes ends after {len(data)}")
        samples = np.frombuffer(data, dtype)
        planes, start = [], 0
        for height, width in fmt.plane_shapes:
            stop = start + height * width
            planes.append(samples[start:stop].reshape(height, width).astype(np.uint16, copy=False))
            start = stop
        return cls(tuple(planes), fmt)
