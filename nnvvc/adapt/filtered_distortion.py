"""What finetuning weighs for people where their pictures are filtered: the error behind the filter."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvvc.adapt.latents import people_distortion
from nnvvc.media.colour import levels
from nnvvc.models.planes import MIDDLE, UNIT
from nnvvc.models.restoration import RestorationFilter


class FilteredDistortion:
    """A `Distortion` of pictures that were coded with `qp`. full_range: of their samples."""

    def __init__(self, model: RestorationFilter, qp: int, full_range: bool) -> None:
        self._model = model
        self._qp = torch.tensor([float(qp)])
        self._levels = levels(10, full_range)

    def __call__(self, planes: Tensor, original: Tensor) -> Tensor:
        offset, luma_gain, chroma_gain = self._levels
        samples = planes.float() * UNIT + MIDDLE
        luma = (F.pixel_shuffle(samples[:, :4], 2) - offset) / luma_gain
        chroma = (samples[:, 4:] - MIDDLE) / chroma_gain
        luma, chroma = self._model(luma, chroma, self._qp, torch.zeros(1, 1))
        phases = (F.pixel_unshuffle(luma * luma_gain + offset, 2) - MIDDLE) / UNIT
        return people_distortion(torch.cat((phases, chroma * chroma_gain / UNIT), 1), original)
