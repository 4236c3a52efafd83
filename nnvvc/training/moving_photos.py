"""Video made of photos that move, on top of each other too, with noise and change of light."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.training.photos import read_rgb

PATCH = 192
"""Side of the patches, luma samples."""

OVERSAMPLED = 2
"""How much larger photos in motion are drawn than they are shown."""


@dataclass
class _Mover:
    """A photo that pans, zooms and turns."""

    rgb: NDArray[np.uint8]
    centre: NDArray[np.float64]
    velocity: NDArray[np.float64]
    zoom: float
    turn: float

    @classmethod
    def draw(cls, rgb: NDArray[np.uint8], rng: np.random.Generator) -> "_Mover":
        height, width = rgb.shape[:2]
        centre = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
        # Most video moves little; a part of it moves much.
        velocity = rng.normal(0, 1, 2) * rng.choice([0.0, 0.3, 1.5, 4.0])
        zoom, turn = rng.normal(0, 1, 2) * (0.002, 0.15) * rng.integers(0, 2, 2)
        return cls(rgb, centre, velocity, float(zoom), float(turn))

    def frame(self, time: float, scale: float) -> NDArray[np.float32]:
        """PATCH x PATCH at a time, counted in frames from the middle of the clip.

        Drawn at twice the size: what interpolation does to the finest detail is gone at half of it. Filters
        would learn to undo that, which real video has no use for.
        """
        zoom = OVERSAMPLED * scale * (1 + self.zoom) ** time
        matrix = cv2.getRotationMatrix2D((0, 0), self.turn * time, zoom)
        centre = self.centre + self.velocity * time / scale
        matrix[:, 2] = OVERSAMPLED * PATCH / 2 - matrix[:, :2] @ centre
        side = OVERSAMPLED * PATCH
        moved = cv2.warpAffine(
            self.rgb, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        small = cv2.resize(moved.astype(np.float32), (PATCH, PATCH), interpolation=cv2.INTER_AREA)
        result: NDArray[np.float32] = small.astype(np.float32, copy=False)
        return result


def moving_patch(
    photos: Sequence[Path], rng: np.random.Generator, frames: int
) -> Iterator[NDArray[np.uint8]]:
    """RGB frames (PATCH, PATCH, 3) of a photo in motion, half of them with an ellipse of another in front."""
    drawn = [read_rgb(photos[int(rng.integers(len(photos)))]) for _ in range(2)]
    back, front = (_Mover.draw(rgb, rng) for rgb in drawn)
    # Twice the size of a patch and some, where the photo has that.
    scales = [float(np.clip(rng.uniform(1.0, 1.5) * PATCH / min(p.shape[:2]), 0.2, 0.62)) for p in drawn]
    inside = np.zeros((PATCH, PATCH), np.float32)
    if rng.random() < 0.5:
        middle, axes = rng.integers(30, PATCH - 30, 2), rng.integers(20, 70, 2)
        cv2.ellipse(
            inside, [int(v) for v in middle], [int(v) for v in axes], rng.uniform(0, 180), 0, 360, 1.0, -1
        )
    sharpness = rng.choice([0.0, 0.0, 0.3, 0.6, 1.0])
    noise, light = rng.choice([0.0, 0.0, 1.0, 2.5]), rng.choice([0.0, 0.0, 0.003]) * rng.choice([-1, 1])
    for number in range(frames):
        time = number - frames / 2
        dx, dy = front.velocity * time
        shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        moved = cv2.warpAffine(inside, shift, (PATCH, PATCH))
        mask = cv2.GaussianBlur(moved, (3, 3), 0.7).astype(np.float32)[..., None]
        picture = back.frame(time, scales[0]) * (1 - mask) + front.frame(time, scales[1]) * mask
        picture = _sharpened(picture, sharpness) * (1.0 + light * time) + noise * rng.standard_normal(
            (PATCH, PATCH, 1)
        )
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _sharpened(picture: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """As cameras do."""
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.8)
    result: NDArray[np.float32] = picture + np.float32(share) * (picture - blurred)
    return result
