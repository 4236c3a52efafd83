"""Pictures with those before and after them, motion compensated: what the filter for people sees of a video.

Motion is estimated between decoded pictures, since decoders do not tell theirs. A key picture and those up to
the next one know only each other: a group that is cut out of a stream is filtered as it was within it.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from nnvvc.codecs.filter_planes import Planes, luma_tensor, to_tensors
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import compensated
from nnvvc.picture import Picture, PictureFormat


@dataclass(frozen=True)
class Placed:
    """A decoded picture and what the stream says of it. before, after: its neighbours, of its group only."""

    picture: Picture
    facts: PictureFacts
    before: Picture | None = None
    after: Picture | None = None


class Placing:
    """Takes pictures in output order, and gives each back among its neighbours once the next one has come."""

    def __init__(self) -> None:
        self._before: Picture | None = None
        self._current: tuple[Picture, PictureFacts] | None = None

    def push(self, picture: Picture, facts: PictureFacts) -> Placed | None:
        """The picture before this one, if there was one."""
        # A coded video sequence may begin with pictures that are shown before its key picture.
        begins = facts.layer == 0 or facts.begins
        last = self._finished(None if begins else picture)
        self._before = None if begins or self._current is None else self._current[0]
        self._current = picture, facts
        return last

    def finish(self) -> Placed | None:
        """The last picture."""
        last, self._current = self._finished(None), None
        return last

    def _finished(self, after: Picture | None) -> Placed | None:
        return None if self._current is None else Placed(*self._current, self._before, after)


def placed(pictures: Iterable[tuple[Picture, PictureFacts]]) -> Iterator[Placed]:
    """Pictures in output order among their neighbours."""
    placing = Placing()
    for picture, facts in pictures:
        found = placing.push(picture, facts)
        if found is not None:
            yield found
    found = placing.finish()
    if found is not None:
        yield found


def planes_among(found: Placed, cropped: PictureFormat) -> Planes:
    """As `to_tensors`, but luma (1, 3, H, W): the picture's, then that of the pictures before and after, or
    its own again where there is none.
    """
    luma, chroma = to_tensors(found.picture, cropped)
    rows, columns = slice(luma.shape[2]), slice(luma.shape[3])
    depth = found.picture.format.bit_depth
    own = found.picture.planes[0][rows, columns]
    beside = [luma, luma]
    others = {i: p for i, p in enumerate((found.before, found.after)) if p is not None}

    def moved(other: Picture) -> torch.Tensor:
        there = compensated(own, other.planes[0][rows, columns], depth)
        return luma_tensor(there, replace(cropped, bit_depth=depth))

    # The search itself hardly gets faster by more threads.
    with ThreadPoolExecutor() as pool:
        for i, plane in zip(others, pool.map(moved, others.values()), strict=True):
            beside[i] = plane
    return torch.cat((luma, *beside), 1), chroma
