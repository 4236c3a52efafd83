"""Filters after VVC decoding: residual U-Nets on 4:2:0 that also bring small pictures up to full size.

A filter sees the six planes of a decoded picture at half resolution (four luma phases, Cb, Cr) and adds a
learned residual to the plainly resampled picture. Everything that depends on QP and coded scale is a bias:
for one picture the network is a plain convolutional one, and quantisation and bias finetuning know a single
mechanism (bias-only adaptation: Lam et al., ACM MM 2020, arXiv 2007.14267). Several filters trained in
competition share the trunk and differ in their last stage (Zhang et al., arXiv 2406.12367).
"""

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.models.saved import Card, config_of, load_weights, save_weights

ALIGNMENT = 16
"""Width and height are padded to a multiple of this many luma samples: what the halvings need, and some."""

KEY_QP_OFFSET = 3
"""VVenC codes key pictures, single ones too, at its QP less this; filters are told its QP."""

UPS = (1, 2, 4)
"""Factors by which a filter can enlarge the decoded picture."""


@dataclass(frozen=True)
class FilterConfig:
    """Shape of a filter.

    widths: channels at 1/2, 1/4 and 1/8 of the luma resolution. blocks: residual blocks at 1/4, before and
    after the bottleneck each, and at 1/8. branches: filters that share the trunk. ups: enlargements it has
    heads for. video: whether the biases depend on the temporal layer too. leak: slope of activations below
    zero. Without one, a channel that a step of training makes negative everywhere never learns again: the
    first filters had nothing left at 1/8. chroma: whether chroma is filtered, or only enlarged. What feature
    losses do to chroma pleases the networks they are of and no other: these hardly look at it. last_width:
    channels inside the last residual block, 0 for as many as outside. strengths: what the residuals can be
    multiplied by: a network that is cautious everywhere is right to be bold in some blocks, and to do nothing
    in others. The first `branches` filters have the first strength, and so on.
    """

    widths: tuple[int, int, int] = (32, 48, 64)
    blocks: tuple[int, int] = (1, 4)
    branches: int = 1
    ups: tuple[int, ...] = UPS
    video: bool = False
    leak: float = 0.0
    chroma: bool = True
    last_width: int = 0
    strengths: tuple[float, ...] = (1.0,)

    @property
    def filters(self) -> int:
        """How many filters there are to choose from."""
        return self.branches * len(self.strengths)

    @property
    def conditions(self) -> int:
        """How many numbers the biases depend on."""
        return 8 if self.video else 5

    @property
    def planes(self) -> int:
        """How many planes at half resolution are filtered: four of luma, and Cb and Cr."""
        return 6 if self.chroma else 4


def condition(qp: Tensor, scale: Tensor, layer: Tensor | None = None) -> Tensor:
    """What the biases depend on, (N, 5): QP (held within 22..57), coded scale (0..1] and their products.

    layer: (N,), 0 for key pictures, else one more than the temporal layer; gives three numbers more.
    """
    q = (qp.float().clamp(22, 57) - 37) / 15
    s = -torch.log2(scale.float())
    given = [q, q * q, s, s * s, q * s]
    if layer is not None:
        t = layer.float() / 3
        given += [t, t * t, q * t]
    return torch.stack(given, 1)


def added(y: Tensor, x: Tensor) -> Tensor:
    """Their sum, in the place of `y`, which nobody else needs: large new tensors take longer than adding."""
    return y.to(x.dtype).add_(x)


class ConditionalConv(nn.Module):
    """A convolution whose bias is affine in the condition."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, conditions: int = 5
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.bias = nn.Linear(conditions, outputs, bias=False)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        if len(x) == 1:
            # Added by the convolution itself: another pass over a large picture is not free.
            bias = self.whole_bias(given)[0]
            return F.conv2d(x, self.conv.weight, bias, self.conv.stride, self.conv.padding)
        y: Tensor = self.conv(x)
        return y.add_(self.bias(given)[:, :, None, None])

    def whole_bias(self, given: Tensor) -> Tensor:
        """(N, outputs): the convolution's own, and what depends on the condition."""
        assert self.conv.bias is not None
        found: Tensor = self.conv.bias + self.bias(given)
        return found


