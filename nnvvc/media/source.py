"""One way to open anything that holds pictures."""

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from nnvvc.errors import ConfigError, InputError
from nnvvc.files import STANDARD_STREAM
from nnvvc.media import pictures, raw, y4m
from nnvvc.picture import Picture, VideoFormat


class _Closable(Protocol):
    def close(self) -> None: ...


class Source:
    """An open input: iterate once for its pictures, all of `format.picture`, one in memory at a time.

    format: size, depth, chroma, matrix, range, rate, and the number of frames where the input tells.
    notes: what a user should know about how the input is read (conversions), one line each.
    """

    def __init__(
        self,
        name: str,
        video: VideoFormat,
        frames: Iterator[Picture],
        close: tuple[_Closable, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.format = video
        self.notes = notes
        self._frames = frames
        self._close = close

    def __iter__(self) -> Iterator[Picture]:
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for item in self._close:
            item.close()


def open_source(
    path: str | os.PathLike[str],
    *,
    size: str | None = None,
    pix_fmt: str | None = None,
    fps: Fraction | None = None,
) -> Source:
    """Open y4m, raw yuv (give size and pix_fmt), a picture, a numbered sequence, or any container.

    `-` is standard input. fps replaces the rate that the input states. Raises InputError for what is missing,
    empty, damaged or of an unknown type, ConfigError for raw video without its size.
    """
    name = os.fspath(path)
    pix_fmt = pix_fmt or "yuv420p"
    if name == STANDARD_STREAM:
        return _from_file(name, sys.stdin.buffer, size, pix_fmt, fps, owned=False)
    if pictures.is_pattern(name) and not Path(name).exists():
        paths = pictures.sequence_paths(name)
        pictures_read = pictures.read_sequence(paths)
        first = next(pictures_read)
        video = VideoFormat(first.format, fps or Fraction(30), len(paths))
        return Source(name, video, itertools.chain([first], pictures_read))
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (the source closes it)
        magic = file.read(16)
        file.seek(0)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error
    if not magic:
        file.close()
        raise InputError(f"{name} is empty")
    ending = Path(name).suffix.lower()
    if magic.startswith(y4m.MAGIC) or ending == ".yuv" or size is not None:
        return _from_file(name, file, size, pix_fmt, fps, owned=True)
    file.close()
    if magic.startswith((b"\x89PNG", b"\xff\xd8\xff")) or ending in pictures.ENDINGS:
        picture = pictures.read_picture(Path(name))
        video = VideoFormat(picture.format, fps or Fraction(1), frames=1, still=True)
        return Source(name, video, iter([picture]))
    from nnvvc.media.container import ContainerReader

    reader = ContainerReader(name)
    notes = (f"{name}: {reader.converted} is converted to 4:2:0",) if reader.converted else ()
    video = replace(reader.format, fps=fps) if fps else reader.format
    return Source(name, video, reader.frames(), (reader,), notes)


def _from_file(
    name: str, file: BinaryIO, size: str | None, pix_fmt: str, fps: Fraction | None, *, owned: bool
) -> Source:
    closing = (file,) if owned else ()
    try:
        if size is not None:
            header = raw.raw_header(size, pix_fmt, fps or Fraction(30))
            frames = raw.read_frames(file, header)
        elif name.lower().endswith(".yuv"):
            raise ConfigError(f"{name} is raw video: give --size, such as --size 416x240, and --pix-fmt")
        else:
            header = y4m.read_header(file)
            frames = y4m.read_frames(file, header)
    except BaseException:
        if owned:
            file.close()
        raise
    notes = (f"{name}: {header.converted} is converted to 4:2:0",) if header.converted else ()
    video = replace(header.video, fps=fps) if fps else header.video
    if owned:
        video = replace(video, frames=_count_frames(name, header, raw_video=size is not None))
    return Source(name, video, frames, closing, notes)


def _count_frames(name: str, header: y4m.Y4mHeader, *, raw_video: bool) -> int | None:
    """Frames by the file's size; y4m frame lines may differ in length, so there it is the usual case only."""
    samples = sum(h * w for h, w in header.plane_shapes)
    frame = samples * (1 if header.video.picture.bit_depth == 8 else 2)
    size = Path(name).stat().st_size
    return size // frame if raw_video else max(0, size - 10) // (frame + len(y4m.FRAME)) or None
