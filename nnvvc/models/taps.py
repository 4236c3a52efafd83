"""Linear taps beside a network, that an encoder can solve for on its content, and send.

Like one more adaptive loop filter behind VVC's (H.266 clause 8.8.5), with a window that reaches into the
pictures before and after, far ones too: differences to samples around, symmetric, and to both neighbours,
clipped at two widths. Blocks are told apart, as there, by how much they change from sample to sample, and
here from picture to picture too; every class adds weights of its own to common ones, and so does every
temporal layer. Originals that were coded in blocks of 8x8 before have edges that no VVC decoder gives back: a
few taps depend on the place in such a block.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nnvvc.models.tap_loops import TapNumbers, classify, fill_taps, measure, of_pairs
from nnvvc.models.tap_shapes import (
    ACTIVE,
    ALONG,
    AROUND,
    BLOCK,
    CLASSES,
    CLIPS,
    GRID,
    GRID_UNIT,
    LAYERS,
    MOVING,
    NEXT,
    REACH,
    SETS,
    plain_taps,
)

Array = NDArray[Any]

_ENDS = np.array(ACTIVE, np.float32), np.array(MOVING, np.float32)


class Taps(nn.Module):
    """neighbours: pictures that taps reach into, two at each distance.

    weight: (SETS, count): common ones, what each class adds, and what each layer adds. mix: (count - 1, count
    - 1), what weights of taps on samples are made of: taps are so much alike that they would have to be sent
    finely, mixed they need not be. That of the network's residual is the last one. grid: (2, len(ALONG),
    GRID), along rows and along columns. None is trained with the network: encoders solve for them on their
    content.
    """

    mix: Tensor

    def __init__(self, neighbours: int) -> None:
        super().__init__()
        plain = plain_taps(neighbours)
        self.weight = nn.Parameter(torch.zeros(SETS, plain + 1), requires_grad=False)
        self.grid = nn.Parameter(torch.zeros(2, len(ALONG), GRID), requires_grad=False)
        self.register_buffer("mix", torch.eye(plain))

    @property
    def count(self) -> int:
        """Taps, the one on what the network adds included."""
        return self.weight.shape[1]

    @property
    def idle(self) -> bool:
        """Whether it adds nothing, and is not being fitted."""
        numbers = self.weight, self.grid
        return not any(n.requires_grad or bool(n.any()) for n in numbers)

    def forward(self, luma: Tensor, residual: Tensor, step: Tensor, layer: Tensor) -> Tensor:
        """What is added to luma, (N, 1, H, W), besides the residual.

        luma: (N, 1 + neighbours, H, W), the picture, then those before and after it at each distance.
        residual: (N, 1, H, W), of the network. step: (N, 1, 1, 1), in luma's unit. layer: (N,), see
        `condition`; of 0, nothing is added.
        """
        if self.weight.requires_grad or residual.requires_grad or luma.device.type != "cpu":
            return self._slow(luma, residual, step, layer)
        result = torch.zeros_like(residual, dtype=torch.float32)
        for i, kind in enumerate(layer.tolist()):
            if kind > 0:
                planes, added = luma[i].float().numpy(), residual[i, 0].float().numpy()
                size, numbers = np.float32(step[i].item()), self.numbers(int(kind))
                own = block_classes(planes, size)
                fill_taps(planes, added, size, own, numbers, result[i, 0].numpy())
        return result

    def numbers(self, layer: int) -> TapNumbers:
        """What is added to pictures of a layer, 1 and more, as loops take it."""
        weights = torch.cat((self.weight[:, :-1] @ self.mix.T, self.weight[:, -1:]), 1).float()
        grid = GRID_UNIT * self.grid.float()
        return of_pairs(of_layer(weights, layer).detach().numpy()), grid.detach().numpy()

    def _slow(self, luma: Tensor, residual: Tensor, step: Tensor, layer: Tensor) -> Tensor:
        """`forward`, on any device, and with gradients."""
        basis, on_grid = self.basis(luma, residual, step), grid_basis(luma)
        weights = torch.stack([of_layer(self.weight, max(1, int(kind))) for kind in layer.tolist()])
        own = torch.einsum("nkyx,nck->ncyx", basis, weights).gather(1, classes(luma, step)[:, None])
        grid = torch.einsum("nkyx,k->nyx", on_grid, self.grid.flatten())[:, None]
        return (layer > 0).to(luma)[:, None, None, None] * (own + grid)

    def basis(self, luma: Tensor, residual: Tensor, step: Tensor) -> Tensor:
        """(N, count, H, W): what weights of 1 add; arguments as for `forward`."""
        parts = [_convolved(luma[:, :1], _kernels(AROUND, REACH)), _clipped(luma, step)]
        for number in range(luma.shape[1] // 2):
            narrow, wide = _moved(luma, step, number)
            parts += [narrow, wide, _convolved(wide, _kernels(NEXT, 1))]
        plain = torch.cat(parts, 1)
        return torch.cat((torch.einsum("nkyx,kj->njyx", plain, self.mix), residual), 1)


def of_layer(weight: Tensor, layer: int) -> Tensor:
    """(CLASSES, count): the weights of each class of blocks in pictures of a layer, 1 and more."""
    common, own, layers = torch.split(weight, [1, CLASSES, LAYERS])
    return common + own + layers[min(layer, LAYERS) - 1]


def grid_basis(luma: Tensor) -> Tensor:
    """(N, 2 * len(ALONG) * GRID, H, W): what each of the grid's weights adds, if it is 1."""
    height, width = luma.shape[2:]
    across, down = _along(luma)
    places = torch.arange(GRID)[:, None, None]
    columns = (torch.arange(width)[None, None] % GRID == places).to(luma)
    rows = (torch.arange(height)[None, :, None] % GRID == places).to(luma)
    parts = [d[:, :, None] * own for d, own in ((across, columns), (down, rows))]
    return GRID_UNIT * torch.cat([part.flatten(1, 2) for part in parts], 1)


