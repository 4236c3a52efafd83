"""The learned codec's picture domain: six planes at half resolution, four luma phases, then Cb and Cr.

Values are (10-bit sample - 512) / 256, so about -2 to 2; one 8-bit level is 1/64.
"""

import numpy as np
import torch
from torch import Tensor

from nnvvc.picture import Chroma, Picture, PictureFormat

MIDDLE = 512
UNIT = 256
"""10-bit sample steps in 1.0 of a plane."""

LEVELS = 64.0
"""8-bit levels in 1.0 of a plane: planes times this are in the unit of an 8-bit mean squared error."""


def planes_of_picture(picture: Picture, multiple: int = 2) -> Tensor:
    """Planes (1, 6, H / 2, W / 2) float32 of a 4:2:0 or 4:0:0 picture of any depth.

    H and W are the luma size, repeated at the right and bottom edge to a multiple of `multiple` (even).
    """
    picture = picture.with_chroma(Chroma.C420).with_bit_depth(10)
    height, width = (-(-s // multiple) * multiple for s in (picture.format.height, picture.format.width))
    luma, cb, cr = picture.planes
    luma = np.pad(luma, ((0, height - luma.shape[0]), (0, width - luma.shape[1])), mode="edge")
    chroma = [
        np.pad(c, ((0, height // 2 - c.shape[0]), (0, width // 2 - c.shape[1])), mode="edge")
        for c in (cb, cr)
    ]
    phases = [luma[dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
    samples = torch.from_numpy(np.stack([*phases, *chroma]).astype(np.float32))
    return ((samples - MIDDLE) / UNIT)[None]


def picture_of_samples(samples: Tensor, fmt: PictureFormat) -> Picture:
    """The inverse for (1, 6, H / 2, W / 2) tensors of whole 10-bit samples: cut to the size of `fmt`
    (10-bit).
    """
    values = samples[0].to(torch.int32).cpu().numpy().astype(np.uint16)
    _, rows, columns = values.shape
    luma = np.empty((2 * rows, 2 * columns), np.uint16)
    for index, (dy, dx) in enumerate((dy, dx) for dy in (0, 1) for dx in (0, 1)):
        luma[dy::2, dx::2] = values[index]
    planes = [luma[: fmt.height, : fmt.width]]
    if fmt.chroma is not Chroma.C400:
        planes += [values[i, : fmt.chroma_height, : fmt.chroma_width] for i in (4, 5)]
    return Picture(tuple(np.ascontiguousarray(p) for p in planes), fmt)
