import numpy as np

from nnvvc.evaluation.average_precision import GroundTruth
from nnvvc.evaluation.detection import Detections
from nnvvc.evaluation.tracking import track, tracking_scores


def _frame(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), score, np.float32),
        np.ones(len(boxes), np.int64),
    )


def _truth(paths: list[list[tuple[float, float, float, float]]]) -> GroundTruth:
    annotations = [
        {
            "id": 1 + number * 100 + n,
            "image_id": n + 1,
            "category_id": 1,
            "track_id": number,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
        }
        for number, path in enumerate(paths)
        for n, (x0, y0, x1, y1) in enumerate(path)
    ]
    return GroundTruth(tuple({"id": n + 1} for n in range(len(paths[0]))), tuple(annotations))


def _paths(frames: int) -> list[list[tuple[float, float, float, float]]]:
    return [
        [(4.0 * n, 0, 4.0 * n + 20, 20) for n in range(frames)],
        [(100 - 4.0 * n, 40, 120 - 4.0 * n, 60) for n in range(frames)],
    ]


def test_perfect_detections_give_perfect_tracks() -> None:
    paths = _paths(10)
    tracked = track(_frame(*boxes) for boxes in zip(*paths, strict=True))
    scores = tracking_scores(_truth(paths), range(1, 11), tracked)
    assert scores["mota"] == 1 and scores["idf1"] == 1


def test_a_gap_is_bridged_and_counted_as_missed() -> None:
    paths = _paths(10)
    frames = [_frame(*boxes) for boxes in zip(*paths, strict=True)]
    frames[4] = _frame(paths[0][4])
    scores = tracking_scores(_truth(paths), range(1, 11), track(frames))
    assert scores["num_misses"] == 1 and scores["num_switches"] == 0
    assert scores["mota"] == 1 - 1 / 20


def test_false_alarms_cost_and_small_objects_do_not() -> None:
    paths = _paths(6)
    truth = _truth(paths)
    only_first = [_frame(box) for box in paths[0]]
    assert tracking_scores(truth, range(1, 7), track(only_first))["num_misses"] == 6
    assert tracking_scores(truth, range(1, 7), track(only_first), min_area=500)["num_objects"] == 0
    extra = [_frame(*boxes, (200, 200, 230, 230)) for boxes in zip(*paths, strict=True)]
    assert tracking_scores(truth, range(1, 7), track(extra))["num_false_positives"] == 6


def test_unsure_detections_make_no_track() -> None:
    assert all(len(f.numbers) == 0 for f in track([_frame((0, 0, 9, 9), score=0.1)] * 3))
