"""Pictures with those before and after them, motion compensated: what the filter for people sees of a video.

Motion is estimated between decoded pictures, since decoders do not tell theirs. Pictures know those of their
group only, from its key picture to the next one.
"""

import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from nnvvc.codecs.filter_planes import Planes, luma_tensor, to_tensors
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import Flow, Target, motion, reduced, turned
from nnvvc.models.tap_shapes import DISTANCES
from nnvvc.picture import Picture, PictureFormat, Plane

KEYS_WITHIN = 31
"""Pictures that key pictures are looked for within: SEI messages can tell of 64 input pictures at most."""


def places(number: int, last: int, keys: Container[int]) -> list[tuple[int, int]]:
    """Where the neighbours of a picture are, before and after it: at each of DISTANCES, or at the ends of its
    group; in place of the farthest, the key pictures at those ends, where they are near enough. They are
    coded best, and owe nothing to the pictures between them.

    number, last: in the group, of the picture and of the last one. keys: numbers of key pictures.
    """
    found = [(max(0, number - d), min(last, number + d)) for d in DISTANCES]
    before, after = found.pop()
    if 0 in keys and number <= KEYS_WITHIN:
        before = 0
    if last in keys and last - number <= KEYS_WITHIN:
        after = last
    return [*found, (before, after)]


class Pair:
    """Two pictures of a group. shared: the first sees the second, which may see it too; the motion between
    them is estimated once then, when a thread asks for it. Otherwise only the second sees the first.
    """

    def __init__(self, first: Picture, second: Picture, shared: bool = True) -> None:
        self.first, self.second, self._shared = first, second, shared
        self._lock = threading.Lock()
        self._flow: Flow | None = None
        self._rough: Flow | None = None

    def second_at_first(self, first: Target, cropped: PictureFormat) -> Plane:
        """The second's luma, cropped, as it looks at the first's time. first: its luma, as a target."""
        second = _luma(self.second, cropped)
        with self._lock:
            flow, self._flow = self._flow, None
            if flow is None:
                flow = motion(first.luma, second, first.bit_depth)
                self._rough = reduced(flow)
        return first.compensated(second, flow)

    def first_at_second(self, second: Target, cropped: PictureFormat) -> Plane:
        """The first's luma at the second's time."""
        first = _luma(self.first, cropped)
        if not self._shared:
            return second.compensated(first, motion(second.luma, first, second.bit_depth))
        with self._lock:
            if self._rough is None:
                self._flow = motion(first, second.luma, second.bit_depth)
                self._rough = reduced(self._flow)
        return second.compensated(first, turned(self._rough, first.shape))


def _luma(picture: Picture, cropped: PictureFormat) -> Plane:
    return picture.planes[0][: cropped.height, : cropped.width]


@dataclass(frozen=True)
class Placed:
    """A decoded picture and what the stream says of it. before, after: it and its neighbours, see `places`;
    None where there is none. layers: of those, see `PictureFacts`; negative where there is none.
    """

    picture: Picture
    facts: PictureFacts
    before: tuple[Pair | None, ...] = (None,) * len(DISTANCES)
    after: tuple[Pair | None, ...] = (None,) * len(DISTANCES)
    layers: tuple[int, ...] = (-1,) * (2 * len(DISTANCES))

    @property
    def all_layers(self) -> tuple[int, ...]:
        """The picture's own, and its neighbours'."""
        return (self.facts.layer, *self.layers)


class Placing:
    """Takes pictures in output order, and gives them back among their neighbours once those have come."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._group: dict[int, tuple[Picture, PictureFacts]] = {}
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._count, self._number = 0, 0

    def push(self, picture: Picture, facts: PictureFacts) -> list[Placed]:
        """Pictures before this one, if there are any whose neighbours are known now."""
        found = []
        if facts.begins:
            # A coded video sequence, maybe with pictures that are shown before its key picture.
            found = self.finish()
        elif facts.layer == 0:
            # Those before it refer to it, so that it is there wherever they are.
            self._add(picture, facts)
            found = self._rest(self._count - 1)
        self._add(picture, facts)
        if self._count - self._number > KEYS_WITHIN:
            found.append(self._next())
        return found

    def finish(self) -> list[Placed]:
        """All that are left."""
        return self._rest(self._count)

    def _add(self, picture: Picture, facts: PictureFacts) -> None:
        self._group[self._count] = picture, facts
        self._count += 1

    def _rest(self, end: int) -> list[Placed]:
        """Of a group that ends."""
        found = [self._next() for _ in range(self._number, end)]
        self._begin()
        return found

    def _next(self) -> Placed:
        number, last = self._number, self._count - 1
        keys = [end for end in (0, last) if end in self._group and self._group[end][1].layer == 0]
        beside = places(number, last, keys)
        before = [self._pair(first, number, shared=False) for first, _ in beside]
        self._pairs = {key: pair for key, pair in self._pairs.items() if key[1] > number}
        after = [self._pair(number, second, shared=True) for _, second in beside]
        layers = [-1 if p == number else self._group[p][1].layer for pair in beside for p in pair]
        found = Placed(*self._group[number], tuple(before), tuple(after), tuple(layers))
        oldest = number - max(DISTANCES) + 1
        self._group = {
            n: one for n, one in self._group.items() if n >= oldest or (n == 0 and number < KEYS_WITHIN)
        }
        self._number += 1
        return found

    def _pair(self, first: int, second: int, shared: bool) -> Pair | None:
        """Both, shared if they are so already."""
        if first == second:
            return None
        if (first, second) not in self._pairs:
            self._pairs[first, second] = Pair(self._group[first][0], self._group[second][0], shared)
        return self._pairs[first, second]


def placed(pictures: Iterable[tuple[Picture, PictureFacts]]) -> Iterator[Placed]:
    """Pictures in output order among their neighbours."""
    placing = Placing()
    for picture, facts in pictures:
        yield from placing.push(picture, facts)
    yield from placing.finish()


def beside(found: Placed, cropped: PictureFormat) -> list[Plane | None]:
    """Luma of the neighbours, cropped, as it looks at the picture's time: before and after, for each of
    `places`; None where there is none.
    """
    target = Target(_luma(found.picture, cropped), found.picture.format.bit_depth)
    # The later first: who is at the one before this may still be at their motion.
    after = {p: p.second_at_first(target, cropped) if p else None for p in dict.fromkeys(found.after)}
    before = {p: p.first_at_second(target, cropped) if p else None for p in dict.fromkeys(found.before)}
    pairs = zip(found.before, found.after, strict=True)
    return [plane for earlier, later in pairs for plane in (before[earlier], after[later])]


def planes_among(found: Placed, cropped: PictureFormat) -> Planes:
    """As `to_tensors`, but luma (1, 1 + 2 * len(DISTANCES), H, W): the picture's, then those `beside` it, or
    its own again where there is none.
    """
    luma, chroma = to_tensors(found.picture, cropped)
    fmt = replace(cropped, bit_depth=found.picture.format.bit_depth)
    planes = [luma if plane is None else luma_tensor(plane, fmt) for plane in beside(found, cropped)]
    return torch.cat((luma, *planes), 1), chroma
