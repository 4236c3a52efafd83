"""Pictures of the report: rate curves, and crops with detections, as data URLs."""

import base64
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.evaluation.bd import pareto
from nnvvc.evaluation.cells import Cell
from nnvvc.evaluation.coders import Curve
from nnvvc.evaluation.detection import Detections
from nnvvc.evaluation.items import Item
from nnvvc.evaluation.results import Results

CROP = 320
"""Side of a crop, in samples."""
SHOWN_SCORE = 0.4

_COLOURS = ("#1f4e79", "#c0392b", "#1e8449", "#b9770e", "#7d3c98", "#2e86c1", "#616a6b", "#a04000")
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, slots=True)
class Shot:
    """One crop of an example."""

    image: str
    caption: str


@dataclass(frozen=True, slots=True)
class Example:
    """One item, uncompressed and by every codec at about the same rate."""

    title: str
    shots: tuple[Shot, ...]


def rate_curve(results: Results, metric: str) -> str:
    """One quality over rate: a codec a colour, a coded scale a marker, the Pareto front a line."""
    import matplotlib

    matplotlib.use("Agg")
    # Text as paths looks alike everywhere; a fixed salt gives the same file for the same figures.
    matplotlib.rcParams["svg.hashsalt"] = "nnvvc"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    for number, codec in enumerate(results.run.experiment.codecs):
        rows = results.points(codec, metric)
        colour = _COLOURS[number % len(_COLOURS)]
        scales = list(dict.fromkeys(r[0].scale for r in rows))
        for marker, scale in zip(_MARKERS, scales, strict=False):
            part = [r for r in rows if r[0].scale == scale]
            label = codec if len(scales) == 1 else f"{codec}, scale {scale}"
            x, y = [r[2] for r in part], [r[3] for r in part]
            axes.plot(x, y, marker, color=colour, markersize=5, label=label, alpha=0.85, linestyle="none")
        if rows:
            front = pareto([r[2] for r in rows], [r[3] for r in rows])
            axes.plot([rows[i][2] for i in front], [rows[i][3] for i in front], color=colour, linewidth=1.4)
    reference = results.reference.get(metric)
    if reference is not None and reference.value is not None:
        axes.axhline(reference.value, color="#777777", linestyle=":", linewidth=1.2, label="uncompressed")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.FuncFormatter(_minor_label))
    axes.set_xlabel("rate (bits per luma sample, log scale)")
    axes.set_ylabel(metric)
    axes.set_title(metric, fontsize=11)
    axes.grid(True, which="both", color="#e5e5e5", linewidth=0.7)
    axes.tick_params(axis="x", which="minor", labelsize=8)
    # Below the axes: no curve can run through it.
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return _data_url(buffer.getvalue(), "image/svg+xml")


def _minor_label(value: float, _: Any) -> str:
    """Labels at 2 and 5 times the powers of ten: rates span about one decade."""
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:g}" if digit in (2, 5) else ""


def examples(results: Results) -> Iterator[Example]:
    """Crops of the example items (by default the first two), with detections where there are any."""
    names = results.run.experiment.examples
    items = [i for i in results.run.data.items if not names or i.name in names]
    for item in islice(items, 2 if not names else None):
        yield _example(results, item)


def _example(results: Results, item: Item) -> Example:
    run = results.run
    number = run.data.items.index(item)
    scorer = next((s for s in run.experiment.scorers.values() if s.work == "detections"), None)
    frame = item.frames // 2
    target = _target_rate(results, number)
    found = None if scorer is None else Detections.from_json(run.reference(item, scorer)[frame])
    picture = next(islice(item.rgb(item.source), frame, None))
    corner = _corner(picture, found)
    shots = [Shot(_crop(picture, corner, found), "uncompressed")]
    for codec in run.experiment.codecs:
        options = [(c, p) for c in run.curves if c.codec == codec for p in c.points]
        if not options:
            continue
        curve, point = min(
            options, key=lambda o: abs(np.log(results.bits(*o)[number] / results.pixels[number] / target))
        )
        cell = Cell(curve, point, item)
        if scorer is not None:
            found = Detections.from_json(run.store.score(cell, scorer.name)[frame])
        rate = results.bits(curve, point)[number] / results.pixels[number]
        caption = f"{curve.name}, {curve.parameter} {point:g}: {rate:.3f} bpp"
        seen = _decoded(results, cell, frame)
        shots.append(Shot(_crop(seen, corner, found), caption))
        shown = _for_people(results, cell, frame)
        if shown is not None and not np.array_equal(shown, seen):
            shots.append(Shot(_crop(shown, corner, None), f"{curve.name}: the same frame, for people"))
    title = item.name if item.frames == 1 else f"{item.name}, frame {frame}"
    return Example(f"{title}, about {target:.3f} bpp", tuple(shots))


def _target_rate(results: Results, number: int) -> float:
    """The anchor's middle rate for this item at full scale."""
    anchor: Curve = next(
        (c for c in results.run.curves if c.codec == results.run.experiment.anchor), results.run.curves[0]
    )
    rates = [results.bits(anchor, p)[number] / results.pixels[number] for p in anchor.points]
    return float(np.median(rates))


def _decoded(results: Results, cell: Cell, frame: int) -> NDArray[np.uint8]:
    """One frame of a cell, decoded again where the pictures were not kept."""
    with tempfile.TemporaryDirectory() as name:
        path = results.run.store.decoded(cell, Path(name))
        return next(islice(cell.item.rgb(path), frame, None))


def _for_people(results: Results, cell: Cell, frame: int) -> NDArray[np.uint8] | None:
    """One frame of a cell that was decoded for machines, as people see it."""
    with tempfile.TemporaryDirectory() as name:
        path = results.run.store.decoded_for_people(cell, Path(name))
        return None if path is None else next(islice(cell.item.rgb(path), frame, None))


def _corner(picture: NDArray[np.uint8], found: Detections | None) -> tuple[int, int]:
    """Top left of the crop: around the surest object that is not larger than the crop, else the middle."""
    height, width = picture.shape[:2]
    x, y = width / 2, height / 2
    if found is not None:
        for left, top, right, bottom in found.at_least(SHOWN_SCORE).boxes:
            if right - left < CROP and bottom - top < CROP:
                x, y = (left + right) / 2, (top + bottom) / 2
                break
    return (
        int(np.clip(y - CROP / 2, 0, max(0, height - CROP))),
        int(np.clip(x - CROP / 2, 0, max(0, width - CROP))),
    )


def _crop(picture: NDArray[np.uint8], corner: tuple[int, int], found: Detections | None) -> str:
    top, left = corner
    canvas = np.ascontiguousarray(picture[..., ::-1])
    if found is not None:
        sure = found.at_least(SHOWN_SCORE)
        for box, score in zip(sure.boxes, sure.scores, strict=True):
            x0, y0, x1, y1 = (round(float(v)) for v in box)
            cv2.rectangle(canvas, (x0, y0), (x1, y1), (60, 60, 230), 2)
            where = (x0 + 3, max(y0 + 14, 14))
            cv2.putText(canvas, f"{score:.2f}", where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 230), 1)
    _, data = cv2.imencode(".png", canvas[top : top + CROP, left : left + CROP])
    return _data_url(data.tobytes(), "image/png")


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
