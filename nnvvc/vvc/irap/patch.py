"""A few samples of a key picture that the encoder's VVC coded otherwise than it should: positions and
differences.

A patch is a count, then for each sample, planes one after the other in raster order, the distance to the one
before it, less 1, as ue(v), and the difference, not zero, as se(v).
"""

import numpy as np

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.errors import DamagedStream
from nnvvc.picture import Plane

Planes = tuple[Plane, ...]


def make_patch(expected: Planes, actual: Planes) -> bytes:
    """What turns `expected` into `actual`, planes of the same shapes; empty where they are equal."""
    wanted = np.concatenate([plane.ravel() for plane in expected]).astype(np.int32)
    found = np.concatenate([plane.ravel() for plane in actual]).astype(np.int32)
    positions = np.flatnonzero(wanted != found)
    if not positions.size:
        return b""
    writer = BitWriter()
    writer.ue(positions.size)
    gaps = np.diff(positions, prepend=-1) - 1
    for gap, difference in zip(gaps.tolist(), (found - wanted)[positions].tolist(), strict=True):
        writer.ue(gap)
        writer.se(difference)
    writer.align()
    return writer.getvalue()


def apply_patch(planes: Planes, patch: bytes, bit_depth: int) -> Planes:
    """Planes with the patch applied. Raises TruncatedStream, or DamagedStream where it does not fit."""
    if not patch:
        return planes
    samples = np.concatenate([plane.ravel() for plane in planes])
    reader = BitReader(patch)
    position = -1
    for _ in range(reader.ue()):
        position += reader.ue() + 1
        if position >= samples.size:
            raise DamagedStream("a patch has samples outside the picture")
        value = int(samples[position]) + reader.se()
        if not 0 <= value < 1 << bit_depth:
            raise DamagedStream("a patch makes a sample that is out of range")
        samples[position] = value
    bounds = np.cumsum([plane.size for plane in planes])[:-1]
    return tuple(
        part.reshape(plane.shape) for part, plane in zip(np.split(samples, bounds), planes, strict=True)
    )
