"""What a choice of QP and scale for each item is worth, made afterwards from the streams of an experiment.

    python -m tools.choices EXPERIMENT.yaml --runs RUNS --codec NAME [--codec NAME ...]
        [--filter NAME=WEIGHTS ...] [--prices 33 36 39 42 45] [--recorded RESULTS.json] [--out OUT.json]

The experiment is run first, as far as that is not done: `nnvvc evaluate EXPERIMENT.yaml --runs RUNS --keep`
does it with more workers. Streams and detections are real; of the points of a codec, at all its scales, the
one is taken for each picture or clip that has the least feature loss against the original and bits together,
as `quality_choice` does it while coding.

`--filter`: single pictures behind other weights of the filter for machines too, chosen block by block as an
encoder does, with the bytes that their block maps take. `--recorded`: compares with the anchor of that file:
with the front of its scales, full size alone, and the best of its scales' curves at every quality. Prints
JSON: BD-rates against the experiment's anchor and against each codec that `--against` names, with intervals
over items.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from nnvvc.adapt.loss_networks import PictureLoss
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.nal import join_annex_b
from nnvvc.codecs.cost import LOOKED_AT, price
from nnvvc.codecs.filter_choice import block_map_of, decoded_still
from nnvvc.codecs.scale import scaled_format
from nnvvc.errors import ConfigError
from nnvvc.evaluation import bd
from nnvvc.evaluation.cells import Cell, CellStore, Scorer, read_json, write_json
from nnvvc.evaluation.coders import Curve
from nnvvc.evaluation.experiment import Run, load_experiment, run_experiment
from nnvvc.evaluation.items import Item
from nnvvc.evaluation.results import Results
from nnvvc.media import open_sink
from nnvvc.models.filters import PictureFilter, load_filter
from nnvvc.models.quantised import fastest
from nnvvc.picture import VideoFormat

LOSS = "picture-loss-v1"
"""Name of the score that choices are made by."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one item at one point: the file's bytes, the scores, `LOSS` among them."""

    bytes: int
    scores: dict[str, Any]


Key = tuple[str, float, str]
"""Curve, point and item."""


class Derived:
    """Reads as a `CellStore`, and knows entries that no command line of the experiment has made."""

    def __init__(self, store: CellStore, entries: Mapping[Key, Entry]) -> None:
        self.folder = store.folder
        self._store, self._entries = store, entries

    def record(self, cell: Cell) -> dict[str, Any]:
        entry = self._entries.get((cell.curve.name, cell.point, cell.item.name))
        return self._store.record(cell) if entry is None else {"bytes": entry.bytes}

    def score(self, cell: Cell, task: str) -> Any:
        entry = self._entries.get((cell.curve.name, cell.point, cell.item.name))
        return self._store.score(cell, task) if entry is None else entry.scores[task]


def loss(item: Item, decoded: Path) -> float:
    """Feature loss of an item against the original, mean over every so many of its pictures."""
    pairs = zip(item.pictures(item.source), item.pictures(decoded), strict=True)
    losses = [PictureLoss(before)(after) for before, after in islice(pairs, 0, None, LOOKED_AT)]
    return sum(losses) / len(losses)


def all_scorers(run: Run) -> dict[str, Scorer]:
    """Those of the experiment, and the loss."""
    return {**run.experiment.scorers, LOSS: loss}


def measured(run: Run, cell: Cell) -> Entry:
    """A cell of the experiment, with its loss."""
    scorers = all_scorers(run)
    run.store.make(cell, scorers)
    scores = {name: run.store.score(cell, name) for name in scorers}
    return Entry(run.store.record(cell)["bytes"], scores)


def refiltered(run: Run, cell: Cell, name: str, model: PictureFilter) -> Entry:
    """A cell's VVC picture behind another filter, kept beside the cells under the filter's name."""
    path = run.store.folder / "refiltered" / name / f"{cell.key}.json"
    if path.exists():
        return Entry(**read_json(path))
    stream = (run.store.path(cell) / cell.plan.stream).read_bytes()
    demuxer = Demuxer([stream])
    header = demuxer.header
    assert header is not None  # encoders of ours write one
    vvc = b"".join(join_annex_b(unit.vvc_nals()) for unit in demuxer)
    (original,) = cell.item.pictures(cell.item.source)
    scaled = scaled_format(header.source.picture, header.scale)
    picture, apply = decoded_still([vvc], header, scaled, original.format)
    if apply is None:
        raise ConfigError(
            f"{cell.curve.codec}: pictures have to be coded with --filter machines for another filter"
        )
    apply.model = model
    block_map = block_map_of(apply, picture, original, 8 * len(vvc))
    apply.choose(block_map)
    entry = Entry(
        len(stream) - len(header.write()) + len(replace(header, block_map=block_map).write()),
        {"block_map": len(block_map)},
    )
    with tempfile.TemporaryDirectory() as folder:
        decoded = Path(folder) / "decoded.y4m"
        with open_sink(decoded, VideoFormat(original.format, cell.item.fps, 1)) as sink:
            sink.write(apply(picture))
        for scorer_name, scorer in all_scorers(run).items():
            entry.scores[scorer_name] = scorer(cell.item, decoded)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(entry))
    return entry


