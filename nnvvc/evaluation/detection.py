"""Detectors and instance segmenters: from a network's output to boxes, scores, classes and masks."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from nnvvc.errors import ConfigError
from nnvvc.evaluation.networks import Placement, Rgb, TaskNetwork, Tensor
from nnvvc.models.detection_heads import HEADS, SCORE_THRESHOLD, Floats

COCO_CATEGORY_IDS = np.array([i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)])
"""The 80 category ids in use of the 90 in COCO, in the order of every detector's classes."""

CANDIDATES = 1000
MAX_DETECTIONS = 100
NMS_IOU = 0.65


@dataclass(frozen=True, slots=True)
class Detections:
    """What a network found in one picture, most certain first.

    boxes: (n, 4) float32, left, top, right, bottom in luma samples. scores: (n,) float32, 0 to 1.
    categories: (n,) int64, COCO category ids. masks: run-length codes of pycocotools, or None.
    """

    boxes: Floats
    scores: Floats
    categories: NDArray[np.int64]
    masks: tuple[dict[str, Any], ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float) -> "Detections":
        """Those with this score or more."""
        keep = np.flatnonzero(self.scores >= score)
        masks = None if self.masks is None else tuple(self.masks[i] for i in keep)
        return Detections(self.boxes[keep], self.scores[keep], self.categories[keep], masks)

    def to_json(self) -> dict[str, Any]:
        """Boxes to a hundredth of a sample; `from_json` is the inverse."""
        data: dict[str, Any] = {
            "boxes": [[round(float(v), 2) for v in box] for box in self.boxes],
            "scores": [round(float(s), 6) for s in self.scores],
            "categories": [int(c) for c in self.categories],
        }
        if self.masks is not None:
            data["masks"] = list(self.masks)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Detections":
        return cls(
            np.array(data["boxes"], np.float32).reshape(-1, 4),
            np.array(data["scores"], np.float32),
            np.array(data["categories"], np.int64),
            tuple(data["masks"]) if "masks" in data else None,
        )


class Detector:
    """A detection network of the COCO classes, with masks where it has prototypes."""

    def __init__(self, network: TaskNetwork) -> None:
        """Raises ConfigError for a network whose output form is not known."""
        if network.head not in HEADS:
            raise ConfigError(f"{network.name}: output form '{network.head}' is none of {', '.join(HEADS)}")
        self.network = network
        self._head = HEADS[network.head]
        self.has_masks = "proto" in network.outputs

    def detect(self, rgb: Rgb) -> Detections:
        """Everything found in the picture: at most 100 detections, class-wise suppressed at IoU 0.65."""
        tensor, placement = self.network.prepare(rgb)
        names = ["pred", "proto"] if self.has_masks else ["pred"]
        results = self.network.run(tensor, names)
        candidates = self._head(results[0][0], tensor.shape[2], tensor.shape[3])
        anchors, classes, scores = _strongest(candidates.scores)
        boxes = candidates.boxes[anchors]
        keep = suppress(boxes, scores, classes)[:MAX_DETECTIONS]
        boxes, scores, classes, anchors = boxes[keep], scores[keep], classes[keep], anchors[keep]
        placed = _to_picture(boxes, placement)
        masks = None
        if self.has_masks and candidates.coefficients is not None:
            masks = _masks(candidates.coefficients[anchors], results[1][0], placed, placement)
        return Detections(placed, scores, COCO_CATEGORY_IDS[classes].astype(np.int64), masks)


def suppress(
    boxes: Floats, scores: Floats, classes: NDArray[np.int64], iou: float = NMS_IOU
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class: indices of the boxes kept, most certain first."""
    order = np.argsort(-scores, kind="stable")
    overlaps = box_iou(boxes[order], boxes[order]) > iou
    overlaps &= classes[order][:, None] == classes[order][None]
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlaps[i, i + 1 :]
    return order[alive].astype(np.int64)


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box (left, top, right, bottom) of `a` (n, 4) with every one of `b`."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None] + np.prod(b[:, 2:] - b[:, :2], axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float32)


def _strongest(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The best (anchor, class) pairs over the threshold; a box may be of several classes, as for COCO."""
    flat = scores.ravel()
    over = np.flatnonzero(flat > SCORE_THRESHOLD)
    if len(over) > CANDIDATES:
        over = over[np.argsort(-flat[over], kind="stable")[:CANDIDATES]]
    return over // scores.shape[1], over % scores.shape[1], flat[over]


def _to_picture(boxes: Floats, placement: Placement) -> Floats:
    scale = np.array([placement.scale_x, placement.scale_y] * 2, np.float32)
    limit = np.array([placement.width, placement.height] * 2, np.float32)
    return np.asarray(np.clip(boxes / scale, 0, limit), np.float32)


def _masks(
    coefficients: Floats, prototypes: Tensor, boxes: Floats, placement: Placement
) -> tuple[dict[str, Any], ...]:
    """Masks at picture size, cropped to boxes: weighted sums of prototypes at a quarter of the input."""
    channels, rows, columns = prototypes.shape
    logits = (coefficients @ prototypes.reshape(channels, -1)).reshape(-1, rows, columns)
    step_x, step_y = placement.scale_x / 4, placement.scale_y / 4
    masks = []
    for logit, (left, top, right, bottom) in zip(logits, boxes, strict=True):
        x, y = int(left), int(top)
        size = (max(1, int(np.ceil(right)) - x), max(1, int(np.ceil(bottom)) - y))
        # Sample centres of the picture, inside the box, among those of the prototypes.
        place = np.array(
            [[step_x, 0, (x + 0.5) * step_x - 0.5], [0, step_y, (y + 0.5) * step_y - 0.5]], np.float64
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        inner = cv2.warpAffine(logit, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros((placement.height, placement.width), np.uint8, order="F")
        view = mask[y : y + size[1], x : x + size[0]]
        view[...] = inner[: view.shape[0], : view.shape[1]] > 0
        code = coco_mask.encode(mask)
        masks.append({"size": list(code["size"]), "counts": code["counts"].decode("ascii")})
    return tuple(masks)