def classes(luma: Tensor, step: Tensor) -> Tensor:
    """(N, H, W): the class of each sample, 0..CLASSES - 1; arguments as for `Taps.forward`."""
    height, width = luma.shape[2:]
    if luma.device.type == "cpu":
        pairs = zip(luma.detach().float().numpy(), step.flatten().tolist(), strict=True)
        found = torch.from_numpy(np.stack([block_classes(*one) for one in pairs]))
    else:
        found = _slow_classes(luma, step)
    return found.long().repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)[:, :height, :width]


def block_classes(planes: Array, step: Any) -> Array:
    """The class of each block of one picture, (ceil(H / BLOCK), ceil(W / BLOCK)), uint8.

    planes: (3 or more, H, W), float32. step: in their unit.
    """
    size = [-(-side // BLOCK) for side in planes.shape[1:]]
    found, measures = np.empty(size, np.uint8), np.empty((2, *size), np.float32)
    measure(planes, np.float32(1 / step), measures)
    classify(measures, *_ENDS, found)
    return found


def _slow_classes(luma: Tensor, step: Tensor) -> Tensor:
    """Of each block, (N, ceil(H / BLOCK), ceil(W / BLOCK)), uint8, on any device."""
    own = luma[:, :1]
    edged = F.pad(own, (0, 1, 0, 1), mode="replicate")
    across = (edged[..., :-1, 1:] - own).abs()
    down = (edged[..., 1:, :-1] - own).abs()
    moving = (luma[:, 1:3] - own).abs().mean(1, keepdim=True)
    measures = torch.cat(((across + down) / 2, moving), 1) / step
    blocks = F.avg_pool2d(F.avg_pool2d(measures, BLOCK, ceil_mode=True), 3, 1, 1, count_include_pad=False)
    active, moved = (
        torch.bucketize(part.contiguous(), torch.tensor(ends, device=luma.device))
        for part, ends in zip(blocks.unbind(1), (ACTIVE, MOVING), strict=True)
    )
    return (active * (len(MOVING) + 1) + moved).to(torch.uint8)


def _clipped(luma: Tensor, step: Tensor) -> Tensor:
    """(N, len(CLIPS) * len(NEXT), H, W): sums of the differences to next samples, clipped at both widths."""
    pairs = _convolved(luma[:, :1], _kernels(NEXT, 1))
    return torch.cat([pairs.clamp(-c * step, c * step) for c in CLIPS], 1)


def _moved(luma: Tensor, step: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """(N, 1, H, W) each: sums of the differences to both neighbours at one distance, clipped at both."""
    apart = luma[:, 1 + 2 * number : 3 + 2 * number] - luma[:, :1]
    narrow, wide = (apart.clamp(-c * step, c * step).sum(1, keepdim=True) for c in CLIPS)
    return narrow, wide


def _along(luma: Tensor) -> tuple[Tensor, Tensor]:
    """(N, len(ALONG), H, W) each: differences to samples along the row, and along the column."""
    own = luma[:, :1]
    height, width = own.shape[2:]
    reach = max(ALONG)
    wide = F.pad(own, (reach, reach, 0, 0), mode="replicate")
    high = F.pad(own, (0, 0, reach, reach), mode="replicate")
    across = torch.cat([wide[..., reach + d : reach + d + width] for d in ALONG], 1)
    down = torch.cat([high[..., reach + d : reach + d + height, :] for d in ALONG], 1)
    return across - own, down - own


def _kernels(places: tuple[tuple[int, int], ...], reach: int) -> Tensor:
    """(len(places), 1, side, side): a sample of a pair, and the other, less twice the one between them."""
    kernels = torch.zeros(len(places), 1, 2 * reach + 1, 2 * reach + 1)
    for kernel, (y, x) in zip(kernels[:, 0], places, strict=True):
        kernel[reach + y, reach + x] += 1
        kernel[reach - y, reach - x] += 1
        kernel[reach, reach] -= 2
    return kernels


def _convolved(planes: Tensor, kernels: Tensor) -> Tensor:
    reach = kernels.shape[2] // 2
    padded = F.pad(planes, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(padded, kernels.to(planes.device))
