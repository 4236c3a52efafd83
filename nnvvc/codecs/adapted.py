"""The encoder's side of the adaptive filter for people: every group of pictures gets the changes that pay.

A group is an intra period, or several short ones. Its stream is held until its pictures are decoded and the
filter is fitted to them. An update comes with the second picture: an access unit that announces the base
filter must not have another message of its kind (VTM 23.13 refuses it). Updates are all that is sent: the
updated filter is active from the beginning, and one that is off is an update that is off everywhere.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from nnvvc.adapt.biases import Sample, decibels, optimise
from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.muxer import Muxer
from nnvvc.bitstream.nal import IDR
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.sei import write_sei
from nnvvc.codecs.filter_planes import Planes, to_tensors
from nnvvc.codecs.filter_updates import (
    Change,
    biases_of,
    numbers_of,
    update_messages,
)
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.output_order import OutputOrder
from nnvvc.codecs.people_filter import filtered_planes
from nnvvc.entropy.block_map import BLOCK, BlockMap, encode_blocks, map_shape
from nnvvc.entropy.small_numbers import LARGEST, encode_numbers
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.registry import weights_of
from nnvvc.models.restoration import RestorationFilter, load_restoration
from nnvvc.picture import Picture

SAMPLES = 11
"""Pictures of a group that the filter is fitted to, about."""

SHORTEST = 16
"""Pictures of a group at least."""

RATE_PER_DECIBEL = 0.2
"""Share of a stream's bits that a decibel is worth: what it costs to gain one by a lower QP."""

LARGEST_SHARE = 0.012
"""Of a group's bits that an update may take."""

STEPS = range(3, 12)
"""Step indices tried."""

ROUNDING = 0.35
"""Numbers are rounded up when they are larger by 1 less this: small ones cost more than they gain."""

QUICK_SAMPLES = 4
"""Pictures that step sizes are compared on."""

_START_CODE = 4


@dataclass
class _Group:
    """carrier: the access unit of its second picture in output order, which takes the messages, once it has
    come. joined: it is a short one that goes on with the filter of the group before.
    """

    bits: int = 0
    frames: int = 0
    samples: list[Sample] = field(default_factory=list)
    carrier: AccessUnit | None = None
    joined: bool = False


class Originals:
    """Some of the source's pictures, kept while they pass to the encoder."""

    def __init__(self, period: int | None) -> None:
        # An odd distance meets pictures of all layers.
        self.distance = (period or 32) // SAMPLES | 1
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
    """Takes the place of `Muxer` where the filter for people follows the content.

    model: the base filter. key_qp: slice QP of the first key picture, or the parameter sets of the units that
    are added, to read it. originals: of the source, at full size. seconds: for fitting the filter to a group.
    write: as for `Muxer`.
    """

    def __init__(
        self,
        header: StreamHeader,
        write: Callable[[bytes], object],
        model: RestorationFilter,
        key_qp: int | ParameterSets,
        originals: Originals,
        seconds: float,
    ) -> None:
        self._muxer = Muxer(header, write)
        self._format = header.source.picture
        self._model = model
        self._key_qp = key_qp
        self._originals = originals
        self._seconds = seconds
        self._order = OutputOrder()
        self._lock = threading.Lock()
        self._waiting: deque[_Group] = deque()
        self._last: _Group | None = None
        self._current: _Group | None = None
        self._expected: dict[tuple[int, int], _Group] = {}
        self._sequence = 0
        self._shown = 0
        self._state = BEFORE

    def add(self, unit: AccessUnit, *, complete: bool = True) -> None:
        """Write an access unit, in decoding order, as `Muxer.add` does. It must come before its picture."""
        self._order.add(unit)
        if isinstance(self._key_qp, ParameterSets):
            self._key_qp = key_slice_qp(unit, self._key_qp)
        with self._lock:
            self._sequence += unit.type in IDR
            if unit.irap or self._last is None:
                self._last = _Group()
                self._waiting.append(self._last)
                self._expected[self._sequence, unit.poc + 1] = self._last
                group = None
            else:
                group = self._expected.pop((self._sequence, unit.poc), None)
            self._last.bits += 8 * len(unit.tobytes())
            if group is not None and not group.joined:
                group.carrier = unit
                complete = False
            self._muxer.add(unit, complete=complete)

    def complete(self, unit: AccessUnit) -> None:
        """Write an access unit that was held until now."""
        self._muxer.complete(unit)

    def add_picture(self, picture: Picture) -> None:
        """Take in the next decoded picture, in output order."""
        facts = self._order.next()
        if facts.layer == 0 or self._current is None:
            self._next_group()
        assert self._current is not None
        original = self._originals.take(self._shown)
        if original is not None and facts.layer > 0:
            planes = (*to_tensors(picture, self._format), *to_tensors(original, self._format))
            self._current.samples.append(Sample(*planes, facts.layer))
        self._current.frames += 1
        self._shown += 1
        self._muxer.add_picture(picture)

    def close(self) -> None:
        """Write what is left."""
        self._finish()
        self._muxer.close()

    def _next_group(self) -> None:
        """A key picture comes out of the decoder."""
        with self._lock:
            following = self._waiting.popleft()
            if self._current is not None and self._current.frames < SHORTEST:
                self._current.bits += following.bits
                following.joined = True
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
            fit = best_fit(self._model, group.samples, self._key_qp, group.bits, self._state, self._seconds)
            if fit.update is not None:
                group.carrier.insert(write_sei(update_messages(fit.update)))
            self._state = fit.state
        self._muxer.complete(group.carrier)


