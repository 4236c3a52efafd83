"""Multi-object tracking: a plain tracker over a detector, scored by MOTA and IDF1.

The tracker joins boxes of one class by overlap alone (IoU, Hungarian assignment), so that its scores show
what coding does to detections. Scores: motmetrics' accumulator, fed with our own IoU distances.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nnvvc.evaluation.average_precision import GroundTruth
from nnvvc.evaluation.detection import Detections, box_iou

TRACK_SCORE = 0.35
"""Detections below this score start no track and continue none."""
JOIN_IOU = 0.3
MATCH_IOU = 0.5
"""A track is on an object where they overlap by this IoU, as in the MOT benchmarks."""
PATIENCE = 5
"""Frames a track may go without a detection before it ends."""

Floats = NDArray[np.float32]


@dataclass(slots=True)
class _Track:
    number: int
    category: int
    box: Floats
    velocity: Floats = field(default_factory=lambda: np.zeros(4, np.float32))
    missed: int = 0


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """Tracks seen in one frame: (n, 4) boxes as in `Detections`, (n,) track numbers, (n,) categories."""

    boxes: Floats
    numbers: NDArray[np.int64]
    categories: NDArray[np.int64]


def track(frames: Iterable[Detections]) -> list[TrackedFrame]:
    """Joins the detections of consecutive frames to tracks, at constant velocity."""
    tracks: list[_Track] = []
    result = []
    count = 0
    for found in frames:
        sure = found.at_least(TRACK_SCORE)
        expected = np.array([t.box + t.velocity * (t.missed + 1) for t in tracks], np.float32).reshape(-1, 4)
        overlap = box_iou(expected, sure.boxes)
        overlap *= np.array([t.category for t in tracks])[:, None] == sure.categories[None]
        pairs = [
            (i, j) for i, j in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[i, j] >= JOIN_IOU
        ]
        seen = {}
        for i, j in pairs:
            old = tracks[i]
            step = (sure.boxes[j] - old.box) / (old.missed + 1)
            old.velocity = 0.5 * old.velocity + 0.5 * step
            old.box, old.missed = sure.boxes[j], -1
            seen[j] = old
        for j in range(len(sure)):
            if j not in seen:
                count += 1
                seen[j] = _Track(count, int(sure.categories[j]), sure.boxes[j], missed=-1)
                tracks.append(seen[j])
        for one in tracks:
            one.missed += 1
        tracks = [t for t in tracks if t.missed <= PATIENCE]
        numbers = np.array([seen[j].number for j in range(len(sure))], np.int64)
        result.append(TrackedFrame(sure.boxes, numbers, sure.categories))
    return result


def tracking_scores(
    truth: GroundTruth,
    image_ids: Sequence[int],
    tracked: Sequence[TrackedFrame],
    categories: Sequence[int] | None = None,
    min_area: float = 0,
) -> dict[str, float]:
    """MOTA, IDF1 and their parts over one clip whose frames are `image_ids`.

    categories: those that count, by default the ones in the truth. Objects of an area under min_area are
    ignored: they need not be found, and a track on one is no false alarm. Classes are not mixed.
    """
    import motmetrics

    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in truth.annotations:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    wanted = set(categories or {a["category_id"] for a in truth.annotations})
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for image, frame in zip(image_ids, tracked, strict=True):
        objects = [a for a in by_image.get(image, []) if a["category_id"] in wanted]
        boxes = np.array([a["bbox"] for a in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        counts = np.isin(frame.categories, list(wanted))
        overlap = box_iou(boxes, frame.boxes)
        overlap *= np.array([a["category_id"] for a in objects])[:, None] == frame.categories[None]
        small = np.array([a["area"] < min_area or a.get("iscrowd", 0) for a in objects], bool)
        on_small = (overlap[small] >= MATCH_IOU).any(axis=0) if small.any() else np.zeros(len(counts), bool)
        on_large = (
            (overlap[~small] >= MATCH_IOU).any(axis=0) if (~small).any() else np.zeros(len(counts), bool)
        )
        counts &= on_large | ~on_small
        distance = 1 - overlap[~small][:, counts].astype(np.float64)
        distance[distance > 1 - MATCH_IOU] = np.nan
        ids = [int(a["track_id"]) for a, s in zip(objects, small, strict=True) if not s]
        accumulator.update(ids, frame.numbers[counts].tolist(), distance)
    names = ["mota", "idf1", "num_switches", "num_misses", "num_false_positives", "num_objects"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = motmetrics.metrics.create().compute(accumulator, metrics=names, return_dataframe=False)
    return {name: float(summary[name]) for name in names}
