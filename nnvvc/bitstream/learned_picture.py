"""A picture of the learned image codec: payload kind 1, and the picture of a key slice."""

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Structure

LEARNED_PICTURE = Structure(
    "learned_picture",
    (
        Field("rate_index", "u(6)", meaning="row of the model's rate tables: the QP"),
        Field("profile_idc", "u(2)", high=2, meaning="of the probability model: fast 0, base 1, high 2"),
        Field(
            "symbols", "rest", meaning="32-bit words of the range coder, little endian, end zeros left out"
        ),
    ),
    source="of this format: payload kind 1; its size is the coded size of the stream header",
)


def write_learned_picture(rate_index: int, profile_idc: int, symbols: bytes) -> bytes:
    """The body of the payload."""
    writer = BitWriter()
    values = {"rate_index": rate_index, "profile_idc": profile_idc, "symbols": symbols}
    LEARNED_PICTURE.write(writer, values)
    return writer.getvalue()


def read_learned_picture(body: bytes) -> tuple[int, int, bytes]:
    """Rate index, profile and symbols. Raises TruncatedStream or DamagedStream."""
    values = LEARNED_PICTURE.read(BitReader(body))
    return values["rate_index"], values["profile_idc"], values["symbols"]
