"""`report.html`: one file with everything in it, to be read without the run that made it."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnvvc.evaluation import figures
from nnvvc.evaluation.results import AVERAGING, Results
from nnvvc.files import atomic_output

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a }
body { max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { margin-top: 2em; border-bottom: 1px solid #ccc } h3 { margin-bottom: .3em }
table { border-collapse: collapse; margin: .8em 0 } td, th { padding: .25em .7em }
tr { border-bottom: 1px solid #e2e2e2 }
td { text-align: right; font-variant-numeric: tabular-nums } td:first-child, th { text-align: left }
.wide { overflow-x: auto } td.text { text-align: left }
td.good { color: #0a6b2d } td.bad { color: #a3231b } .note { color: #555; max-width: 75ch }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 1em }
.figures img, .shots img { width: 100% } .shots { display: grid; gap: .6em; margin-bottom: 1.5em }
.shots figure { margin: 0 } figcaption { font-size: .85em; color: #333 }
details { margin: .6em 0 } pre { white-space: pre-wrap; background: #f6f6f6; padding: .6em; font-size: .8em }
"""


def write_report(results: Results, path: Path) -> None:
    """Draw and write the report of a run."""
    data, speed = results.to_json(), results.speed()
    body = [
        _summary(results, data),
        _section("BD-rate and BD-metric", _bd_table(data["bd"], data["anchor"])),
        _section("Rate curves", _curves(results)),
        _section("Side by side", _examples(results)),
        _section("Encoding and decoding", _speed_table(speed)),
        _section("All points", _points(data)),
        _section("Per item", _items(data)),
        _section("How it was made", _making(data)),
    ]
    title = html.escape(data["title"])
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    with atomic_output(path) as file:
        file.write(f"{head}<h1>{title}</h1>{''.join(body)}</html>\n".encode())


def _section(title: str, content: str) -> str:
    return f"<h2>{html.escape(title)}</h2>{content}" if content else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["<div class=wide><table><tr>", *(f"<th>{html.escape(h)}</th>" for h in head), "</tr>"]
    for row in rows:
        cells = [c if isinstance(c, _Cell) else _Cell(_text(c), "text" * isinstance(c, str)) for c in row]
        lines += ["<tr>", *(f"<td class='{c.kind}'>{html.escape(c.text)}</td>" for c in cells), "</tr>"]
    return "".join([*lines, "</table></div>"])


class _Cell:
    """Text of a table cell and its class."""

    def __init__(self, text: str, kind: str = "") -> None:
        self.text, self.kind = text, kind


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> _Cell:
    return _Cell("–") if value is None else _Cell(f"{value:+.1f} %", "good" if value < 0 else "bad")


def _summary(results: Results, data: dict[str, Any]) -> str:
    items = data["items"]
    frames = sum(i["frames"] for i in items)
    skipped = [f"{codec} was skipped: {reason}" for codec, reason in data["skipped"].items()]
    label_free = any("agreement" in name for name in results.machine)
    notes = [
        f"{len(items)} items, {frames} pictures, {results.pixels.sum() / 1e6:.1f} megapixels; "
        f"anchor: {data['anchor']}. Rates are sizes of files.",
        *skipped,
    ]
    if label_free:
        notes.append(
            "“Agreement” is label-free: what the network finds in the uncompressed pictures is the truth."
        )
    return "".join(f"<p class=note>{html.escape(note)}</p>" for note in notes)


def _bd_table(rows: Sequence[dict[str, Any]], anchor: str) -> str:
    if not rows:
        return ""
    head = [
        "codec",
        "quality",
        "BD-rate",
        "95 % interval",
        "against full size",
        "monotone fit",
        "mean of items",
        "BD-metric",
        "overlap",
    ]
    lines: list[list[Any]] = []
    for row in rows:
        if row["refused"]:
            lines.append([row["codec"], row["quality"], f"none: {row['refused']}", *[""] * (len(head) - 3)])
            continue
        interval = "–" if row["interval"] is None else "{:+.1f} … {:+.1f} %".format(*row["interval"])
        lines.append(
            [
                row["codec"],
                row["quality"],
                _percent(row["rate"]),
                interval,
                _percent(row.get("full_size", {}).get("rate")),
                _percent(row["fitted_rate"]),
                _percent(row.get("item_rate_mean")),
                row["metric"],
                f"{100 * row['overlap']:.0f} %",
            ]
        )
    note = (
        f"Against {anchor}: bits at equal quality, negative is better. Task qualities over the Pareto front "
        "of the coded scales, and against the anchor at full size alone; fidelity at full scale. "
        "Overlap: part of the joint quality range both cover."
    )
    return f"<p class=note>{html.escape(note)}</p>" + _table(head, lines)


