"""What a group of pictures' filter may be changed to, and the change that is worth most.

How a filter is fitted, and what a change of it is worth, differs: by squared error for people
(`people_fitting`), by features of networks for machines (`machine_fitting`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from nnvvc.adapt.descent import Candidate, Values
from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.bitstream.sei import write_sei
from nnvvc.codecs.filter_updates import Change, biases_of, numbers_of, step_of, update_messages
from nnvvc.codecs.neighbours import Placed
from nnvvc.entropy.block_map import BlockMap, encode_blocks
from nnvvc.entropy.small_numbers import LARGEST, encode_numbers
from nnvvc.picture import Picture

ROUNDING = 0.35
"""Numbers are rounded up when they are larger by 1 less this: small ones cost more than they gain."""

QUICK_SAMPLES = 4
"""Pictures that step sizes are compared on."""

CARRIED_ON = 0.5
"""How much of what an update gains in its group it is taken to gain in the groups after it."""

SHARES = 1.0, 0.4
"""Of what a gain is worth: where there is no room for the best update, there may be for a smaller one."""

_START_CODE = 4

Sample = TypeVar("Sample")
"""A decoded picture and its original, in whatever form suits."""


@dataclass(frozen=True)
class Judged:
    """What a filter is worth over none, as a share of the pictures' bits: everywhere, and but for the blocks
    that it makes worse (1 in `off`), where there are some and filters have maps.
    """

    everywhere: float
    off: BlockMap | None = None
    partly: float = 0.0


class Fitting(Protocol[Sample]):
    """A filter, and what changes of it do to pictures. A change of None is the base filter's."""

    @property
    def number(self) -> int:
        """Of its model."""

    @property
    def count(self) -> int:
        """Values of an update."""

    @property
    def map_shape(self) -> tuple[int, int] | None:
        """Rows and columns of a map of where it is off; None where it is on everywhere."""

    @property
    def resampling(self) -> bool:
        """Whether it enlarges pictures."""

    @property
    def steps(self) -> range:
        """Step indices that are tried for an update."""

    def largest_share(self, key_qp: int) -> float:
        """Of a stream's bits that updates may take."""

    def sample(self, found: Placed, original: Picture) -> Sample:
        """found: a picture as decoded, at its coded size."""

    def candidates(
        self, samples: Sequence[Sample], key_qp: int, start: Values, seconds: float
    ) -> list[Candidate]:
        """Better values than `start`, one or several; their gain, where it is known, is as `gain` has it.

        key_qp: slice QP of key pictures.
        """

    def gain(self, samples: Sequence[Sample], key_qp: int, change: Change | None) -> float:
        """What the filter so changed is worth over none: the share of the pictures' bits."""

    def judged(self, samples: Sequence[Sample], key_qp: int, change: Change | None) -> Judged:
        """The same, and what it is worth off where it makes pictures worse. change: with no map of that."""


@dataclass(frozen=True)
class State:
    """What holds from a picture on. numbers: step index and numbers of the last update."""

    change: Change | None = None
    numbers: tuple[int, list[int]] | None = None


BEFORE = State()
"""What holds at the beginning of a stream: the base filter."""


@dataclass(frozen=True)
class Bits:
    """Of a group of pictures; of those after it, which an update holds for too, as far as is known; of those
    before it, and of the updates among them.
    """

    group: int
    later: int = 0
    before: int = 0
    spent: int = 0

    @property
    def valued(self) -> float:
        """What an update's gain is a share of."""
        return self.group + CARRIED_ON * self.later

    def room(self, share: float) -> float:
        """What is left for an update where all of them may take a share of the whole."""
        return share * (self.before + self.group + self.later) - self.spent


@dataclass(frozen=True)
class Fit:
    """A filter for a group of pictures. gain: over none, a share of the bits. update: to be sent, if any, in
    so many bits.
    """

    state: State
    gain: float
    update: FilterUpdate | None = None
    bits: int = 0

    def worth(self, bits: Bits) -> float:
        """In bits."""
        return bits.valued * self.gain - self.bits


def _bits(fitting: Fitting[Any], update: FilterUpdate) -> int:
    """Of an update's message, with its NAL unit and start code."""
    messages = update_messages(update, fitting.number, fitting.resampling)
    return 8 * (_START_CODE + len(write_sei(messages)))


