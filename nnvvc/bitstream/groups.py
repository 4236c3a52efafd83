"""Cutting streams and joining them without coding anything anew: whole groups of pictures move.

A group begins with a key picture that nothing after it looks behind (IDR, or a learned picture that stands
alone). Streams with open groups, VVC's usual ones, have one group only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.intra_sets import SETS
from nnvvc.bitstream.nal import IDR, NalUnitType
from nnvvc.bitstream.payload import PayloadKind, PeriodEnd
from nnvvc.errors import ConfigError


def group_sizes(stream: Demuxer) -> list[int]:
    """How many pictures each group shows. Reads the stream to its end; raises StreamError in its kinds."""
    sizes: list[int] = []
    for unit in stream:
        if not sizes or _begins_group(unit):
            sizes.append(0)
        sizes[-1] += unit.output
    return sizes


def cut(stream: Demuxer, groups: range, frames: int) -> Iterator[bytes]:
    """The access units of some groups, as a stream. groups: their numbers, without gaps, from 0. frames: the
    pictures in them.

    Raises ConfigError where the stream has fewer groups, and StreamError in its kinds.
    """
    return _numbered(_cut(stream, groups, frames))


def _cut(stream: Demuxer, groups: range, frames: int) -> Iterator[AccessUnit]:
    number = -1
    for unit in stream:
        number += number < 0 or _begins_group(unit)
        if number >= groups.stop:
            return
        if number == groups.start and _begins_group(unit):
            complete(unit, stream.sets.nal_units())
            _give_header(unit, stream.header, frames)
        if number >= groups.start:
            yield unit
    if number < groups.stop - 1:
        raise ConfigError(
            f"the stream has {number + 1} groups that stand alone, {groups.stop} are asked for: "
            "--gop ra-closed makes one at each key picture"
        )


def join(streams: Sequence[Demuxer], frames: int) -> Iterator[bytes]:
    """The streams one after the other, as one. frames: the pictures in all of them.

    Raises ConfigError where they are not of one kind, and StreamError in its kinds.
    """
    return _numbered(_join(streams, frames))


def _join(streams: Sequence[Demuxer], frames: int) -> Iterator[AccessUnit]:
    kind = _kind(streams[0].header)
    for number, stream in enumerate(streams):
        if _kind(stream.header) != kind:
            raise ConfigError(
                f"stream {number + 1} differs from the first in format, pipeline, scale or models: "
                "encode them with the same options"
            )
        for unit in stream:
            if unit is stream.first:
                complete(unit, stream.sets.nal_units())
                _give_header(unit, stream.header if number == 0 else None, frames)
            yield unit


def _numbered(units: Iterator[AccessUnit]) -> Iterator[bytes]:
    """The bytes of units; their intra periods are numbered anew, and the last one is marked."""
    number = 0
    unit = next(units, None)
    while unit is not None:
        following = next(units, None)
        body = unit.payload(PayloadKind.PERIOD_HASH)
        if body is not None:
            end = PeriodEnd.frombytes(body)
            if end.number is not None:
                end = replace(end, number=number, last=following is None)
                unit.nals = [end.write() if n[1] >> 3 == NalUnitType.PERIOD_HASH else n for n in unit.nals]
            number += 1
        yield unit.tobytes()
        unit = following


def _begins_group(unit: AccessUnit) -> bool:
    return unit.irap and (unit.type is None or unit.type in IDR)


def _kind(header: StreamHeader | None) -> StreamHeader | None:
    return header and replace(header, source=replace(header.source, frames=None))


def complete(unit: AccessUnit, sets: Iterable[bytes]) -> None:
    """Give a unit the parameter sets that came before it in its stream."""
    if unit.type is not None and not any(nal[1] >> 3 in SETS for nal in unit.nals):
        for nal in reversed(list(sets)):
            unit.insert_first(nal)


def _give_header(unit: AccessUnit, header: StreamHeader | None, frames: int) -> None:
    """Put this header, with another number of frames, in the place of the one that is there; or none."""
    unit.nals = [
        nal for nal in unit.nals if nal[1] >> 3 != NalUnitType.PAYLOAD or nal[2] != PayloadKind.STREAM_HEADER
    ]
    if header is not None:
        unit.insert_first(replace(header, source=replace(header.source, frames=frames)).write())
