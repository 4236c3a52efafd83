"""Maps of objects from the output of a detector's head."""

import torch

from nnvvc.training.object_map import CLASSES, object_map


class Detector:
    """Sees one object at a level's cell."""

    def __init__(self, anchor: int, anchors: int) -> None:
        self.heads = torch.full((1, anchors, CLASSES + 32), 0.01)
        self.heads[..., CLASSES:] = 9.0
        self.heads[0, anchor, 7] = 0.9

    def __call__(self, rgb: torch.Tensor, outputs: tuple[str, ...]) -> list[torch.Tensor]:
        assert outputs == ("pred",)
        return [self.heads]


def test_an_object_lights_its_cell_and_those_around() -> None:
    # 64x96 samples: 8x12, 4x6, 2x3 and 1x2 cells.
    anchors = 96 + 24 + 6 + 2
    rgb = torch.zeros(1, 3, 64, 96)
    fine = object_map(Detector(3 * 12 + 5, anchors), rgb)  # type: ignore[arg-type]
    assert fine.shape == (1, 1, 8, 12)
    lit = fine[0, 0] > 0.5
    assert int(lit.sum()) == 9 and bool(lit[2:5, 4:7].all())
    coarse = object_map(Detector(96 + 0, anchors), rgb)[0, 0] > 0.5  # type: ignore[arg-type]
    # The first cell of 16x16 samples, and one more to the right and below.
    assert int(coarse.sum()) == 16 and bool(coarse[:4, :4].all())
