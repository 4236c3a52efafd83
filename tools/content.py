"""Pictures and clips made by arithmetic, for tests, benchmarks and fuzzing."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth random field with edges, float64 (height, width) in 0..1: something for an encoder to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    field = np.zeros((height, width))
    for _ in range(8):
        fx, fy = rng.normal(0, 0.06, 2)
        field += rng.normal() * np.sin(x * fx + y * fy + rng.uniform(0, 6.28))
    for _ in range(6):
        cx, cy, r = (
            rng.uniform(0, width),
            rng.uniform(0, height),
            rng.uniform(4, 0.3 * max(width, height) + 5),
        )
        field += rng.normal() * ((x - cx) ** 2 + (y - cy) ** 2 < r * r)
    field += rng.normal(0, 0.05, field.shape)
    field -= field.min()
    return field / max(field.max(), 1e-9)


def clip(fmt: PictureFormat, frames: int, seed: int = 0) -> Iterator[Picture]:
    """A pan over a texture with a disc moving the other way."""
    wide = texture(fmt.width + 2 * frames + 2, fmt.height + frames + 2, seed)
    tint = texture(fmt.chroma_width + frames + 2, fmt.chroma_height + frames + 2, seed + 1)
    top = (1 << fmt.bit_depth) - 1
    y, x = np.mgrid[0 : fmt.height, 0 : fmt.width]
    for i in range(frames):
        luma = wide[i : i + fmt.height, 2 * i : 2 * i + fmt.width].copy()
        cx, cy = fmt.width * 0.8 - 3 * i, fmt.height * 0.3 + i
        luma[(x - cx) ** 2 + (y - cy) ** 2 < (0.1 * fmt.width) ** 2] = 0.9
        planes = [luma]
        if fmt.chroma is Chroma.C420:
            u = tint[i : i + fmt.chroma_height, i : i + fmt.chroma_width]
            planes += [0.3 + 0.4 * u, 0.7 - 0.4 * u]
        yield Picture(tuple(np.rint(p * top).astype(np.uint16) for p in planes), fmt)


def video(width: int = 96, height: int = 64, bit_depth: int = 8, fps: Fraction = Fraction(25)) -> VideoFormat:
    """A format for `clip`."""
    return VideoFormat(PictureFormat(width, height, bit_depth), fps)
