"""The learned codec's picture domain: six planes at half resolution, four luma phases, then Cb and Cr.

Values are (10-bit sample - 512) / 256, so about -2 to 2; one 8-bit level is 1/64.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.media.colour import KR_KB, levels
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat

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


def to_rgb(luma: Tensor, chroma: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """RGB (N, 3, *size), clipped to 0..1, of luma (N, 1, H, W) in 0..1 and chroma (N, 2, H / 2, W / 2) in
    -0.5..0.5, at any size; chroma lies amid 2x2 samples.

    matrix: (N, 2), Kr and Kb (H.273).
    """
    if luma.shape[2:] != size:
        luma = F.interpolate(luma, size, mode="bicubic", antialias=True, align_corners=False)
    chroma = F.interpolate(chroma, size, mode="bilinear", align_corners=False)
    kr, kb = matrix[:, 0, None, None], matrix[:, 1, None, None]
    y, cb, cr = luma[:, 0], chroma[:, 0], chroma[:, 1]
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return torch.stack((r, g, b), 1).clamp(0, 1)


Enhancement = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A filter of luma (N, 1, H, W) in 0..1 and chroma (N, 2, H / 2, W / 2) in -0.5..0.5, which may enlarge
them.
"""


def rgb_of_planes(
    planes: Tensor,
    fmt: PictureFormat,
    size: tuple[int, int],
    enhance: Enhancement | None = None,
) -> Tensor:
    """RGB (N, 3, *size) in 0..1, with gradients, of planes that hold a picture of the size, matrix and range
    of `fmt`, enlarged to `size` (height, width). enhance: a filter of its components before that.
    """
    offset, luma_gain, chroma_gain = levels(10, fmt.full_range)
    samples = planes.float() * UNIT + MIDDLE
    luma = (F.pixel_shuffle(samples[:, :4], 2)[:, :, : fmt.height, : fmt.width] - offset) / luma_gain
    chroma = (samples[:, 4:, : fmt.chroma_height, : fmt.chroma_width] - MIDDLE) / chroma_gain
    if enhance is not None:
        luma, chroma = enhance(luma, chroma)
    matrix = _kr_kb(fmt.effective_matrix, planes.device).repeat(len(planes), 1)
    return to_rgb(luma, chroma, matrix, size)


@cache
def _kr_kb(matrix: Matrix, device: torch.device) -> Tensor:
    """(1, 2); kept, since a copy to a device would stall it."""
    return torch.tensor([KR_KB[matrix]], device=device)
