"""Heads of detection networks: from their output to boxes, scores and coefficients of masks, before
suppression.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCORE_THRESHOLD = 0.001
"""Low, as COCO AP asks: precision falls where a false box is sure of itself, not where it exists."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A head before suppression: (n, 4) corners in network samples, (n, classes) scores, coefficients."""

    boxes: Floats
    scores: Floats
    coefficients: Floats | None = None


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


def _yolox(pred: Floats, height: int, width: int) -> Candidates:
    x, y, s = _grid(height, width, (8, 16, 32))
    boxes = _corners(
        (pred[:, 0] + x) * s, (pred[:, 1] + y) * s, np.exp(pred[:, 2]) * s, np.exp(pred[:, 3]) * s
    )
    return Candidates(boxes, pred[:, 4:5] * pred[:, 5:])


_YOLOV5_ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}


def _yolov5(pred: Floats, height: int, width: int) -> Candidates:
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
    return Candidates(boxes, q[:, 4:5] * q[:, 5:], pred[:, 85:] if pred.shape[1] > 85 else None)


def _distances(pred: Floats, height: int, width: int, offset: float) -> Candidates:
    """Heads with a distribution over 8 distances per side: NanoDet-Plus (offset 0), PicoDet (offset 0.5)."""
    x, y, s = _grid(height, width, (8, 16, 32, 64))
    bins = pred[:, 80:112].reshape(-1, 4, 8)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    left, top, right, bottom = (
        (weights @ np.arange(8, dtype=np.float32)) / weights.sum(axis=2) * s[:, None]
    ).T
    cx, cy = (x + offset) * s, (y + offset) * s
    return Candidates(np.stack([cx - left, cy - top, cx + right, cy + bottom], axis=1), pred[:, :80])


def _nanodet(pred: Floats, height: int, width: int) -> Candidates:
    return _distances(pred, height, width, 0.0)


def _picodet(pred: Floats, height: int, width: int) -> Candidates:
    return _distances(pred, height, width, 0.5)


def _fastestdet(pred: Floats, height: int, width: int) -> Candidates:
    x, y, s = _grid(height, width, (16,))
    p = pred.reshape(85, -1).T
    boxes = _corners(
        (np.tanh(p[:, 1]) + x) * s,
        (np.tanh(p[:, 2]) + y) * s,
        _sigmoid(p[:, 3]) * width,
        _sigmoid(p[:, 4]) * height,
    )
    return Candidates(boxes, p[:, :1] ** 0.6 * p[:, 5:] ** 0.4)


HEADS: dict[str, Callable[[Floats, int, int], Candidates]] = {
    "yolox": _yolox,
    "yolov5": _yolov5,
    "nanodetplus": _nanodet,
    "picodet": _picodet,
    "fastestdet": _fastestdet,
}
"""By the name in the networks' sidecar files: of an output (anchors, ...) and the input's height and
width.
"""