class ResidualBlock(nn.Module):
    def __init__(self, width: int, leak: float = 0.0, inside: int = 0) -> None:
        super().__init__()
        self.leak = leak
        inside = inside or width
        self.first = nn.Conv2d(width, inside, 3, 1, 1)
        self.second = nn.Conv2d(inside, width, 3, 1, 1)
        nn.init.normal_(self.second.weight, std=0.1 * (9 * inside) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.leaky_relu(self.first(x), self.leak, inplace=True))
        return F.leaky_relu(added(y, x), self.leak, inplace=True)


class ResidualConv(nn.Conv2d):
    """One convolution of 3x3, and what it is given."""

    def __init__(self, width: int, leak: float = 0.0) -> None:
        super().__init__(width, width, 3, 1, 1)
        self.leak = leak
        assert self.bias is not None
        nn.init.normal_(self.weight, std=0.3 * (9 * width) ** -0.5)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(added(super().forward(x), x), self.leak, inplace=True)


class Branch(nn.Module):
    """The last stage of one filter: a residual block at half resolution and a head for every enlargement."""

    def __init__(self, config: FilterConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.block = ResidualBlock(width, config.leak, config.last_width)
        heads = {str(up): nn.Conv2d(width, config.planes * up * up, 3, 1, 1) for up in config.ups}
        self.heads = nn.ModuleDict(heads)
        for head in self.heads.values():
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor, up: int) -> Tensor:
        residual: Tensor = self.heads[str(up)](self.block(x))
        return residual


