"""Output files that are whole or not there: written under a temporary name and renamed at the end."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nnvvc.errors import InputError, OutputError

STANDARD_STREAM = "-"
"""The file name that means standard input or standard output."""


def output_error(path: object, error: OSError) -> OutputError:
    """The typed error for an OSError met while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"no room left on the disk for {path}: free some, or choose another folder")
    return OutputError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, remove it on any exception.

    The temporary name keeps the ending of `path`, which tells some writers their format.
    Raises OutputError where the folder is missing, cannot be written, or is full.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: give a file name")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise output_error(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the finished one gets the rights any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file for writing that appears as `path` only when the block ends without an exception.

    `-` is standard output. Raises OutputError as `atomic_path` does, for write errors inside the block too.
    """
    if os.fspath(path) == STANDARD_STREAM:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            # Nothing more can be written, what is buffered and flushed at exit neither.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise OutputError("the reader of standard output went away") from error
            raise output_error("standard output", error) from error
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def open_input(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file for reading; `-` is standard input. Raises InputError where it cannot be opened."""
    if os.fspath(path) == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 (closed below; errors of the block are not ours)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    with file:
        yield file


class Counted:
    """Hands on pieces of bytes; `bytes` is how many went by so far."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.bytes = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.bytes += len(chunk)
            yield chunk


def read_chunks(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """The rest of a file in pieces of at most `size` bytes. Raises InputError where reading fails."""
    while True:
        try:
            chunk = file.read(size)
        except OSError as error:
            raise InputError(f"reading failed: {error.strerror or error}") from error
        if not chunk:
            return
        yield chunk
