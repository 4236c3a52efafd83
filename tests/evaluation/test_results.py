from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from nnvvc.evaluation.cells import Cell, CellStore
from nnvvc.evaluation.coders import Curve
from nnvvc.evaluation.experiment import Experiment, Run
from nnvvc.evaluation.items import DataSet, Item
from nnvvc.evaluation.results import Results
from nnvvc.evaluation.tasks import Metric, Scorer, Task
from nnvvc.picture import ChromaSiting, Matrix

BYTES = {"labelled": 100, "other": 900}


class Store:
    """Cells whose score is the point of their curve."""

    folder = Path()

    def record(self, cell: Cell) -> dict[str, Any]:
        return {"bytes": int(BYTES[cell.item.name] * cell.point)}

    def score(self, cell: Cell, task: str) -> float:
        return cell.point


class OfOne:
    """A quality that only the labelled item has."""

    scorer, is_machine = Scorer("fidelity"), True

    def metrics(self, data: DataSet, scores: Sequence[Any], reference: Sequence[Any]) -> Mapping[str, Metric]:
        return {"AP": Metric(scores[0], of=frozenset({"labelled"})), "all": Metric(scores[0])}


def test_the_rate_is_that_of_the_items_a_quality_is_of() -> None:
    items = tuple(
        Item(name, Path(), "", width, 10, Fraction(25), Matrix.BT709, ChromaSiting.CENTER, (number,), "")
        for number, (name, width) in enumerate({"labelled": 40, "other": 60}.items())
    )
    curve = Curve("codec", "codec", "nnvvc", "1", "qp", (1, 2))
    experiment = Experiment("", "", {}, (curve,), "codec", (cast(Task, OfOne()),), (), 0, {})
    run = Run(experiment, DataSet(items), cast(CellStore, Store()), (curve,), {})
    results = Results(run)
    rates = {name: [rate for _, _, rate, _ in results.points("codec", name)] for name in ("AP", "all")}
    assert rates["AP"] == pytest.approx([8 * 100 / 400, 8 * 200 / 400])
    assert rates["all"] == pytest.approx([8 * 1000 / 1000, 8 * 2000 / 1000])
    assert results.bpp(curve, 1) == pytest.approx(8)
