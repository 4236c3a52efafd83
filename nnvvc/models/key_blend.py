"""The filter for people at a cost that decoders can bear: what key pictures know is blended into the others.

Of what `restoration` gains, most is what the key pictures at both ends of a group, motion compensated, add to
pictures that are coded more coarsely. A small network looks at every block of 4x4, at what is around it, and
at how the key pictures differ from it there, and says how much of them belongs into it: as the temporal
filters before encoders do, with weights that are learned in place of set. It weighs a few more things that a
sample can be corrected by, and adds a residual. It works at 1/4 and 1/8 of the resolution; everything at full
size is linear.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nnvvc.models import key_blend_loops as loops
from nnvvc.models.filters import ConditionalConv, ResidualConv
from nnvvc.models.key_blend_kernel import AROUND, BEFORE, PAIRS, REACH, SEEN, WEIGHED
from nnvvc.models.restoration import (
    BLENDED,
    CHROMA_CLIPS,
    CONDITIONS,
    LARGEST_DIFFERENCE,
    OUTPUT_UNIT,
    EnlargingConv,
    beside,
    blended,
    condition,
    quantiser_step,
    spread,
)
from nnvvc.models.saved import Card
from nnvvc.models.tap_shapes import CLIPS
from nnvvc.models.taps import Taps

Array = NDArray[Any]

NETWORK = "key_blend"
"""Its name in model cards."""

ALIGNMENT = 2 * BLENDED
"""Blocks are even in number: there is one size that is half of theirs."""

KEYS = 2
"""Neighbours: the key pictures before and after, or what `codecs.neighbours.places` has for them."""

LARGEST_DETAIL = 12.0
"""Quantiser steps that a sample differs from the mean of its block by at most, as the network sees it."""

WEIGHTS = len(CLIPS) * KEYS
"""Of key pictures in each block, for luma; and as many for chroma."""

assert WEIGHTS == BEFORE

SAID = BEFORE + WEIGHED + BLENDED**2
"""What the network says of each block, see `KeyBlend.said`."""

PAIR_CLIP = 1.0
"""Quantiser steps that the difference of a sample to those beside it counts up to."""


@dataclass(frozen=True)
class KeyBlendConfig:
    """Shape of the network: channels at 1/4 and at 1/8 of the luma resolution, and residual convolutions
    there, at 1/4 after what came back from 1/8.

    leak: slope of activations below zero.
    """

    widths: tuple[int, int] = (24, 48)
    convs: tuple[int, int] = (1, 1)
    leak: float = 0.1


def looked_at(luma: Tensor, step: Tensor) -> Tensor:
    """What the first layer sees, (N, SEEN, H / 4, W / 4), in quantiser steps: for each block of 4x4 its
    samples less their mean; that mean, less the mean of those around; differences of the key pictures, means
    of 2x2 samples; their mean sizes; how much both agree; and mean differences of samples beside each other,
    and one above the other.

    luma: (N, 1 + KEYS, H, W), of any size: sides are made multiples of ALIGNMENT. step: (N, 1, 1, 1).
    """
    height, width = luma.shape[2:]
    luma = F.pad(luma, (0, -width % ALIGNMENT, 0, -height % ALIGNMENT), mode="replicate")
    own = luma[:, :1]
    mean = F.avg_pool2d(own, BLENDED)
    detail = F.pixel_unshuffle(own, BLENDED) - mean
    around = mean - F.avg_pool2d(mean, 3, 1, 1, count_include_pad=False)
    apart = ((luma[:, 1:] - own) / step).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
    across = (own[..., 1:] - own[..., :-1]).abs()
    down = (own[..., 1:, :] - own[..., :-1, :]).abs()
    slopes = torch.cat((F.pad(across, (0, 1)), F.pad(down, (0, 0, 0, 1))), 1)
    return torch.cat(
        (
            (torch.cat((detail, around), 1) / step).clamp(-LARGEST_DETAIL, LARGEST_DETAIL),
            F.pixel_unshuffle(F.avg_pool2d(apart, 2), BLENDED // 2),
            F.avg_pool2d(torch.cat((apart.abs(), agreed(apart).abs(), slopes / step), 1), BLENDED),
        ),
        1,
    )


def seen(luma: Tensor, step: Tensor) -> Tensor:
    """`looked_at`, as fast as can be."""
    if luma.device.type != "cpu":
        return looked_at(luma, step)
    with torch.no_grad():
        # Loops are fast where rows follow each other.
        pairs = zip(luma.contiguous().numpy(), step.flatten().numpy(), strict=True)
        return torch.from_numpy(np.stack([seen_of(*one) for one in pairs])).permute(0, 3, 1, 2)


def seen_of(planes: Array, step: Any) -> Array:
    """The same of one picture, (H / 4, W / 4, SEEN). planes: (1 + KEYS, H, W), float32. step: float32."""
    rows, columns = (-(-side // ALIGNMENT) * ALIGNMENT // BLENDED for side in planes.shape[1:])
    result = np.empty((rows, columns, SEEN), np.float32)
    loops.look(planes, 1 / step, np.float32(LARGEST_DETAIL), np.float32(LARGEST_DIFFERENCE), result)
    return result


def changed(luma: Tensor, said: Tensor, step: Tensor) -> Tensor:
    """What is added to luma, (N, 1, H, W): what weights weigh, and the residual, in OUTPUT_UNIT steps.

    luma: (N, 1 + KEYS, H, W). said: (N, SAID, blocks, blocks), see `KeyBlend.said`.
    """
    height, width = luma.shape[2:]
    with torch.no_grad():
        apart = luma[:, 1:] - luma[:, :1]
        clipped = [within(apart, c * step) for c in CLIPS]
        basis = torch.cat((*clipped, agreed(clipped[1]), surroundings(luma, step)), 1)
    weights, residual = said[:, BEFORE : BEFORE + WEIGHED], said[:, BEFORE + WEIGHED :]
    shares = spread(weights, BLENDED, height, width)
    own = F.pixel_shuffle(residual, BLENDED)[..., :height, :width]
    return own * (OUTPUT_UNIT * step) + (basis * shares).sum(1, keepdim=True)


def within(planes: Tensor, bound: Tensor) -> Tensor:
    """Held within -bound and bound."""
    return torch.maximum(torch.minimum(planes, bound), -bound)


def agreed(apart: Tensor) -> Tensor:
    """The smaller of two differences where both have the same sign, otherwise 0. apart: (N, 2, ...)."""
    before, after = apart[:, :1], apart[:, 1:]
    up = torch.minimum(before, after).clamp_min(0)
    return up + torch.maximum(before, after).clamp_max(0)


def surroundings(luma: Tensor, step: Tensor) -> Tensor:
    """(N, len(PAIRS) + KEYS, H, W): the samples of each pair, less twice the one between, clipped at
    PAIR_CLIP; and the means of samples around in key pictures, less the sample, clipped as these are widely.

    luma: (N, 1 + KEYS, H, W).
    """
    height, width = luma.shape[2:]
    edged, own = F.pad(luma, (REACH, REACH, REACH, REACH), mode="replicate"), luma[:, :1]

    def moved(planes: slice, y: int, x: int) -> Tensor:
        return edged[:, planes, REACH + y : REACH + y + height, REACH + x : REACH + x + width]

    first, keys = slice(1), slice(1, None)
    apart = torch.cat([moved(first, y, x) + moved(first, -y, -x) - 2 * own for y, x in PAIRS], 1)
    means = torch.stack([moved(keys, y, x) for y, x in AROUND]).mean(0)
    return torch.cat((within(apart, PAIR_CLIP * step), within(means - own, CLIPS[1] * step)), 1)


class KeyBlend(nn.Module):
    """neighbours, tile, precise: as `RestorationFilter` has them. One picture at a time is filtered faster by
    `settled_blend`.
    """

    neighbours = KEYS
    tile = 2304
    precise = ("enter", "up", "head", "taps")

    def __init__(self, config: KeyBlendConfig) -> None:
        super().__init__()
        self.config = config
        w0, w1 = config.widths
        given = CONDITIONS + 2 * KEYS
        self.taps = Taps(KEYS)
        self.enter = ConditionalConv(SEEN, w0, 1, conditions=given)
        self.down = ConditionalConv(w0, w1, stride=2, conditions=given)
        self.deep = nn.ModuleList(ResidualConv(w1, config.leak) for _ in range(config.convs[1]))
        self.up = EnlargingConv(w1, w0, given, config.leak)
        self.convs = nn.ModuleList(ResidualConv(w0, config.leak) for _ in range(config.convs[0]))
        self.head = ConditionalConv(w0, SAID, 1, conditions=given)
        assert self.head.conv.bias is not None
        nn.init.normal_(self.head.conv.weight, std=0.003)
        nn.init.zeros_(self.head.conv.bias)

    def forward(self, luma: Tensor, chroma: Tensor, key_qp: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
        """As `RestorationFilter.forward`, of a picture and its KEYS neighbours, with their chroma."""
        step = quantiser_step(key_qp)[:, None, None, None]
        said = self.said(seen(luma, step), self.given(key_qp, layers)).float()
        change = changed(luma, said, step)
        pairs = chroma.reshape(len(chroma), 1 + KEYS, 2, *chroma.shape[2:])
        chroma = blended(pairs, chroma[:, :2], said[:, :WEIGHTS], step, CHROMA_CLIPS, BLENDED // 2)
        if not self.training and not self.taps.idle:
            change.add_(self.taps(luma, change, step, layers[:, 0]))
        return change.add_(luma[:, :1]), chroma

    def given(self, key_qp: Tensor, layers: Tensor) -> Tensor:
        """What biases depend on; arguments as for `forward`."""
        return torch.cat((condition(key_qp, layers[:, 0]), beside(layers[:, 1:])), 1)

    def said(self, planes: Tensor, given: Tensor) -> Tensor:
        """(N, SAID, H / 4, W / 4), for each block: weights of neighbours, WEIGHTS for chroma and as many for
        luma; one of what they agree on; those of PAIRS, and of AROUND in neighbours; and what is added to its
        16 samples.
        """
        x0 = self._active(self.enter(planes, given))
        x1 = self._active(self.down(x0, given))
        for layer in self.deep:
            x1 = layer(x1)
        y0 = self.up(x1, given, x0)
        for layer in self.convs:
            y0 = layer(y0)
        found: Tensor = self.head(y0, given)
        return found

    def _active(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.config.leak, inplace=True)


def kmac_per_pixel(config: KeyBlendConfig) -> float:
    """Thousands of multiplications per luma sample."""
    w0, w1 = config.widths
    quarter = SEEN * w0 + 9 * w0 * w0 * config.convs[0] + w0 * SAID
    eighth = 9 * w0 * w1 + 9 * w1 * w1 * config.convs[1] + 4 * w0 * w1
    whole = WEIGHED + WEIGHTS / 2
    return (whole + quarter / 16 + eighth / 64) / 1000


def card_of(config: KeyBlendConfig) -> Card:
    """What a model card says of the network."""
    return {"network": NETWORK, "config": asdict(config), "kmac_per_pixel": kmac_per_pixel(config)}
