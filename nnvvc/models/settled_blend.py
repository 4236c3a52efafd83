"""`KeyBlend` with weights that stay what they are, on one picture at a time: what follows from QP and layers
alone is worked out once for each, and nothing is a tensor but what convolutions of 3x3 see. Filtering a small
picture takes hardly longer than a hundred tensors do, and threads wait for each other at every one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.models import key_blend_loops as loops
from nnvvc.models.key_blend import KEYS, PAIR_CLIP, WEIGHTS, KeyBlend, seen_of
from nnvvc.models.pointwise import enlarge, lines_of, lines_of_four, multiply
from nnvvc.models.restoration import BLENDED, CHROMA_CLIPS, OUTPUT_UNIT, quantiser_step
from nnvvc.models.restoration_loops import blend_into
from nnvvc.models.tap_loops import TapNumbers, fill_taps
from nnvvc.models.tap_shapes import CLIPS
from nnvvc.models.taps import block_classes

Array = NDArray[Any]

_BOUNDS = np.array((*CLIPS, PAIR_CLIP), np.float32)
_SAME = np.float32(1)


@dataclass(frozen=True)
class _Numbers:
    """given: see `KeyBlend.given`. step: the quantiser step. enter, up, head: weights and biases of these
    layers, see `pointwise`. taps: None where they add nothing.
    """

    given: Tensor
    step: Any
    enter: Array
    up: Array
    head: Array
    taps: TapNumbers | None


class SettledBlend:
    """network: on the CPU; its convolutions of 3x3 may be those of `quantised`. neighbours, tile: as it has
    them.
    """

    def __init__(self, network: KeyBlend) -> None:
        self.neighbours, self.tile = network.neighbours, network.tile
        self._network, self._leak = network, np.float32(network.config.leak)
        self._known: dict[tuple[float, ...], _Numbers] = {}

    def __call__(self, luma: Tensor, chroma: Tensor, key_qp: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
        """As `KeyBlend.forward`, of one picture, without gradients."""
        key = float(key_qp), *layers[0].tolist()
        numbers = self._known.get(key) or self._known.setdefault(key, self._numbers(key_qp, layers))
        # Loops are fast where rows follow each other.
        planes, colours = luma[0].contiguous().numpy(), chroma[0].contiguous().numpy()
        said, step = self._said(planes, numbers), numbers.step
        change = np.empty(planes.shape[1:], np.float32)
        loops.blend(planes, said, OUTPUT_UNIT * step, _BOUNDS * step, change)
        colours = colours.reshape(1 + KEYS, 2, *colours.shape[1:])
        blended, weights = colours[0].copy(), np.moveaxis(said[..., :WEIGHTS], 2, 0)
        blend_into(blended, colours, weights, step, CHROMA_CLIPS, BLENDED // 2)
        if numbers.taps is not None:
            added = np.empty_like(change)
            fill_taps(planes, change, step, block_classes(planes, step), numbers.taps, added)
            change += added
        change += planes[0]
        return torch.from_numpy(change)[None, None], torch.from_numpy(blended)[None]

    def _numbers(self, key_qp: Tensor, layers: Tensor) -> _Numbers:
        network = self._network
        given, layer = network.given(key_qp, layers), int(layers[0, 0])
        return _Numbers(
            given,
            quantiser_step(key_qp).numpy()[0],
            lines_of(network.enter.conv.weight, network.enter.whole_bias(given)[0]),
            lines_of_four(network.up.conv.weight, network.up.whole_bias(given)[0]),
            lines_of(network.head.conv.weight, network.head.whole_bias(given)[0]),
            None if layer == 0 or network.taps.idle else network.taps.numbers(layer),
        )

    def _said(self, planes: Array, numbers: _Numbers) -> Array:
        """(blocks, blocks, LINE), see `KeyBlend.said`. planes: (1 + KEYS, H, W)."""
        network, width = self._network, self._network.config.widths[0]
        x0 = _multiplied(seen_of(planes, numbers.step), numbers.enter, self._leak)
        x1 = F.leaky_relu_(network.down(_tensor(x0[..., :width]), numbers.given), network.config.leak)
        for layer in network.deep:
            x1 = layer(x1)
        enlarge(_array(x1), numbers.up, self._leak, x0)
        y0 = _tensor(x0[..., :width])
        for layer in network.convs:
            y0 = layer(y0)
        return _multiplied(_array(y0), numbers.head, _SAME)


def _multiplied(values: Array, lines: Array, leak: Any) -> Array:
    result = np.empty((*values.shape[:2], lines.shape[1]), np.float32)
    multiply(values.reshape(-1, values.shape[2]), lines, leak, result.reshape(-1, lines.shape[1]))
    return result


def _tensor(values: Array) -> Tensor:
    """(1, C, H, W), channels last, of (H, W, C)."""
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def _array(x: Tensor) -> Array:
    """(H, W, C) of (1, C, H, W)."""
    found: Array = x[0].permute(1, 2, 0).float().contiguous().numpy()
    return found
