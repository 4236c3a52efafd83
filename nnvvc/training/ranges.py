"""Activations moved to where the range of eight bits is used.

What passes between layers counts in 2**-ACT_SHIFT, up to ACT_MAX. Training in floating point does not care
where in that range a channel lies; rounding does: a channel that never passes a few steps is mostly noise. As
in cross-layer equalisation (Nagel et al., arXiv 1906.04721) every hidden channel is multiplied by a factor
where it is made and divided by it where it is used, which changes nothing but what rounding does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnvvc.models.layers import ACT_MAX, Conv, Residual
from nnvvc.models.lic import Lic

REACHED = 0.98
"""Share of the range that the largest values of a channel take."""
LARGEST = 0.9999
"""Quantile that counts as the largest value."""
MOST = 64.0
"""Largest factor: what uses the channel has ever smaller weights."""


@dataclass
class _Tensor:
    """Channels that several layers make, at the same scale, and those that use them.

    makers: layers, and how many of their outputs lie side by side in a channel (4 where a shuffle follows).
    users: layers, and the first of their inputs that is the first channel here.
    """

    channels: int
    makers: list[tuple[Conv, int]]
    users: list[tuple[Conv, int]]


def _residual(tensor: _Tensor, block: Residual) -> _Tensor:
    """`tensor` with a residual block in its way; the block's own channels."""
    tensor.makers.append((block.second, 1))
    tensor.users.append((block.first, 0))
    return _Tensor(len(block.first.bias), [(block.first, 1)], [(block.second, 0)])


def hidden(model: Lic) -> Iterator[_Tensor]:
    """Everything that passes between layers of the decoder's networks."""
    s, h, c = model.synthesis, model.hyper_synthesis, model.context
    blocks: list[Residual] = [s.sixteenth, *s.eighth, s.quarter]
    coarse = _Tensor(len(s.inlet.bias), [(s.inlet, 1)], [(s.up8.conv, 0)])
    middle = _Tensor(len(s.up8.conv.bias) // 4, [(s.up8.conv, 4)], [(s.up4.conv, 0)])
    fine = _Tensor(len(s.merge.bias), [(s.merge, 1)], [(s.outlet, 0)])
    for tensor, block in zip((coarse, middle, middle, fine), blocks, strict=True):
        yield _residual(tensor, block)
    yield from (coarse, middle, fine)
    yield _Tensor(len(s.up4.conv.bias) // 4, [(s.up4.conv, 4)], [(s.merge, 0)])
    yield _Tensor(len(h.inlet.bias), [(h.inlet, 1)], [(h.up32.conv, 0)])
    yield _Tensor(len(h.middle.bias), [(h.middle, 1)], [(h.up16.conv, 0)])
    yield _Tensor(len(h.up32.conv.bias) // 4, [(h.up32.conv, 4)], [(h.middle, 0)])
    heads = [head for several in c.heads.values() for head in several]  # type: ignore[attr-defined]
    features, width = len(h.up16.conv.bias) // 4, len(c.first.bias)
    first = [(head.first, 0) for head in heads]
    yield _Tensor(features, [(h.up16.conv, 4)], [(c.first, 0), *first])
    around: list[tuple[Conv, int]] = [(m, 1) for m in (c.first, *c.contexts)]
    yield _Tensor(width, around, [(layer, features) for layer, _ in first])
    for head in heads:
        yield _Tensor(len(head.first.bias), [(head.first, 1)], [(head.second, 0)])
        yield _Tensor(len(head.second.bias), [(head.second, 1)], [(head.mean, 0), (head.scale, 0)])


@torch.no_grad()
def spread(model: Lic, run: Callable[[], None]) -> None:
    """Scale the hidden channels of the decoder's networks, in place, by what they are when `run` runs them.

    Layers that `run` does not reach are left alone.
    """
    tensors = list(hidden(model))
    largest: dict[nn.Module, list[Tensor]] = {layer: [] for t in tensors for layer, _ in t.makers}

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        values = output.transpose(0, 1).flatten(1).float()
        count = max(1, round((1 - LARGEST) * values.shape[1]))
        largest[layer].append(values.topk(count, 1).values[:, -1])

    handles = [layer.register_forward_hook(note) for layer in largest]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    for tensor in tensors:
        seen = [
            torch.stack(largest[layer]).amax(0).view(tensor.channels, side).amax(1)
            for layer, side in tensor.makers
            if largest[layer]
        ]
        if seen:
            _scale(tensor, torch.stack(seen).amax(0))


def _scale(tensor: _Tensor, largest: Tensor) -> None:
    factors = (REACHED * ACT_MAX / largest.clamp_min(1e-6)).clamp(1.0, MOST)
    for layer, side in tensor.makers:
        each = factors.repeat_interleave(side)
        layer.weight.mul_(each[:, None, None, None])
        layer.bias.mul_(each)
        if layer.rates is not None:
            layer.rates.mul_(each)
    for layer, first in tensor.users:
        layer.weight[:, first : first + tensor.channels].div_(factors[None, :, None, None])
