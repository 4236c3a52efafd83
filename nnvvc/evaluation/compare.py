"""What moved between two results.json."""

import math
from collections.abc import Mapping
from typing import Any


def compare_results(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line each: rates, metrics and BD figures that differ, points only one has, tools that changed."""
    lines = []
    points = [_named_points(data) for data in (before, after)]
    for name in sorted(points[0].keys() | points[1].keys()):
        if name not in points[0] or name not in points[1]:
            lines.append(f"{name}: only in the {'first' if name in points[0] else 'second'}")
            continue
        old, new = points[0][name], points[1][name]
        lines += [
            f"{name}: {k} {_moved(old.get(k), new.get(k))}"
            for k in old | new
            if not _same(old.get(k), new.get(k))
        ]
    figures: list[dict[tuple[str, str], float | None]] = [
        {(r["codec"], r["quality"]): r["rate"] for r in data["bd"]} for data in (before, after)
    ]
    for codec, metric in sorted(figures[0].keys() | figures[1].keys()):
        a, b = (f.get((codec, metric)) for f in figures)
        if not _same(a, b):
            lines.append(f"{codec}: BD-rate over {metric} {_moved(a, b, ' %')}")
    tools = [data["tools"] for data in (before, after)]
    for tool in sorted(tools[0].keys() | tools[1].keys()):
        if tools[0].get(tool) != tools[1].get(tool):
            lines.append(f"tool {tool}: another version or build")
    return lines


def _named_points(data: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        f"{c['name']} {c['parameter']} {p[c['parameter']]:g}": {"bytes": p["bytes"], **p["metrics"]}
        for c in data["curves"]
        for p in c["points"]
    }


def _same(a: float | None, b: float | None) -> bool:
    """Sums made in another order differ in their last digit."""
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12))


def _moved(a: float | None, b: float | None, unit: str = "") -> str:
    old, new = ("nothing" if v is None else f"{v:.6g}{unit}" for v in (a, b))
    return f"{old} -> {new}" if a is None or b is None else f"{old} -> {new} ({b - a:+.4g})"
