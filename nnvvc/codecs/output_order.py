"""What the stream says of a picture by the time that a VVC decoder gives it: access units in output order."""

import heapq
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.nal import IDR, NalHeader, NalUnitType
from nnvvc.bitstream.sei import SeiMessage, SeiType, read_sei
from nnvvc.picture import Picture

_KEPT = frozenset({SeiType.USER_DATA_UNREGISTERED, SeiType.NNPF_CHARACTERISTICS, SeiType.NNPF_ACTIVATION})
_SEI = frozenset({NalUnitType.PREFIX_SEI, NalUnitType.SUFFIX_SEI})


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """layer: 0 for a key picture, else one more than the temporal layer. messages: those about filters.
    learned: what a learned codec made of a key picture, for machines, where one did. begins: it is the first
    of a coded video sequence, leading pictures included, which knows nothing of what was before.
    """

    layer: int
    messages: tuple[SeiMessage, ...] = ()
    learned: Picture | None = None
    begins: bool = False


_UNKNOWN = PictureFacts(1)


class OutputOrder:
    """Sorts access units as a decoder sorts the pictures in them.

    A unit has to be added before the decoder is given it; either side may be a thread of its own.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, int, PictureFacts]] = []
        self._lock = threading.Lock()
        self._sequence = 0
        self._count = 0
        self._shown = 0

    def watch(self, units: Iterable[AccessUnit]) -> Iterator[AccessUnit]:
        """The same units, each added as it passes. Raises StreamError for damaged messages."""
        for unit in units:
            self.add(unit)
            yield unit

    def add(self, unit: AccessUnit, learned: Picture | None = None) -> None:
        """Take note of a unit, and of the learned picture in it. Raises StreamError for damaged messages."""
        self._sequence += unit.type in IDR
        self._count += 1
        if not unit.output:
            return
        layer = 0 if unit.irap else unit.temporal_id + 1
        facts = PictureFacts(layer, tuple(_messages(unit)), learned)
        with self._lock:
            heapq.heappush(self._waiting, (self._sequence, unit.poc, self._count, facts))

    def next(self) -> PictureFacts:
        """The facts of the next picture that the decoder gives."""
        with self._lock:
            if not self._waiting:
                return _UNKNOWN
            sequence, _, _, facts = heapq.heappop(self._waiting)
            begins, self._shown = sequence != self._shown, sequence
            return replace(facts, begins=begins)


def _messages(unit: AccessUnit) -> Iterator[SeiMessage]:
    for nal in unit.nals:
        if NalHeader.read(nal).type in _SEI:
            yield from (m for m in read_sei(nal) if m.type in _KEPT)
