"""Where a detector sees objects in the originals that training learns from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.models.tasknets import TaskNetwork

STRIDES = (8, 16, 32, 64)
"""Of the levels of NanoDet-Plus and PicoDet heads."""

CLASSES = 80


@torch.no_grad()
def object_map(network: TaskNetwork, rgb: Tensor) -> Tensor:
    """(N, 1, H / 8, W / 8), 0..1: the highest score of any class there, at any level, and a cell around it.

    network: one with a head as NanoDet-Plus and PicoDet have it. rgb: (N, 3, H, W) in 0..1, H and W multiples
    of 32.
    """
    height, width = rgb.shape[2:]
    (heads,) = network(rgb, ("pred",))
    scores = heads[..., :CLASSES].float().amax(-1)
    shapes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    levels = scores.split([rows * columns for rows, columns in shapes], 1)
    finest = shapes[0]
    result = torch.zeros(len(rgb), 1, *finest, device=rgb.device)
    for level, shape in zip(levels, shapes, strict=True):
        spread = F.max_pool2d(level.reshape(-1, 1, *shape), 3, 1, 1)
        result = torch.maximum(result, F.interpolate(spread, finest, mode="nearest"))
    return result
