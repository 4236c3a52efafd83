"""Pictures at another size: Lanczos, widened when going down so that nothing aliases."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nnvvc.picture import Picture

_LOBES = 3


def resample(picture: Picture, width: int, height: int) -> Picture:
    """The picture at `width` x `height` luma samples, at the same depth. Sample centres keep their places."""
    fmt = replace(picture.format, width=width, height=height)
    if fmt == picture.format:
        return picture
    top = np.float32((1 << fmt.bit_depth) - 1)
    planes = []
    for plane, (rows, columns) in zip(picture.planes, fmt.plane_shapes, strict=True):
        values = (
            _weights(plane.shape[0], rows) @ plane.astype(np.float32) @ _weights(plane.shape[1], columns).T
        )
        planes.append(np.clip(np.rint(values), 0, top).astype(np.uint16))
    return Picture(tuple(planes), fmt)


@lru_cache(maxsize=16)
def _weights(source: int, target: int) -> NDArray[np.float32]:
    """The (target, source) matrix of a Lanczos-3 resampling with edge replication; rows sum to one."""
    ratio = source / target
    stretch = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    reach = int(np.ceil(_LOBES * stretch))
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)
    distance = (taps - centres[:, None]) / stretch
    kernel = np.where(abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0.0)
    kernel /= kernel.sum(axis=1, keepdims=True)
    matrix = np.zeros((target, source), np.float32)
    np.add.at(matrix, (np.arange(target)[:, None], np.clip(taps, 0, source - 1)), kernel)
    return matrix
