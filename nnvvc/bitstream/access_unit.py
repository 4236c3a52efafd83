"""Access units: the NAL units of one picture (H.266 clause 7.4.2.4), with its order count (clause 8.3.1).

A payload of ours that holds a picture counts as that picture's slices.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nnvvc.bitstream.fields import Values
from nnvvc.bitstream.key_slice import KeySlice
from nnvvc.bitstream.nal import IDR, IRAP, OURS, NalHeader, NalUnitType, join_annex_b, with_temporal_id
from nnvvc.bitstream.parameter_sets import CodedSize, ParameterSets
from nnvvc.bitstream.payload import PICTURE_KINDS, PayloadKind, read_payload
from nnvvc.bitstream.slice_header import read_picture_start, starts_picture
from nnvvc.errors import DamagedStream, LimitExceeded, StreamError, TruncatedStream

MAX_UNIT_NALS = 2048
MAX_UNIT_BYTES = 1 << 28

_OPENS = frozenset(
    {
        *range(NalUnitType.OPI, NalUnitType.PREFIX_APS + 1),
        NalUnitType.PICTURE_HEADER,
        NalUnitType.AUD,
        NalUnitType.PREFIX_SEI,
        NalUnitType.RSV_NVCL_26,
        NalUnitType.PAYLOAD,
        NalUnitType.UNSPECIFIED_29,
    }
)
"""Types that begin a new access unit when they follow a picture's slices."""

LEADING = frozenset({NalUnitType.RADL, NalUnitType.RASL})


@dataclass(slots=True)
class AccessUnit:
    """One picture and what belongs to it.

    nals: in stream order, without start codes. type: of its slices, or of those that a KEY_SLICE payload
    stands for; None where the picture is not VVC. poc: picture order count; counts pictures where there is no
    VVC. output: whether a decoder that started at the first unit shows it. payloads: of ours, in stream
    order. error: what was wrong with it, where damage is tolerated.
    """

    nals: list[bytes] = field(default_factory=list)
    type: NalUnitType | None = None
    temporal_id: int = 0
    poc: int = 0
    size: CodedSize | None = None
    output: bool = True
    payloads: list[tuple[PayloadKind, bytes]] = field(default_factory=list)
    error: StreamError | None = None

    @property
    def irap(self) -> bool:
        """Whether an intra period begins here."""
        return self.type in IRAP or any(kind in _KEYS for kind, _ in self.payloads)

    def payload(self, kind: PayloadKind) -> bytes | None:
        """The body of the first payload of this kind."""
        return next((body for k, body in self.payloads if k is kind), None)

    def vvc_nals(self) -> list[bytes]:
        """The NAL units that are not of this project."""
        return [nal for nal in self.nals if NalUnitType(nal[1] >> 3) not in OURS]

    def tobytes(self) -> bytes:
        """All of it, as a byte stream."""
        return join_annex_b(self.nals)

    def insert(self, nal: bytes) -> None:
        """Put a NAL unit that describes the picture before its slices and their picture header."""
        place = next(i for i, n in enumerate(self.nals) if _holds_picture(n))
        self.nals.insert(place, with_temporal_id(nal, self.temporal_id))

    def insert_first(self, nal: bytes) -> None:
        """Put a NAL unit before all others but the access unit delimiter."""
        self.nals.insert(int(self.nals[0][1] >> 3 == NalUnitType.AUD), nal)

    def begin_sequence(self) -> None:
        """Let a decoder begin anew here: leading pictures that refer to what came before are not shown."""
        if self.nals[0][1] >> 3 != NalUnitType.EOS:
            self.nals.insert(0, NalHeader(NalUnitType.EOS).tobytes())

    def append(self, nal: bytes) -> None:
        """Put a NAL unit after the slices, before an end of sequence."""
        at = len(self.nals)
        while at and self.nals[at - 1][1] >> 3 in (NalUnitType.EOS, NalUnitType.EOB):
            at -= 1
        self.nals.insert(at, with_temporal_id(nal, self.temporal_id))


_KEYS = frozenset({PayloadKind.KEY_PICTURE, PayloadKind.LOSSLESS_PICTURE, PayloadKind.KEY_SLICE})


def _holds_picture(nal: bytes) -> bool:
    header = NalHeader.read(nal)
    if header.type is NalUnitType.PAYLOAD:
        return len(nal) > 2 and nal[2] in PICTURE_KINDS
    return header.is_slice or header.type is NalUnitType.PICTURE_HEADER


