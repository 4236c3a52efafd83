"""Commands of a measurement: run in the folder of their files, timed, their memory seen, their words kept."""

import contextlib
import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from nnvvc.errors import ToolFailed, ToolMissing
from nnvvc.process import run_tool

FFMPEG = "ffmpeg"
NNVVC = "nnvvc"
_SAMPLE_SECONDS = 0.01
TOOL_VERSIONS: dict[str, dict[str, str]] = {}
"""Found so far. Workers are given the main process's: a file edited meanwhile must not split a run."""
_NO_STREAMS = ("evaluation", "training", "scale")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a step took: wall-clock and processor seconds, and the largest resident set of any one process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
        )

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def run(argv: Sequence[str], folder: Path) -> Usage:
    """Run one command line in `folder`. `ffmpeg` is imageio-ffmpeg's binary, `nnvvc` this package.

    Raises ToolMissing, and ToolFailed with the tool's last words for a status other than 0.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as messages:
        with _watched(own=argv[0] == NNVVC) as usage:
            status = (_run_here if argv[0] == NNVVC else _run_child)(argv, folder, messages)
        if status:
            messages.seek(0)
            lines = messages.read().strip().splitlines()[-3:]
            raise ToolFailed(f"{' '.join(argv)} ended with status {status}: {' | '.join(lines)}")
    return usage[0]


def _run_child(argv: Sequence[str], folder: Path, messages: TextIO) -> int:
    program = tool_path(argv[0])
    # Configuration files lie beside the binaries of VTM; command lines name them without the folder.
    words = [str(Path(os.environ["NNVVC_VTM"], w).resolve()) if w.startswith("cfg/") else w for w in argv[1:]]
    try:
        return subprocess.run(
            [program, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    except OSError as error:
        raise ToolMissing(f"{argv[0]} cannot be started: {error.strerror}") from error


def _run_here(argv: Sequence[str], folder: Path, messages: TextIO) -> int:
    """An nnvvc command, in this process: models are loaded once, as a user of the library does."""
    from nnvvc.cli.main import main

    here = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(messages):
            return int(main(list(argv[1:])))
    except SystemExit as error:
        # argparse ends the program over an option that it does not know.
        return int(error.code or 0)
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _watched(own: bool) -> Iterator[list[Usage]]:
    """Measures the children of this process during the block, and itself where `own`.

    The result is in the list afterwards. Memory is read while they run: the status of
    a child that ended counts the memory of its parent too.
    """
    if own:
        # Resets the high-water mark of the resident set (Linux, proc(5)).
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    result: list[Usage] = []
    peak = [0]
    stop = threading.Event()
    watcher = threading.Thread(target=_watch_children, args=(stop, peak), daemon=True)
    watcher.start()
    start, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield result
    finally:
        seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
        stop.set()
        watcher.join()
        result.append(Usage(seconds, cpu, max(peak[0], _peak_bytes(os.getpid()) if own else 0)))


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _watch_children(stop: threading.Event, peak: list[int]) -> None:
    while not stop.wait(_SAMPLE_SECONDS):
        for tasks in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for pid in tasks.read_text().split():
                    peak[0] = max(peak[0], _peak_bytes(int(pid)))


def _peak_bytes(pid: int) -> int:
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
        # Between fork and exec a child still shows the memory, and the command line, of this process.
        started = pid == os.getpid() or (process / "cmdline").read_bytes() != _command_line()
        return int(found.group(1)) * 1024 if found and started else 0
    return 0


@functools.cache
def _command_line() -> bytes:
    return Path("/proc/self/cmdline").read_bytes()


@functools.cache
def tool_path(name: str) -> str:
    """The binary behind a command name. Raises ToolMissing where a VTM binary is asked for and not there."""
    if name == FFMPEG:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    folder = os.environ.get("NNVVC_VTM")
    if folder is None:
        raise ToolMissing(f"{name}: set NNVVC_VTM to a built VTM, the folder that has bin/ and cfg/")
    found = sorted(Path(folder, "bin").rglob(f"{name}*"))
    if not found:
        raise ToolMissing(f"{name} is not below {folder}/bin: build VTM there, or leave its anchor out")
    return str(found[0].resolve())


def tool_version(name: str) -> dict[str, str]:
    """What makes a tool's output: its own version line, and the SHA-256 of its binary (or of our package)."""
    if name not in TOOL_VERSIONS:
        TOOL_VERSIONS[name] = _tool_version(name)
    return TOOL_VERSIONS[name]


def _tool_version(name: str) -> dict[str, str]:
    if name == NNVVC:
        import nnvvc

        return {"version": nnvvc.__version__, "sha256": _package_hash(Path(nnvvc.__file__).parent)}
    path = tool_path(name)
    words = run_tool([path, "-version"] if name == FFMPEG else [path], name=name)
    line = next((text for text in words.splitlines() if "version" in text.lower()), "unknown")
    return {"version": line.strip(), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def _package_hash(folder: Path) -> str:
    """Of everything that can change a stream: the package without evaluation, training and documentation."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if (
            path.is_file()
            and parts[0] not in ("evaluation", "training", "scale")
            and "__pycache__" not in parts
        ):
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def processor() -> str:
    """The name of the processor, for the result file."""
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return found.group(1).strip()
    return sys.platform
