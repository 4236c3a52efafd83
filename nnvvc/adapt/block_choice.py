"""An encoder's choice among filters for machines, block by block, by the features of the loss networks."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.adapt.loss_networks import loss_network, seen_of_picture
from nnvvc.entropy.block_map import BlockMap, map_shape
from nnvvc.models.tasknets import feature_loss
from nnvvc.picture import Picture

FEATURES = {
    "nanodet_plus_m": ("feat8", "feat16"),
    "picodet_s": ("feat8", "feat16"),
    "squeezenet_v1.1": ("f1", "f3"),
}
"""The networks that choose between filters, and the outputs they are compared at."""

EXCHANGE = 0.5
"""Feature loss falls with about this power of the rate: halving the bits costs 40 % more of it."""

CHANGE_BITS = 4.0
"""About what it takes to say that a block's filter is not that of the block before."""


def price_of_bits(losses: NDArray[np.float32], stream_bits: int) -> float:
    """Mean feature loss that a bit is worth, in a picture of so many bits; losses: of `BlockLosses`."""
    return EXCHANGE * float(losses[0].mean()) / stream_bits


def choose(losses: NDArray[np.float32], price: float) -> BlockMap:
    """Number of the best candidate of every block, changes weighed at `price` a bit.

    losses: (candidates, rows, columns), of `BlockLosses`.
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


class BlockLosses:
    """Feature loss of candidates for one picture in each of its blocks.

    The original's features are taken when first asked for, which raises ConfigError where the loss networks
    are not there.
    """

    def __init__(self, original: Picture) -> None:
        self._original = original
        self._grid = map_shape(original.format.width, original.format.height)

    @cached_property
    def _wanted(self) -> dict[str, list[Tensor]]:
        picture = seen_of_picture(self._original)
        return {name: loss_network(name)(picture, outputs) for name, outputs in FEATURES.items()}

    @torch.inference_mode()
    def __call__(self, candidates: Sequence[Picture]) -> NDArray[np.float32]:
        """(candidates, rows, columns): the mean over the networks."""
        pictures = [seen_of_picture(p) for p in candidates]
        total = torch.zeros(len(candidates), *self._grid)
        for name, wanted in self._wanted.items():
            found = (loss_network(name)(p, FEATURES[name]) for p in pictures)
            total += torch.cat([feature_loss(f, wanted, self._grid) for f in found])
        return (total / len(FEATURES)).numpy()
