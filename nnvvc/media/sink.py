"""One way to write pictures: the ending of the name decides."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from nnvvc.errors import ConfigError, OutputError
from nnvvc.files import STANDARD_STREAM, atomic_output, atomic_path, output_error
from nnvvc.media import pictures, y4m
from nnvvc.picture import Picture, VideoFormat


class _Writer(Protocol):
    def write(self, picture: Picture) -> None: ...


class Sink:
    """An open output. It appears under its name only when the block ends without an exception."""

    def __init__(self, name: str, writer: _Writer, stack: ExitStack) -> None:
        self.name = name
        self._writer = writer
        self._stack = stack

    def write(self, picture: Picture) -> None:
        """Append a picture. Raises OutputError where it cannot be written."""
        try:
            self._writer.write(picture)
        except OSError as error:
            raise output_error(self.name, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def open_sink(path: str | os.PathLike[str], video: VideoFormat) -> Sink:
    """Open .y4m, .yuv, .png, a numbered .png pattern, .mkv or .mp4 (both lossless) for writing.

    `-` is y4m on standard output. Raises OutputError where the file cannot be written, ConfigError for an
    unknown ending.
    """
    name = os.fspath(path)
    ending = Path(name).suffix.lower()
    # Where opening fails half-way, what was opened is undone.
    with ExitStack() as stack:
        writer: _Writer
        if name == STANDARD_STREAM or ending == ".y4m":
            file = stack.enter_context(atomic_output(name))
            file.write(y4m.write_header(video))
            writer = _Y4mWriter(file)
        elif ending == ".yuv":
            writer = _RawWriter(stack.enter_context(atomic_output(name)))
        elif ending == ".png":
            writer = _PngWriter(name, stack)
        elif ending in (".mkv", ".mp4"):
            writer = _container(Path(name), video, stack)
        else:
            raise ConfigError(
                f"{name}: decoded pictures go into .y4m, .yuv, .png, frame_%05d.png, .mkv or .mp4"
            )
        return Sink(name, writer, stack.pop_all())


def _container(path: Path, video: VideoFormat, stack: ExitStack) -> _Writer:
    from nnvvc.media.container import ContainerWriter

    temporary = stack.enter_context(atomic_path(path))
    writer = ContainerWriter(temporary, video)

    def close(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            writer.close()
        else:
            writer.abort()

    stack.push(close)
    return writer


class _Y4mWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, picture: Picture) -> None:
        y4m.write_frame(self._file, picture)


class _RawWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, picture: Picture) -> None:
        for plane in picture.raw_planes():
            self._file.write(plane.data)


class _PngWriter:
    def __init__(self, name: str, stack: ExitStack) -> None:
        self._name = name
        self._numbered = pictures.is_pattern(name)
        self._written: list[Path] = []
        stack.push(self._close)

    def write(self, picture: Picture) -> None:
        if self._written and not self._numbered:
            raise OutputError(f"{self._name} holds one picture: write a video to frame_%05d.png or .y4m")
        number = len(self._written) + 1
        path = pictures.pattern_path(self._name, number) if self._numbered else Path(self._name)
        pictures.write_png(path, picture)
        self._written.append(path)

    def _close(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            # Part of a sequence is a half-written output.
            for path in self._written:
                path.unlink(missing_ok=True)
