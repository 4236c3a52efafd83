from fractions import Fraction
from math import log2
from pathlib import Path

import pytest

from nnvvc.codecs.cost import price
from nnvvc.evaluation.cells import Cell, CellStore
from nnvvc.evaluation.coders import Curve
from nnvvc.evaluation.items import Item
from nnvvc.picture import ChromaSiting, Matrix
from tools.choices import LOSS, Derived, Entry, Key, best_points

ITEM = Item("one", Path("one.y4m"), "", 100, 80, Fraction(25), Matrix.BT709, ChromaSiting.CENTER, (1, 2), "")
CURVES = [Curve(f"codec @{s}", "codec", "nnvvc", s, "qp", (37, 47)) for s in ("1", "1/2")]


def _entries(losses: list[float], sizes: list[int]) -> dict[Key, Entry]:
    points = [(c.name, p, ITEM.name) for c in CURVES for p in c.points]
    return {key: Entry(size, {LOSS: loss}) for key, loss, size in zip(points, losses, sizes, strict=True)}


def test_the_point_with_the_least_loss_and_bits_together_is_taken_at_each_price() -> None:
    # Lower rates cost more loss; the last point but one is worse than its neighbours at any price.
    entries = _entries([0.1, 0.4, 0.5, 0.9], [4000, 1000, 3000, 100])
    even = [
        35.3 + 4.5 * log2((b - a) * ITEM.pixels / (0.6 * 8 * saved))
        for a, b, saved in ((0.1, 0.4, 3000), (0.4, 0.9, 900))
    ]
    assert even == sorted(even)
    prices = [even[0] - 1, even[0] + 1, even[1] - 1, even[1] + 1]
    taken = [(c.scale, p) for _, c, p in best_points(entries, CURVES, ITEM, prices)]
    assert taken == [("1", 37), ("1", 47), ("1", 47), ("1/2", 47)]


def test_a_choice_never_costs_more_than_any_one_point() -> None:
    entries = _entries([0.31, 0.42, 0.35, 0.6], [900, 500, 700, 200])
    for asked, curve, point in best_points(entries, CURVES, ITEM, range(20, 60)):

        def cost(key: Key, asked: float = asked) -> float:
            return float(entries[key].scores[LOSS] * ITEM.pixels + price(asked) * 8 * entries[key].bytes)

        assert cost((curve.name, point, ITEM.name)) == min(map(cost, entries))


def test_derived_cells_are_read_in_place_of_made_ones(tmp_path: Path) -> None:
    chosen = Curve("codec, chosen", "codec, chosen", "nnvvc", "auto", "qp", (37,))
    derived = Derived(CellStore(tmp_path), {(chosen.name, 37, ITEM.name): Entry(7, {"task": [1]})})
    assert derived.record(Cell(chosen, 37, ITEM)) == {"bytes": 7}
    assert derived.score(Cell(chosen, 37, ITEM), "task") == [1]
    with pytest.raises(KeyError):
        derived.score(Cell(chosen, 37, ITEM), "another")
