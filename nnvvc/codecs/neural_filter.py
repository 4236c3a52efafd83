"""A filter's network on decoded pictures, in tiles where they are large."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from nnvvc.bitstream.header import ModelReference
from nnvvc.codecs.filter_planes import Planes, in_tiles, to_picture, to_tensors
from nnvvc.entropy.block_map import BLOCK, BlockMap, decode_blocks, map_shape
from nnvvc.models.filters import KEY_QP_OFFSET, PictureFilter, enlargement, load_filter
from nnvvc.models.precision import reduced_precision
from nnvvc.models.quantised import fastest
from nnvvc.models.registry import weights_of
from nnvvc.picture import Picture, PictureFormat


def installed_filter(used: ModelReference) -> PictureFilter:
    """The filter's network, loaded once, in the form that is fastest here. Raises UnknownModel."""
    return _loaded(weights_of(used), used)


@lru_cache(maxsize=4)
def _loaded(path: Path, used: ModelReference) -> PictureFilter:
    """used: since another file may come to be at the same place."""
    return fastest(load_filter(path))


class NeuralFilter:
    """The filter on pictures as VVC decodes them.

    decoded: their format, cropped to what was coded of the source; target: the format of the result, of the
    source's size. qp: slice QP of the key picture. choice: the filter of every block, where the model is
    several.
    """

    def __init__(
        self,
        model: PictureFilter,
        decoded: PictureFormat,
        target: PictureFormat,
        scale: Fraction,
        qp: int,
        choice: BlockMap | None = None,
    ) -> None:
        self.model = model
        self._decoded = decoded
        self.target = target
        self._up = enlargement(scale)
        self._qp = torch.tensor([float(qp + KEY_QP_OFFSET)])
        self._scale = torch.tensor([float(scale)])
        self.choice = choice

    @property
    def filters(self) -> int:
        """How many filters the model is."""
        return self.model.config.filters

    @property
    def map_shape(self) -> tuple[int, int]:
        """(rows, columns) of a choice."""
        return map_shape(self.target.width, self.target.height)

    def choose(self, block_map: bytes) -> None:
        """Take a stream header's choice; without one, or of a single filter, the first is for all blocks.

        Raises StreamError for a damaged map.
        """
        if block_map and self.filters > 1:
            self.choice = decode_blocks(block_map, self.map_shape, self.filters)

    def __call__(self, picture: Picture, layer: int = 0) -> Picture:
        """Filter one picture: 4:2:0, of `decoded`'s size or padded to the right and below.

        layer: 0 for key pictures, else one more than the temporal layer.
        """
        used = (0,) if self.choice is None else tuple(np.unique(self.choice).tolist())
        return self.composed(dict(zip(used, self.candidates(picture, used, layer), strict=True)))

    def composed(self, candidates: Mapping[int, Picture]) -> Picture:
        """The picture that the choice makes of what these filters gave."""
        if self.choice is None:
            return candidates[0]
        planes = tuple(np.empty_like(plane) for plane in next(iter(candidates.values())).planes)
        for number, candidate in candidates.items():
            for plane, source, side in zip(
                planes, candidate.planes, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False
            ):
                mask = np.kron(self.choice == number, np.ones((side, side), bool))
                np.copyto(plane, source, where=mask[: plane.shape[0], : plane.shape[1]])
        return Picture(planes, self.target)

    def candidates(self, picture: Picture, filters: tuple[int, ...], layer: int = 0) -> list[Picture]:
        """The picture as each of these filters makes it."""
        given = (self._qp, self._scale, self._up, filters, torch.tensor([float(layer)]))

        def apply(luma: torch.Tensor, chroma: torch.Tensor) -> list[Planes]:
            with reduced_precision():
                results: list[Planes] = self.model(luma, chroma, *given)
            return results

        with torch.inference_mode():
            planes = to_tensors(picture, self._decoded)
            filtered = in_tiles(planes, self._up, len(filters), apply)
            return [to_picture(*f, self.target) for f in filtered]
