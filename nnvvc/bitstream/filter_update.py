"""What changes in the filter for people, for the content from here on: user data of a post-filter update."""

import zlib
from dataclasses import dataclass

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Structure
from nnvvc.errors import DamagedStream

FILTER_UPDATE = Structure(
    "filter_update",
    (
        Field("update_crc", "u(16)", meaning="low bits of the CRC-32 of what follows"),
        Field("predicted_flag", "u(1)", meaning="differences to the update before, of equal step"),
        Field("block_map_flag", "u(1)"),
        Field("step_idx", "u(6)", high=24, meaning="the numbers' unit is 2 ** (-step_idx / 2)"),
        Field("block_map_bytes", "leb128", when="block_map_flag", high=1 << 16),
        Field(
            "block_map",
            "bytes(block_map_bytes)",
            when="block_map_flag",
            meaning="1 for each 128x128 block where the filter is off",
        ),
        Field(
            "numbers",
            "rest",
            meaning="weights of taps, then what is added to the biases, in the network's order",
        ),
    ),
    source=(
        "of this format: what the URI of an SEI message 210 with the tag `tag:nnvvc,2026:update` has behind "
        "`data:;base64,`; where that is `nnvvc:sei`, SEI message 5 before it has a byte of 2 and this"
    ),
)

_CRC_BYTES = 2


@dataclass(frozen=True, slots=True)
class FilterUpdate:
    """numbers, block_map: as the range coder made them; no block_map where the filter is on everywhere."""

    step_idx: int
    numbers: bytes
    predicted: bool = False
    block_map: bytes | None = None

    def tobytes(self) -> bytes:
        """The body."""
        writer = BitWriter()
        values = {
            "update_crc": 0,
            "predicted_flag": int(self.predicted),
            "block_map_flag": int(self.block_map is not None),
            "step_idx": self.step_idx,
            "block_map_bytes": len(self.block_map or b""),
            "block_map": self.block_map or b"",
            "numbers": self.numbers,
        }
        FILTER_UPDATE.write(writer, values)
        body = writer.getvalue()[_CRC_BYTES:]
        return _crc(body) + body

    @classmethod
    def frombytes(cls, data: bytes) -> "FilterUpdate":
        """The inverse. Raises TruncatedStream or DamagedStream."""
        values = FILTER_UPDATE.read(BitReader(data))
        if data[:_CRC_BYTES] != _crc(data[_CRC_BYTES:]):
            raise DamagedStream("a filter update is damaged: its CRC does not fit")
        return cls(
            values["step_idx"],
            values["numbers"],
            bool(values["predicted_flag"]),
            values["block_map"] if values["block_map_flag"] else None,
        )


def _crc(body: bytes) -> bytes:
    return (zlib.crc32(body) & 0xFFFF).to_bytes(_CRC_BYTES, "big")
