"""Taking a stream apart: its header, if it is one of this project, and its access units."""

from collections.abc import Iterable, Iterator
from itertools import chain

from nnvvc.bitstream.access_unit import AccessUnit, AccessUnits
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.payload import PayloadKind
from nnvvc.errors import TruncatedStream, UnsupportedStream


class Demuxer:
    """A stream given as chunks of bytes; iterate once for its access units.

    header: None for a plain VVC stream. first: the first access unit, which iteration gives again. notes:
    what was wrong so far, where `tolerant`. Reads ahead no further than the unit given and the NAL unit after
    it. Raises StreamError in its kinds, on making too; TruncatedStream where an intra period of a stream of
    ours ends without its hash.
    """

    def __init__(self, chunks: Iterable[bytes], *, tolerant: bool = False) -> None:
        self._units = AccessUnits(split_annex_b(chunks), tolerant=tolerant)
        self._iterator = iter(self._units)
        first = next(self._iterator, None)
        if first is None:
            raise TruncatedStream("the stream has no picture")
        self.first: AccessUnit = first
        body = first.payload(PayloadKind.STREAM_HEADER)
        self.header = None if body is None else StreamHeader.frombytes(body)
        self._body = body
        self._tolerant = tolerant
        self.notes: list[str] = []

    @property
    def sets(self) -> ParameterSets:
        """Parameter sets as they are for the unit that was given last."""
        return self._units.sets

    def __iter__(self) -> Iterator[AccessUnit]:
        pictures, hashed = 0, True
        for unit in chain((self.first,), self._iterator):
            body = unit.payload(PayloadKind.STREAM_HEADER)
            if body is not None and body != self._body:
                raise UnsupportedStream("two streams with different headers were joined; split them first")
            if unit.irap:
                self._check_end(pictures, hashed)
                hashed = False
            yield unit
            pictures += 1
            hashed = hashed or unit.type is None or unit.payload(PayloadKind.PERIOD_HASH) is not None
        self._check_end(pictures, hashed)

    def _check_end(self, pictures: int, hashed: bool) -> None:
        """Of an intra period, `pictures` after the beginning of the stream."""
        if self.header is None or hashed:
            return
        what = f"the stream is cut off or damaged at picture {pictures}: the hash before it is missing"
        if not self._tolerant:
            raise TruncatedStream(what)
        self.notes.append(what)
