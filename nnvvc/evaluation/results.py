"""From the cells of a run to `results.json`: the same bytes whenever the same cells are there.

Times and memory differ from run to run and go into `speed.json` beside it.
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnvvc.evaluation import bd, commands
from nnvvc.evaluation.cells import Cell
from nnvvc.evaluation.coders import Curve
from nnvvc.evaluation.experiment import Run
from nnvvc.evaluation.tasks import Metric, Task, network_hashes

FORMAT = 1
AVERAGING = {
    "rate": "bits of the files over luma samples (bpp), of all items that a quality is of: where it needs "
    "labels, those that have them; per item beside it",
    "fidelity": "mean over items of the mean over frames; PSNR peak 1023 at 10 bits; 6:1:1 is (6Y+U+V)/8",
    "task": "AP over the pictures of all items together (pycocotools' rule); MOTA and IDF1: mean over clips",
    "bd": "piecewise cubic (pchip) over log rate; task curves over the Pareto front of all coded scales",
    "bd_items": "BD-rate per item, then the mean over items",
    "interval": "95 % of bootstrap samples over items, the same items for both codecs",
}
LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "pycocotools",
    "bjontegaard",
    "motmetrics",
    "av",
)
MINIMUM_FOR_INTERVAL = 8
"""Items below which an interval over items would mean nothing."""

PointKey = tuple[str, float]
"""A curve's name and the value of its parameter."""