@dataclass(frozen=True)
class State:
    """What holds from a picture on. numbers: step index and numbers of the last update."""

    change: Change | None = None
    numbers: tuple[int, list[int]] | None = None


BEFORE = State()
"""What holds at the beginning of a stream: the base filter."""


@dataclass(frozen=True)
class Fit:
    """A filter for a group of pictures. gain: decibels over unfiltered ones. update: to be sent, if any."""

    state: State
    gain: float
    update: FilterUpdate | None

    @property
    def bits(self) -> int:
        """Of the message, with its NAL unit and start code."""
        return 0 if self.update is None else 8 * (_START_CODE + len(write_sei(update_messages(self.update))))

    def worth(self, group_bits: int) -> float:
        """In bits."""
        return RATE_PER_DECIBEL * group_bits * self.gain - self.bits


def best_fit(
    model: RestorationFilter,
    samples: Sequence[Sample],
    key_qp: float,
    group_bits: int,
    before: State,
    seconds: float,
) -> Fit:
    """The best of no filter, the base filter, the one in force, and one fitted to the samples."""
    count = Adaptable(model).count
    height, width = samples[0].luma.shape[2:]
    everywhere = np.ones(map_shape(width, height), np.uint8)
    unchanged = np.zeros(count, np.float32)
    zeros = 0, [0] * count
    base = FilterUpdate(0, encode_numbers(zeros[1]))
    off = replace(base, block_map=encode_blocks(everywhere, 2))
    found = [Fit(State(Change(unchanged, everywhere), zeros), 0.0, off)]
    plain = decibels(samples, _filtered(model, samples, key_qp, None))
    if before.change is None:
        found.append(Fit(before, plain, None))
    else:
        found.append(Fit(State(Change(unchanged), zeros), plain, base))
        current = _filtered(model, samples, key_qp, before.change)
        found.append(Fit(before, decibels(samples, current), None))
    if seconds > 0:
        found += _fitted(model, samples, key_qp, group_bits, before, seconds)
    return max(found, key=lambda fit: fit.worth(group_bits))


