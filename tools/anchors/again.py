"""Make a sample of an anchor's streams again, in new processes, and compare them with the record.

    python -m tools.anchors.again tools/anchors/vvenc-medium-intra-kodak.json [--every 10]

Encodes every so many of the file's cells (pictures or clips at a rate point) from the data that NNVVC_DATA
names. The exit status is 1 where bytes differ.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnvvc.evaluation.cells import Cell, CellStore
from nnvvc.evaluation.coders import read_curves
from nnvvc.evaluation.items import load_data


def recorded_cells(results: Mapping[str, Any], sources: Path) -> Iterator[tuple[Cell, Mapping[str, Any]]]:
    """Every cell of a results file, with what was recorded of its streams."""
    experiment = results["experiment"]
    items = {item.name: item for item in load_data(experiment["data"], sources).items}
    curves = {curve.name: curve for curve in read_curves(experiment["codecs"])}
    for curve in results["curves"]:
        for point in curve["points"]:
            for name, record in point["items"].items():
                yield Cell(curves[curve["name"]], point[curve["parameter"]], items[name]), record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=10)
    args = parser.parse_args()
    different = 0
    for path in args.results:
        results = json.loads(path.read_text())
        with tempfile.TemporaryDirectory() as name:
            store = CellStore(Path(name) / "cells")
            cells = list(recorded_cells(results, Path(name) / "sources"))[:: args.every]
            for cell, record in cells:
                store.make(cell, {})
                made = store.record(cell)
                moved = [k for k in ("stream_sha256", "decoded_sha256") if made[k] != record[k]]
                different += bool(moved)
                verdict = f"differs in {', '.join(moved)}" if moved else "the same"
                print(f"{cell.curve.name}, {cell.item.name}, {cell.point:g}: {verdict}", flush=True)
        print(f"{path.name}: {len(cells)} made again")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
