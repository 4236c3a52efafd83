"""Progress of long work: a line on a terminal, nothing in a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from nnvvc.picture import Picture


class Progress:
    """Counts pictures and bytes; shows rate, bits and time left on standard error if that is a terminal.

    total: pictures expected, or None. quiet: never show anything. Use as a context manager.
    """

    def __init__(self, label: str, total: int | None = None, fps: float = 0.0, quiet: bool = False) -> None:
        self.pictures = 0
        self.bytes = 0
        self._label = label
        self._total = total
        self._fps = fps
        self._started = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None
        if not quiet and sys.stderr.isatty():
            self._start()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    def pictures_through(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Hand on pictures and count them."""
        for picture in pictures:
            yield picture
            self.pictures += 1
            self._show()

    def chunks_through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Hand on pieces of a stream and count their bytes."""
        for chunk in chunks:
            self.bytes += len(chunk)
            self._show()
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=self._total, rate="")
        self._bar.start()

    def _show(self) -> None:
        if self._bar is None:
            return
        rate = f"{self.pictures / max(self.seconds, 1e-3):.1f} fps"
        if self.bytes and self.pictures:
            kilobits = self.bytes * 8 / 1000
            rate += f"  {self.bytes / 1000:.0f} kB"
            if self._fps:
                rate += f"  {kilobits * self._fps / self.pictures:.0f} kbit/s"
        self._bar.update(self._task, completed=self.pictures, rate=rate)
