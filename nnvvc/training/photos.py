"""Training photos: in memory, cut to crops that are rescaled against old compression, as 4:2:0 sample
planes.
"""

import copy
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.errors import ConfigError, InputError
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models.planes import planes_of_picture
from nnvvc.picture import Matrix

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


def data_folder(path: str | None, *parts: str) -> Path:
    """`path`, or the folder `parts` below the one that NNVVC_DATA names. Raises ConfigError where neither
    is.
    """
    if path is not None:
        return Path(path)
    if root := os.environ.get("NNVVC_DATA"):
        return Path(root, *parts)
    raise ConfigError("no training data: name its folder in the recipe, or in the variable NNVVC_DATA")


def read_rgb(file: Path) -> NDArray[np.uint8]:
    """A picture file as RGB (height, width, 3), uint8. Raises InputError."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{file} is not a picture that can be read")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8, copy=False)


class Photos:
    """All pictures of a folder, uint8 RGB."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        files = sorted(f for f in folder.glob("*") if f.suffix.lower() in ENDINGS)[:limit]
        if not files:
            raise InputError(f"no pictures in {folder}")
        self.pictures = [read_rgb(f) for f in files]

    def divided(self, every: int) -> tuple["Photos", "Photos"]:
        """Every so many pictures, and the others."""
        parts = copy.copy(self), copy.copy(self)
        parts[0].pictures = self.pictures[::every]
        parts[1].pictures = [p for i, p in enumerate(self.pictures) if i % every]
        return parts

    def crop(
        self, rng: np.random.Generator, size: int, low: float = 0.5, high: float = 0.9
    ) -> NDArray[np.uint8]:
        """A random size x size crop of a random picture, resized by `low` to `high`, mirrored at random."""
        picture = self.pictures[rng.integers(len(self.pictures))]
        height, width = picture.shape[:2]
        scale = max(rng.uniform(low, high), size / min(height, width))
        side = min(round(size / scale), height, width)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        window = picture[top : top + side, left : left + side]
        result = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            result = result[:, ::-1]
        return np.ascontiguousarray(result)

    def planes(self, rng: np.random.Generator, count: int, size: int) -> Tensor:
        """A batch of crops as planes, (count, 6, size / 2, size / 2), see `models.planes`."""
        crops = [rgb_to_picture(self.crop(rng, size), 10, Matrix.BT709) for _ in range(count)]
        return torch.cat([planes_of_picture(c) for c in crops])
