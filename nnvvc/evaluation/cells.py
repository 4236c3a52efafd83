"""Cells: one codec at one rate point on one item, made once and kept under the hash of all that went in.

A cell's folder holds the stream, `cell.json` (what came out, the same every time) and `usage.json` (what it
took, which differs from run to run). Both appear by renaming, after the work is done, so a run killed at any
moment is taken up again without a trace.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnvvc.errors import NnvvcError
from nnvvc.evaluation import commands
from nnvvc.evaluation.coders import DECODED, SOURCE, Curve, Plan
from nnvvc.evaluation.commands import Usage
from nnvvc.evaluation.items import Item, file_sha256
from nnvvc.files import atomic_output

_WORK = "work-"

Scorer = Callable[[Item, Path], Any]
"""A task on one item: from the decoded y4m to something that json can hold."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement to make."""

    curve: Curve
    point: float
    item: Item

    @property
    def plan(self) -> Plan:
        return self.curve.plan(self.item, self.point)

    @property
    def key(self) -> str:
        """SHA-256 of the source, the command lines and the tools that run them."""
        plan = self.plan
        tools = {name: commands.tool_version(name)["sha256"] for name in plan.tools}
        return json_sha256({"source": self.item.sha256, "commands": plan.commands, "tools": tools})


class CellStore:
    """Cells and their scores below one folder. `keep`: decoded pictures stay, as decoded.y4m."""

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, cell: Cell) -> Path:
        key = cell.key
        return self.folder / key[:2] / key

    def record(self, cell: Cell) -> dict[str, Any]:
        """`cell.json`: bytes, hashes, command lines."""
        return dict(read_json(self.path(cell) / "cell.json"))

    def usage(self, cell: Cell) -> dict[str, Any]:
        """`usage.json`: seconds and memory of encoding and decoding."""
        return dict(read_json(self.path(cell) / "usage.json"))

    def score(self, cell: Cell, task: str) -> Any:
        """What a scorer said about the cell."""
        return read_json(self.path(cell) / f"score-{task}.json")

    def is_done(self, cell: Cell, tasks: Mapping[str, Scorer]) -> bool:
        """Whether the cell and all these scores are there."""
        folder = self.path(cell)
        names = ["cell.json", "usage.json", *(f"score-{task}.json" for task in tasks)]
        if self.keep:
            names.append(DECODED)
        return all((folder / name).exists() for name in names)

    def make(self, cell: Cell, tasks: Mapping[str, Scorer]) -> None:
        """Encode, decode and score, as far as that is not done. Raises what the tools and tasks raise."""
        if self.is_done(cell, tasks):
            return
        folder, plan = self.path(cell), cell.plan
        folder.mkdir(parents=True, exist_ok=True)
        with _workplace(folder, cell.item) as work:
            if not (folder / "usage.json").exists():
                self._encode(cell, plan, folder, work)
            elif (folder / DECODED).exists():
                shutil.copyfile(folder / DECODED, work / DECODED)
            else:
                shutil.copyfile(folder / plan.stream, work / plan.stream)
                _decode(plan, work)
            for task, scorer in tasks.items():
                path = folder / f"score-{task}.json"
                if not path.exists():
                    write_json(path, scorer(cell.item, work / DECODED))
            if self.keep and not (folder / DECODED).exists():
                (work / DECODED).replace(folder / DECODED)

    def decoded(self, cell: Cell, folder: Path) -> Path:
        """The decoded y4m of a cell: the kept one, or decoded again into `folder`."""
        kept, plan = self.path(cell) / DECODED, cell.plan
        if kept.exists():
            return kept
        self._place(cell, folder)
        _decode(plan, folder)
        return folder / DECODED

    def decoded_for_people(self, cell: Cell, folder: Path) -> Path | None:
        """The y4m of a cell's stream as people see it, decoded into `folder`; None where that is what was
        measured.
        """
        if cell.plan.for_people is None:
            return None
        self._place(cell, folder)
        commands.run(cell.plan.for_people, folder)
        return folder / DECODED

    def _place(self, cell: Cell, folder: Path) -> None:
        (folder / SOURCE).symlink_to(cell.item.source.resolve())
        shutil.copyfile(self.path(cell) / cell.plan.stream, folder / cell.plan.stream)

    def _encode(self, cell: Cell, plan: Plan, folder: Path, work: Path) -> None:
        try:
            resampled = Usage(0, 0, 0)
            if plan.prepare:
                resampled += commands.run(plan.prepare, work)
            encode = commands.run(plan.encode, work)
            decode, restored = _decode(plan, work)
        except NnvvcError as error:
            raise type(error)(f"{cell.curve.name}, {cell.item.name}: {error}") from error
        (work / plan.stream).replace(folder / plan.stream)
        write_json(
            folder / "cell.json",
            {
                "bytes": (folder / plan.stream).stat().st_size,
                "stream_sha256": file_sha256(folder / plan.stream),
                "decoded_sha256": file_sha256(work / DECODED),
                "commands": [" ".join(step) for step in plan.commands],
            },
        )
        write_json(
            folder / "usage.json",
            {
                "encode": encode.to_json(),
                "decode": decode.to_json(),
                "resample": (resampled + restored).to_json(),
            },
        )


def _decode(plan: Plan, work: Path) -> tuple[Usage, Usage]:
    usage = commands.run(plan.decode, work)
    return usage, commands.run(plan.restore, work) if plan.restore else Usage(0, 0, 0)


@contextmanager
def _workplace(folder: Path, item: Item) -> Iterator[Path]:
    """A folder for the commands of one cell, with the source in it; what killed runs left is removed."""
    for left in folder.glob(f"{_WORK}*"):
        if not Path("/proc", left.name.removeprefix(_WORK)).exists():
            shutil.rmtree(left, ignore_errors=True)
    work = folder / f"{_WORK}{os.getpid()}"
    work.mkdir(exist_ok=True)
    try:
        (work / SOURCE).symlink_to(item.source.resolve())
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def json_sha256(data: Any) -> str:
    """SHA-256 of the canonical JSON of `data`."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: Path, data: Any) -> None:
    """Written whole or not at all; indented, keys in their order."""
    with atomic_output(path) as file:
        file.write(json.dumps(data, indent=1).encode() + b"\n")
