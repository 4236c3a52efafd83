"""Patches of photos coded by VVC, as batches that filters for machines are trained and judged on."""

from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.models.filters import enlargement
from nnvvc.models.planes import to_rgb
from nnvvc.training.filter_data import CodedFile

HELD_OUT = 64
"""The first patches of part 0 are for validation only."""

VALIDATED = 6
"""Most patches per scale and QP that one validation looks at."""


class Batch(TypedDict):
    """original: RGB (N, 3, side, side) in 0..1. matrix: (N, 2), Kr and Kb.

    luma, chroma, qp, scale, up, layer: as `PictureFilter` takes them.
    """

    original: Tensor
    luma: Tensor
    chroma: Tensor
    qp: Tensor
    scale: Tensor
    matrix: Tensor
    layer: Tensor
    up: int


class CodedPatches:
    """Patches coded by VVC, as `filter_data` keeps them. The folder may grow: `rescan` sees what is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._originals: dict[int, NDArray[np.uint8]] = {}
        self._coded: dict[tuple[Fraction, int], list[CodedFile]] = {}
        self._seen: set[Path] = set()
        self.rescan()

    def rescan(self) -> None:
        for path in sorted(set(self.folder.glob("p*_s*_q*.npz")) - self._seen):
            self._seen.add(path)
            file = CodedFile.read(path)
            if file.part not in self._originals:
                self._originals[file.part] = np.load(self.folder / f"rgb{file.part}.npy", mmap_mode="r")
            self._coded.setdefault((file.scale, file.qp), []).append(file)

    @property
    def scales(self) -> list[Fraction]:
        return sorted({scale for scale, _ in self._coded})

    def qps(self, scale: Fraction) -> list[int]:
        return sorted(qp for s, qp in self._coded if s == scale)

    def sample(self, scale: Fraction, qps: list[int], rng: np.random.Generator) -> Batch:
        """One random training patch at each of the QPs, mirrored at random."""
        rows = []
        for qp in qps:
            files = self._coded[scale, qp]
            file = files[rng.integers(len(files))]
            first = int(np.searchsorted(file.index, HELD_OUT)) if file.part == 0 else 0
            rows.append((file, int(rng.integers(first, len(file.index)))))
        batch = self._batch(rows)
        for i in np.flatnonzero(rng.integers(2, size=len(rows))):
            for planes in (batch["original"], batch["luma"], batch["chroma"]):
                planes[i] = planes[i].flip(2)
        return batch

    def held_out(self, scale: Fraction, qp: int) -> Batch | None:
        """Validation patches of one scale and QP; None where there are none."""
        rows = [
            (file, row)
            for file in self._coded.get((scale, qp), [])
            if file.part == 0
            for row in range(int(np.searchsorted(file.index, HELD_OUT)))
        ]
        return self._batch(rows[:: -(-len(rows) // VALIDATED)]) if rows else None

    def _batch(self, rows: list[tuple[CodedFile, int]]) -> Batch:
        scale = rows[0][0].scale
        rgb = np.stack([self._originals[file.part][file.index[row]] for file, row in rows])
        side = int(rgb.shape[1] * scale)
        samples = torch.from_numpy(np.stack([file.planes[row] for file, row in rows]).astype(np.float32))
        return {
            "original": torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255,
            "luma": (samples[:, : side * side].view(-1, 1, side, side) - 64) / 876,
            "chroma": (samples[:, side * side :].view(-1, 2, side // 2, side // 2) - 512) / 896,
            "qp": torch.tensor([float(file.qp) for file, _ in rows]),
            "scale": torch.full((len(rows),), float(scale)),
            "matrix": torch.tensor([file.matrix for file, _ in rows]),
            "layer": torch.tensor([float(file.layer[row]) for file, row in rows]),
            "up": enlargement(scale),
        }


@torch.no_grad()
def plainly_enlarged(batch: Batch) -> Tensor:
    """RGB of the decoded pictures without filter, at full size."""
    size = batch["original"].shape[2], batch["original"].shape[3]
    luma = F.interpolate(batch["luma"], size, mode="bicubic")
    return to_rgb(luma, batch["chroma"], batch["matrix"], size)
