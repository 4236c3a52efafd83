import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnvvc.evaluation.average_precision import GroundTruth, match
from nnvvc.evaluation.detection import Detections


def _scene(seed: int, images: int = 12) -> tuple[GroundTruth, dict[int, Detections]]:
    """Objects, and detections that are off by some samples, of a wrong class, missing or false."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    found = {}
    for image in range(1, images + 1):
        boxes, scores, categories = [], [], []
        for _ in range(rng.integers(0, 7)):
            x, y, w, h = rng.uniform([0, 0, 8, 8], [80, 80, 60, 60])
            category = int(rng.integers(1, 4))
            crowd = int(rng.random() < 0.1)
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": category, "iscrowd": crowd}
            annotations.append(entry | {"bbox": [x, y, w, h], "area": w * h})
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = rng.normal(0, 3, 4)
                boxes.append([x + dx, y + dy, x + w + dx + dw, y + h + dy + dh])
                scores.append(round(float(rng.random()), 2))
                categories.append(category if rng.random() < 0.8 else int(rng.integers(1, 4)))
        order = np.argsort(-np.array(scores), kind="stable")
        found[image] = Detections(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.array(categories, np.int64)[order],
        )
    frames = tuple({"id": i, "width": 150, "height": 150} for i in range(1, images + 1))
    return GroundTruth(frames, tuple(annotations)), found


def _pycocotools(
    truth: GroundTruth, found: dict[int, Detections], images: list[int]
) -> tuple[float, float, float]:
    """AP, AP50 and AP of medium objects as pycocotools' own summary gives them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": list(truth.images),
            "annotations": [dict(a) for a in truth.annotations],
            "categories": [{"id": c} for c in (1, 2, 3)],
        }
        coco.createIndex()
        results = [
            {
                "image_id": i,
                "category_id": int(c),
                "score": float(s),
                "bbox": [*map(float, (*b[:2], *(b[2:] - b[:2])))],
            }
            for i, d in found.items()
            for b, s, c in zip(d.boxes, d.scores, d.categories, strict=True)
        ]
        evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.params.imgIds = images
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[0], evaluator.stats[1], evaluator.stats[4]


@pytest.mark.parametrize("seed", range(5))
def test_equals_pycocotools(seed: int) -> None:
    truth, found = _scene(seed)
    expected = _pycocotools(truth, found, truth.image_ids)
    values = match(truth, found).average_precision()[0]
    medium = match(truth, found, area=(32**2, 96**2)).average_precision()[0]
    assert (values.mean(), values[0], medium.mean()) == pytest.approx(expected, abs=1e-12)


def test_weights_repeat_pictures() -> None:
    truth, found = _scene(7)
    counts = np.array([[2, 0, 1, 3, 1, 0, 1, 1, 0, 2, 1, 0]], np.float64)
    images, annotations, copies = [], [], {}
    for image, count in zip(truth.image_ids, counts[0], strict=True):
        for copy in range(int(count)):
            number = image * 10 + copy
            images.append({"id": number, "width": 150, "height": 150})
            annotations += [
                dict(a) | {"image_id": number} for a in truth.annotations if a["image_id"] == image
            ]
            copies[number] = found[image]
    repeated = match(GroundTruth(tuple(images), tuple(annotations)), copies).average_precision()
    np.testing.assert_allclose(match(truth, found).average_precision(counts), repeated, atol=1e-12)


def test_agreement_with_itself_is_full() -> None:
    _, found = _scene(3)
    truth = GroundTruth.from_detections(found, dict.fromkeys(found, (150, 150)), score=0.0)
    assert truth.label_free
    assert len(truth.annotations) == sum(len(d) for d in found.values())


def test_nothing_found_is_zero() -> None:
    truth, found = _scene(1)
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert match(truth, dict.fromkeys(found, empty)).average_precision()[0].max() == 0


def test_pictures_without_masks_do_not_count_for_masks() -> None:
    box = {"category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    square = [[0, 0, 9, 0, 9, 9, 0, 9]]
    truth = GroundTruth(
        tuple({"id": i, "width": 20, "height": 20} for i in (1, 2)),
        (box | {"id": 1, "image_id": 1, "segmentation": square}, box | {"id": 2, "image_id": 2}),
    )
    assert truth.for_masks().image_ids == [1]
