"""Headerless planar video: everything about it comes from the caller."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from nnvvc.errors import ConfigError, InputError
from nnvvc.media.y4m import Y4mHeader, picture_from_bytes
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat

_PIX_FMT = re.compile(r"(yuvj?420p|yuv422p|yuv444p|gray)(?:(\d+)le)?")


def raw_header(size: str, pix_fmt: str, fps: Fraction) -> Y4mHeader:
    """The description of a raw file from FFmpeg's names: size `416x240`, pix_fmt `yuv420p10le`.

    Raises ConfigError for what is not understood.
    """
    dimensions = re.fullmatch(r"(\d+)x(\d+)", size)
    if dimensions is None:
        raise ConfigError(f"--size {size!r} is not WIDTHxHEIGHT, such as 416x240")
    match = _PIX_FMT.fullmatch(pix_fmt)
    if match is None:
        raise ConfigError(
            f"--pix-fmt {pix_fmt!r} is not read: use yuv420p, yuv422p, yuv444p, gray or yuv420p10le"
        )
    kind = match[1]
    fmt = PictureFormat(
        int(dimensions[1]),
        int(dimensions[2]),
        int(match[2] or 8),
        Chroma.C400 if kind == "gray" else Chroma.C420,
        full_range="j" in kind,
    )
    subsampling = {"yuv422p": (2, 1), "yuv444p": (1, 1)}.get(kind, (2, 2))
    return Y4mHeader(VideoFormat(fmt, fps), subsampling)


def read_frames(file: BinaryIO, header: Y4mHeader) -> Iterator[Picture]:
    """Frames until the end of the file. Raises InputError where it ends inside a frame."""
    fmt, shapes = header.video.picture, header.plane_shapes
    size = sum(h * w for h, w in shapes) * (1 if fmt.bit_depth == 8 else 2)
    count = 0
    while data := file.read(size):
        if len(data) != size:
            raise InputError(
                f"the raw file ends inside frame {count}: are --size and --pix-fmt right? "
                f"({size} bytes a frame, {len(data)} left over)"
            )
        yield picture_from_bytes(data, fmt, shapes)
        count += 1