def _fitted(
    model: RestorationFilter,
    samples: Sequence[Sample],
    key_qp: float,
    group_bits: int,
    before: State,
    seconds: float,
) -> Iterator[Fit]:
    """Filters with updates of several sizes."""
    adaptable = Adaptable(model)
    start = np.zeros(adaptable.count, np.float32)
    if before.change is not None:
        start = before.change.biases.copy()
    values = optimise(adaptable, samples, key_qp, start, seconds)
    few = samples[:: -(-len(samples) // QUICK_SAMPLES)]
    best: tuple[float, FilterUpdate, tuple[int, list[int]]] | None = None
    for step_idx in STEPS:
        numbers = numbers_of(values, step_idx, ROUNDING)
        update = _smaller_update(step_idx, numbers, before.numbers)
        bits = Fit(BEFORE, 0.0, update).bits
        if bits > LARGEST_SHARE * group_bits or not any(numbers):
            continue
        gain = decibels(few, _filtered(model, few, key_qp, Change(biases_of(numbers, step_idx))))
        worth = RATE_PER_DECIBEL * group_bits * gain - bits
        if best is None or worth > best[0]:
            best = worth, update, (step_idx, numbers)
    if best is None:
        return
    _, update, (step_idx, numbers) = best
    change = Change(biases_of(numbers, step_idx))
    filtered = _filtered(model, samples, key_qp, change)
    state = State(change, (step_idx, numbers))
    yield Fit(state, decibels(samples, filtered), update)
    off = blocks_off(samples, filtered)
    if off.any():
        partly = replace(change, off=off)
        filtered = _filtered(model, samples, key_qp, partly)
        mapped = replace(update, block_map=encode_blocks(off, 2))
        yield Fit(replace(state, change=partly), decibels(samples, filtered), mapped)


def _smaller_update(step_idx: int, numbers: list[int], before: tuple[int, list[int]] | None) -> FilterUpdate:
    """With the numbers as they are, or their differences to those before."""
    update = FilterUpdate(step_idx, encode_numbers(numbers))
    if before is not None and before[0] == step_idx:
        changes = [a - b for a, b in zip(numbers, before[1], strict=True)]
        if max(map(abs, changes)) <= LARGEST:
            predicted = FilterUpdate(step_idx, encode_numbers(changes), predicted=True)
            return min(predicted, update, key=lambda u: len(u.numbers))
    return update


def blocks_off(samples: Sequence[Sample], filtered: Sequence[Planes]) -> BlockMap:
    """1 for each block of the pictures where the filter makes the luma error larger."""
    height, width = samples[0].luma.shape[2:]
    columns, rows = -(-width // BLOCK), -(-height // BLOCK)
    total = torch.zeros(rows * BLOCK, columns * BLOCK)
    for sample, (luma, _) in zip(samples, filtered, strict=True):
        before = (sample.luma - sample.wanted).square()
        change = (luma - sample.wanted).square() - before
        total[:height, :width] += change[0, 0] / float(before.mean() + 1e-8)
    sums = total.view(rows, BLOCK, columns, BLOCK).sum((1, 3))
    result: BlockMap = (sums > 0).numpy().astype(np.uint8)
    return result


def _filtered(
    model: RestorationFilter, samples: Sequence[Sample], key_qp: float, change: Change | None
) -> list[Planes]:
    qp = torch.tensor([key_qp])
    return [filtered_planes(model, (s.luma, s.chroma), qp, s.layer, change) for s in samples]


class Adaptation:
    """What an encoder needs to let the filter follow its content: `originals` watches the source."""

    def __init__(self, intra_period: int | None, seconds: float) -> None:
        self.originals = Originals(intra_period)
        self._seconds = seconds

    def muxer(
        self, header: StreamHeader, write: Callable[[bytes], object], key_qp: int | ParameterSets
    ) -> AdaptedMuxer:
        """For the stream of what `originals` watched. Raises UnknownModel."""
        used = filter_in(header, "people")
        assert used is not None  # it is what --filter adapt lists
        model = load_restoration(weights_of(used))
        return AdaptedMuxer(header, write, model, key_qp, self.originals, self._seconds)
