"""The networks whose features tell an encoder what machines see; an encoder needs them, a decoder never.

They are not part of the project: `NNVVC_NETS` names their folder.
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.entropy.block_map import BLOCK
from nnvvc.errors import ConfigError
from nnvvc.media.colour import picture_to_rgb
from nnvvc.models.tasknets import FOLDER_VARIABLE, TaskNetwork, feature_loss
from nnvvc.picture import Picture

DETECTORS = {
    "nanodet_plus_m": ("feat8", "feat16", "feat32"),
    "picodet_s": ("feat8", "feat16", "feat32"),
}
"""Those that say what a whole picture is worth: detection falls off with these features, less with those of a
classifier.
"""

SEEN = 640
"""The longer side that the largest of common detectors reduce pictures to."""

STRIDE = 32
"""Largest stride of the networks."""


def available() -> bool:
    """Whether a choice can be made: NNVVC_NETS names the folder of the loss networks."""
    return FOLDER_VARIABLE in os.environ


def require_networks(option: str) -> None:
    """Raises ConfigError where they are not there; option: what needs them."""
    if not available():
        raise ConfigError(f"{option} needs the loss networks: {FOLDER_VARIABLE} names their folder")


@lru_cache(maxsize=4)
def loss_network(name: str) -> TaskNetwork:
    """The network of that name, loaded once. Raises ConfigError."""
    # Gradients have to go through it later, whoever asks for it first.
    with torch.inference_mode(False):
        return TaskNetwork(name).requires_grad_(False)


class PictureLoss:
    """Feature loss of whole pictures for detectors, the mean over the networks, and over what the picture
    looks like to them at several `sizes`.
    """

    @torch.no_grad()
    def __init__(self, original: Picture, sizes: Sequence[float] = (1.0,)) -> None:
        """Raises ConfigError where the loss networks are not there."""
        self._sizes = sizes
        seen = seen_of_picture(original)
        self._wanted = [_features(_at_size(seen, size)) for size in sizes]

    @torch.no_grad()
    def __call__(self, candidate: Picture) -> float:
        """candidate: of the original's size."""
        return float(self.of(rgb_of_picture(candidate)))

    def of(self, rgb: Tensor) -> Tensor:
        """The same, with gradients, of RGB (1, 3, H, W) in 0..1 of the original's size."""
        seen = as_seen(rgb)
        losses = [
            feature_loss(found, wanted[name])
            for size, wanted in zip(self._sizes, self._wanted, strict=True)
            for name, found in _features(_at_size(seen, size)).items()
        ]
        return torch.stack(losses).mean()


def _features(picture: Tensor) -> dict[str, list[Tensor]]:
    return {name: loss_network(name)(picture, outputs) for name, outputs in DETECTORS.items()}


def _at_size(seen: Tensor, size: float) -> Tensor:
    if size == 1:
        return seen
    height, width = (max(1, round(side * size / STRIDE)) * STRIDE for side in seen.shape[2:])
    return F.interpolate(seen, (height, width), mode="bilinear", antialias=True)


def rgb_of_picture(picture: Picture) -> Tensor:
    """RGB (1, 3, H, W) in 0..1."""
    return torch.from_numpy(picture_to_rgb(picture)).permute(2, 0, 1)[None].float() / 255


def seen_of_picture(picture: Picture) -> Tensor:
    """The same, as the networks see it: `as_seen`."""
    return as_seen(rgb_of_picture(picture))


def as_seen(rgb: Tensor) -> Tensor:
    """Padded to whole blocks by edge replication, and brought down to about the size that detectors look at
    pictures with: what is lost in finer detail is lost on nobody.
    """
    height, width = rgb.shape[2:]
    padded = F.pad(rgb, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    side = block_side(height, width)
    if side == BLOCK:
        return padded
    size = padded.shape[2] // BLOCK * side, padded.shape[3] // BLOCK * side
    return F.interpolate(padded, size, mode="bilinear", antialias=True)


def block_side(height: int, width: int) -> int:
    """What a block of a picture of this size measures where networks see it: a multiple of their strides."""
    return min(BLOCK, STRIDE * max(1, round(BLOCK // STRIDE * SEEN / max(height, width))))
