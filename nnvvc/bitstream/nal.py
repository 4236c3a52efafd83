"""NAL units (H.266 clauses 7.3.1, 7.4.2) and the Annex B byte stream."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from nnvvc.errors import DamagedStream, LimitExceeded, TruncatedStream, UnsupportedStream

MAX_NAL_BYTES = 1 << 27
"""Largest NAL unit that is read: 128 MiB, about 16 bits a sample for the largest picture."""

HEADER_BYTES = 2


class NalUnitType(IntEnum):
    """`nal_unit_type`, table 5 of H.266. The two of our own are among those left to applications."""

    TRAIL = 0
    STSA = 1
    RADL = 2
    RASL = 3
    RSV_VCL_4 = 4
    RSV_VCL_5 = 5
    RSV_VCL_6 = 6
    IDR_W_RADL = 7
    IDR_N_LP = 8
    CRA = 9
    GDR = 10
    RSV_IRAP_11 = 11
    OPI = 12
    DCI = 13
    VPS = 14
    SPS = 15
    PPS = 16
    PREFIX_APS = 17
    SUFFIX_APS = 18
    PICTURE_HEADER = 19
    AUD = 20
    EOS = 21
    EOB = 22
    PREFIX_SEI = 23
    SUFFIX_SEI = 24
    FILLER_DATA = 25
    RSV_NVCL_26 = 26
    RSV_NVCL_27 = 27
    PAYLOAD = 28
    UNSPECIFIED_29 = 29
    PERIOD_HASH = 30
    UNSPECIFIED_31 = 31


IDR = frozenset({NalUnitType.IDR_W_RADL, NalUnitType.IDR_N_LP})
IRAP = IDR | {NalUnitType.CRA}
OURS = frozenset({NalUnitType.PAYLOAD, NalUnitType.PERIOD_HASH})
"""Written by this project only; every VVC decoder drops them."""

_LONG_START = frozenset(range(NalUnitType.OPI, NalUnitType.SUFFIX_APS + 1))
"""Types that have a four-byte start code wherever they stand (H.266 clause B.2.2)."""


@dataclass(frozen=True, slots=True)
class NalHeader:
    """`nal_unit_header()`. temporal_id: 0 to 6."""

    type: NalUnitType
    temporal_id: int = 0

    @classmethod
    def read(cls, nal: bytes) -> "NalHeader":
        """Raises DamagedStream, or UnsupportedStream for layers above the first."""
        if len(nal) < HEADER_BYTES:
            raise TruncatedStream("a NAL unit ends inside its header")
        first, second = nal[0], nal[1]
        if first & 0xC0 or not second & 7:
            raise DamagedStream(f"{first:02x} {second:02x} is no NAL unit header")
        if first:
            raise UnsupportedStream(f"layer {first & 63}: streams of one layer are supported, others are not")
        return cls(NalUnitType(second >> 3), (second & 7) - 1)

    def tobytes(self) -> bytes:
        return bytes((0, self.type << 3 | self.temporal_id + 1))

    @property
    def is_slice(self) -> bool:
        return self.type <= NalUnitType.RSV_IRAP_11


_EMULATION = re.compile(rb"\0\0(?=[\0-\3])")


def escape(rbsp: bytes) -> bytes:
    """Insert emulation prevention bytes into what follows a NAL unit header."""
    escaped = _EMULATION.sub(b"\0\0\3", rbsp)
    return escaped + b"\3" if escaped.endswith(b"\0") else escaped


def unescape(data: bytes) -> bytes:
    """Remove emulation prevention bytes."""
    return data.replace(b"\0\0\3", b"\0\0")


def rbsp(nal: bytes, limit: int | None = None) -> bytes:
    """What a NAL unit carries after its header, unescaped; of its first `limit` bytes only where that is
    given.
    """
    return unescape(nal[HEADER_BYTES:limit])


def with_temporal_id(nal: bytes, temporal_id: int) -> bytes:
    """The same NAL unit for another temporal sublayer: SEI may not be below its picture (clause 7.4.2.2)."""
    return nal[:1] + bytes([nal[1] & 0xF8 | temporal_id + 1]) + nal[2:]


def make_nal(header: NalHeader, payload: bytes) -> bytes:
    """A NAL unit without start code."""
    return header.tobytes() + escape(payload)


def split_annex_b(chunks: Iterable[bytes], max_nal_bytes: int = MAX_NAL_BYTES) -> Iterator[bytes]:
    """NAL units, without start codes and trailing zeros, of a byte stream given in chunks of any size.

    Holds one NAL unit and one chunk. Raises DamagedStream where the stream does not begin with a start code,
    and LimitExceeded for a NAL unit over `max_nal_bytes`.
    """
    pending = bytearray()
    started = False
    for chunk in chunks:
        scan = max(len(pending) - 2, 0)
        pending += chunk
        begin = 0
        while (at := pending.find(b"\0\0\1", scan)) >= 0:
            unit = bytes(memoryview(pending)[begin:at]).rstrip(b"\0")
            if started:
                yield _checked(unit, max_nal_bytes)
            elif unit:
                raise DamagedStream("this is no VVC byte stream: it does not begin with a start code")
            started = True
            begin = scan = at + 3
        del pending[:begin]
        if not started and pending.strip(b"\0"):
            raise DamagedStream("this is no VVC byte stream: it does not begin with a start code")
        if len(pending) > max_nal_bytes:
            raise LimitExceeded(f"a NAL unit has more than {max_nal_bytes} bytes")
    if not started:
        raise TruncatedStream("the stream has no NAL unit")
    yield _checked(bytes(pending).rstrip(b"\0"), max_nal_bytes)


def _checked(unit: bytes, max_nal_bytes: int) -> bytes:
    if len(unit) > max_nal_bytes:
        raise LimitExceeded(f"a NAL unit has more than {max_nal_bytes} bytes")
    if len(unit) < HEADER_BYTES:
        raise TruncatedStream("a NAL unit ends inside its header")
    return unit


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    """The NAL units of one access unit with their start codes: four bytes for the first and for parameter
    sets.
    """
    out = bytearray()
    for index, nal in enumerate(nals):
        long = index == 0 or nal[1] >> 3 in _LONG_START
        out += b"\0\0\0\1" if long else b"\0\0\1"
        out += nal
    return bytes(out)
