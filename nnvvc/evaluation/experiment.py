"""An experiment: a YAML file that names data, codecs and tasks; its cells are made by a pool of workers.

A `quick` section in the file replaces what it names, section by section, for the short form.
"""

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nnvvc.errors import ConfigError, InputError, ToolMissing
from nnvvc.evaluation.cells import Cell, CellStore, read_json, write_json
from nnvvc.evaluation.coders import Curve, read_curves
from nnvvc.evaluation.commands import TOOL_VERSIONS, tool_version
from nnvvc.evaluation.items import DataSet, Item, load_data
from nnvvc.evaluation.tasks import Scorer, Task, read_tasks

_KEYS = {"name", "title", "data", "codecs", "anchor", "tasks", "examples", "bootstrap", "quick"}


@dataclass(frozen=True)
class Experiment:
    """What a file asks for. bootstrap: samples for intervals, or 0. examples: items the report shows."""

    name: str
    title: str
    data: Mapping[str, Any]
    curves: tuple[Curve, ...]
    anchor: str
    tasks: tuple[Task, ...]
    examples: tuple[str, ...]
    bootstrap: int
    spec: Mapping[str, Any]

    @property
    def codecs(self) -> list[str]:
        """Names of the codecs, in the file's order."""
        return list(dict.fromkeys(c.codec for c in self.curves))

    @property
    def scorers(self) -> dict[str, Scorer]:
        """All that has to be computed per cell, by name, each once."""
        return {t.scorer.name: t.scorer for t in self.tasks}


def load_experiment(path: Path, quick: bool = False, only: Sequence[str] = ()) -> Experiment:
    """Read an experiment file. only: the codecs to measure. Raises InputError, ConfigError."""
    try:
        spec = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable experiment: {error}") from error
    if not isinstance(spec, dict) or not {"data", "codecs", "tasks"} <= set(spec) <= _KEYS:
        raise ConfigError(f"{path}: an experiment has data, codecs, tasks, and of {', '.join(sorted(_KEYS))}")
    short = spec.pop("quick", None)
    if quick:
        if short is None:
            raise ConfigError(f"{path} has no quick form")
        spec = _merged(spec, short)
    unknown = sorted(set(only) - set(spec["codecs"]))
    if unknown:
        raise ConfigError(f"{path} has no codec {', '.join(unknown)}: {', '.join(spec['codecs'])}")
    if only:
        spec["codecs"] = {name: entry for name, entry in spec["codecs"].items() if name in only}
    curves = read_curves(spec["codecs"])
    anchor = spec.get("anchor", curves[0].codec)
    if anchor not in spec["codecs"]:
        anchor = curves[0].codec
    return Experiment(
        name=str(spec.get("name", path.stem)) + ("-quick" if quick else ""),
        title=str(spec.get("title", path.stem)),
        data=spec["data"],
        curves=tuple(curves),
        anchor=anchor,
        tasks=tuple(read_tasks(spec["tasks"])),
        examples=tuple(spec.get("examples", ())),
        bootstrap=int(spec.get("bootstrap", 0)),
        spec=spec,
    )


def _merged(spec: dict[str, Any], short: Mapping[str, Any]) -> dict[str, Any]:
    """`short` over `spec`: mappings are joined, a value of null takes the entry out, all else is replaced."""
    result = dict(spec)
    for key, value in short.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), dict) and key != "points":
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


@dataclass(frozen=True)
class Run:
    """An experiment whose cells are all there. skipped: codec and why it could not be measured."""

    experiment: Experiment
    data: DataSet
    store: CellStore
    curves: tuple[Curve, ...]
    skipped: Mapping[str, str]

    def reference(self, item: Item, scorer: Scorer) -> Any:
        """The score of the uncompressed source."""
        return read_json(_source_path(self.store, item, scorer))


def run_experiment(
    experiment: Experiment,
    folder: Path,
    workers: int = 1,
    keep: bool = False,
    resume: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Run:
    """Make every cell that is not there yet, below `folder`; where not `resume`, make all of them again.

    report: called with (cells done, cells in all). A codec marked `optional` without its tool is skipped.
    Raises what a cell raises, after the cells under way are done; what is done stays done.
    """
    data = load_data(dict(experiment.data), folder / "sources")
    store = CellStore(folder / "cells", keep)
    curves, skipped = _available(experiment.curves, data)
    scorers = experiment.scorers
    cells = [Cell(c, point, item) for c in curves for point in c.points for item in data.items]
    if not resume:
        for cell in cells:
            shutil.rmtree(store.path(cell), ignore_errors=True)
    missing = [cell for cell in cells if not store.is_done(cell, scorers)]
    done = len(cells) - len(missing)
    references = [scorer for scorer in scorers.values() if scorer.work == "detections"]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare_worker, (dict(TOOL_VERSIONS),)) as pool:
        futures: list[Future[None]] = [
            pool.submit(_make_reference, store, item, scorer) for scorer in references for item in data.items
        ]
        cell_futures = [pool.submit(store.make, cell, scorers) for cell in missing]
        of_cells = set(cell_futures)
        try:
            for future in as_completed({*futures, *cell_futures}):
                future.result()
                done += future in of_cells
                if report is not None:
                    report(done, len(cells))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Run(experiment, data, store, tuple(curves), skipped)


def _available(curves: Sequence[Curve], data: DataSet) -> tuple[list[Curve], dict[str, str]]:
    usable: list[Curve] = []
    skipped: dict[str, str] = {}
    for curve in curves:
        try:
            for tool in curve.plan(data.items[0], curve.points[0]).tools:
                tool_version(tool)
        except ToolMissing as error:
            if not curve.optional:
                raise
            skipped[curve.codec] = str(error)
            continue
        usable.append(curve)
    return usable, skipped


def _prepare_worker(versions: dict[str, dict[str, str]]) -> None:
    """One thread per worker, so that `--workers` says how much of the machine is used."""
    import cv2

    TOOL_VERSIONS.update(versions)
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _make_reference(store: CellStore, item: Item, scorer: Scorer) -> None:
    path = _source_path(store, item, scorer)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, scorer(item, item.source))


def _source_path(store: CellStore, item: Item, scorer: Scorer) -> Path:
    return store.folder / "sources" / item.sha256 / f"score-{scorer.name}.json"