class PictureFilter(nn.Module):
    """`FilterConfig.filters` filters on a common trunk."""

    def __init__(self, config: FilterConfig) -> None:
        super().__init__()
        self.config = config
        w0, w1, w2 = config.widths
        outer, inner = config.blocks
        count = config.conditions
        self.enter = ConditionalConv(6, w0, conditions=count)
        self.down1 = ConditionalConv(w0, w1, stride=2, conditions=count)
        self.blocks1 = nn.Sequential(*(ResidualBlock(w1, config.leak) for _ in range(outer)))
        self.down2 = ConditionalConv(w1, w2, stride=2, conditions=count)
        self.blocks2 = nn.Sequential(*(ResidualBlock(w2, config.leak) for _ in range(inner)))
        self.up1 = ConditionalConv(w2, 4 * w1, 1, conditions=count)
        self.blocks3 = nn.Sequential(*(ResidualBlock(w1, config.leak) for _ in range(outer)))
        self.up0 = ConditionalConv(w1, 4 * w0, 1, conditions=count)
        self.branches = nn.ModuleList(Branch(config) for _ in range(config.branches))

    def _active(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.config.leak)

    def trunk(self, luma: Tensor, chroma: Tensor, given: Tensor) -> Tensor:
        """(N, widths[0], H / 2, W / 2) for luma (N, 1, H, W), chroma (N, 2, H / 2, W / 2), aligned to 16."""
        x = torch.cat((F.pixel_unshuffle(luma, 2) - 0.5, chroma), 1)
        x = x.contiguous(memory_format=torch.channels_last)
        # Samples have 10 bits and more, of which bfloat16 would keep 8.
        with torch.autocast(x.device.type, enabled=False):
            x0 = self._active(self.enter(x.float(), given))
        x1 = self.blocks1(self._active(self.down1(x0, given)))
        x2 = self.blocks2(self._active(self.down2(x1, given)))
        y1 = self.blocks3(self._active(added(F.pixel_shuffle(self.up1(x2, given), 2), x1)))
        return self._active(added(F.pixel_shuffle(self.up0(y1, given), 2), x0))

    def forward(
        self,
        luma: Tensor,
        chroma: Tensor,
        qp: Tensor,
        scale: Tensor,
        up: int,
        filters: tuple[int, ...] = (0,),
        layer: Tensor | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Filter pictures of any size.

        luma: (N, 1, H, W), 0..1 over the nominal range. chroma: (N, 2, (H + 1) // 2, (W + 1) // 2),
        -0.5..0.5. qp, scale: (N,). up: one of `config.ups`. layer: (N,), as `condition` has it, for filters
        of video; None is all key pictures. Returns for each wanted filter luma and chroma enlarged by `up`,
        in the same units, not clipped.
        """
        height, width = luma.shape[2:]
        rows, columns = chroma.shape[2:]
        padded, padded_chroma = aligned(luma, chroma)
        layers = (torch.zeros_like(qp) if layer is None else layer) if self.config.video else None
        shared = self.trunk(padded, padded_chroma, condition(qp, scale, layers))
        base, base_chroma = resample(luma, up), resample(chroma, up)
        results = []
        residuals = {
            b: self.branches[b](shared, up).float() for b in {f % len(self.branches) for f in filters}
        }
        for number in filters:
            strength, branch = divmod(number, len(self.branches))
            residual = residuals[branch] * self.config.strengths[strength]
            y = F.pixel_shuffle(residual[:, : 4 * up * up], 2 * up)[..., : up * height, : up * width]
            enlarged = base_chroma
            if self.config.chroma:
                c = F.pixel_shuffle(residual[:, 4 * up * up :], up)[..., : up * rows, : up * columns]
                enlarged = base_chroma + c
            results.append((base + y, enlarged))
        return results


def aligned(luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
    """Planes of a picture of any size, repeated at the right and below to a multiple of ALIGNMENT."""
    height, width = luma.shape[2:]
    rows, columns = chroma.shape[2:]
    down, right = -height % ALIGNMENT, -width % ALIGNMENT
    half = (height + down) // 2 - rows, (width + right) // 2 - columns
    return _repeated(luma, down, right), _repeated(chroma, *half)


def _repeated(planes: Tensor, down: int, right: int) -> Tensor:
    """With their last row `down` times more, and their last column `right` times: as `F.pad` does, which
    takes longer.
    """
    if not (down or right):
        return planes
    if right:
        planes = torch.cat((planes, planes[..., -1:].expand(-1, -1, -1, right)), 3)
    if down:
        planes = torch.cat((planes, planes[..., -1:, :].expand(-1, -1, down, -1)), 2)
    return planes


def enlargement(scale: Fraction) -> int:
    """What a filter enlarges pictures coded at `scale` by: the power of two that reaches full size."""
    return 1 << math.ceil(math.log2(1 / scale))


def resample(planes: Tensor, up: int) -> Tensor:
    """Plain cubic enlargement of planes (N, C, H, W) by a whole factor."""
    if up == 1:
        return planes
    return F.interpolate(planes.float(), scale_factor=up, mode="bicubic", align_corners=False)


def save_filter(model: PictureFilter, path: Path, facts: Card) -> None:
    """Write float16 weights to `path` (.safetensors), and beside them the model card."""
    card = {"config": asdict(model.config), "kmac_per_pixel": kmac_per_pixel(model.config, 1)}
    save_weights(model, path, card | facts)


def load_filter(path: Path) -> PictureFilter:
    """The filter that `save_filter` wrote, in float32, for inference; UnknownModel where it is not sound."""
    return load_weights(path, lambda card: PictureFilter(config_of(FilterConfig, card["config"])))


def kmac_per_pixel(config: FilterConfig, up: int) -> float:
    """Thousands of multiplications per luma sample of the decoded picture, one branch."""
    w0, w1, w2 = config.widths
    outer, inner = config.blocks
    half = 9 * 6 * w0 + 2 * 9 * w0 * (config.last_width or w0) + 9 * w0 * config.planes * up * up
    quarter = 9 * w0 * w1 + 2 * outer * 2 * 9 * w1 * w1 + 4 * w0 * w1
    eighth = 9 * w1 * w2 + inner * 2 * 9 * w2 * w2 + 4 * w1 * w2
    return (half / 4 + quarter / 16 + eighth / 64) / 1000