def best_fit(
    fitting: Fitting[Sample],
    samples: Sequence[Sample],
    key_qp: int,
    bits: Bits,
    before: State,
    seconds: float,
) -> Fit:
    """The best of no filter, the base filter, the one in force, and, where there are seconds for it, one that
    is fitted to the samples.
    """
    unchanged = np.zeros(fitting.count, np.float32)
    zeros = 0, [0] * fitting.count
    base = FilterUpdate(0, encode_numbers(zeros[1]))
    found = []
    if fitting.map_shape is not None:
        everywhere = np.ones(fitting.map_shape, np.uint8)
        off = replace(base, block_map=encode_blocks(everywhere, 2))
        found.append(Fit(State(Change(unchanged, everywhere), zeros), 0.0, off, _bits(fitting, off)))
    judged = fitting.judged(samples, key_qp, None)
    reset = Fit(State(Change(unchanged), zeros), judged.everywhere, base, _bits(fitting, base))
    found += _where_it_helps(fitting, reset, judged)
    if before.change is None:
        found.append(Fit(before, judged.everywhere))
    else:
        found.append(reset)
        found.append(Fit(before, fitting.gain(samples, key_qp, before.change)))
    if seconds > 0:
        found += _fitted(fitting, samples, key_qp, bits, before, seconds)
    return max(found, key=lambda fit: fit.worth(bits))


def _fitted(
    fitting: Fitting[Sample],
    samples: Sequence[Sample],
    key_qp: int,
    bits: Bits,
    before: State,
    seconds: float,
) -> Iterator[Fit]:
    """The filter with the best update of several sizes, for every candidate, and the same where it does not
    make it worse.
    """
    start = np.zeros(fitting.count, np.float32)
    if before.change is not None:
        start = before.change.biases.copy()
    for candidate in fitting.candidates(samples, key_qp, start, seconds):
        fit = _rounded(fitting, samples, key_qp, bits, before, candidate)
        if fit is not None:
            # Until now some of its pictures, or none of them, were looked at, which flatters some candidates.
            judged = fitting.judged(samples, key_qp, fit.state.change)
            fit = replace(fit, gain=judged.everywhere)
            yield fit
            yield from _where_it_helps(fitting, fit, judged)


def _where_it_helps(fitting: Fitting[Any], fit: Fit, judged: Judged) -> Iterator[Fit]:
    """The filter of an update, off in the blocks that it makes worse, if there are some."""
    assert fit.update is not None and fit.state.change is not None
    if judged.off is not None:
        partly = replace(fit.state.change, off=judged.off)
        mapped = replace(fit.update, block_map=encode_blocks(judged.off, 2))
        yield Fit(replace(fit.state, change=partly), judged.partly, mapped, _bits(fitting, mapped))


def _rounded(
    fitting: Fitting[Sample],
    samples: Sequence[Sample],
    key_qp: int,
    bits: Bits,
    before: State,
    candidate: Candidate,
) -> Fit | None:
    """The candidate with the step that is worth most, by what is expected of it, or some samples say; None
    where all of them take too many bits.
    """
    # An odd distance meets pictures of all layers.
    few = samples[:: -(-len(samples) // QUICK_SAMPLES) | 1]
    best: Fit | None = None
    tried = ((i, numbers) for i in fitting.steps for numbers in in_steps(candidate, i, bits, before.numbers))
    for step_idx, numbers in tried:
        update = _smaller_update(step_idx, numbers, before.numbers)
        cost = _bits(fitting, update)
        if cost > bits.room(fitting.largest_share(key_qp)) or not any(numbers):
            continue
        change = Change(biases_of(numbers, step_idx))
        if candidate.gain is None:
            gain = fitting.gain(few, key_qp, change)
        else:
            gain = candidate.gain(change.biases)
        fit = Fit(State(change, (step_idx, numbers)), gain, update, cost)
        if best is None or fit.worth(bits) > best.worth(bits):
            best = fit
    return best


def in_steps(
    candidate: Candidate, step_idx: int, bits: Bits, before: tuple[int, list[int]] | None
) -> Iterator[list[int]]:
    """A candidate in whole steps, one or several. before: step index and numbers of the last update."""
    numbers = numbers_of(candidate.values, step_idx, ROUNDING)
    if candidate.rounded is None:
        yield numbers
        return
    known = before[1] if before is not None and before[0] == step_idx else None
    for share in SHARES:
        yield from candidate.rounded(numbers, step_of(step_idx), share * bits.valued, known)


def _smaller_update(step_idx: int, numbers: list[int], before: tuple[int, list[int]] | None) -> FilterUpdate:
    """With the numbers as they are, or their differences to those before."""
    update = FilterUpdate(step_idx, encode_numbers(numbers))
    if before is not None and before[0] == step_idx:
        changes = [a - b for a, b in zip(numbers, before[1], strict=True)]
        if max(map(abs, changes)) <= LARGEST:
            predicted = FilterUpdate(step_idx, encode_numbers(changes), predicted=True)
            return min(predicted, update, key=lambda u: len(u.numbers))
    return update
