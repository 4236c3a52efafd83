"""Payloads of this project: NAL units that every VVC decoder drops, framed with length and CRC-32."""

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Structure
from nnvvc.bitstream.nal import NalHeader, NalUnitType, make_nal, rbsp
from nnvvc.errors import DamagedStream, UnsupportedStream
from nnvvc.picture import Picture


class PayloadKind(IntEnum):
    """What a payload holds: the first byte after the NAL unit header.

    KEY_PICTURE is a learned picture that stands alone; KEY_SLICE one that stands in place of a VVC slice and
    becomes a reference of the pictures around it, with the fields of `key_slice.KEY_SLICE` before it.
    """

    STREAM_HEADER = 0
    KEY_PICTURE = 1
    LOSSLESS_PICTURE = 2
    NEURAL_INTER = 3
    KEY_SLICE = 4
    PERIOD_HASH = 16


PICTURE_KINDS = frozenset(
    {PayloadKind.KEY_PICTURE, PayloadKind.LOSSLESS_PICTURE, PayloadKind.NEURAL_INTER, PayloadKind.KEY_SLICE}
)
"""Payloads that are a picture each, as a VVC slice would be."""


PAYLOAD = Structure(
    "payload",
    (
        Field("kind", "u(8)", meaning="what the body is: PayloadKind"),
        Field("length", "leb128", high=(1 << 27) - 1, meaning="bytes of the body"),
        Field("body", "bytes(length)", meaning="by kind"),
        Field("crc32", "u(32)", meaning="CRC-32 (ISO 3309) of kind, length and body as written"),
    ),
    source="of this format: NAL types 28 (before the last slice) and 30 (after it); trailing bits follow",
)

PERIOD_HASH = Structure(
    "period_hash",
    (
        Field(
            "pictures",
            "leb128",
            low=1,
            high=1 << 20,
            meaning="pictures covered, the next ones in output order",
        ),
        Field(
            "samples_crc32",
            "u(32)",
            meaning="CRC-32 (ISO 3309) of their planes, two bytes a sample, little endian",
        ),
        Field(
            "place",
            "rest",
            meaning="of a video one byte: which period this is, modulo 128, plus 128 for the last one",
        ),
    ),
    source="of this format: kind 16, NAL type 30, after the last picture of an intra period",
)


def write_payload(kind: PayloadKind, body: bytes) -> bytes:
    """A whole NAL unit, without start code, that carries `body`."""
    writer = BitWriter()
    writer.u(kind, 8)
    writer.leb128(len(body))
    writer.raw(body)
    writer.u(zlib.crc32(writer.getvalue()), 32)
    writer.trailing_bits()
    after = kind is PayloadKind.PERIOD_HASH
    return make_nal(NalHeader(NalUnitType.PERIOD_HASH if after else NalUnitType.PAYLOAD), writer.getvalue())


def read_payload(nal: bytes) -> tuple[PayloadKind, bytes]:
    """Kind and body of a NAL unit of ours.

    Raises TruncatedStream or DamagedStream, and UnsupportedStream for a kind of a later version.
    """
    data = rbsp(nal)
    reader = BitReader(data)
    values = PAYLOAD.read(reader)
    end = reader.position >> 3
    reader.trailing_bits()
    if reader.remaining or values["crc32"] != zlib.crc32(data[: end - 4]):
        raise DamagedStream("a payload does not have the checksum it was sent with")
    try:
        return PayloadKind(values["kind"]), values["body"]
    except ValueError as error:
        raise UnsupportedStream(f"payload kind {values['kind']} needs a newer version") from error


PERIOD_NUMBERS = 128
"""Intra periods are numbered modulo this; the number of the last one has it added."""


@dataclass(frozen=True, slots=True)
class PeriodEnd:
    """What the stream says at the end of an intra period: how many pictures it has, and their CRC-32.

    number: of the period, modulo PERIOD_NUMBERS once it is written; None where it is not told, as in pictures
    and in streams of the first days. last: no period follows.
    """

    pictures: int
    samples_crc32: int
    number: int | None = None
    last: bool = False

    def write(self) -> bytes:
        """A NAL unit of type 30."""
        place = (
            b"" if self.number is None else bytes([self.number % PERIOD_NUMBERS + self.last * PERIOD_NUMBERS])
        )
        writer = BitWriter()
        values = {"pictures": self.pictures, "samples_crc32": self.samples_crc32, "place": place}
        PERIOD_HASH.write(writer, values)
        return write_payload(PayloadKind.PERIOD_HASH, writer.getvalue())

    @classmethod
    def frombytes(cls, body: bytes) -> "PeriodEnd":
        """From the body of a payload of kind PERIOD_HASH. Raises TruncatedStream or DamagedStream."""
        values = PERIOD_HASH.read(BitReader(body))
        place = values["place"]
        if len(place) > 1:
            raise DamagedStream("a period hash is too long")
        pictures, value = values["pictures"], values["samples_crc32"]
        if not place:
            return cls(pictures, value)
        return cls(pictures, value, place[0] % PERIOD_NUMBERS, place[0] >= PERIOD_NUMBERS)


class PeriodHash:
    """The CRC-32 of decoded pictures. A cryptographic hash would cost a tenth of the decoding time."""

    def __init__(self) -> None:
        self.value = 0
        self.pictures = 0

    def add(self, picture: Picture) -> None:
        """Take in the next picture in output order, at the depth and size at which it was decoded."""
        for plane in picture.planes:
            self.value = zlib.crc32(np.ascontiguousarray(plane.astype("<u2", copy=False)).data, self.value)
        self.pictures += 1
