"""The filter for people: a small residual U-Net that brings decoded 4:2:0 pictures nearer to the original.

It works at half resolution (four luma phases, Cb, Cr), sees the picture as differences to its surroundings
in steps of VVC's quantiser, and answers in such steps: so one network serves all qualities, and reduced
precision keeps what matters. QP and temporal layer only act on biases; biases are also what an encoder may
change for its content (bias-only adaptation: Lam et al., ACM MM 2020, arXiv 2007.14267). On video it sees
pictures before and after too, motion compensated: it says how much of each belongs into every block, as
temporal filters before encoders do, and has linear taps for content (`taps`).
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.filters import ConditionalConv, ResidualBlock, aligned
from nnvvc.models.pointwise import enlarged, plain
from nnvvc.models.restoration_loops import blend_into, seen_by, shuffled
from nnvvc.models.saved import Card
from nnvvc.models.tap_shapes import CLIPS
from nnvvc.models.taps import Taps
from nnvvc.vectors import EIGHT

SURROUNDINGS = 7
"""Side of the square, in samples at half resolution, whose mean is a sample's surroundings."""

OUTPUT_UNIT = 0.25
"""Quantiser steps that an output of 1 stands for."""

LARGEST_DIFFERENCE = 6.0
"""Quantiser steps that neighbours differ by at most, as the network sees them: more is another object."""

NEAR = 2
"""Neighbours that the first layer sees with what is around a sample; of the others it sees the sample."""

CONDITIONS = 5
"""Of a picture, see `condition`."""

CHROMA_GAIN = 1.25
"""What luma's weights of neighbours are multiplied by for chroma: clips held out ask for 1.3 to 1.4."""

Clips = tuple[float, float]

CHROMA_CLIPS = CLIPS[0] / 2, CLIPS[1] / 2
"""What differences of neighbours' chroma are clipped at: it is smoother than luma."""

BLENDED = 4
"""Side of the blocks that the network has weights of neighbours for, luma samples."""


@dataclass(frozen=True)
class RestorationConfig:
    """Shape of the network: channels, and residual blocks, at 1/2, 1/4 and 1/8 of the luma resolution.

    leak: slope of activations below zero. neighbours: pictures around the picture that it sees too, 0 or
    both at each of `tap_shapes.DISTANCES`; with them there are taps.
    """

    widths: tuple[int, int, int] = (16, 32, 48)
    blocks: tuple[int, int, int] = (1, 2, 2)
    leak: float = 0.0
    neighbours: int = 0


def condition(key_qp: Tensor, layer: Tensor) -> Tensor:
    """What the biases depend on, (N, 5): QP of the key picture, temporal layer, and their products.

    key_qp: (N,), slice QP of the key picture that the picture's group begins with, held within 12..47.
    layer: (N,), 0 for key pictures, else one more than the temporal layer.
    """
    q = (key_qp.float().clamp(12, 47) - 27) / 10
    t = layer.float() / 3
    return torch.stack((q, q * q, t, t * t, q * t), 1)


def beside(layers: Tensor) -> Tensor:
    """What the biases depend on besides, (N, 2 * neighbours): whether neighbours are there, and their layers,
    which say how well they are coded. layers: (N, neighbours), as `condition` has them, negative for none.
    """
    there = (layers >= 0).float()
    return torch.cat((there, there * layers.float() / 3), 1)


def quantiser_step(qp: Tensor) -> Tensor:
    """Quantiser step for a slice QP, in units of the 8-bit sample range (H.266 clause 8.7.3)."""
    return torch.exp2((qp.float().clamp(4, 57) - 4) / 6) / 255