class AccessUnits:
    """Groups NAL units, in a stream, into access units; iterate once.

    sets: the parameter sets seen so far; they are current while a unit is handled, before the next is taken.
    With `tolerant`, damage within a unit is kept in its `error` and reading goes on. Raises StreamError.
    """

    def __init__(self, nals: Iterable[bytes], *, tolerant: bool = False) -> None:
        self.sets = ParameterSets()
        self._nals = nals
        self._tolerant = tolerant
        self._previous_poc = 0
        self._pictures = 0
        self._sequence_start = True
        self._skip_leading = False

    def __iter__(self) -> Iterator[AccessUnit]:
        nals: list[bytes] = []
        size, pictured = 0, False
        for nal in self._nals:
            try:
                opens = pictured and _opens_unit(nal)
            except StreamError:
                if not self._tolerant:
                    raise
                continue
            if opens:
                yield self._unit(nals)
                nals, size, pictured = [], 0, False
            nals.append(nal)
            size += len(nal)
            if len(nals) > MAX_UNIT_NALS or size > MAX_UNIT_BYTES:
                raise LimitExceeded(
                    f"an access unit has more than {MAX_UNIT_NALS} NAL units or {MAX_UNIT_BYTES} bytes"
                )
            pictured = pictured or (_holds_picture(nal) and nal[1] >> 3 != NalUnitType.PICTURE_HEADER)
        if pictured:
            yield self._unit(nals)
        elif nals and not self._tolerant:
            raise TruncatedStream("the stream ends before the picture that its last NAL units belong to")

    def _unit(self, nals: list[bytes]) -> AccessUnit:
        unit = AccessUnit(nals)
        for nal in nals:
            try:
                self._interpret(unit, nal)
            except StreamError as error:
                if not self._tolerant:
                    raise
                unit.error = unit.error or error
        if unit.type is None and not unit.error:
            unit.poc = self._pictures
        self._pictures += 1
        return unit

    def _interpret(self, unit: AccessUnit, nal: bytes) -> None:
        header = NalHeader.read(nal)
        if header.type in OURS:
            kind, body = read_payload(nal)
            unit.payloads.append((kind, body))
            if kind is PayloadKind.KEY_SLICE:
                key = KeySlice.frombytes(body, self.sets)
                self._set_picture(unit, NalHeader(key.nal_unit_type), key.header)
        elif header.type is NalUnitType.PICTURE_HEADER or (header.is_slice and starts_picture(nal)):
            start = read_picture_start(nal, self.sets)
            self._set_picture(unit, header, start)
        elif header.is_slice:
            if unit.size is None:
                raise DamagedStream("a slice comes before its picture header")
            unit.type, unit.temporal_id = header.type, header.temporal_id
            self._set_order(unit)
        elif header.type is NalUnitType.EOS:
            self._sequence_start = True
        else:
            self.sets.add(nal)

    def _set_picture(self, unit: AccessUnit, header: NalHeader, start: Values) -> None:
        if unit.size is not None:
            raise DamagedStream("an access unit has two pictures")
        pps_id = start["ph_pic_parameter_set_id"]
        unit.size = self.sets.size(pps_id)
        lsb_bits = self.sets.sps_start(pps_id)["sps_log2_max_pic_order_cnt_lsb_minus4"] + 4
        unit.temporal_id = header.temporal_id
        if header.type is not NalUnitType.PICTURE_HEADER:
            unit.type = header.type
        starts = self._sequence_start or unit.type in IDR
        unit.poc = self._order_count(start, 1 << lsb_bits, starts)
        if unit.type is not None:
            self._set_order(unit)
        if header.temporal_id == 0 and not start["ph_non_ref_pic_flag"] and unit.type not in LEADING:
            self._previous_poc = unit.poc

    def _order_count(self, start: Values, modulus: int, sequence_start: bool) -> int:
        lsb: int = start["ph_pic_order_cnt_lsb"]
        if start["ph_poc_msb_cycle_present_flag"]:
            return int(start["ph_poc_msb_cycle_val"]) * modulus + lsb
        if sequence_start:
            return lsb
        return self._previous_poc + (lsb - self._previous_poc + modulus // 2) % modulus - modulus // 2

    def _set_order(self, unit: AccessUnit) -> None:
        """Whether it is shown: leading pictures that refer past the first key picture cannot be decoded."""
        if unit.type in IRAP:
            self._skip_leading = self._sequence_start
        unit.output = not (self._skip_leading and unit.type is NalUnitType.RASL)
        self._sequence_start = False


def _opens_unit(nal: bytes) -> bool:
    header = NalHeader.read(nal)
    return header.type in _OPENS or (header.is_slice and starts_picture(nal))
