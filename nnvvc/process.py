"""Child processes on a short lead: fed and read as streams, limited in time and memory, never left behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from nnvvc.errors import ToolFailed, ToolMissing, ToolTimeout

_PIPE_BYTES = 1 << 20
_STDERR_TAIL = 4096

OUTPUT_FD = "{output_fd}"
"""In an argument: the number of a pipe for the output, for tools that also print to standard output."""


class ChildProcess:
    """One run of a tool: standard input fed from an iterable, standard output read as a stream.

    name: what messages call the tool. stall_seconds: the tool is stopped when it has neither taken input nor
    given output for that long. memory_bytes: limit on its address space where the system has one (Linux).
    Use as a context manager: on leaving the block the child is ended whatever happened.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        name: str,
        stall_seconds: float = 60.0,
        memory_bytes: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self._stall_seconds = stall_seconds
        self._memory_bytes = memory_bytes
        self._feeder: threading.Thread | None = None
        self._feed_error: BaseException | None = None
        self._closing = False
        self._progress = 0
        self._awaiting_input = False
        self._stderr = b""
        read_fd, write_fd = os.pipe()
        arguments = [os.fspath(a) for a in argv]
        own_pipe = any(OUTPUT_FD in a for a in arguments)
        try:
            self._process = subprocess.Popen(
                [a.replace(OUTPUT_FD, str(write_fd)) for a in arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if own_pipe else write_fd,
                stderr=subprocess.PIPE,
                cwd=cwd,
                pass_fds=(write_fd,) if own_pipe else (),
                # Its own group: Ctrl-C in the terminal reaches us alone, and we end the child.
                start_new_session=True,
            )
        except OSError as error:
            os.close(read_fd)
            raise ToolMissing(
                f"{name} cannot be started ({error.strerror}): `nnvvc doctor` shows what is there"
            ) from error
        finally:
            os.close(write_fd)
        output = os.fdopen(read_fd, "rb", buffering=0)
        if memory_bytes is not None:
            _limit_memory(self._process.pid, memory_bytes)
        assert self._process.stdin and self._process.stderr
        _enlarge_pipe(self._process.stdin)
        _enlarge_pipe(output)
        self._output = output
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)
        self._listener = threading.Thread(
            target=self._drain_stderr, args=(self._process.stderr,), daemon=True
        )
        self._listener.start()

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Start writing `chunks` to the child in the background; its input is closed after the last one.

        An exception raised by the iterable is raised again by `read` or `finish`.
        """
        self._feeder = threading.Thread(target=self._feed, args=(chunks,), daemon=True)
        self._feeder.start()

    def read(self) -> Iterator[bytes]:
        """The output in pieces as they come.

        Raises ToolTimeout where the child stalls, and what the feeding iterable raised. Does not look at the
        exit status: `finish` does.
        """
        while self._wait_for_output() and (chunk := os.read(self._output.fileno(), _PIPE_BYTES)):
            yield chunk
        self._raise_feed_error()

    def read_blocks(self, size: int) -> Iterator[memoryview]:
        """The output in blocks of exactly `size` bytes; a rest at the end raises ToolFailed."""
        while True:
            # A new one each time: the block handed on is its receiver's.
            block = np.empty(size, np.uint8).data
            have = 0
            while have < size:
                self._wait_for_output()
                count = os.readv(self._output.fileno(), [block[have:]])
                if not count:
                    self._raise_feed_error()
                    if have:
                        raise ToolFailed(f"{self.name} ended inside a picture{self._reason()}")
                    return
                have += count
            yield block

    def read_line(self) -> bytes:
        """A short first line of the output, without its end; less where the output ends before."""
        line = b""
        while self._wait_for_output() and (byte := os.read(self._output.fileno(), 1)) not in (b"", b"\n"):
            line += byte
        self._raise_feed_error()
        return line

    def finish(self) -> None:
        """Wait for the end. Raises ToolFailed for a status other than 0, with the tool's own last words."""
        if self._feeder is not None:
            self._feeder.join(self._stall_seconds)
        self._raise_feed_error()
        try:
            status = self._process.wait(self._stall_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ToolTimeout(f"{self.name} did not end and was stopped") from None
        self._listener.join(1.0)
        if status != 0:
            raise ToolFailed(f"{self.name} {_describe(status)}{self._reason()}")

    @property
    def messages(self) -> str:
        """The last kilobytes of what the child wrote to standard error."""
        return self._stderr.decode("utf-8", "replace")

    def kill(self) -> None:
        """End the child and everything it started, at once."""
        self._closing = True
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        # The output is closed with the last one who reads it, who may be another thread.
        if self._feeder is not None:
            self._feeder.join(5.0)
        self._listener.join(1.0)

    def _wait_for_output(self) -> bool:
        """Until there is output, or its end. Raises ToolTimeout, and what the feeding iterable raised."""
        progress, waited, step = self._progress, 0.0, min(1.0, self._stall_seconds)
        while not self._poll.poll(1000 * step):
            self._raise_feed_error()
            # A child that waits for our input does not stall.
            idle = self._progress == progress and not self._awaiting_input
            waited = waited + step if idle else 0.0
            progress = self._progress
            if waited >= self._stall_seconds:
                self.kill()
                raise ToolTimeout(
                    f"{self.name} made no progress for {self._stall_seconds:.0f} s and was stopped"
                )
        return True

    def _raise_feed_error(self) -> None:
        if self._feed_error is not None:
            raise self._feed_error

    def _reason(self) -> str:
        lines = [line.strip() for line in self.messages.splitlines() if line.strip()]
        if self._memory_bytes is not None and any("memory" in line.lower() for line in lines):
            limit = self._memory_bytes >> 20
            return f": it ran out of its memory limit of {limit} MiB (--memory-limit raises it)"
        return f": {' | '.join(lines[-3:])}" if lines else ""

    def _feed(self, chunks: Iterable[bytes]) -> None:
        assert self._process.stdin is not None
        try:
            iterator = iter(chunks)
            while not self._closing:
                self._awaiting_input = True
                chunk = next(iterator, None)
                self._awaiting_input = False
                if chunk is None or not self._write(chunk):
                    break
        except BaseException as error:
            self._feed_error = error
        finally:
            self._awaiting_input = False
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            if self._feed_error is not None:
                # Without its whole input the child's output is worth nothing.
                self.kill()

    def _write(self, chunk: bytes) -> bool:
        """Whether the child took it; one that went away does not, and its exit status tells why."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            view = memoryview(chunk)
            for start in range(0, len(view), _PIPE_BYTES):
                stdin.write(view[start : start + _PIPE_BYTES])
                self._progress += 1
            stdin.flush()
        except OSError:
            return False
        return True

    def _drain_stderr(self, pipe: IO[bytes]) -> None:
        try:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                self._stderr = (self._stderr + chunk)[-_STDERR_TAIL:]
        except (OSError, ValueError):
            pass
        finally:
            pipe.close()


def run_tool(argv: Sequence[str | os.PathLike[str]], *, name: str, timeout: float = 20.0) -> str:
    """Run a tool that prints a little and ends; its output and messages together.

    Raises ToolMissing, ToolTimeout. The exit status is ignored: many tools print their version and fail.
    """
    try:
        done = subprocess.run(
            [os.fspath(a) for a in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise ToolMissing(f"{name} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolTimeout(f"{name} did not answer within {timeout:.0f} s") from error
    return done.stdout.decode("utf-8", "replace")


def _describe(status: int) -> str:
    if status >= 0:
        return f"failed with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _limit_memory(pid: int, limit: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))


def _enlarge_pipe(pipe: IO[bytes]) -> None:
    if sys.platform != "linux":
        return
    import fcntl

    # Above the system's limit the default size works too.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