def prepared(planes: Tensor, step: Tensor) -> Tensor:
    """What the first layer sees, (N, 9, H / 2, W / 2): six planes less their surroundings, in quantiser
    steps, and the surroundings of luma, Cb and Cr as they are.
    """
    mean = torch.cat((planes[:, :4].mean(1, keepdim=True), planes[:, 4:]), 1)
    for side in ((1, SURROUNDINGS), (SURROUNDINGS, 1)):
        padding = (side[0] // 2, side[1] // 2)
        mean = F.avg_pool2d(mean, side, 1, padding, count_include_pad=False)
    detail = planes - torch.cat((mean[:, :1].expand(-1, 4, -1, -1), mean[:, 1:]), 1)
    return torch.cat((detail / step, mean), 1)


def differences(luma: Tensor, step: Tensor) -> Tensor:
    """What the first layer sees of neighbours, (N, 4 * neighbours, H / 2, W / 2), in quantiser steps.

    luma: (N, 1 + neighbours, H, W): the picture, then its neighbours.
    """
    apart = F.pixel_unshuffle(luma[:, 1:] - luma[:, :1], 2)
    return (apart / step).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)


def seen(luma: Tensor, chroma: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """What the first layer sees: (N, 9 + 4 * near, H / 2, W / 2), `prepared` planes and the `differences` of
    up to NEAR neighbours, and (N, 4 * others, H / 2, W / 2), those of the others.

    luma: (N, 1 + neighbours, H, W). chroma: (N, 2, H / 2, W / 2).
    """
    near = 9 + 4 * NEAR
    if luma.device.type == "cpu" and not (luma.requires_grad or chroma.requires_grad):
        given = zip(luma.numpy(), chroma.numpy(), step.flatten().tolist(), strict=True)
        pairs = [seen_by(*planes, near, SURROUNDINGS, LARGEST_DIFFERENCE) for planes in given]
        first, rest = (torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2) for p in zip(*pairs, strict=True))
        return first, rest
    planes = prepared(torch.cat((F.pixel_unshuffle(luma[:, :1] - 0.5, 2), chroma), 1), step)
    if luma.shape[1] > 1:
        planes = torch.cat((planes, differences(luma, step)), 1)
    return planes[:, :near], planes[:, near:]


def blended(
    planes: Tensor,
    start: Tensor,
    weights: Tensor,
    step: Tensor,
    clips: Clips,
    side: int,
) -> Tensor:
    """start, (N, C, H, W), and what neighbours add: their differences to the picture, clipped.

    planes: (N, 1 + neighbours, C, H, W): the picture, then its neighbours. weights: (N, 2 * neighbours,
    blocks, blocks): all neighbours for one clip, then for the other. clips: in quantiser steps. side: of
    blocks, 2 or 4; see `spread`.
    """
    count, pictures, _, height, width = planes.shape
    if planes.device.type == "cpu" and not (weights.requires_grad or start.requires_grad):
        result = start.clone(memory_format=torch.contiguous_format)
        steps = step.flatten().tolist()
        for given in zip(result.numpy(), planes.numpy(), weights.numpy(), steps, strict=True):
            blend_into(*given, clips, side)
        return result
    apart = planes[:, 1:] - planes[:, :1]
    own = spread(weights, side, height, width)
    own = own.reshape(count, len(clips), pictures - 1, 1, height, width)
    clipped = [apart.clamp(-c * step[:, None], c * step[:, None]) for c in clips]
    return start + sum((own[:, i] * clipped[i]).sum(1) for i in range(len(clips)))


def spread(weights: Tensor, side: int, height: int, width: int) -> Tensor:
    """Weights of blocks for each of their samples, (N, C, height, width): between those of blocks around, in
    proportion.
    """
    found = F.interpolate(weights, scale_factor=side, mode="bilinear", align_corners=False)
    return found[..., :height, :width]


def phases(residual: Tensor, height: int, width: int) -> Tensor:
    """The luma of a residual, (N, 4 or more, H / 2, W / 2), cropped to (N, 1, height, width)."""
    if residual.device.type != "cpu" or residual.requires_grad:
        return F.pixel_shuffle(residual[:, :4], 2)[..., :height, :width]
    result = torch.empty(len(residual), 1, height, width)
    for own, there in zip(residual.numpy(), result.numpy(), strict=True):
        shuffled(own, there[0])
    return result


