"""Detectors and instance segmenters: from a network's output to boxes, scores, classes and masks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from nnvvc.errors import ConfigError
from nnvvc.evaluation.networks import Placement, Rgb, TaskNetwork, Tensor

Floats = NDArray[np.float32]

COCO_CATEGORY_IDS = np.array([i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)])
"""The 80 category ids in use of the 90 in COCO, in the order of every detector's classes."""

SCORE_THRESHOLD = 0.001
"""Low, as COCO AP asks: precision falls where a false box is sure of itself, not where it exists."""
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


@dataclass(frozen=True, slots=True)
class _Candidates:
    """A head before suppression: (n, 4) corners in network samples, (n, classes) scores, coefficients."""

    boxes: Floats
    scores: Floats
    coefficients: Floats | None = None


class Detector:
    """A detection network of the COCO classes, with masks where it has prototypes."""

    def __init__(self, network: TaskNetwork) -> None:
        """Raises ConfigError for a network whose output form is not known."""
        if network.head not in _HEADS:
            raise ConfigError(f"{network.name}: output form '{network.head}' is none of {', '.join(_HEADS)}")
        self.network = network
        self._head = _HEADS[network.head]
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


def _grid(height: int, width: int, strides: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
    """x, y and stride of every cell: strides in turn, then rows, then columns."""
    xs, ys, ss = [], [], []
    for stride in strides:
        rows, columns = -(-height // stride), -(-width // stride)
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        xs.append(x.ravel())
        ys.append(y.ravel())
        ss.append(np.full(rows * columns, stride, np.float32))
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(ss)


def _corners(cx: Floats, cy: Floats, w: Floats, h: Floats) -> Floats:
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=-1)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _yolox(pred: Floats, height: int, width: int) -> _Candidates:
    x, y, s = _grid(height, width, (8, 16, 32))
    boxes = _corners(
        (pred[:, 0] + x) * s, (pred[:, 1] + y) * s, np.exp(pred[:, 2]) * s, np.exp(pred[:, 3]) * s
    )
    return _Candidates(boxes, pred[:, 4:5] * pred[:, 5:])


_YOLOV5_ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}


def _yolov5(pred: Floats, height: int, width: int) -> _Candidates:
    xs, ys, ss, anchors = [], [], [], []
    for stride, sizes in _YOLOV5_ANCHORS.items():
        x, y, s = _grid(height, width, (stride,))
        xs.append(np.tile(x, len(sizes)))
        ys.append(np.tile(y, len(sizes)))
        ss.append(np.tile(s, len(sizes)))
        anchors.append(np.repeat(np.array(sizes, np.float32), len(x), axis=0))
    x, y, s, anchor = np.concatenate(xs), np.concatenate(ys), np.concatenate(ss), np.concatenate(anchors)
    # No class can score more than the box itself: the many empty boxes need not be looked at.
    alive = _sigmoid(pred[:, 4]) > SCORE_THRESHOLD
    pred, x, y, s, anchor = pred[alive], x[alive], y[alive], s[alive], anchor[alive]
    q = _sigmoid(pred[:, :85])
    size = (2 * q[:, 2:4]) ** 2 * anchor
    boxes = _corners((2 * q[:, 0] - 0.5 + x) * s, (2 * q[:, 1] - 0.5 + y) * s, size[:, 0], size[:, 1])
    return _Candidates(boxes, q[:, 4:5] * q[:, 5:], pred[:, 85:] if pred.shape[1] > 85 else None)


def _distances(pred: Floats, height: int, width: int, offset: float) -> _Candidates:
    """Heads with a distribution over 8 distances per side: NanoDet-Plus (offset 0), PicoDet (offset 0.5)."""
    x, y, s = _grid(height, width, (8, 16, 32, 64))
    bins = pred[:, 80:112].reshape(-1, 4, 8)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    left, top, right, bottom = (
        (weights @ np.arange(8, dtype=np.float32)) / weights.sum(axis=2) * s[:, None]
    ).T
    cx, cy = (x + offset) * s, (y + offset) * s
    return _Candidates(np.stack([cx - left, cy - top, cx + right, cy + bottom], axis=1), pred[:, :80])


def _nanodet(pred: Floats, height: int, width: int) -> _Candidates:
    return _distances(pred, height, width, 0.0)


def _picodet(pred: Floats, height: int, width: int) -> _Candidates:
    return _distances(pred, height, width, 0.5)


def _fastestdet(pred: Floats, height: int, width: int) -> _Candidates:
    x, y, s = _grid(height, width, (16,))
    p = pred.reshape(85, -1).T
    boxes = _corners(
        (np.tanh(p[:, 1]) + x) * s,
        (np.tanh(p[:, 2]) + y) * s,
        _sigmoid(p[:, 3]) * width,
        _sigmoid(p[:, 4]) * height,
    )
    return _Candidates(boxes, p[:, :1] ** 0.6 * p[:, 5:] ** 0.4)


_HEADS: dict[str, Callable[[Floats, int, int], _Candidates]] = {
    "yolox": _yolox,
    "yolov5": _yolov5,
    "nanodetplus": _nanodet,
    "picodet": _picodet,
    "fastestdet": _fastestdet,
}
