"""What every VVC encoder and decoder looks like from here."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np

from nnvvc.ahead import ahead
from nnvvc.errors import ConfigError, ToolFailed
from nnvvc.files import output_error, read_chunks
from nnvvc.picture import Chroma, Picture, PictureFormat
from nnvvc.process import ChildProcess

Gop = Literal["ra", "ra-closed", "ld", "ai"]
GOPS: tuple[Gop, ...] = ("ra", "ra-closed", "ld", "ai")

PRESETS = ("faster", "fast", "medium", "slow", "slower")

CODED_BIT_DEPTH = 10
"""The depth of every VVC picture that is written here; sources of 8 bits are shifted up."""

MIN_CODED_SIZE = 32
"""VVenC refuses smaller pictures in some shapes; they are padded to this."""

DECODER_MEMORY = 1400 << 20
"""Default limit, in bytes, on the address space of a decoder process."""

DECODER_STALL_SECONDS = 9.0
ENCODER_STALL_SECONDS = 1800.0
_PICTURES_AHEAD = 4
_MARKER = b"FRAME\n"
"""Before each frame of a y4m file."""


@dataclass(frozen=True, slots=True)
class VvcSettings:
    """What an encoder is asked for; it means the same for each of them.

    qp: 0 to 63. preset: VVenC's names; VTM has none. intra_period: pictures from one key picture to the
    next, 0 for only the first. gop: random access with open groups (CRA) or closed ones (IDR), low delay, or
    all intra. params: further parameters of the encoder, by its own names; they win over the ones set here.
    """

    qp: int = 32
    preset: str = "medium"
    intra_period: int = 32
    gop: Gop = "ra"
    threads: int = 2
    params: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ConfigError for values out of range."""
        if not 0 <= self.qp <= 63:
            raise ConfigError(f"--qp {self.qp} is not between 0 and 63")
        if self.preset not in PRESETS:
            raise ConfigError(f"--preset {self.preset} is not one of {', '.join(PRESETS)}")
        if self.gop not in GOPS:
            raise ConfigError(f"--gop {self.gop} is not one of {', '.join(GOPS)}")
        if not 0 <= self.intra_period <= 1024:
            raise ConfigError(f"--intra-period {self.intra_period} is not between 0 and 1024")
        if self.threads < 1:
            raise ConfigError("--threads must be 1 or more")


@dataclass(frozen=True, slots=True)
class CodedFormat:
    """What the active SPS says. ctu_size: luma samples, 32 to 128."""

    picture: PictureFormat
    ctu_size: int = 128

    @property
    def one_ctu_wide(self) -> bool:
        return self.picture.width <= self.ctu_size


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """threads: of the decoder. memory_bytes: limit on its address space. conceal: go on after damage."""

    threads: int = 2
    memory_bytes: int = DECODER_MEMORY
    conceal: bool = False


class VvcEncoder(Protocol):
    """An encoder of 10-bit 4:2:0 pictures.

    `encode` raises ToolMissing, ToolFailed or ToolTimeout, and what `frames` raises. All frames have the
    format given, which is one that `coded_format` returned.
    """

    name: str

    def version(self) -> str:
        """Raises ToolMissing where the tool is not there."""

    def encode(
        self, frames: Iterable[Picture], fmt: PictureFormat, fps: Fraction, settings: VvcSettings
    ) -> Iterator[bytes]:
        """The Annex B stream, in pieces as they come."""

    def command(self, fmt: PictureFormat, fps: Fraction, settings: VvcSettings) -> list[str]:
        """The command line, for records of how a stream was made."""


class VvcDecoder(Protocol):
    """A decoder to pictures as VVC holds them: cropped to the conformance window, at the coded depth."""

    name: str

    def version(self) -> str:
        """Raises ToolMissing where the tool is not there."""

    def decode(
        self, chunks: Iterable[bytes], coded: CodedFormat, settings: DecoderSettings
    ) -> Iterator[Picture]:
        """The pictures in output order. Raises ToolMissing, ToolFailed or ToolTimeout."""


def coded_format(source: PictureFormat) -> PictureFormat:
    """The format under which pictures of `source` are given to an encoder.

    10 bits, 4:2:0, sides even (VVC crops in units of chroma samples) and not below MIN_CODED_SIZE.
    """
    return PictureFormat(
        max(MIN_CODED_SIZE, source.width + source.width % 2),
        max(MIN_CODED_SIZE, source.height + source.height % 2),
        CODED_BIT_DEPTH,
        Chroma.C420,
        source.matrix,
        source.full_range,
        source.siting,
    )


def to_coded(picture: Picture, coded: PictureFormat) -> Picture:
    """A source picture in its `coded_format`: depth and chroma converted, padded by edge replication."""
    return pad(picture.with_chroma(Chroma.C420).with_bit_depth(coded.bit_depth), coded.width, coded.height)


