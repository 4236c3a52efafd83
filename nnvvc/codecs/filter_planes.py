"""Decoded pictures as the tensors that filters take, and back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from nnvvc.codecs import filtering, plane_loops
from nnvvc.media.colour import levels
from nnvvc.picture import Picture, PictureFormat, Plane

Planes = tuple[torch.Tensor, torch.Tensor]
"""Luma (1, 1, H, W), 0..1 over the nominal range, and chroma (1, 2, H / 2, W / 2), -0.5..0.5. Given to a
filter that sees a picture's neighbours, theirs follow in the second dimension.
"""


def to_tensors(picture: Picture, cropped: PictureFormat) -> Planes:
    """Of a 4:2:0 picture of any depth, cropped to the size of `cropped`, whose range it has."""
    shapes = cropped.plane_shapes
    luma, chroma = np.empty((1, 1, *shapes[0]), np.float32), np.empty((1, 2, *shapes[1]), np.float32)
    fill(picture, cropped, (luma[0, 0], *chroma[0]))
    return torch.from_numpy(luma), torch.from_numpy(chroma)


def fill(picture: Picture, cropped: PictureFormat, results: Sequence[NDArray[np.float32]]) -> None:
    """The same, plane by plane, to `results`."""
    scales = plane_levels(replace(cropped, bit_depth=picture.format.bit_depth))
    planes = cropped_planes(picture, cropped)
    for plane, (offset, gain), result in zip(planes, scales, results, strict=True):
        plane_loops.scaled(plane, np.float32(offset), np.float32(1 / gain), result)


def cropped_planes(picture: Picture, cropped: PictureFormat) -> list[Plane]:
    """Planes of a picture that may be padded, of the size of `cropped`."""
    shapes = zip(picture.planes, cropped.plane_shapes, strict=True)
    return [plane[:height, :width] for plane, (height, width) in shapes]


def to_picture(luma: torch.Tensor, chroma: torch.Tensor, target: PictureFormat) -> Picture:
    """The inverse: rounded and clipped, resized where the planes are larger than `target`."""
    luma = _resized(luma, (target.height, target.width))
    chroma = _resized(chroma, (target.chroma_height, target.chroma_width))
    scales = plane_levels(target)
    result = []
    # A grey picture has one plane.
    for plane, (add, gain), shape in zip((luma[0, 0], *chroma[0]), scales, target.plane_shapes, strict=False):
        samples = np.empty(shape, np.uint16)
        numbers = np.float32(add), np.float32(gain), (1 << target.bit_depth) - 1
        plane_loops.rounded(plane.contiguous().numpy(), *numbers, samples)
        result.append(samples)
    return Picture(tuple(result), target)


def in_tiles(
    planes: Planes,
    up: int,
    count: int,
    apply: Callable[[torch.Tensor, torch.Tensor], Sequence[Planes]],
    tile: tuple[int, int] | None = None,
    margin: int | None = None,
) -> list[Planes]:
    """What `apply` makes of planes, tile by tile: `count` results, each enlarged by `up`.

    tile: rows and columns; margin: around it. By default TILE and MARGIN of `filtering`.
    """
    tile = tile or (filtering.TILE, filtering.TILE)
    margin = filtering.MARGIN if margin is None else margin
    luma, chroma = planes
    height, width = luma.shape[2:]
    if height <= tile[0] and width <= tile[1]:
        return list(apply(luma, chroma))
    results = [
        (
            luma.new_empty((1, 1, up * height, up * width)),
            chroma.new_empty((1, 2, up * chroma.shape[2], up * chroma.shape[3])),
        )
        for _ in range(count)
    ]
    for y, top, bottom in _tiles(height, tile[0], margin):
        for x, left, right in _tiles(width, tile[1], margin):
            filtered = apply(
                luma[..., top:bottom, left:right],
                chroma[..., top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2],
            )
            for whole, parts in zip(results, filtered, strict=True):
                for plane, part, step in zip(whole, parts, (1, 2), strict=True):
                    # From where this tile's own samples begin; the margin behind is overwritten next.
                    own = part[..., up * (y - top) // step :, up * (x - left) // step :]
                    place = plane[..., up * y // step :, up * x // step :]
                    place[..., : own.shape[2], : own.shape[3]] = own
    return results


def _tiles(size: int, tile: int, margin: int) -> Iterator[tuple[int, int, int]]:
    """(first sample of a tile, first and end of what the filter is given for it)."""
    for start in range(0, size, tile):
        yield start, max(0, start - margin), min(size, start + tile + margin)


def _resized(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Filtered planes at the size wanted, where the enlargement went past it."""
    if planes.shape[2:] == size:
        return planes
    return F.interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False)


@lru_cache(maxsize=16)
def plane_levels(fmt: PictureFormat) -> tuple[tuple[float, float], ...]:
    """Of luma and both chroma planes: the sample that is 0 in `Planes`, and how many are 1 from there (H.273
    equations 20 to 31).
    """
    middle = float(1 << (fmt.bit_depth - 1))
    offset, luma_gain, chroma_gain = levels(fmt.bit_depth, fmt.full_range)
    return (offset, luma_gain), (middle, chroma_gain), (middle, chroma_gain)
