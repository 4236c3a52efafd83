"""The stream header: what a decoder has to know before the first picture. Payload kind 0 of the first access
unit.
"""

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Repeat, Structure, Values, When
from nnvvc.bitstream.payload import PayloadKind, write_payload
from nnvvc.errors import DamagedStream, InputError, LimitExceeded, UnsupportedStream
from nnvvc.picture import MAX_DIMENSION, Chroma, ChromaSiting, Matrix, PictureFormat, VideoFormat

FORMAT_VERSION = 1
SCALE_DENOMINATOR = 4
MODEL_DIGEST_BYTES = 4


class Pipeline(IntEnum):
    """How the pictures were coded; decides which decoder is taken."""

    VVC = 0
    HYBRID = 1
    IMAGE = 2
    LOSSLESS = 3
    NEURAL = 4


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A network that decoding needs: its number in the registry of models, and the first bytes of its
    SHA-256.
    """

    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """`source` is the format of what was encoded; `scale` is coded size over source size, in quarters.

    block_map: of a picture file, as the range coder made it: which of a model's several filters is for which
    block. Empty: the first for all.
    """

    pipeline: Pipeline
    source: VideoFormat
    scale: Fraction = Fraction(1)
    models: tuple[ModelReference, ...] = ()
    block_map: bytes = b""

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height of the pictures that are coded: the source's, scaled and rounded up."""
        return scaled_size(self.source.picture.width, self.source.picture.height, self.scale)

    def tobytes(self) -> bytes:
        """The body of the payload."""
        writer = BitWriter()
        STREAM_HEADER.write(writer, _values(self))
        return writer.getvalue()

    def write(self) -> bytes:
        """The NAL unit."""
        return write_payload(PayloadKind.STREAM_HEADER, self.tobytes())

    @classmethod
    def frombytes(cls, body: bytes) -> "StreamHeader":
        """Raises TruncatedStream, DamagedStream, LimitExceeded, or UnsupportedStream for a newer format
        version.
        """
        return _header(read_values(body))


def scaled_size(width: int, height: int, scale: Fraction) -> tuple[int, int]:
    """`width` and `height` times `scale`, rounded up to whole samples."""
    return -(-width * scale.numerator // scale.denominator), -(-height * scale.numerator // scale.denominator)


STREAM_HEADER = Structure(
    "stream_header",
    (
        Field("format_version", "u(8)", low=1, meaning=f"version of this format: {FORMAT_VERSION}"),
        Field("pipeline", "ue", high=15, meaning="VVC 0, hybrid 1, image 2, lossless 3, neural video 4"),
        Field("width_minus1", "ue", high=MAX_DIMENSION - 1, meaning="source width in luma samples, less 1"),
        Field("height_minus1", "ue", high=MAX_DIMENSION - 1, meaning="source height in luma samples, less 1"),
        Field("bit_depth_minus8", "ue", high=8, meaning="source bit depth less 8"),
        Field("chroma_format_idc", "u(2)", high=1, meaning="4:0:0 0, 4:2:0 1"),
        Field("matrix_coefficients", "u(8)", meaning="as in ITU-T H.273; 2 is unspecified"),
        Field("full_range_flag", "u(1)", meaning="samples use the full range of values"),
        Field("chroma_sample_loc_type", "u(3)", meaning="left 0, centre 1, top left 2, unknown 7"),
        Field("still_flag", "u(1)", meaning="a picture file, not a video"),
        When(
            "not still_flag",
            (
                Field("fps_num", "ue", low=1, absent="1", meaning="pictures per second, numerator"),
                Field("fps_den", "ue", low=1, absent="1", meaning="and denominator"),
                Field("frames_plus1", "ue", meaning="number of pictures plus 1; 0 where it was not known"),
            ),
        ),
        Field(
            "scale_quarters_minus1",
            "u(2)",
            absent="3",
            meaning="coded size in quarters of the source's, less 1",
        ),
        Field("num_models", "ue", high=16, meaning="networks that decoding needs"),
        Repeat(
            "models",
            "num_models",
            16,
            (
                Field("model_number", "ue", high=65535, meaning="number in the registry of models"),
                Field("model_digest", f"u({8 * MODEL_DIGEST_BYTES})", meaning="first bytes of its SHA-256"),
            ),
        ),
        Field("", "align"),
        # A message of its own would cost small pictures as much as their filters gain.
        Field(
            "block_map",
            "rest",
            when="still_flag",
            meaning="which of the model's filters is for which 128x128 block; nothing: the first for all",
        ),
    ),
    source="of this format: payload kind 0, in the first access unit",
)


def read_values(body: bytes) -> Values:
    """The header's fields by name, for listings."""
    if body and body[0] > FORMAT_VERSION:
        raise UnsupportedStream(
            f"format version {body[0]} is newer than {FORMAT_VERSION}, which is the last one known here"
        )
    reader = BitReader(body)
    values = STREAM_HEADER.read(reader)
    if reader.remaining:
        raise DamagedStream("the stream header is too long")
    return values


def _values(header: StreamHeader) -> Values:
    source, picture = header.source, header.source.picture
    quarters = header.scale * SCALE_DENOMINATOR
    if quarters.denominator != 1:
        raise ValueError(f"scale {header.scale} is not in quarters")
    return {
        "format_version": FORMAT_VERSION,
        "pipeline": int(header.pipeline),
        "width_minus1": picture.width - 1,
        "height_minus1": picture.height - 1,
        "bit_depth_minus8": picture.bit_depth - 8,
        "chroma_format_idc": int(picture.chroma),
        "matrix_coefficients": int(picture.matrix),
        "full_range_flag": int(picture.full_range),
        "chroma_sample_loc_type": int(picture.siting),
        "still_flag": int(source.still),
        "fps_num": source.fps.numerator,
        "fps_den": source.fps.denominator,
        "frames_plus1": 0 if source.frames is None else source.frames + 1,
        "scale_quarters_minus1": quarters.numerator - 1,
        "num_models": len(header.models),
        "models": [
            {"model_number": m.number, "model_digest": int.from_bytes(m.digest)} for m in header.models
        ],
        "block_map": header.block_map,
    }


def _header(values: Values) -> StreamHeader:
    try:
        pipeline = Pipeline(values["pipeline"])
        matrix = Matrix(values["matrix_coefficients"])
        siting = ChromaSiting(values["chroma_sample_loc_type"])
    except ValueError as error:
        raise UnsupportedStream(f"the stream header asks for what is not known here: {error}") from error
    try:
        picture = PictureFormat(
            width=values["width_minus1"] + 1,
            height=values["height_minus1"] + 1,
            bit_depth=values["bit_depth_minus8"] + 8,
            chroma=Chroma(values["chroma_format_idc"]),
            matrix=matrix,
            full_range=bool(values["full_range_flag"]),
            siting=siting,
        )
    except InputError as error:
        raise LimitExceeded(f"the stream header: {error}") from error
    still = bool(values["still_flag"])
    frames = 1 if still else values["frames_plus1"] - 1
    source = VideoFormat(
        picture, Fraction(values["fps_num"], values["fps_den"]), None if frames < 0 else frames, still
    )
    models = tuple(
        ModelReference(m["model_number"], m["model_digest"].to_bytes(MODEL_DIGEST_BYTES))
        for m in values["models"]
    )
    scale = Fraction(values["scale_quarters_minus1"] + 1, SCALE_DENOMINATOR)
    return StreamHeader(pipeline, source, scale, models, values["block_map"] if still else b"")
