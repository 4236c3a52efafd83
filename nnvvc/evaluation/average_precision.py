"""COCO average precision: matching by pycocotools, accumulation by weights for resampling.

The accumulation here gives what `COCOeval.accumulate` gives (all categories, IoU 0.50 to 0.95, 101 levels of
recall, 100 detections a picture), but takes a weight per picture: a bootstrap sample is a row of counts.
"""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnvvc.errors import InputError
from nnvvc.evaluation.detection import MAX_DETECTIONS, Detections

IouType = Literal["bbox", "segm"]
_RECALLS = np.linspace(0, 1, 101)
AGREEMENT_SCORE = 0.3
"""Detections on the uncompressed picture with this score or more are the truth of an agreement score."""


@dataclass(frozen=True)
class GroundTruth:
    """What there is to find: COCO images and annotations. `label_free`: a network said so."""

    images: tuple[dict[str, Any], ...]
    annotations: tuple[dict[str, Any], ...]
    label_free: bool = False

    @property
    def image_ids(self) -> list[int]:
        return sorted(int(i["id"]) for i in self.images)

    @classmethod
    def from_coco(cls, path: Path) -> "GroundTruth":
        """Reads a COCO json; raises InputError where it is none."""
        try:
            data = json.loads(path.read_text())
            return cls(tuple(data["images"]), tuple(data["annotations"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a COCO annotation file: {error}") from error

    @classmethod
    def from_detections(
        cls,
        found: Mapping[int, Detections],
        sizes: Mapping[int, tuple[int, int]],
        score: float = AGREEMENT_SCORE,
    ) -> "GroundTruth":
        """Label-free truth: what a network is sure of, uncompressed. sizes: (height, width)."""
        images = [{"id": i, "height": sizes[i][0], "width": sizes[i][1]} for i in found]
        annotations: list[dict[str, Any]] = []
        for image, detections in found.items():
            for entry in _results(image, detections.at_least(score)):
                width, height = entry["bbox"][2:]
                entry |= {"id": len(annotations) + 1, "iscrowd": 0, "area": width * height}
                annotations.append({k: v for k, v in entry.items() if k != "score"})
        return cls(tuple(images), tuple(annotations), label_free=True)

    def for_masks(self) -> "GroundTruth":
        """Only the pictures of which every object has a mask: others would make false detections."""
        missing = {a["image_id"] for a in self.annotations if not a.get("segmentation")}
        missing |= {i["id"] for i in self.images if i.get("has_segmentation") is False}
        return replace(
            self,
            images=tuple(i for i in self.images if i["id"] not in missing),
            annotations=tuple(a for a in self.annotations if a["image_id"] not in missing),
        )

    def only(self, image_ids: Sequence[int]) -> "GroundTruth":
        """The part that concerns these pictures."""
        wanted = set(image_ids)
        return replace(
            self,
            images=tuple(i for i in self.images if i["id"] in wanted),
            annotations=tuple(a for a in self.annotations if a["image_id"] in wanted),
        )


@dataclass(frozen=True, slots=True)
class _Category:
    """Detections of one category over all pictures, most certain first.

    hits, ignored: (thresholds, n). image: (n,) index of the picture. positives: (pictures,) objects to find.
    """

    hits: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    image: NDArray[np.int64]
    positives: NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """Which detections hit, for every category and IoU threshold; `average_precision` adds them up."""

    image_ids: tuple[int, ...]
    categories: tuple[_Category, ...]
    thresholds: int

    def average_precision(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """AP at each IoU threshold: (samples, thresholds), from weights (samples, pictures), by default 1.

        The mean of a row is COCO's AP, its first value AP50. NaN where a sample has nothing to find.
        """
        if weights is None:
            weights = np.ones((1, len(self.image_ids)))
        total = np.zeros((len(weights), self.thresholds))
        present = np.zeros((len(weights), 1))
        for category in self.categories:
            positives = weights @ category.positives
            total += np.where(positives[:, None] > 0, _category_ap(category, weights, positives), 0)
            present += positives[:, None] > 0
        with np.errstate(invalid="ignore"):
            return total / np.where(present > 0, present, np.nan)


def match(
    truth: GroundTruth,
    found: Mapping[int, Detections],
    iou_type: IouType = "bbox",
    area: tuple[float, float] = (0, 1e10),
) -> Matches:
    """Matches detections with the truth by pycocotools. Objects with an area outside `area` are ignored as
    in COCO scores of small, medium and large: neither they nor what is found there counts."""
    if iou_type == "segm":
        truth = truth.for_masks()
    evaluator = coco_eval(truth, found, iou_type, area)
    ids = [int(i) for i in evaluator.params.imgIds]
    index = {image: n for n, image in enumerate(ids)}
    count = len(ids)
    categories = []
    for k in range(len(evaluator.params.catIds)):
        entries = [e for e in evaluator.evalImgs[k * count : (k + 1) * count] if e is not None]
        if not entries:
            continue
        positives = np.zeros(count)
        for e in entries:
            positives[index[e["image_id"]]] = np.count_nonzero(np.asarray(e["gtIgnore"]) == 0)
        if not positives.any():
            continue
        scores = np.concatenate([e["dtScores"] for e in entries])
        order = np.argsort(-scores, kind="mergesort")
        image = np.concatenate([np.full(len(e["dtScores"]), index[e["image_id"]], np.int64) for e in entries])
        hits = np.concatenate([e["dtMatches"] > 0 for e in entries], axis=1)
        ignored = np.concatenate([e["dtIgnore"] for e in entries], axis=1).astype(bool)
        categories.append(_Category(hits[:, order], ignored[:, order], image[order], positives))
    return Matches(tuple(ids), tuple(categories), len(evaluator.params.iouThrs))


def coco_eval(
    truth: GroundTruth, found: Mapping[int, Detections], iou_type: IouType, area: tuple[float, float]
) -> Any:
    """A `COCOeval` after `evaluate()`, over one range of areas."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        ids = truth.image_ids
        # pycocotools writes into annotations, and takes an id of 0 for "no match": copies, numbered from 1.
        annotations = [
            dict(a) | {"id": n, "iscrowd": a.get("iscrowd", 0)} for n, a in enumerate(truth.annotations, 1)
        ]
        results = [r for image in ids if image in found for r in _results(image, found[image])]
        categories = sorted({a["category_id"] for a in annotations})
        coco.dataset = {
            "info": {},
            "images": list(truth.images),
            "annotations": annotations,
            "categories": [{"id": c} for c in categories],
        }
        coco.createIndex()
        if iou_type == "bbox":
            results = [{k: v for k, v in r.items() if k != "segmentation"} for r in results]
        detected = coco.loadRes(results) if results else COCO()
        evaluator = COCOeval(coco, detected, iou_type)
        evaluator.params.imgIds = ids
        evaluator.params.areaRng = [list(area)]
        evaluator.params.areaRngLbl = ["all"]
        evaluator.params.maxDets = [MAX_DETECTIONS]
        if not results:
            detected.dataset = coco.dataset | {"annotations": []}
            detected.createIndex()
        evaluator.evaluate()
    return evaluator


def _results(image: int, found: Detections) -> list[dict[str, Any]]:
    entries = []
    for n, (box, score, category) in enumerate(zip(found.boxes, found.scores, found.categories, strict=True)):
        left, top, right, bottom = (float(v) for v in box)
        entry: dict[str, Any] = {
            "image_id": image,
            "category_id": int(category),
            "bbox": [left, top, right - left, bottom - top],
            "score": float(score),
        }
        if found.masks is not None:
            entry["segmentation"] = dict(found.masks[n])
        entries.append(entry)
    return entries


def _category_ap(
    category: _Category, weights: NDArray[np.float64], positives: NDArray[np.float64]
) -> NDArray[np.float64]:
    of_detection = weights[:, category.image]
    result = np.zeros((len(weights), len(category.hits)))
    for n, (hits, ignored) in enumerate(zip(category.hits, category.ignored, strict=True)):
        # Recall rises at hits only, and precision falls between them: nothing else has to be looked at.
        found, wrong = (np.flatnonzero(which & ~ignored) for which in (hits, ~hits))
        true = np.cumsum(of_detection[:, found], axis=1)
        all_false = np.cumsum(of_detection[:, wrong], axis=1)
        false = np.pad(all_false, ((0, 0), (1, 0)))[:, np.searchsorted(wrong, found)]
        precision = true / (true + false + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = true / np.maximum(positives, 1e-9)[:, None]
        # A level of recall counts with the envelope at the first detection that reaches it.
        reached = np.searchsorted(_RECALLS, recall, side="right")
        levels = np.diff(reached, axis=1, prepend=0)
        result[:, n] = (levels * envelope).sum(axis=1) / len(_RECALLS)
    return result
