"""Weaving the stream together: access units, the stream header, a hash of each intra period."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.payload import PayloadKind, PeriodEnd, PeriodHash
from nnvvc.errors import DamagedStream, PictureMismatch
from nnvvc.picture import Picture


@dataclass(slots=True)
class Period:
    """An intra period: a key picture and all that follows it in decoding order, up to the next one.

    Its pictures stand together in output order too: `first` is the number of the first, `pictures` how many
    there are (of the access units seen so far, until it is closed). announced: number and hash that the
    stream has.
    """

    first: int
    pictures: int = 0
    closed: bool = False
    hash: PeriodHash = field(default_factory=PeriodHash)
    announced: PeriodEnd | None = None

    @property
    def complete(self) -> bool:
        return self.closed and self.hash.pictures == self.pictures


class PeriodTracker:
    """Pairs access units in decoding order with decoded pictures in output order, by intra period.

    Units have to come before the pictures decoded from them. Either may come from a thread of its own.
    `finished` is called with each period when it is complete, in order.
    """

    def __init__(self, finished: Callable[[Period], None]) -> None:
        self._finished = finished
        self._periods: deque[Period] = deque()
        self._lock = threading.RLock()
        self._next = 0

    def add_unit(self, unit: AccessUnit) -> None:
        """Take note of the next access unit. Raises DamagedStream for a bad period hash."""
        with self._lock:
            if unit.irap or not self._periods or self._periods[-1].closed:
                self._close_last()
                self._periods.append(Period(self._next))
            period = self._periods[-1]
            period.pictures += unit.output
            self._next += unit.output
            body = unit.payload(PayloadKind.PERIOD_HASH)
            if body is not None:
                period.announced = PeriodEnd.frombytes(body)

    def add_picture(self, picture: Picture) -> None:
        """Take in the next decoded picture."""
        with self._lock:
            open_periods = (p for p in self._periods if p.hash.pictures < p.pictures)
            period = next(open_periods, None)
            if period is None:
                raise PictureMismatch("the decoder gave more pictures than the stream has")
            period.hash.add(picture)
            self._finish()

    def close(self) -> None:
        """No more units and pictures come. Raises PictureMismatch where pictures are missing."""
        with self._lock:
            self._close_last()
            if self._periods:
                period = self._periods[0]
                done, last = period.first + period.hash.pictures, self._next
                raise PictureMismatch(f"the decoder gave {done} pictures of {last}")

    def _close_last(self) -> None:
        if self._periods:
            self._periods[-1].closed = True
            self._finish()

    def _finish(self) -> None:
        while self._periods and self._periods[0].complete:
            self._finished(self._periods.popleft())


class Muxer:
    """Writes a stream, as its access units and the pictures decoded from them arrive.

    write: takes the bytes, in order. Where `hashed`, every intra period ends with a hash of its decoded
    pictures, and `add_picture` must be called with all of them; what cannot be written yet is held, a period
    or so.
    """

    def __init__(
        self, header: StreamHeader, write: Callable[[bytes], object], *, hashed: bool = True
    ) -> None:
        self._header: StreamHeader | None = header
        self._write = write
        self._tracker = PeriodTracker(self._end_period) if hashed else None
        self._held: deque[bytes | AccessUnit | None] = deque()
        self._numbered = not header.source.still
        self._periods, self._closing = 0, False
        self._lock = threading.RLock()

    def add(self, unit: AccessUnit, *, complete: bool = True) -> None:
        """Write an access unit, behind the stream header where it is the first.

        One that is not complete, whose type and order are known but not all its NAL units, is held until
        `complete` is called for it.
        """
        with self._lock:
            if self._tracker is not None:
                if unit.irap and self._header is None:
                    self._held.append(None)
                self._tracker.add_unit(unit)
            if self._header is not None:
                unit.insert_first(self._header.write())
                self._header = None
            self._held.append(unit.tobytes() if complete else unit)
            self._release()

    def complete(self, unit: AccessUnit) -> None:
        """Write an access unit that was held until now."""
        with self._lock:
            at = next(i for i, held in enumerate(self._held) if held is unit)
            self._held[at] = unit.tobytes()
            self._release()

    def add_picture(self, picture: Picture) -> None:
        """Take in the next picture, in output order, as a decoder decodes it from the access units."""
        if self._tracker is not None:
            with self._lock:
                self._tracker.add_picture(picture)

    def close(self) -> None:
        """Write what is left. Raises PictureMismatch where pictures are missing."""
        with self._lock:
            if self._tracker is not None:
                self._held.append(None)
                self._closing = True
                self._tracker.close()
            self._release()

    def _end_period(self, period: Period) -> None:
        """Put its hash where the period ends: at the first mark among what is held."""
        at = next(i for i, held in enumerate(self._held) if held is None)
        end = PeriodEnd(period.hash.pictures, period.hash.value)
        if self._numbered:
            last = self._closing and self._held.count(None) == 1
            end = replace(end, number=self._periods, last=last)
        self._held[at] = b"\0\0\1" + end.write() if period.pictures else b""
        self._periods += bool(period.pictures)
        self._release()

    def _release(self) -> None:
        while self._held and isinstance(self._held[0], bytes):
            self._write(self._held[0])
            self._held.popleft()


class PeriodVerifier:
    """Checks decoded pictures against the hashes in the stream.

    Raises PictureMismatch, which names the pictures, from `add_picture` or `close`. checked: pictures that
    were found right so far.
    """

    def __init__(self) -> None:
        self.checked = 0
        self._tracker = PeriodTracker(self._check)
        self.add_unit = self._tracker.add_unit
        self.add_picture = self._tracker.add_picture
        self.close = self._tracker.close

    def _check(self, period: Period) -> None:
        if period.announced is None:
            return
        announced = period.announced
        span = f"pictures {period.first} to {period.first + announced.pictures - 1}"
        if announced.pictures != period.pictures:
            raise DamagedStream(f"{span}: {period.pictures} of them are in the stream")
        if announced.samples_crc32 != period.hash.value:
            raise PictureMismatch(f"{span} differ from those that the encoder had")
        self.checked += announced.pictures
