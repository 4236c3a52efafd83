"""Whether a stream of ours is all there: its intra periods are numbered, and its pictures' order has no gaps.

VVC itself does not tell: closed groups know nothing of each other, and where groups are open a decoder finds
out when a leading picture refers to one that never came.
"""

from collections.abc import Callable, Iterable, Iterator

from nnvvc.bitstream.access_unit import LEADING, AccessUnit
from nnvvc.bitstream.nal import NalUnitType
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.payload import PERIOD_NUMBERS, PayloadKind, PeriodEnd
from nnvvc.errors import DamagedStream, StreamError, TruncatedStream

LONGEST_LEAD = 256
"""Leading pictures of a key picture that are looked at before it is decoded; VVenC has 63 at most."""

Run = list[tuple[AccessUnit, ParameterSets]]


def with_leading(units: Iterable[AccessUnit], sets: ParameterSets) -> Iterator[Run]:
    """Units one by one, but each CRA picture with the leading pictures that follow it.

    sets: those of `units`, as they are for the unit given last; a unit that waits for others has a copy.
    """
    run: Run = []
    try:
        for unit in units:
            if run and (unit.type not in LEADING or len(run) > LONGEST_LEAD):
                yield run
                run = []
            if run or unit.type is NalUnitType.CRA:
                run.append((unit, sets.copy()))
            else:
                yield [(unit, sets)]
    except StreamError:
        # What came before is sound.
        if run:
            yield run
        raise
    if run:
        yield run


class Continuity:
    """Takes note of what passes, in decoding order. missing: gets what is not there, and may raise it."""

    def __init__(self, missing: Callable[[StreamError], None]) -> None:
        self._missing = missing
        self._highest: int | None = None
        self._number: int | None = None
        self._pictures = 0
        self._hashed = True
        self._noticed = self._damaged = False

    def leading_are_sound(self, run: Run) -> bool:
        """Whether the pictures that a CRA's leading pictures refer to have come, as far as can be known."""
        leading = [u.poc for u, _ in run[1:] if u.error is None and u.output]
        if self._highest is None or not leading:
            return True
        gap = min(leading) - self._highest - 1
        if gap > 0 and not self._damaged:
            self._noticed = True
            self._missing(DamagedStream(f"{gap} pictures are missing before picture {self._pictures}"))
        self._damaged = False
        return gap <= 0

    def add(self, unit: AccessUnit) -> None:
        """The next access unit."""
        if unit.irap:
            self._end_period()
            self._hashed = False
        self._pictures += 1
        self._hashed = self._hashed or unit.type is None or unit.payload(PayloadKind.PERIOD_HASH) is not None
        # Whoever reports the error of a unit has told what is missing.
        self._damaged = self._damaged or unit.error is not None
        if unit.error is None and unit.type is not None:
            # A CRA that is not ahead of what came before begins a sequence; others are ahead of it all.
            before = unit.poc if unit.irap or self._highest is None else self._highest
            self._highest = max(before, unit.poc)

    def add_end(self, end: PeriodEnd) -> None:
        """What the stream says at the end of a period."""
        if end.number is not None and self._number is not None and not self._noticed:
            count = (end.number - self._number - 1) % PERIOD_NUMBERS
            if count:
                what = "intra period is" if count == 1 else "intra periods are"
                self._missing(DamagedStream(f"{count} {what} missing before picture {self._pictures}"))
        self._number = None if end.last else end.number
        self._noticed = False

    def close(self) -> None:
        """The stream ends."""
        self._end_period()
        if self._number is not None:
            self._missing(TruncatedStream(f"the stream ends at picture {self._pictures}: groups are missing"))

    def _end_period(self) -> None:
        if not self._hashed:
            what = (
                f"the stream is cut off or damaged at picture {self._pictures}: the hash before it is missing"
            )
            self._missing(TruncatedStream(what))