def _curves(results: Results) -> str:
    images = [figures.rate_curve(results, metric) for metric in results.machine]
    return "<div class=figures>" + "".join(f"<img alt='rate curve' src='{i}'>" for i in images) + "</div>"


def _examples(results: Results) -> str:
    parts = []
    for example in figures.examples(results):
        shots = "".join(
            f"<figure><img alt='' src='{s.image}'><figcaption>{html.escape(s.caption)}</figcaption></figure>"
            for s in example.shots
        )
        columns = f"grid-template-columns: repeat({min(4, len(example.shots))}, 1fr)"
        parts.append(f"<h3>{html.escape(example.title)}</h3><div class=shots style='{columns}'>{shots}</div>")
    return "".join(parts)


def _speed_table(speed: dict[str, Any]) -> str:
    head = ["codec", "way", "s / megapixel", "CPU s / megapixel", "× anchor", "peak MB", "× anchor"]
    rows: list[list[Any]] = []
    for curve in speed["curves"]:
        ratios = curve.get("ratio_to_anchor", {})
        for way in ("encode", "decode"):
            ratio = ratios.get(way, {})
            rows.append(
                [
                    curve["curve"],
                    way,
                    curve[way]["seconds_per_megapixel"],
                    curve[way]["cpu_seconds_per_megapixel"],
                    ratio.get("cpu_seconds_per_megapixel"),
                    f"{curve[way]['peak_bytes'] / 1e6:.0f}",
                    ratio.get("peak_bytes"),
                ]
            )
    note = (
        f"Medians over all files on {speed['processor']}, one thread each; CPU time with child processes. "
        "Peak: the largest process. Resampling to and from a coded scale is timed apart (speed.json)."
    )
    return f"<p class=note>{html.escape(note)}</p>" + _table(head, rows)


def _points(data: dict[str, Any]) -> str:
    names = list(data["curves"][0]["points"][0]["metrics"])
    rows: list[list[Any]] = []
    for curve in data["curves"]:
        for point in curve["points"]:
            values = [point["metrics"].get(n) for n in names]
            rows.append(
                [curve["name"], f"{curve['parameter']} {point[curve['parameter']]:g}", point["bpp"], *values]
            )
    if data["uncompressed"]:
        rows.append(["uncompressed", "", "", *(data["uncompressed"].get(n) for n in names)])
    return _table(["codec", "point", "bpp", *names], rows)


def _items(data: dict[str, Any]) -> str:
    parts = []
    for curve in data["curves"]:
        rows = [
            [name, f"{point[curve['parameter']]:g}", item["bytes"], *item["metrics"].values()]
            for point in curve["points"]
            for name, item in point["items"].items()
        ]
        first = next(iter(curve["points"][0]["items"].values()))
        head = ["item", curve["parameter"], "bytes", *first["metrics"]]
        parts.append(
            f"<details><summary>{html.escape(curve['name'])}</summary>{_table(head, rows)}</details>"
        )
    rates = [row for row in data["bd"] if row.get("item_rates")]
    for row in rates:
        title = f"BD-rate per item: {row['codec']}, {row['quality']}"
        table = _table(["item", "BD-rate"], ([n, _percent(v)] for n, v in row["item_rates"].items()))
        parts.append(f"<details><summary>{html.escape(title)}</summary>{table}</details>")
    return "".join(parts)


def _making(data: dict[str, Any]) -> str:
    parts = [_table(["rule", "what it says"], AVERAGING.items())]
    tools = [[name, t["version"], t["sha256"][:16]] for name, t in data["tools"].items()]
    parts.append(_table(["tool", "version", "SHA-256"], tools))
    parts.append(_table(["library", "version"], data["libraries"].items()))
    parts.append(_table(["network", "SHA-256"], ([n, h[:16]] for n, h in data["networks"].items())))
    first = data["items"][0]
    parts.append(
        f"<p>Source of the first item ({first['matrix']}):</p><pre>{html.escape(first['conversion'])}</pre>"
    )
    for curve in data["curves"]:
        lines = "\n".join(curve["points"][0]["commands"][0])
        name = html.escape(curve["name"])
        parts.append(
            f"<details><summary>Command lines: {name}</summary><pre>{html.escape(lines)}</pre></details>"
        )
    return "".join(parts)