def from_coded(picture: Picture, source: PictureFormat) -> Picture:
    """The inverse of `to_coded`: cropped, rounded to the source's depth, chroma dropped if there was none."""
    cropped = crop(picture, source.width, source.height).with_bit_depth(source.bit_depth)
    return Picture(cropped.with_chroma(source.chroma).planes, source)


def pad(picture: Picture, width: int, height: int) -> Picture:
    """Enlarge by edge replication to the right and below."""
    if (picture.format.width, picture.format.height) == (width, height):
        return picture
    fmt = _resized(picture.format, width, height)
    planes = tuple(
        np.pad(plane, ((0, h - plane.shape[0]), (0, w - plane.shape[1])), mode="edge")
        for plane, (h, w) in zip(picture.planes, fmt.plane_shapes, strict=True)
    )
    return Picture(planes, fmt)


def crop(picture: Picture, width: int, height: int) -> Picture:
    """Keep the upper left part."""
    if (picture.format.width, picture.format.height) == (width, height):
        return picture
    fmt = _resized(picture.format, width, height)
    planes = tuple(
        np.ascontiguousarray(plane[:h, :w])
        for plane, (h, w) in zip(picture.planes, fmt.plane_shapes, strict=True)
    )
    return Picture(planes, fmt)


def _resized(fmt: PictureFormat, width: int, height: int) -> PictureFormat:
    return PictureFormat(width, height, fmt.bit_depth, fmt.chroma, fmt.matrix, fmt.full_range, fmt.siting)


def pix_fmt(fmt: PictureFormat) -> str:
    """FFmpeg's name for planar pictures of this format."""
    kind = "gray" if fmt.chroma is Chroma.C400 else "yuv420p"
    return kind if fmt.bit_depth == 8 else f"{kind}{fmt.bit_depth}le"


def pictures_from(blocks: Iterable[memoryview], fmt: PictureFormat) -> Iterator[Picture]:
    """Raw blocks of `fmt.samples` samples as pictures."""
    for block in blocks:
        yield Picture.frombytes(block, fmt)


def block_bytes(fmt: PictureFormat) -> int:
    """Bytes of a raw picture."""
    return fmt.samples * (1 if fmt.bit_depth == 8 else 2)


def decode_by(
    command: list[str],
    name: str,
    chunks: Iterable[bytes],
    fmt: PictureFormat,
    settings: DecoderSettings,
    folder: Path | None = None,
    y4m: bool = False,
) -> Iterator[Picture]:
    """The pictures that a decoder writes to standard output while it is fed. Raises ToolError.

    y4m: they come with a header line and markers, else as samples alone.
    """
    with ChildProcess(
        command,
        name=name,
        stall_seconds=DECODER_STALL_SECONDS,
        memory_bytes=settings.memory_bytes,
        cwd=folder,
    ) as child:
        child.feed(chunks)
        if y4m:
            child.read_line()
            samples = _unmarked(child.read_blocks(len(_MARKER) + block_bytes(fmt)), name)
        else:
            samples = child.read_blocks(block_bytes(fmt))
        # A pipe holds less than a picture: without this the decoder waits while a picture is used.
        with closing(ahead(samples, _PICTURES_AHEAD)) as blocks:
            yield from pictures_from(blocks, fmt)
        child.finish()


def _unmarked(blocks: Iterable[memoryview], name: str) -> Iterator[memoryview]:
    """The samples behind the markers. Raises ToolFailed where a marker is missing."""
    for block in blocks:
        if block[: len(_MARKER)] != _MARKER:
            raise ToolFailed(f"{name} gave pictures of another format than the stream's first")
        yield block[len(_MARKER) :]


def run_to_end(
    command: list[str],
    name: str,
    folder: Path,
    *,
    chunks: Iterable[bytes] = (),
    stall_seconds: float = ENCODER_STALL_SECONDS,
    memory_bytes: int | None = None,
) -> None:
    """Run a tool that works on files in `folder`, or reads `chunks`. Raises ToolError."""
    with ChildProcess(
        command, name=name, stall_seconds=stall_seconds, memory_bytes=memory_bytes, cwd=folder
    ) as child:
        child.feed(chunks)
        for _ in child.read():
            pass
        child.finish()


def file_chunks(path: Path) -> Iterator[bytes]:
    """What a tool wrote, in pieces."""
    with path.open("rb") as file:
        yield from read_chunks(file)


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for tools that need files. Raises OutputError where the disk is full or not writable."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="nnvvc-")
    except OSError as error:
        raise output_error(tempfile.gettempdir(), error) from error
    with folder as name:
        yield Path(name)


def spool(chunks: Iterable[bytes], path: Path) -> None:
    """Write all chunks to a file. Raises OutputError."""
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise output_error(path, error) from error


def read_blocks(file: BinaryIO, size: int, name: str) -> Iterator[memoryview]:
    """A file in blocks of `size` bytes. Raises ToolFailed where a rest is left."""
    while block := file.read(size):
        if len(block) != size:
            raise ToolFailed(f"{name} wrote part of a picture")
        yield memoryview(block)
