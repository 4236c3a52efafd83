"""RGB to YCbCr 4:2:0 and back (ITU-T H.273 matrix equations), in float32 with one rounding at the end."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.picture import Chroma, ChromaSiting, Matrix, Picture, PictureFormat, Plane

KR_KB = {Matrix.BT601: (0.299, 0.114), Matrix.BT709: (0.2126, 0.0722), Matrix.BT2020: (0.2627, 0.0593)}
"""Kr and Kb of each matrix (H.273)."""

Float = NDArray[np.float32]


def rgb_to_picture(
    rgb: NDArray[Any],
    bit_depth: int = 10,
    matrix: Matrix = Matrix.BT709,
    full_range: bool = False,
    siting: ChromaSiting = ChromaSiting.CENTER,
) -> Picture:
    """Convert interleaved RGB (height, width, 3), uint8 or uint16 over its whole range, to a 4:2:0 picture.

    Chroma is the mean of 2x2 samples for centre siting, of 2 rows and a 1-2-1 kernel across for left siting.
    """
    height, width = rgb.shape[:2]
    fmt = PictureFormat(width, height, bit_depth, Chroma.C420, matrix, full_range, siting)
    kr, kb = KR_KB[fmt.effective_matrix]
    scaled = rgb.astype(np.float32) * np.float32(1 / np.iinfo(rgb.dtype).max)
    r, g, b = scaled[..., 0], scaled[..., 1], scaled[..., 2]
    luma = kr * r + (1 - kr - kb) * g + kb * b
    cb = _downsample((b - luma) * np.float32(0.5 / (1 - kb)), siting)
    cr = _downsample((r - luma) * np.float32(0.5 / (1 - kr)), siting)
    offset, luma_gain, chroma_gain = levels(bit_depth, full_range)
    middle = 1 << (bit_depth - 1)
    return Picture(
        (
            _quantise(luma * luma_gain + offset, bit_depth),
            _quantise(cb * chroma_gain + middle, bit_depth),
            _quantise(cr * chroma_gain + middle, bit_depth),
        ),
        fmt,
    )


def picture_to_rgb(picture: Picture, bits: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Convert a picture to interleaved RGB (height, width, 3): uint8, or uint16 over 0..65535 for 16 bits.

    Chroma is brought up with a cubic kernel at the picture's siting; 4:0:0 gives equal R, G and B.
    """
    fmt = picture.format
    offset, luma_gain, chroma_gain = levels(fmt.bit_depth, fmt.full_range)
    luma = (picture.planes[0].astype(np.float32) - offset) * np.float32(1 / luma_gain)
    if fmt.chroma is Chroma.C400:
        rgb = np.repeat(luma[..., None], 3, axis=2)
    else:
        kr, kb = KR_KB[fmt.effective_matrix]
        middle = np.float32(1 << (fmt.bit_depth - 1))
        cb, cr = (
            _upsample(
                (plane.astype(np.float32) - middle) * np.float32(1 / chroma_gain), luma.shape, fmt.siting
            )
            for plane in picture.planes[1:]
        )
        r = luma + np.float32(2 - 2 * kr) * cr
        b = luma + np.float32(2 - 2 * kb) * cb
        g = (luma - np.float32(kr) * r - np.float32(kb) * b) * np.float32(1 / (1 - kr - kb))
        rgb = np.stack([r, g, b], axis=2)
    top = (1 << bits) - 1
    values = np.clip(np.rint(rgb * np.float32(top)), 0, top)
    return values.astype(np.uint8) if bits == 8 else values.astype(np.uint16)


def subsample_chroma(planes: tuple[Plane, Plane, Plane], fmt: PictureFormat) -> Picture:
    """Make 4:2:0 of planes whose chroma has luma's height or twice the 4:2:0 width or both (4:2:2, 4:4:4)."""
    chroma: list[Plane] = []
    for plane in planes[1:]:
        values = plane.astype(np.float32)
        if values.shape[1] > fmt.chroma_width:
            values = _halve_width(values, fmt.siting)
        if values.shape[0] > fmt.chroma_height:
            values = _halve_height(values)
        chroma.append(_quantise(values, fmt.bit_depth))
    return Picture((planes[0], *chroma), replace(fmt, chroma=Chroma.C420))


def levels(bit_depth: int, full_range: bool) -> tuple[float, float, float]:
    """(luma offset, luma gain, chroma gain) for signals of unit swing: H.273 equations 20 to 31."""
    if full_range:
        return 0.0, float((1 << bit_depth) - 1), float((1 << bit_depth) - 1)
    scale = 1 << (bit_depth - 8)
    return 16.0 * scale, 219.0 * scale, 224.0 * scale


def _quantise(values: Float, bit_depth: int) -> Plane:
    return np.clip(np.rint(values), 0, (1 << bit_depth) - 1).astype(np.uint16)


def _halve_height(values: Float) -> Float:
    if values.shape[0] % 2:
        values = np.concatenate([values, values[-1:]])
    return (values[0::2] + values[1::2]) * np.float32(0.5)


def _halve_width(values: Float, siting: ChromaSiting) -> Float:
    if values.shape[1] % 2:
        values = np.concatenate([values, values[:, -1:]], axis=1)
    if siting is ChromaSiting.CENTER:
        return (values[:, 0::2] + values[:, 1::2]) * np.float32(0.5)
    before = np.concatenate([values[:, :1], values[:, 1:-1:2]], axis=1)
    return (before + 2 * values[:, 0::2] + values[:, 1::2]) * np.float32(0.25)


def _downsample(values: Float, siting: ChromaSiting) -> Float:
    return _halve_height(_halve_width(values, siting))


def _upsample(values: Float, shape: tuple[int, ...], siting: ChromaSiting) -> Float:
    # Imported where it is used: video without conversion starts faster.
    import cv2

    across = -0.25 if siting is ChromaSiting.CENTER else 0.0
    down = 0.0 if siting is ChromaSiting.TOP_LEFT else -0.25
    # Output sample x lies at x / 2 + across among the chroma samples.
    transform = np.array([[0.5, 0.0, across], [0.0, 0.5, down]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(
        values, transform, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return result.astype(np.float32, copy=False)
