"""The filter for people on decoded pictures, as the messages in the stream have it."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import lru_cache, partial

import numpy as np
import torch

from nnvvc.ahead import side_by_side
from nnvvc.bitstream.header import ModelReference
from nnvvc.codecs.filter_planes import Planes, in_tiles, to_picture, to_tensors
from nnvvc.codecs.filter_updates import Change, FilterState, changed
from nnvvc.codecs.neighbours import Placed, Sights, planes_among
from nnvvc.entropy.block_map import BLOCK, BlockMap
from nnvvc.media.colour import levels
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.exact_restoration import load_exact
from nnvvc.models.filters import ALIGNMENT
from nnvvc.models.people import PeopleNetwork, Settled, load_people, settled
from nnvvc.models.precision import reduced_precision
from nnvvc.models.registry import FILTER_IMAGE, reference, weights_of
from nnvvc.models.threads import lone_threads
from nnvvc.picture import Chroma, Picture, PictureFormat

STILL_TILE = 1152
"""Largest side of the tiles of pictures of the image codec: larger ones have temporaries of over 32 MiB,
which the system clears each time.
"""

STILL_MARGIN = 96
"""Samples around a tile: more than the filter's answer depends on, so that tiles do not show at all."""

AT_ONCE = 8
"""Pictures that are filtered at once at most: each takes some 300 MiB for large ones."""


class PeopleFilter:
    """Pictures have to come in output order.

    used: the model; raises UnknownModel where it is not installed. decoded: the format that the pictures are
    cropped to; target: of the result, of the same size. key_qp: slice QP of the stream's first key picture.
    conceal: takes a function for notes: damaged updates are then reported, and the base filter goes on.
    """

    def __init__(
        self,
        used: ModelReference,
        decoded: PictureFormat,
        target: PictureFormat,
        key_qp: int,
        conceal: Callable[[str], None] | None = None,
    ) -> None:
        self._adaptable = Adaptable(load_people(weights_of(used)))
        self._model = ready(self._adaptable, None)
        self.target = target
        self._decoded, self._sights = decoded, Sights(decoded)
        self._key_qp = torch.tensor([float(key_qp)])
        size = target.width, target.height
        self._state = FilterState(used.number, self._adaptable.count, size, conceal)
        self._change: Change | None = None

    def job(self, found: Placed) -> Callable[[], Picture]:
        """What filters one picture, of `decoded`'s size or padded, in any thread.

        Raises StreamError for damaged messages.
        """
        on, change = self._state.follow(found.facts)
        if not on or (change is not None and change.off is not None and change.off.all()):
            return partial(self._unfiltered, found.picture)
        if change is not self._change:
            self._change = change
            self._model = ready(self._adaptable, change)
        return partial(self._filtered, found, self._model, None if change is None else change.off)

    def _unfiltered(self, picture: Picture) -> Picture:
        return to_picture(*to_tensors(picture, self._decoded), self.target)

    def _filtered(self, found: Placed, model: Settled, off: BlockMap | None) -> Picture:
        count = model.neighbours
        planes, layers = planes_among(found, self._sights, count), found.layers_of(count)
        return to_picture(*filtered_planes(model, planes, self._key_qp, layers, off), self.target)


def ready(adaptable: Adaptable[PeopleNetwork], change: Change | None) -> Settled:
    """The filter with a change."""
    return settled(adaptable.model if change is None else changed(adaptable, change))


def filtered_pictures(
    apply: PeopleFilter, shown: Iterable[Placed], threads: int
) -> Generator[Picture, None, None]:
    """All of them, in their order, as many at once as there are threads, or AT_ONCE. Raises StreamError."""
    count = min(threads, AT_ONCE)
    with (
        lone_threads(count) as pool,
        closing(side_by_side(map(apply.job, shown), pool, count)) as pictures,
    ):
        yield from pictures


class StillFilter:
    """The filter for people on pictures of the image codec, of 10 bits, 4:2:0 or grey: exact.

    used: the model, by default the installed. Raises UnknownModel where it is not there, InexactArithmetic.
    """

    def __init__(self, used: ModelReference | None = None) -> None:
        used = used or reference(FILTER_IMAGE)
        self.exact = load_exact(weights_of(used))

    def __call__(self, picture: Picture, qp: int) -> Picture:
        """Filter one picture that was coded with `qp`."""
        fmt = picture.format
        offset, luma_gain, chroma_gain = levels(fmt.bit_depth, fmt.full_range)
        planes = [torch.from_numpy(p.astype(np.float32)) for p in picture.with_chroma(Chroma.C420).planes]

        def apply(luma: torch.Tensor, chroma: torch.Tensor) -> list[Planes]:
            return [self.exact.samples(luma, chroma, qp, offset, (luma_gain, chroma_gain))]

        given = planes[0][None, None], torch.stack(planes[1:])[None]
        ((luma, chroma),) = in_tiles(given, 1, 1, apply, (_even(fmt.height), _even(fmt.width)), STILL_MARGIN)
        filtered = [plane.numpy().astype(np.uint16) for plane in (luma[0, 0], *chroma[0])]
        return Picture(tuple(filtered[: len(fmt.plane_shapes)]), fmt)


@lru_cache(maxsize=4)
def still_filter(used: ModelReference) -> StillFilter:
    """The filter that a stream names, loaded once. Raises UnknownModel, InexactArithmetic."""
    return StillFilter(used)


def _even(size: int) -> int:
    """Side of the fewest tiles of equal size; tiles begin at multiples of what the network's pictures are."""
    side = -(-size // -(-size // STILL_TILE))
    return -(-side // ALIGNMENT) * ALIGNMENT


@torch.inference_mode()
def filtered_planes(
    model: PeopleNetwork | Settled,
    planes: Planes,
    key_qp: torch.Tensor,
    layers: Sequence[int],
    off: BlockMap | None = None,
) -> Planes:
    """Planes of one picture, filtered, but for the blocks where it is off. planes: with the neighbours',
    where the model takes them. layers: see `RestorationFilter.forward`.
    """
    plain = planes[0][:, :1], planes[1][:, :2]
    if off is not None and off.all():
        return plain
    given = torch.tensor([layers])

    def apply(luma: torch.Tensor, chroma: torch.Tensor) -> list[Planes]:
        with reduced_precision():
            return [model(luma, chroma, key_qp, given)]

    (result,) = in_tiles(planes, 1, 1, apply, (model.tile, model.tile))
    if off is not None:
        turn_off(result, plain, off)
    return result


@torch.inference_mode()
def turn_off(filtered: Planes, plain: Planes, off: BlockMap) -> None:
    """Puts samples of `plain` into the blocks of `filtered`, of the same shapes, that are 1 in `off`."""
    for plane, before, side in zip(filtered, plain, (BLOCK, BLOCK // 2), strict=True):
        mask = torch.from_numpy(np.kron(off, np.ones((side, side), np.uint8)).astype(bool))
        mask = mask[: plane.shape[2], : plane.shape[3]]
        plane[:] = torch.where(mask, before, plane)
