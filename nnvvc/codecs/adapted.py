"""The encoder's side of filters that follow their content: every group of pictures gets the changes that pay.

A group is an intra period, or several short ones. Its stream is held until its pictures are decoded and the
filter is fitted to them. An update comes with the second picture: an access unit that announces the base
filter must not have another message of its kind (VTM 23.13 refuses it). Updates are all that is sent: the
updated filter is active from the beginning, and one that is off is an update that is off everywhere.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.muxer import Muxer
from nnvvc.bitstream.nal import IDR
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.sei import write_sei
from nnvvc.codecs.filter_updates import update_messages
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.fitting import BEFORE, Bits, Fitting, best_fit
from nnvvc.codecs.machine_fitting import MachineFitting
from nnvvc.codecs.neighbours import Placed, Placing
from nnvvc.codecs.output_order import OutputOrder
from nnvvc.codecs.people_fitting import PeopleFitting
from nnvvc.models.filters import load_filter
from nnvvc.models.people import load_people
from nnvvc.models.registry import weights_of
from nnvvc.picture import Picture

SAMPLES = 11
"""Pictures of a group that the filter is fitted to at least, about."""

SAMPLED = 1 << 24
"""Luma samples of a group that it is fitted to: more pictures where they are small."""

SHORTEST = 16
"""Pictures of a group at least."""


@dataclass
class _Group:
    """samples: of the fitting. carrier: the access unit of its second picture in output order, which takes
    the messages, once it has come. sequence: the coded video sequence of that, to whose end an update holds.
    closed: its key picture begins one. joined: of a short group, the one whose filter it goes on with.
    """

    key_poc: int
    closed: bool
    bits: int = 0
    frames: int = 0
    samples: list[Any] = field(default_factory=list)
    carrier: AccessUnit | None = None
    sequence: int = 0
    joined: "_Group | None" = None


class Originals:
    """Some of the source's pictures, kept while they pass to the encoder. size: of each, in samples."""

    def __init__(self, period: int | None, size: int) -> None:
        # An odd distance meets pictures of all layers.
        self.distance = (period or 32) // max(SAMPLES, SAMPLED // size) | 1
        self._kept: dict[int, Picture] = {}
        self._lock = threading.Lock()

    def watch(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for number, picture in enumerate(pictures):
            if number % self.distance == 0:
                with self._lock:
                    self._kept[number] = picture
            yield picture

    def take(self, number: int) -> Picture | None:
        with self._lock:
            return self._kept.pop(number, None)


class AdaptedMuxer:
    """Takes the place of `Muxer` where a filter follows the content.

    fitting: of the filter. key_qp: slice QP of the first key picture, or the parameter sets of the units that
    are added, to read it. originals: of the source, at full size. seconds: for fitting the filter to a group.
    write: as for `Muxer`.
    """

    def __init__(
        self,
        header: StreamHeader,
        write: Callable[[bytes], object],
        fitting: Fitting[Any],
        key_qp: int | ParameterSets,
        originals: Originals,
        seconds: float,
    ) -> None:
        self._muxer = Muxer(header, write)
        self._fitting = fitting
        self._key_qp = key_qp
        self._originals = originals
        self._seconds = seconds
        self._order = OutputOrder()
        self._lock = threading.Lock()
        self._waiting: deque[_Group] = deque()
        self._last: _Group | None = None
        self._before: _Group | None = None
        self._current: _Group | None = None
        self._placing = Placing()
        self._sequence = 0
        self._placed = 0
        self._state, self._fitted = BEFORE, 0
        self._frames = header.source.frames
        self._bits, self._spent = 0, 0

    def add(self, unit: AccessUnit, *, complete: bool = True) -> None:
        """Write an access unit, in decoding order, as `Muxer.add` does. It must come before its picture."""
        self._order.add(unit)
        if isinstance(self._key_qp, ParameterSets):
            self._key_qp = key_slice_qp(unit, self._key_qp)
        with self._lock:
            self._sequence += unit.type in IDR
            if unit.irap or self._last is None:
                self._before, self._last = self._last, _Group(unit.poc, closed=unit.type in IDR)
                self._waiting.append(self._last)
            group = self._last
            if self._before is not None and unit.poc < group.key_poc:
                # Leading pictures come after the key picture that they are shown before.
                group = self._before
            (group.joined or group).bits += 8 * len(unit.tobytes())
            if unit.poc == group.key_poc + 1 and group.joined is None:
                group.carrier, group.sequence = unit, self._sequence
                complete = False
            self._muxer.add(unit, complete=complete)

    def complete(self, unit: AccessUnit) -> None:
        """Write an access unit that was held until now."""
        self._muxer.complete(unit)

    def add_picture(self, picture: Picture) -> None:
        """Take in the next decoded picture, in output order."""
        facts = self._order.next()
        self._take_samples(self._placing.push(picture, facts))
        if facts.layer == 0 or self._current is None:
            self._next_group()
        assert self._current is not None
        self._current.frames += 1
        self._muxer.add_picture(picture)

    def _take_samples(self, placed: Iterable[Placed]) -> None:
        """Take in pictures whose neighbours are known, where their originals were kept."""
        for found in placed:
            assert self._current is not None
            original = self._originals.take(self._placed)
            if original is not None and found.facts.layer > 0:
                self._current.samples.append(self._fitting.sample(found, original))
            self._placed += 1

    def close(self) -> None:
        """Write what is left."""
        self._take_samples(self._placing.finish())
        self._finish()
        self._muxer.close()

    def _next_group(self) -> None:
        """A key picture comes out of the decoder."""
        with self._lock:
            following = self._waiting.popleft()
            current = self._current
            if current is not None and current.frames < SHORTEST and not following.closed:
                current.bits += following.bits
                following.joined = current
                if following.carrier is not None:
                    self._muxer.complete(following.carrier)
                return
        self._finish()
        self._current = following

    def _finish(self) -> None:
        """Find the best filter for the current group, and write it."""
        group, self._current = self._current, None
        if group is None or group.carrier is None:
            return
        if group.samples:
            assert isinstance(self._key_qp, int)
            before = self._state if group.sequence == self._fitted else BEFORE
            bits = Bits(group.bits, self._later_bits(group), self._bits, self._spent)
            fit = best_fit(self._fitting, group.samples, self._key_qp, bits, before, self._seconds)
            if fit.update is not None:
                self._spent += fit.bits
                messages = update_messages(fit.update, self._fitting.number, self._fitting.resampling)
                group.carrier.insert(write_sei(messages))
            self._state, self._fitted = fit.state, group.sequence
        self._bits += group.bits
        self._muxer.complete(group.carrier)

    def _later_bits(self, group: _Group) -> int:
        """Of whole groups that follow in the same coded video sequence, if they are like this one."""
        if self._frames is None or (group.closed and group.sequence > 1):
            return 0
        return max(0, self._frames - self._placed) // group.frames * group.bits


class Adaptation:
    """What an encoder needs to let the filter follow its content: `originals` watches the source.

    size: luma samples of a picture.
    """

    def __init__(self, intra_period: int | None, size: int, seconds: float) -> None:
        self.originals = Originals(intra_period, size)
        self._seconds = seconds

    def muxer(
        self, header: StreamHeader, write: Callable[[bytes], object], key_qp: int | ParameterSets
    ) -> AdaptedMuxer:
        """For the stream of what `originals` watched. Raises UnknownModel."""
        return AdaptedMuxer(header, write, _fitting(header), key_qp, self.originals, self._seconds)


def _fitting(header: StreamHeader) -> Fitting[Any]:
    """Of the filter that a stream has. Raises UnknownModel."""
    used = filter_in(header, "people")
    if used is not None:
        return PeopleFitting(used.number, load_people(weights_of(used)), header.source.picture)
    used = filter_in(header, "machines")
    assert used is not None  # without a filter there is nothing to adapt
    return MachineFitting(load_filter(weights_of(used)), header)
