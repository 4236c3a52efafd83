"""What a stream is made of, by walking through it once."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.fields import Values
from nnvvc.bitstream.header import STREAM_HEADER, read_values
from nnvvc.bitstream.nal import NalHeader, NalUnitType
from nnvvc.bitstream.payload import PayloadKind
from nnvvc.bitstream.sei import read_known, read_sei
from nnvvc.errors import StreamError


@dataclass(slots=True)
class Summary:
    """header: fields of the stream header by name, empty for plain VVC. width, height: of the coded pictures.

    nal_units, nal_bytes: by type name, without start codes. payloads: by kind name. seis: the fields of each
    kind of known SEI message where it occurs first. damage: what was wrong, a line for each unit.
    """

    header: Values = field(default_factory=dict)
    width: int = 0
    height: int = 0
    bit_depth: int = 0
    pictures: int = 0
    intra_periods: int = 0
    period_hashes: int = 0
    nal_units: Counter[str] = field(default_factory=Counter)
    nal_bytes: Counter[str] = field(default_factory=Counter)
    payloads: Counter[str] = field(default_factory=Counter)
    seis: dict[str, Values] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        # asdict() would count the items of the counters anew.
        return {f.name: plain_data(getattr(self, f.name)) for f in fields(self)}

    def add(self, unit: AccessUnit) -> None:
        """Take in one access unit."""
        self.pictures += 1
        self.intra_periods += unit.irap
        if unit.error is not None and len(self.damage) < _MOST_DAMAGE:
            self.damage.append(f"picture {self.pictures - 1}: {unit.error}")
        for kind, body in unit.payloads:
            self.payloads[kind.name] += 1
            self.period_hashes += kind is PayloadKind.PERIOD_HASH
            if kind is PayloadKind.STREAM_HEADER and not self.header:
                self.header = listed_header(body)
        for nal in unit.nals:
            kind_name = NalHeader.read(nal).type.name
            self.nal_units[kind_name] += 1
            self.nal_bytes[kind_name] += len(nal)
            if kind_name in _SEI_TYPES:
                self._add_sei(nal)

    def _add_sei(self, nal: bytes) -> None:
        try:
            for message in read_sei(nal):
                known = read_known(message)
                if known is not None:
                    self.seis.setdefault(*known)
        except StreamError as error:
            if len(self.damage) < _MOST_DAMAGE:
                self.damage.append(f"picture {self.pictures - 1}: {error}")


_MOST_DAMAGE = 20
_SEI_TYPES = (NalUnitType.PREFIX_SEI.name, NalUnitType.SUFFIX_SEI.name)


def listed_header(body: bytes) -> Values:
    """The fields of a stream header that are present, by name."""
    return {line.name: line.value for line in STREAM_HEADER.list(read_values(body))}


def summarise(stream: Demuxer) -> Summary:
    """Walk through a stream. Raises StreamError where it is damaged, unless the stream is read tolerantly."""
    summary = Summary()
    if stream.first.size is not None:
        coded = stream.first.size
        summary.width, summary.height, summary.bit_depth = coded.width, coded.height, coded.bit_depth
    for unit in stream:
        summary.add(unit)
    return summary


def plain_data(value: Any) -> Any:
    """Field values as JSON holds them: bytes become hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain_data(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(v) for v in value]
    return value
