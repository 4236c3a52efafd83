"""Semantic segmentation: agreement with the network's labels on the uncompressed picture, as mean IoU."""

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.errors import ConfigError
from nnvvc.evaluation.networks import Rgb, TaskNetwork

Confusion = NDArray[np.int64]


class Segmenter:
    """A network with one `logits` output (1, classes, H, W)."""

    def __init__(self, network: TaskNetwork) -> None:
        """Raises ConfigError for a network without that output."""
        if "logits" not in network.outputs:
            raise ConfigError(f"{network.name} has no output 'logits': not a semantic segmentation network")
        self.network = network

    def labels(self, rgb: Rgb) -> NDArray[np.uint8]:
        """Class of every sample, (height, width): logits brought to the picture's size, then the largest."""
        tensor, placement = self.network.prepare(rgb)
        logits = self.network.run(tensor, ["logits"])[0][0]
        size = (placement.width, placement.height)
        large = np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in logits])
        return np.asarray(large.argmax(axis=0), np.uint8)


def confusion(reference: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> Confusion:
    """How often a class of the reference (rows) was labelled as each class (columns)."""
    pairs = reference.astype(np.int64).ravel() * classes + labels.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def mean_iou(counts: Confusion) -> float:
    """Mean over the classes that the reference has of intersection over union; NaN without any sample."""
    both = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    present = counts.sum(axis=1) > 0
    return float(np.mean(both[present] / either[present])) if present.any() else float("nan")
