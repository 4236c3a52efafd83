"""Taking a stream apart: its header, if it is one of this project, and its access units."""

from collections.abc import Iterable, Iterator
from itertools import chain

from nnvvc.bitstream.access_unit import AccessUnit, AccessUnits
from nnvvc.bitstream.continuity import Continuity, with_leading
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import NalUnitType, split_annex_b
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.payload import PayloadKind, PeriodEnd
from nnvvc.errors import StreamError, TruncatedStream, UnsupportedStream


class Demuxer:
    """A stream given as chunks of bytes; iterate once for its access units.

    header: None for a plain VVC stream. first: the first access unit, which iteration gives again. notes:
    what was wrong so far, where `tolerant`; leading pictures that refer to what is missing are left out then,
    and periods without them have no hash. Reads ahead no further than the leading pictures of a CRA and the
    NAL unit after them. Raises StreamError in its kinds, on making too; TruncatedStream and DamagedStream
    where a stream of ours misses intra periods, or the hash of one.
    """

    def __init__(self, chunks: Iterable[bytes], *, tolerant: bool = False) -> None:
        units = AccessUnits(split_annex_b(chunks), tolerant=tolerant)
        self._units = iter(units)
        first = next(self._units, None)
        if first is None:
            raise TruncatedStream("the stream has no picture")
        self.first: AccessUnit = first
        body = first.payload(PayloadKind.STREAM_HEADER)
        self.header = None if body is None else StreamHeader.frombytes(body)
        self._body = body
        self._tolerant = tolerant
        self._all_sets = units.sets
        self.sets: ParameterSets = units.sets
        """Parameter sets as they are for the unit that was given last."""
        self.notes: list[str] = []
        self._continuity = Continuity(self._notice)
        self._skip_leading = False
        self._incomplete = False

    def skip_leading(self) -> None:
        """Leave out the leading pictures of the key picture that was given last: what they need is lost."""
        self._skip_leading = self._incomplete = True

    def __iter__(self) -> Iterator[AccessUnit]:
        if self.header is None:
            yield from self._all()
            return
        for run in with_leading(self._all(), self._all_sets):
            sound = self._continuity.leading_are_sound(run)
            for unit, self.sets in run:
                self._continuity.add(unit)
                if unit.irap:
                    self._skip_leading = self._incomplete = False
                    if not sound:
                        unit.begin_sequence()
                        self.skip_leading()
                self._take_hash(unit)
                if not (self._skip_leading and unit.type is NalUnitType.RASL):
                    yield unit
        self._continuity.close()

    def _all(self) -> Iterator[AccessUnit]:
        for unit in chain((self.first,), self._units):
            body = unit.payload(PayloadKind.STREAM_HEADER)
            if body is not None and body != self._body:
                raise UnsupportedStream("two streams with different headers were joined; split them first")
            yield unit

    def _take_hash(self, unit: AccessUnit) -> None:
        body = unit.payload(PayloadKind.PERIOD_HASH)
        if body is None:
            return
        try:
            self._continuity.add_end(PeriodEnd.frombytes(body))
        except StreamError as error:
            self._notice(error)
            self._incomplete = True
        if self._incomplete:
            unit.payloads = [p for p in unit.payloads if p[0] is not PayloadKind.PERIOD_HASH]

    def _notice(self, error: StreamError) -> None:
        if not self._tolerant:
            raise error
        self.notes.append(str(error))