class Results:
    """Everything measured in a run. `to_json` and `speed` are what is written; the report reads both."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.metrics: dict[PointKey, dict[str, Metric]] = {}
        self.reference: dict[str, Metric] = {}
        self.machine: dict[str, bool] = {}
        self.records: dict[PointKey, list[dict[str, Any]]] = {}
        self._item_of = {image: n for n, i in enumerate(run.data.items) for image in i.image_ids}
        for curve in run.curves:
            for point in curve.points:
                cells = [Cell(curve, point, item) for item in run.data.items]
                self.records[curve.name, point] = [run.store.record(c) for c in cells]
        for task in run.experiment.tasks:
            self._add(task)
        self._drawn: dict[tuple[PointKey, int], NDArray[np.float64]] = {}
        self.comparisons = self.compared_with(run.experiment.anchor)

    def _add(self, task: Task) -> None:
        run, scorer = self.run, task.scorer
        reference: list[Any] = []
        if scorer.work == "detections":
            reference = [run.reference(item, scorer) for item in run.data.items]
            self.reference |= task.metrics(run.data, reference, reference)
        for curve in run.curves:
            for point in curve.points:
                cells = [Cell(curve, point, item) for item in run.data.items]
                found = task.metrics(run.data, [run.store.score(c, scorer.name) for c in cells], reference)
                self.metrics.setdefault((curve.name, point), {}).update(found)
                self.machine |= dict.fromkeys(found, task.is_machine)

    def bits(self, curve: Curve, point: float) -> NDArray[np.float64]:
        """Bits of each item's file."""
        return np.array([8 * r["bytes"] for r in self.records[curve.name, point]], np.float64)

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Luma samples of each item."""
        return np.array([i.pixels for i in self.run.data.items], np.float64)

    def bpp(self, curve: Curve, point: float, metric: str | None = None) -> float:
        """Bits per luma sample over the data set, or over the items that a metric is of."""
        counted = self._counted(metric)
        return float(self.bits(curve, point)[counted].sum() / self.pixels[counted].sum())

    def _counted(self, metric: str | None) -> NDArray[np.bool_]:
        """Which items a metric is of."""
        of = None if metric is None else next(iter(self.metrics.values()))[metric].of
        return np.array([of is None or item.name in of for item in self.run.data.items])

    def points(self, codec: str, metric: str) -> list[tuple[Curve, float, float, float]]:
        """(curve, point, bpp, quality) of a codec at all its scales, where the quality is defined; bpp: of
        the items that it is of.
        """
        rows = []
        for curve in self.run.curves:
            if curve.codec != codec:
                continue
            for point in curve.points:
                value = self.metrics[curve.name, point][metric].value
                if value is not None:
                    rows.append((curve, point, self.bpp(curve, point, metric), value))
        return rows

    def compared_with(self, anchor: str) -> list[dict[str, Any]]:
        """BD figures of every codec against one of them, for every metric; fidelity at full scale only."""
        rows = []
        for codec in self.run.experiment.codecs:
            if codec == anchor or codec in self.run.skipped or anchor in self.run.skipped:
                continue
            for metric, machine in self.machine.items():
                row = {"codec": codec, "anchor": anchor, "quality": metric, "task": machine}
                row |= self._comparison(anchor, codec, metric, machine, full_size=not machine)
                if machine and len({c.scale for c in self.run.curves if c.codec == anchor}) > 1:
                    # What papers mostly compare with.
                    row["full_size"] = self._comparison(anchor, codec, metric, machine, full_size=True)
                rows.append(row | self._per_item(anchor, codec, metric, machine))
        return rows

    def _comparison(
        self, anchor: str, codec: str, metric: str, machine: bool, full_size: bool
    ) -> dict[str, Any]:
        """full_size: with the anchor's points at full size alone, not with the best of its scales."""
        given = [
            self._compared(anchor, metric, full_size),
            self._compared(codec, metric, full_size and not machine),
        ]
        curves = [([r[2] for r in rows], [r[3] for r in rows]) for rows in given]
        result = bd.compare(curves[0], curves[1], machine)
        samples = 0
        if machine and result.refused is None and self._can_resample(metric):
            interval, samples = bd.bootstrap_interval(*(self._samples(rows, metric) for rows in given))
            result = replace(result, interval=interval)
        return result.to_json() | {"samples": samples}

    def _compared(self, codec: str, metric: str, full_size: bool) -> list[tuple[Curve, float, float, float]]:
        return [r for r in self.points(codec, metric) if not full_size or r[0].scale in ("1", "auto")]

    def _can_resample(self, metric: str) -> bool:
        known = all(m[metric].matches is not None for m in self.metrics.values())
        items = int(self._counted(metric).sum())
        return known and self.run.experiment.bootstrap > 0 and items >= MINIMUM_FOR_INTERVAL

    def _samples(
        self, points: Sequence[tuple[Curve, float, float, float]], metric: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(samples, points) of rate and AP under the same draws of items for every codec."""
        weights = bd.draw_weights(len(self.pixels), self.run.experiment.bootstrap)
        counted = weights * self._counted(metric)
        rates, qualities = [], []
        for curve, point, _, _ in points:
            rates.append(counted @ self.bits(curve, point) / (counted @ self.pixels))
            matches = self.metrics[curve.name, point][metric].matches
            assert matches is not None
            key = ((curve.name, point), id(matches))
            if key not in self._drawn:
                counts = weights[:, [self._item_of[image] for image in matches.image_ids]]
                self._drawn[key] = matches.average_precision(counts)
            ap = self._drawn[key]
            qualities.append(ap[:, 0] if metric.endswith("AP50") else ap.mean(axis=1))
        return np.stack(rates, axis=1), np.stack(qualities, axis=1)

    def _per_item(self, anchor: str, codec: str, metric: str, machine: bool) -> dict[str, Any]:
        """BD-rate item by item; not for the AP of single pictures, which is no curve to compare."""
        if machine and all(item.frames == 1 for item in self.run.data.items):
            return {}
        values: dict[str, float | None] = {}
        for n, item in enumerate(self.run.data.items):
            curves = []
            for name in (anchor, codec):
                rows = self._compared(name, metric, not machine)
                rates = [self.bits(c, p)[n] / self.pixels[n] for c, p, _, _ in rows]
                found = [self.metrics[c.name, p][metric].items.get(item.name) for c, p, _, _ in rows]
                curves.append((rates, [float("nan") if q is None else q for q in found]))
            values[item.name] = bd.compare(curves[0], curves[1], machine).rate
        known = [v for v in values.values() if v is not None]
        mean = float(np.mean(known)) if known else None
        return {"item_rates": values, "item_rate_mean": mean, "items_compared": len(known)}

    def to_json(self) -> dict[str, Any]:
        """The content of results.json."""
        run = self.run
        tools = sorted({t for c in run.curves for t in c.plan(run.data.items[0], c.points[0]).tools})
        return {
            "format": FORMAT,
            "experiment": run.experiment.spec,
            "name": run.experiment.name,
            "title": run.experiment.title,
            "anchor": run.experiment.anchor,
            "averaging": AVERAGING,
            "processor": commands.processor(),
            "tools": {t: commands.tool_version(t) for t in tools},
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            "networks": network_hashes(run.experiment.tasks),
            "skipped": dict(run.skipped),
            "items": [
                {
                    "name": i.name,
                    "sha256": i.sha256,
                    "width": i.width,
                    "height": i.height,
                    "frames": i.frames,
                    "matrix": i.matrix.name,
                    "conversion": i.conversion,
                }
                for i in run.data.items
            ],
            "uncompressed": {name: m.value for name, m in self.reference.items()},
            "curves": [self._curve_json(curve) for curve in run.curves],
            "bd": self.comparisons,
        }

    def _curve_json(self, curve: Curve) -> dict[str, Any]:
        return {
            "name": curve.name,
            "codec": curve.codec,
            "coder": curve.coder,
            "scale": curve.scale,
            "options": dict(curve.options),
            "parameter": curve.parameter,
            "points": [self._point_json(curve, point) for point in curve.points],
        }

    def _point_json(self, curve: Curve, point: float) -> dict[str, Any]:
        records = self.records[curve.name, point]
        metrics = self.metrics[curve.name, point]
        lines: list[list[str]] = []
        for record in records:
            if record["commands"] not in lines:
                lines.append(record["commands"])
        return {
            curve.parameter: point,
            "bytes": sum(r["bytes"] for r in records),
            "bpp": self.bpp(curve, point),
            "metrics": {name: m.value for name, m in metrics.items()},
            # Sizes differ between pictures, and so do the lines that resample or pad them.
            "commands": lines,
            "items": {
                item.name: {
                    "bytes": record["bytes"],
                    "stream_sha256": record["stream_sha256"],
                    "decoded_sha256": record["decoded_sha256"],
                    "command": lines.index(record["commands"]),
                    "metrics": {n: m.items[item.name] for n, m in metrics.items() if item.name in m.items},
                }
                for item, record in zip(self.run.data.items, records, strict=True)
            },
        }

    def speed(self) -> dict[str, Any]:
        """The content of speed.json: per curve and direction, and as ratios to the anchor at full scale."""
        table = {curve.name: self._curve_speed(curve) for curve in self.run.curves}
        anchor = next((table[c.name] for c in self.run.curves if c.codec == self.run.experiment.anchor), None)
        rows = []
        for curve in self.run.curves:
            row: dict[str, Any] = {"curve": curve.name, **table[curve.name]}
            if anchor is not None:
                row["ratio_to_anchor"] = {
                    way: {k: table[curve.name][way][k] / v if v else None for k, v in values.items()}
                    for way, values in anchor.items()
                }
            rows.append(row)
        return {"processor": commands.processor(), "anchor": self.run.experiment.anchor, "curves": rows}

    def _curve_speed(self, curve: Curve) -> dict[str, dict[str, float]]:
        usages = [
            (item, self.run.store.usage(Cell(curve, point, item)))
            for point in curve.points
            for item in self.run.data.items
        ]
        result = {}
        for way in ("encode", "decode", "resample"):
            megapixels = [item.pixels / 1e6 for item, _ in usages]
            picture = [item.width * item.height / 1e6 for item, _ in usages]
            result[way] = {
                "seconds_per_megapixel": _median([u[way]["seconds"] for _, u in usages], megapixels),
                "cpu_seconds_per_megapixel": _median([u[way]["cpu_seconds"] for _, u in usages], megapixels),
                "peak_bytes_per_megapixel": _median([u[way]["peak_bytes"] for _, u in usages], picture),
                "peak_bytes": float(np.median([u[way]["peak_bytes"] for _, u in usages])),
            }
        return result


def _median(values: Sequence[float], per: Sequence[float]) -> float:
    """Of the quotients: the first cell of a process loads models, a busy moment takes longer."""
    return float(np.median(np.array(values) / np.array(per)))
