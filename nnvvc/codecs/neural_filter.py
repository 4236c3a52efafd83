"""A filter's network on decoded pictures, in tiles where they are large."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from nnvvc.adapt.block_choice import BLOCK, map_shape
from nnvvc.bitstream.header import ModelReference
from nnvvc.codecs.filtering import KEY_QP_OFFSET, MARGIN, TILE
from nnvvc.entropy.block_map import BlockMap
from nnvvc.models.filters import enlargement, load_filter
from nnvvc.models.registry import weights_of
from nnvvc.picture import Picture, PictureFormat

Planes = tuple[torch.Tensor, torch.Tensor]
"""Luma (1, 1, H, W) and chroma (1, 2, H / 2, W / 2)."""


class NeuralFilter:
    """The filter on pictures as VVC decodes them.

    used: the model; raises UnknownModel where it is not installed. decoded: their format, cropped to what was
    coded of the source; target: the format of the result, of the source's size. qp: slice QP of the key
    picture. choice: the filter of every block, where the model is several.
    """

    def __init__(
        self,
        used: ModelReference,
        decoded: PictureFormat,
        target: PictureFormat,
        scale: Fraction,
        qp: int,
        choice: BlockMap | None = None,
    ) -> None:
        self._model = load_filter(weights_of(used))
        self._decoded = decoded
        self.target = target
        self._up = enlargement(scale)
        self._qp = torch.tensor([float(qp + KEY_QP_OFFSET)])
        self._scale = torch.tensor([float(scale)])
        self.choice = choice

    @property
    def filters(self) -> int:
        """How many filters the model is."""
        return self._model.config.branches

    @property
    def map_shape(self) -> tuple[int, int]:
        """(rows, columns) of a choice."""
        return map_shape(self.target.width, self.target.height)

    def __call__(self, picture: Picture) -> Picture:
        """Filter one picture: 4:2:0, of `decoded`'s size or padded to the right and below."""
        if self.choice is None:
            return self.candidates(picture, (0,))[0]
        chosen = np.unique(self.choice)
        candidates = self.candidates(picture, tuple(chosen.tolist()))
        planes = tuple(np.empty_like(plane) for plane in candidates[0].planes)
        for number, candidate in zip(chosen, candidates, strict=True):
            for plane, source, side in zip(
                planes, candidate.planes, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False
            ):
                mask = np.kron(self.choice == number, np.ones((side, side), bool))
                np.copyto(plane, source, where=mask[: plane.shape[0], : plane.shape[1]])
        return Picture(planes, self.target)

    def candidates(self, picture: Picture, filters: tuple[int, ...]) -> list[Picture]:
        """The picture as each of these filters makes it."""
        return [self._finished(*planes) for planes in self._tiled(*self._tensors(picture), filters)]

    def _finished(self, luma: torch.Tensor, chroma: torch.Tensor) -> Picture:
        target = self.target
        luma = _resized(luma, (target.height, target.width))
        chroma = _resized(chroma, (target.chroma_height, target.chroma_width))
        planes = torch.cat((luma.flatten(), chroma.flatten()))
        offset, luma_gain, chroma_gain, middle = _levels(target)
        count = target.width * target.height
        planes[:count] = planes[:count] * luma_gain + offset
        planes[count:] = planes[count:] * chroma_gain + middle
        samples = planes.round().clamp(0, (1 << target.bit_depth) - 1).to(torch.int32).numpy()
        result = []
        for height, width in target.plane_shapes:
            result.append(samples[: height * width].reshape(height, width).astype("uint16"))
            samples = samples[height * width :]
        return Picture(tuple(result), target)

    def _tensors(self, picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
        fmt = replace(self._decoded, bit_depth=picture.format.bit_depth)
        offset, luma_gain, chroma_gain, middle = _levels(fmt)
        planes = [torch.from_numpy(p.astype("float32")) for p in picture.planes]
        luma = planes[0][: fmt.height, : fmt.width]
        chroma = torch.stack(planes[1:])[:, : fmt.chroma_height, : fmt.chroma_width]
        return ((luma - offset) / luma_gain)[None, None], ((chroma - middle) / chroma_gain)[None]

    def _tiled(self, luma: torch.Tensor, chroma: torch.Tensor, filters: tuple[int, ...]) -> list[Planes]:
        up, (height, width) = self._up, luma.shape[2:]
        results = [
            (
                luma.new_empty((1, 1, up * height, up * width)),
                chroma.new_empty((1, 2, up * chroma.shape[2], up * chroma.shape[3])),
            )
            for _ in filters
        ]
        for y, top, bottom in _tiles(height):
            for x, left, right in _tiles(width):
                with torch.inference_mode():
                    filtered = self._model(
                        luma[..., top:bottom, left:right],
                        chroma[..., top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2],
                        self._qp,
                        self._scale,
                        up,
                        filters,
                    )
                for planes, parts in zip(results, filtered, strict=True):
                    for plane, part, step in zip(planes, parts, (1, 2), strict=True):
                        # From where this tile's own samples begin; the margin behind is overwritten next.
                        row, column = up * (y - top) // step, up * (x - left) // step
                        place = plane[..., up * y // step :, up * x // step :]
                        own = part[..., row:, column:]
                        place[..., : own.shape[2], : own.shape[3]] = own
        return results


def _tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """(first sample of a tile, first and end of what the filter is given for it)."""
    for start in range(0, size, TILE):
        yield start, max(0, start - MARGIN), min(size, start + TILE + MARGIN)


def _resized(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Filtered planes at the size wanted, where the enlargement went past it."""
    if planes.shape[2:] == size:
        return planes
    return F.interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False)


def _levels(fmt: PictureFormat) -> tuple[float, float, float, float]:
    """(luma offset, luma gain, chroma gain, chroma middle) of samples: H.273 equations 20 to 31."""
    middle = float(1 << (fmt.bit_depth - 1))
    if fmt.full_range:
        top = float((1 << fmt.bit_depth) - 1)
        return 0.0, top, top, middle
    unit = float(1 << (fmt.bit_depth - 8))
    return 16 * unit, 219 * unit, 224 * unit, middle