def of_samples(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution of single samples gives, but for its bias: as a product of matrices, it is fast with
    one thread too.
    """
    return F.linear(x.permute(0, 2, 3, 1), layer.weight.flatten(1)).permute(0, 3, 1, 2)


class EnlargingConv(ConditionalConv):
    """A convolution of single samples, for four each at twice the size, as `pixel_shuffle` has them, and what
    is there already. leak: of the activation.
    """

    def __init__(self, inputs: int, outputs: int, conditions: int, leak: float) -> None:
        super().__init__(inputs, 4 * outputs, 1, conditions=conditions)
        self.leak = leak

    def forward(self, x: Tensor, given: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        """Their sum with skip, (N, outputs, H, W), whose place it may take. x: (N, inputs, H / 2, W / 2). All
        have channels last where they are to be fast.
        """
        count, outputs, height, width = skip.shape
        bias, weight = self.whole_bias(given), self.conv.weight
        if count == 1 and outputs % EIGHT == 0 and plain(x, skip, *self.parameters()):
            return enlarged(x, weight, bias[0], skip.contiguous(memory_format=torch.channels_last), self.leak)
        # Samples beside each other last but for channels, so that whole rows of these are added.
        weight = weight.reshape(outputs, 4, -1).transpose(0, 1).flatten(0, 1)
        shape = count, height // 2, width // 2, 2, 2, outputs
        parts = F.linear(x.permute(0, 2, 3, 1), weight).reshape(shape)
        parts = parts + bias.reshape(count, outputs, 4).transpose(1, 2).reshape(count, 1, 1, 2, 2, outputs)
        places = skip.permute(0, 2, 3, 1)
        parts = parts.transpose(2, 3)
        total = (places.reshape(parts.shape) + parts).reshape(count, height, width, outputs)
        return F.leaky_relu(total.permute(0, 3, 1, 2), self.leak, inplace=True)


class RestorationFilter(nn.Module):
    """neighbours: pictures that it sees around the one it filters. tile: side of what is filtered at once at
    most: its temporaries are large. precise: parts that lose more by 8 bits than they save: all but the
    blocks at 1/4 and 1/8 of the resolution.
    """

    tile = 1024
    precise = ("enter", "far", "down1", "down2", "up1", "up0", "blocks4", "head", "blend", "taps")

    def __init__(self, config: RestorationConfig) -> None:
        super().__init__()
        self.neighbours = config.neighbours
        self.config = config
        w0, w1, w2 = config.widths
        b0, b1, b2 = config.blocks
        given = CONDITIONS + 2 * config.neighbours
        if config.neighbours:
            self.taps = Taps(config.neighbours)
            self.far = nn.Conv2d(4 * (config.neighbours - NEAR), w0, 1, bias=False)
            self.blend = ConditionalConv(w1, len(CLIPS) * config.neighbours, 1, conditions=given)
            nn.init.normal_(self.blend.conv.weight, std=0.003)
            assert self.blend.conv.bias is not None
            nn.init.zeros_(self.blend.conv.bias)
        self.enter = ConditionalConv(9 + 4 * min(NEAR, config.neighbours), w0, conditions=given)
        self.down1 = ConditionalConv(w0, w1, stride=2, conditions=given)
        self.blocks1 = nn.Sequential(*(ResidualBlock(w1, config.leak) for _ in range(b1 // 2)))
        self.down2 = ConditionalConv(w1, w2, stride=2, conditions=given)
        self.blocks2 = nn.Sequential(*(ResidualBlock(w2, config.leak) for _ in range(b2)))
        self.up1 = EnlargingConv(w2, w1, given, config.leak)
        self.blocks3 = nn.Sequential(*(ResidualBlock(w1, config.leak) for _ in range(b1 - b1 // 2)))
        self.up0 = EnlargingConv(w1, w0, given, config.leak)
        self.blocks4 = nn.Sequential(*(ResidualBlock(w0, config.leak) for _ in range(b0)))
        self.head = nn.Conv2d(w0, 6, 3, 1, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, luma: Tensor, chroma: Tensor, key_qp: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
        """Filter pictures of any size.

        luma: (N, 1 + neighbours, H, W), 0..1 over the nominal range: the picture, then its neighbours, motion
        compensated, or itself where there is none. chroma: (N, 2, (H + 1) // 2, (W + 1) // 2), -0.5..0.5, or
        (N, 2 * (1 + neighbours), ...): its own Cb and Cr, then those of each neighbour, blended as luma is.
        key_qp: (N,), and layers: (N, 1 + neighbours), of the picture and of its neighbours, as `condition`
        and `beside` have them. Returns luma, (N, 1, H, W), and chroma in the same units, not clipped.
        """
        height, width = luma.shape[2:]
        rows, columns = chroma.shape[2:]
        padded, padded_chroma = aligned(luma, chroma[:, :2])
        step = quantiser_step(key_qp)[:, None, None, None]
        given = condition(key_qp, layers[:, 0])
        if self.config.neighbours:
            given = torch.cat((given, beside(layers[:, 1:])), 1)
        residual, weights = self.residual(padded, padded_chroma, step, given)
        residual = residual.float() * (OUTPUT_UNIT * step)
        change, chroma_change = phases(residual, height, width), residual[:, 4:, :rows, :columns]
        if weights is not None:
            # In full precision: differences of samples have more bits than bfloat16.
            with torch.autocast(luma.device.type, enabled=False):
                weights = weights.float().contiguous()
                change = blended(luma.unsqueeze(2), change, weights, step, CLIPS, BLENDED)
                if chroma.shape[1] > 2:
                    pairs = chroma.reshape(len(chroma), -1, 2, rows, columns)
                    more = CHROMA_GAIN * weights
                    chroma_change = blended(pairs, chroma_change, more, step, CHROMA_CLIPS, BLENDED // 2)
                if not self.training and not self.taps.idle:
                    change = change + self.taps(luma, change, step, layers[:, 0])
        return change.add_(luma[:, :1]), chroma[:, :2] + chroma_change

    def residual(
        self, luma: Tensor, chroma: Tensor, step: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """(N, 6, H / 2, W / 2), in OUTPUT_UNIT quantiser steps, of planes aligned to 16, and what `blended`
        weighs neighbours with, if there are any.
        """
        # Samples have more bits than reduced precision keeps; their differences need no more.
        with torch.autocast(luma.device.type, enabled=False):
            planes = luma[:, : 1 + self.config.neighbours].float()
            near, rest = seen(planes, chroma.float(), step)
            x0 = self.enter(near, given)
            if self.config.neighbours:
                x0 = x0 + of_samples(self.far, rest)
            x0 = self._active(x0)
        x1 = self.blocks1(self._active(self.down1(x0, given)))
        x2 = self.blocks2(self._active(self.down2(x1, given)))
        y1 = self.blocks3(self.up1(x2, given, x1))
        y0 = self.blocks4(self.up0(y1, given, x0))
        if not self.config.neighbours:
            return self.head(y0), None
        weights = of_samples(self.blend.conv, y1) + self.blend.whole_bias(given)[:, :, None, None]
        return self.head(y0), weights

    def _active(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.config.leak, inplace=True)


def kmac_per_pixel(config: RestorationConfig) -> float:
    """Thousands of multiplications per luma sample."""
    w0, w1, w2 = config.widths
    b0, b1, b2 = config.blocks
    near = min(NEAR, config.neighbours)
    half = (9 * (9 + 4 * near) + 4 * (config.neighbours - near)) * w0 + b0 * 18 * w0 * w0 + 9 * w0 * 6
    quarter = 9 * w0 * w1 + b1 * 18 * w1 * w1 + 4 * w0 * w1
    eighth = 9 * w1 * w2 + b2 * 18 * w2 * w2 + 4 * w1 * w2
    blend = len(CLIPS) * config.neighbours
    return (blend + half / 4 + (quarter + w1 * blend) / 16 + eighth / 64) / 1000


def card_of(config: RestorationConfig) -> Card:
    """What a model card says of the network."""
    return {"config": asdict(config), "kmac_per_pixel": kmac_per_pixel(config)}
