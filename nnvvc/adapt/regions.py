"""Where in a picture detectors find something, so that no bits are spent on the rest.

What is far from everything that two detectors find is smoothed before coding (regions of interest, as the
MPEG work on video coding for machines has them): an encoder then has nothing to code there, and any decoder
will do. Detectors lose little by it; people see a blurred background.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from nnvvc.adapt.loss_networks import loss_network, require_networks, rgb_of_picture
from nnvvc.models.detection_heads import HEADS
from nnvvc.picture import Picture

Mask = NDArray[np.float32]

DETECTORS = {"nanodet_plus_m": "nanodetplus", "picodet_s": "picodet"}
"""The networks that look for objects, and their heads."""

SIDE = 416
"""Longest side of what the detectors see: what they were trained with."""

STRIDE = 32
"""The detectors take sides that are multiples of this many samples."""

CERTAINTY = 0.3
"""Least score of what is kept."""

MARGIN, LEAST_MARGIN = 0.1, 8
"""What is kept around a box on every side: a share of its size, and luma samples besides."""

EDGE = 4.0
"""Standard deviation of the transition between sharp and smooth, luma samples."""

SMOOTHING = 1 / 160
"""Standard deviation of the smoothing, in longer sides of the picture."""

LONGEST = 64
"""Pictures, at most, that have one mask."""

LOOKED_AT = 2
"""Of every so many pictures of a video one is given to the detectors."""


def smooth_background(frames: Iterable[Picture], period: int) -> Iterator[Picture]:
    """Pictures with all smoothed but their objects.

    Of a video, `period` pictures at a time (0: as many as may be) keep whatever is an object in one of them:
    detectors miss some, and what comes and goes from one picture to the next costs bits. Raises ConfigError
    where the detectors are not there.
    """
    require_networks("--background smooth")
    remaining = iter(frames)
    while group := list(islice(remaining, min(period or LONGEST, LONGEST))):
        mask = np.maximum.reduce([object_mask(picture) for picture in group[::LOOKED_AT]])
        soft = cv2.GaussianBlur(mask, (0, 0), EDGE).astype(np.float32, copy=False)
        for picture in group:
            yield smoothed(picture, soft)


def object_mask(picture: Picture) -> Mask:
    """(height, width) of luma: 1 in and around everything that a detector finds, else 0."""
    height, width = picture.format.height, picture.format.width
    mask = np.zeros((height, width), np.float32)
    for left, top, right, bottom in object_boxes(picture):
        x, y = ((side * MARGIN + LEAST_MARGIN) for side in (right - left, bottom - top))
        rows = slice(max(0, int(top - y)), int(bottom + y) + 1)
        mask[rows, max(0, int(left - x)) : int(right + x) + 1] = 1
    return mask


@torch.inference_mode()
def object_boxes(picture: Picture) -> NDArray[np.float32]:
    """(n, 4): left, top, right, bottom, luma samples, of all that is found; many boxes for one object."""
    rgb = rgb_of_picture(picture)
    height, width = rgb.shape[2:]
    ratio = SIDE / max(height, width)
    size = max(1, round(height * ratio)), max(1, round(width * ratio))
    small = F.interpolate(rgb, size, mode="bilinear", antialias=True)
    small = F.pad(small, (0, -size[1] % STRIDE, 0, -size[0] % STRIDE), mode="replicate")
    found = []
    for name, head in DETECTORS.items():
        (output,) = loss_network(name)(small, ("pred",))
        candidates = HEADS[head](output[0].numpy(), small.shape[2], small.shape[3])
        found.append(candidates.boxes[candidates.scores.max(1) >= CERTAINTY])
    boxes = np.concatenate(found) / ratio
    return boxes.clip(0, (width, height, width, height)).astype(np.float32)


def smoothed(picture: Picture, mask: Mask) -> Picture:
    """The picture with all smoothed but what `mask`, (height, width) of luma, 0 to 1, holds.

    It knows its `original`.
    """
    deviation = SMOOTHING * max(picture.format.width, picture.format.height)
    planes = []
    for plane in picture.planes:
        rows, columns = plane.shape
        share = columns / picture.format.width
        values = plane.astype(np.float32)
        blurred = cv2.GaussianBlur(values, (0, 0), deviation * share, borderType=cv2.BORDER_REPLICATE)
        weight = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
        planes.append(np.rint(blurred + weight * (values - blurred)).astype(np.uint16))
    return Picture(tuple(planes), picture.format, picture)
