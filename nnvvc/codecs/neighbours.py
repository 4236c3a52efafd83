"""Pictures with those before and after them, motion compensated: what the filter for people sees of a video.

Motion is estimated between decoded pictures, since decoders do not tell theirs. A key picture and those up to
the next one know only each other: a group that is cut out of a stream is filtered as it was within it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from nnvvc.codecs.filter_planes import Planes, luma_tensor, to_tensors
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import Flow, compensated, motion, turned
from nnvvc.picture import Picture, PictureFormat, Plane


class Pair:
    """A picture and the next one; the motion between them is estimated once, if it is asked for."""

    def __init__(self, first: Picture, second: Picture) -> None:
        self.first, self.second = first, second
        self._flow: tuple[PictureFormat, Flow] | None = None

    def second_at_first(self, cropped: PictureFormat) -> Plane:
        """The second's luma, cropped, as it looks at the first's time."""
        depth = self.first.format.bit_depth
        return compensated(_luma(self.second, cropped), self._motion(cropped), depth)

    def first_at_second(self, cropped: PictureFormat) -> Plane:
        """The first's luma at the second's time."""
        depth = self.first.format.bit_depth
        return compensated(_luma(self.first, cropped), turned(self._motion(cropped)), depth)

    def _motion(self, cropped: PictureFormat) -> Flow:
        if self._flow is None or self._flow[0] != cropped:
            planes = _luma(self.first, cropped), _luma(self.second, cropped)
            self._flow = cropped, motion(*planes, self.first.format.bit_depth)
        return self._flow[1]


def _luma(picture: Picture, cropped: PictureFormat) -> Plane:
    return picture.planes[0][: cropped.height, : cropped.width]


@dataclass(frozen=True)
class Placed:
    """A decoded picture and what the stream says of it. before, after: it and its neighbours, of its group
    only.
    """

    picture: Picture
    facts: PictureFacts
    before: Pair | None = None
    after: Pair | None = None


class Placing:
    """Takes pictures in output order, and gives each back among its neighbours once the next one has come."""

    def __init__(self) -> None:
        self._before: Pair | None = None
        self._current: tuple[Picture, PictureFacts] | None = None

    def push(self, picture: Picture, facts: PictureFacts) -> Placed | None:
        """The picture before this one, if there was one."""
        # A coded video sequence may begin with pictures that are shown before its key picture.
        begins = facts.layer == 0 or facts.begins
        known = None if begins or self._current is None else Pair(self._current[0], picture)
        last = self._finished(known)
        self._before, self._current = known, (picture, facts)
        return last

    def finish(self) -> Placed | None:
        """The last picture."""
        last, self._current = self._finished(None), None
        return last

    def _finished(self, after: Pair | None) -> Placed | None:
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
    fmt = replace(cropped, bit_depth=found.picture.format.bit_depth)
    before, after = luma, luma
    if found.before is not None:
        before = luma_tensor(found.before.first_at_second(cropped), fmt)
    if found.after is not None:
        after = luma_tensor(found.after.second_at_first(cropped), fmt)
    return torch.cat((luma, before, after), 1), chroma
