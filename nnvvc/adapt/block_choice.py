"""An encoder's choice among filters for machines, block by block, by the features of the loss networks."""

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.entropy.block_map import BlockMap
from nnvvc.errors import ConfigError
from nnvvc.media.colour import picture_to_rgb
from nnvvc.models.tasknets import FOLDER_VARIABLE, TaskNetwork, feature_loss
from nnvvc.picture import Picture

BLOCK = 128
"""Side of a block, luma samples of the output picture: the best of those tried in arXiv 2406.12367."""

FEATURES = {
    "nanodet_plus_m": ("feat8", "feat16"),
    "picodet_s": ("feat8", "feat16"),
    "squeezenet_v1.1": ("f1", "f3"),
}
"""The networks that choose between filters, and the outputs they are compared at."""

DETECTORS = {
    "nanodet_plus_m": ("feat8", "feat16", "feat32"),
    "picodet_s": ("feat8", "feat16", "feat32"),
}
"""Those that say what a whole picture is worth: detection falls off with these features, less with those of a
classifier.
"""


def map_shape(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of the blocks of a picture."""
    return -(-height // BLOCK), -(-width // BLOCK)


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
    return TaskNetwork(name).requires_grad_(False)


EXCHANGE = 0.5
"""Feature loss falls with about this power of the rate: halving the bits costs 40 % more of it."""

CHANGE_BITS = 4.0
"""About what it takes to say that a block's filter is not that of the block before."""


def price_of_bits(losses: NDArray[np.float32], stream_bits: int) -> float:
    """Mean feature loss that a bit is worth, in a picture of so many bits; losses: of `block_losses`."""
    return EXCHANGE * float(losses[0].mean()) / stream_bits


def choose(losses: NDArray[np.float32], price: float) -> BlockMap:
    """Number of the best candidate of every block, changes weighed at `price` a bit.

    losses: (candidates, rows, columns), of `block_losses`.
    """
    candidates, rows, columns = losses.shape
    blocks = np.zeros((rows, columns), np.uint8)
    costs = losses / (rows * columns)
    change = np.full(candidates, CHANGE_BITS * price)
    for y in range(rows):
        for x in range(columns):
            before = blocks[y, x - 1] if x else blocks[max(0, y - 1), 0]
            paid = change.copy()
            paid[before] = 0
            blocks[y, x] = (costs[:, y, x] + paid).argmin()
    return blocks


def gain(losses: NDArray[np.float32], blocks: BlockMap) -> float:
    """By how much a choice makes the mean feature loss less than the first candidate does."""
    chosen = np.take_along_axis(losses, blocks[None].astype(np.int64), 0)[0]
    return float((losses[0] - chosen).mean())


@torch.inference_mode()
def block_losses(candidates: Sequence[Picture], original: Picture) -> NDArray[np.float32]:
    """(candidates, rows, columns): feature loss in every block, the mean over the networks."""
    grid = map_shape(original.format.width, original.format.height)
    pictures = [_tensor(p) for p in (original, *candidates)]
    total = torch.zeros(len(candidates), *grid)
    for name, outputs in FEATURES.items():
        wanted, *found = (loss_network(name)(p, outputs) for p in pictures)
        total += torch.cat([feature_loss(f, wanted, grid) for f in found])
    return (total / len(FEATURES)).numpy()


class PictureLoss:
    """Feature loss of whole pictures for detectors, the mean over the networks."""

    @torch.no_grad()
    def __init__(self, original: Picture) -> None:
        """Raises ConfigError where the loss networks are not there."""
        picture = _tensor(original)
        self._wanted = {name: loss_network(name)(picture, outputs) for name, outputs in DETECTORS.items()}

    @torch.no_grad()
    def __call__(self, candidate: Picture) -> float:
        """candidate: of the original's size."""
        return float(self.of(_tensor(candidate)))

    def of(self, rgb: Tensor) -> Tensor:
        """The same, with gradients, of RGB (1, 3, H, W) in 0..1 of the original's size."""
        picture = _whole_blocks(rgb)
        losses = [
            feature_loss(loss_network(name)(picture, outputs), self._wanted[name])
            for name, outputs in DETECTORS.items()
        ]
        return torch.stack(losses).mean()


def rgb_of_picture(picture: Picture) -> Tensor:
    """RGB (1, 3, H, W) in 0..1."""
    return torch.from_numpy(picture_to_rgb(picture)).permute(2, 0, 1)[None].float() / 255


def _tensor(picture: Picture) -> Tensor:
    """The same, padded to whole blocks."""
    return _whole_blocks(rgb_of_picture(picture))


def _whole_blocks(rgb: Tensor) -> Tensor:
    """Padded by edge replication."""
    height, width = rgb.shape[2:]
    return F.pad(rgb, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
