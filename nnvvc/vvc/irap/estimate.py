"""How many bits a lossless key picture takes."""

import numpy as np

from nnvvc.picture import Picture
from nnvvc.vvc.irap import slice_data


def bits_per_pixel(picture: Picture, log2_step: int) -> float:
    """Bits for each luma sample of a slice of this package's making, coded in steps of 1 << log2_step."""
    depth = picture.format.bit_depth - log2_step
    planes = tuple(
        np.ascontiguousarray(
            np.pad(
                plane >> log2_step, ((0, -plane.shape[0] % side), (0, -plane.shape[1] % side)), mode="edge"
            )
        )
        for plane, side in zip(picture.planes, (8, 4, 4), strict=True)
    )
    options = np.zeros(9, np.int64)
    options[slice_data.LOG2_MIN_QT] = 3
    options[slice_data.LOG2_CU] = 5
    options[slice_data.LOG2_CTU] = 7
    options[slice_data.MID] = 1 << (depth - 1)
    luma, cb, cr = planes
    parts = slice_data.encode_slice((luma, cb, cr), options, -6 * (depth - 8))
    return 8 * sum(map(len, parts)) / (picture.format.width * picture.format.height)
