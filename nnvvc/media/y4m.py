"""YUV4MPEG2: the header, and frames one after the other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from nnvvc.errors import InputError
from nnvvc.media.colour import subsample_chroma
from nnvvc.picture import Chroma, ChromaSiting, Picture, PictureFormat, Plane, VideoFormat

MAGIC = b"YUV4MPEG2"
FRAME = b"FRAME\n"
_MAX_LINE = 512

_SITING = {
    "420jpeg": ChromaSiting.CENTER,
    "420mpeg2": ChromaSiting.LEFT,
    "420paldv": ChromaSiting.TOP_LEFT,
    "420": ChromaSiting.UNSPECIFIED,
}
_TAG = {siting: tag for tag, siting in _SITING.items()}
_COLOUR = re.compile(r"(mono|420jpeg|420mpeg2|420paldv|420|422|444)p?(\d+)?")


@dataclass(frozen=True, slots=True)
class Y4mHeader:
    """What the first line says. subsampling: (across, down) of chroma in the file, before conversion."""

    video: VideoFormat
    subsampling: tuple[int, int]

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        fmt = self.video.picture
        luma = (fmt.height, fmt.width)
        if fmt.chroma is Chroma.C400:
            return (luma,)
        across, down = self.subsampling
        chroma = (-(-fmt.height // down), -(-fmt.width // across))
        return (luma, chroma, chroma)

    @property
    def converted(self) -> str | None:
        """The chroma format that is converted to 4:2:0, if it is another one."""
        return {(2, 2): None, (2, 1): "4:2:2", (1, 1): "4:4:4"}[self.subsampling]


def read_header(file: BinaryIO) -> Y4mHeader:
    """Read the stream header line. Raises InputError for what is not YUV4MPEG2 or not supported."""
    line = _read_line(file)
    if not line.startswith(MAGIC):
        raise InputError("not a YUV4MPEG2 file: it does not start with that word")
    width = height = 0
    fps = Fraction(30)
    colour, full_range = "420", False
    for token in line[len(MAGIC) :].decode("ascii", "replace").split():
        tag, value = token[0], token[1:]
        try:
            if tag == "W":
                width = int(value)
            elif tag == "H":
                height = int(value)
            elif tag == "F":
                numerator, denominator = (int(v) for v in value.split(":"))
                fps = Fraction(numerator, denominator) if numerator > 0 and denominator > 0 else Fraction(30)
            elif tag == "C":
                colour = value
            elif tag == "X" and value.startswith("COLORRANGE="):
                full_range = value.endswith("FULL")
            elif tag == "I" and value not in ("p", "?", "t", "b", "m"):
                raise InputError(f"y4m: interlacing {value!r} is not known")
        except ValueError:
            raise InputError(f"y4m header: {token!r} is not understood") from None
    match = _COLOUR.fullmatch(colour)
    if match is None:
        raise InputError(f"y4m colour space {colour!r} is not read: use 4:2:0, 4:2:2, 4:4:4 or mono")
    kind, depth = match[1], int(match[2] or 8)
    fmt = PictureFormat(
        width,
        height,
        depth,
        Chroma.C400 if kind == "mono" else Chroma.C420,
        full_range=full_range,
        siting=_SITING.get(kind, ChromaSiting.UNSPECIFIED),
    )
    subsampling = {"422": (2, 1), "444": (1, 1)}.get(kind, (2, 2))
    return Y4mHeader(VideoFormat(fmt, fps), subsampling)


def read_frames(file: BinaryIO, header: Y4mHeader) -> Iterator[Picture]:
    """The frames of a file whose header was read. Raises InputError where it ends inside a frame."""
    fmt = header.video.picture
    width = 1 if fmt.bit_depth == 8 else 2
    shapes = header.plane_shapes
    size = sum(h * w for h, w in shapes) * width
    count = 0
    while line := _read_line(file, at_end_ok=True):
        if not line.startswith(b"FRAME"):
            raise InputError(f"y4m: frame {count} does not start with FRAME: the file is damaged")
        data = file.read(size)
        if len(data) != size:
            raise InputError(f"y4m: the file ends inside frame {count}")
        yield picture_from_bytes(data, fmt, shapes)
        count += 1


def picture_from_bytes(data: bytes, fmt: PictureFormat, shapes: tuple[tuple[int, int], ...]) -> Picture:
    """A 4:2:0 or 4:0:0 picture of planar samples whose planes have `shapes`, subsampled where needed."""
    if shapes == fmt.plane_shapes:
        return Picture.frombytes(data, fmt)
    samples = np.frombuffer(data, "u1" if fmt.bit_depth == 8 else "<u2").astype(np.uint16)
    planes: list[Plane] = []
    start = 0
    for height, width in shapes:
        planes.append(samples[start : start + height * width].reshape(height, width))
        start += height * width
    return subsample_chroma((planes[0], planes[1], planes[2]), fmt)


def write_header(video: VideoFormat) -> bytes:
    """The header line for pictures of this format."""
    fmt = video.picture
    if fmt.chroma is Chroma.C400:
        colour = "mono" if fmt.bit_depth == 8 else f"mono{fmt.bit_depth}"
    elif fmt.bit_depth == 8:
        # A bare 420 means centre siting to many readers; video without a tag is left-sited.
        colour = _TAG[fmt.siting] if fmt.siting is not ChromaSiting.UNSPECIFIED else "420mpeg2"
    else:
        colour = f"420p{fmt.bit_depth}"
    span = "FULL" if fmt.full_range else "LIMITED"
    fps = f"{video.fps.numerator}:{video.fps.denominator}"
    return f"YUV4MPEG2 W{fmt.width} H{fmt.height} F{fps} Ip A1:1 C{colour} XCOLORRANGE={span}\n".encode()


def write_frame(file: BinaryIO, picture: Picture) -> None:
    """One frame with its marker line."""
    file.write(FRAME)
    for plane in picture.raw_planes():
        file.write(plane.data)


def _read_line(file: BinaryIO, at_end_ok: bool = False) -> bytes:
    line = file.readline(_MAX_LINE)
    if not line and at_end_ok:
        return b""
    if not line.endswith(b"\n"):
        raise InputError("y4m: a header line is cut off or too long: the file is damaged or of another type")
    return line[:-1]
