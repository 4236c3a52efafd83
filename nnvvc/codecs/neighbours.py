"""Pictures with those before and after them, motion compensated: what the filter for people sees of a video.

Motion is estimated between decoded pictures, since decoders do not tell theirs. Pictures know those of their
group only, from its key picture to the next one.
"""

import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from nnvvc.codecs.filter_planes import Planes, cropped_planes, fill, plane_levels
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import MOTION_DEPTH, Sight, Vectors
from nnvvc.models.tap_shapes import DISTANCES
from nnvvc.picture import Picture, PictureFormat

KEYS_WITHIN = 31
"""Pictures that key pictures are looked for within: SEI messages can tell of 64 input pictures at most."""

KEYS_APART = 32
"""Pictures from a key picture to the one before that it looks at: the usual period, and the 64 are full."""

SPANNED = KEYS_APART + KEYS_WITHIN
"""Pictures around the filtered one that its neighbours are among."""


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


NEIGHBOURS = 2 * len(DISTANCES)
"""Of each picture: two at each distance."""

KEPT = 4
"""Key pictures that are looked at by some group at a time, and some."""


@dataclass(frozen=True)
class Placed:
    """A decoded picture and what the stream says of it. before, after: its neighbours, see `places`; None
    where there is none. layers: of those, see `PictureFacts`; negative where there is none.
    """

    picture: Picture
    facts: PictureFacts
    before: tuple[Picture | None, ...] = (None,) * len(DISTANCES)
    after: tuple[Picture | None, ...] = (None,) * len(DISTANCES)
    layers: tuple[int, ...] = (-1,) * NEIGHBOURS

    def layers_of(self, neighbours: int) -> tuple[int, ...]:
        """The picture's own, and those of its farthest neighbours."""
        return (self.facts.layer, *self.layers[len(self.layers) - neighbours :])


class Placing:
    """Takes pictures in output order, and gives them back among their neighbours once those have come."""

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, earlier: tuple[Picture, PictureFacts] | None) -> None:
        """earlier: a key picture that the first one of the group looks back at."""
        self._earlier = earlier
        self._group: dict[int, tuple[Picture, PictureFacts]] = {}
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
            first, apart = self._group.get(0), self._count - 1
            near = first is not None and first[1].layer == 0 and 0 < apart <= KEYS_APART
            found = self._rest(apart, first if near else None)
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

    def _rest(self, end: int, earlier: tuple[Picture, PictureFacts] | None = None) -> list[Placed]:
        """Of a group that ends. earlier: for the next one."""
        found = [self._next() for _ in range(self._number, end)]
        self._begin(earlier)
        return found

    def _next(self) -> Placed:
        number, last = self._number, self._count - 1
        keys = [end for end in (0, last) if end in self._group and self._group[end][1].layer == 0]
        beside = places(number, last, keys)
        others = [[None if p == number else self._group[p] for p in pair] for pair in beside]
        if number == 0:
            others[-1][0] = self._earlier
        before, after = (tuple(o and o[0] for o in side) for side in zip(*others, strict=True))
        layers = tuple(-1 if o is None else o[1].layer for pair in others for o in pair)
        found = Placed(*self._group[number], before, after, layers)
        oldest = number - max(DISTANCES) + 1
        self._group = {
            n: one for n, one in self._group.items() if n >= oldest or (n == 0 and number < KEYS_APART)
        }
        self._number += 1
        return found


def placed(pictures: Iterable[tuple[Picture, PictureFacts]]) -> Iterator[Placed]:
    """Pictures in output order among their neighbours."""
    placing = Placing()
    for picture, facts in pictures:
        yield from placing.push(picture, facts)
    yield from placing.finish()


class Sights:
    """Neighbours as motion sees them. Key pictures, which a whole group looks at, are kept until others come.

    cropped: the format that pictures are cropped to. May be asked by several threads.
    """

    def __init__(self, cropped: PictureFormat) -> None:
        self.cropped = cropped
        self._kept: OrderedDict[int, tuple[Picture, Sight]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, picture: Picture, layer: int) -> Sight:
        """layer: see `PictureFacts`."""
        if layer != 0:
            return self._new(picture)
        with self._lock:
            if id(picture) not in self._kept:
                # The picture is kept too, so that nothing else gets its identity.
                self._kept[id(picture)] = picture, self._new(picture)
            self._kept.move_to_end(id(picture))
            _, found = self._kept[id(picture)]
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def _new(self, picture: Picture) -> Sight:
        luma, *chroma = cropped_planes(picture, self.cropped)
        return Sight(luma, picture.format.bit_depth, chroma)


def beside(found: Placed, sights: Sights, neighbours: int = NEIGHBOURS) -> list[tuple[Sight, Vectors] | None]:
    """The neighbours, and the motion to each from the picture: before and after, for each of `places`; None
    where there is none. neighbours: how many, the farthest ones.
    """
    pairs = zip(found.before, found.after, strict=True)
    others = [other for pair in pairs for other in pair]
    others = others[len(others) - neighbours :]
    own = sights.of(found.picture, found.facts.layer)
    seen: dict[int, tuple[Sight, Vectors]] = {}
    for other, layer in zip(others, found.layers_of(neighbours)[1:], strict=True):
        if other is not None and id(other) not in seen:
            sight = sights.of(other, layer)
            seen[id(other)] = sight, own.motion(sight)
    return [None if other is None else seen[id(other)] for other in others]


def planes_among(found: Placed, sights: Sights, neighbours: int) -> Planes:
    """As `to_tensors`, but of the picture, and then of those `beside` it, as they look at its time, or its
    own again where there is none: luma (1, 1 + neighbours, H, W), chroma (1, 2 * (1 + neighbours), H / 2,
    W / 2).
    """
    shapes = sights.cropped.plane_shapes
    luma = np.empty((1 + neighbours, *shapes[0]), np.float32)
    chroma = np.empty((1 + neighbours, 2, *shapes[1]), np.float32)
    fill(found.picture, sights.cropped, (luma[0], *chroma[0]))
    levels = plane_levels(replace(sights.cropped, bit_depth=MOTION_DEPTH))
    for number, one in enumerate(beside(found, sights, neighbours), 1):
        if one is None:
            luma[number], chroma[number] = luma[0], chroma[0]
        else:
            sight, vectors = one
            sight.move(vectors, (luma[number], *chroma[number]), levels)
    return torch.from_numpy(luma)[None], torch.from_numpy(chroma).flatten(0, 1)[None]