def best_points(
    entries: Mapping[Key, Entry], curves: Sequence[Curve], item: Item, prices: Sequence[float]
) -> Iterator[tuple[float, Curve, float]]:
    """(price, curve, point): what is least at every price for one item."""
    points = [(c, p) for c in curves for p in c.points]
    for asked in prices:

        def cost(at: tuple[Curve, float], asked: float = asked) -> float:
            entry = entries[at[0].name, at[1], item.name]
            return float(entry.scores[LOSS]) * item.pixels + price(asked) * 8 * entry.bytes

        yield (asked, *min(points, key=cost))


def with_choices(
    run: Run, codecs: Sequence[str], filters: Mapping[str, PictureFilter], prices: Sequence[float]
) -> tuple[Run, dict[str, dict[str, int]]]:
    """The run with what was chosen and filtered as codecs of their own; how often each scale was taken."""
    entries: dict[Key, Entry] = {}
    made: list[Curve] = []
    taken: dict[str, dict[str, int]] = {}
    for codec in codecs:
        curves = [c for c in run.curves if c.codec == codec]
        for name, model in [("", None), *filters.items()]:
            family = f"{codec}, {name}" if name else codec
            renamed = [replace(c, name=f"{family} @{c.scale}", codec=family) for c in curves]
            for curve, new in zip(curves, renamed, strict=True):
                for point in curve.points:
                    for item in run.data.items:
                        cell = Cell(curve, point, item)
                        found = measured(run, cell) if model is None else refiltered(run, cell, name, model)
                        entries[new.name, point, item.name] = found
            chosen = f"{family}, chosen"
            taken[chosen] = {}
            for item in run.data.items:
                for asked, curve, point in best_points(entries, renamed, item, prices):
                    entries[chosen, asked, item.name] = entries[curve.name, point, item.name]
                    taken[chosen][curve.scale] = taken[chosen].get(curve.scale, 0) + 1
            made += renamed if model is not None else []
            made.append(Curve(chosen, chosen, "nnvvc", "auto", "qp", tuple(prices)))
    store = cast(CellStore, Derived(run.store, entries))
    curves = [*run.curves, *made]
    experiment = replace(run.experiment, curves=tuple(curves))
    return replace(run, experiment=experiment, store=store, curves=tuple(curves)), taken


def by_quality(comparisons: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per codec and quality: BD-rate, its interval, the part of the range compared."""
    found: dict[str, dict[str, Any]] = {}
    for row in comparisons:
        words = {k: row[k] for k in ("rate", "interval", "overlap", "refused") if row[k] is not None}
        found.setdefault(row["codec"], {})[row["quality"]] = words
    return found


def recorded_curve(curves: Sequence[Mapping[str, Any]], quality: str) -> bd.Curve:
    """The points of all these curves that have this quality."""
    known = [p for c in curves for p in c["points"] if p["metrics"].get(quality) is not None]
    return [p["bpp"] for p in known], [p["metrics"][quality] for p in known]


def against_recorded(results: Results, recorded: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Per codec and quality: BD-rates against a recorded anchor.

    Three of them: the front of its scales, full size alone, the best of its scales' curves at every quality.
    """
    found: dict[str, dict[str, Any]] = {}
    for codec in results.run.experiment.codecs:
        for quality, machine in results.machine.items():
            points = results.points(codec, quality)
            test = [r[2] for r in points], [r[3] for r in points]
            scales = {c["scale"]: recorded_curve([c], quality) for c in recorded["curves"]}
            fronts = recorded_curve(recorded["curves"], quality), scales["1"]
            rates = [bd.compare(anchor, test, machine).rate for anchor in fronts]
            rates.append(bd.rate_against_best(list(scales.values()), test))
            found.setdefault(codec, {})[quality] = rates
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--codec", action="append", required=True)
    parser.add_argument("--filter", action="append", default=[], metavar="NAME=WEIGHTS")
    parser.add_argument("--prices", type=float, nargs="+", default=[33, 36, 39, 42, 45])
    parser.add_argument("--recorded", type=Path)
    parser.add_argument("--against", action="append", default=[], help="another codec to compare all with")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    named = (words.split("=", 1) for words in args.filter)
    filters = {name: fastest(load_filter(Path(path))) for name, path in named}
    run = run_experiment(load_experiment(args.experiment), args.runs, keep=True)
    run, taken = with_choices(run, args.codec, filters, args.prices)
    results = Results(run)
    found: dict[str, Any] = {"scales taken": taken}
    found[f"against {run.experiment.anchor}"] = by_quality(results.comparisons)
    for codec in args.against:
        found[f"against {codec}"] = by_quality(results.compared_with(codec))
    if args.recorded is not None:
        found["against recorded"] = against_recorded(results, json.loads(args.recorded.read_text()))
    text = json.dumps(found, indent=1)
    if args.out is not None:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
