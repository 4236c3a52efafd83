"""The video filter for machines, fitted to pictures: by features of the loss networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnvvc.adapt.block_choice import EXCHANGE
from nnvvc.adapt.descent import Candidate, Values
from nnvvc.adapt.feature_biases import optimise
from nnvvc.adapt.loss_networks import PictureLoss
from nnvvc.adapt.samples import Sample
from nnvvc.bitstream.header import StreamHeader
from nnvvc.codecs.filter_planes import to_tensors
from nnvvc.codecs.filter_updates import Change, changed
from nnvvc.codecs.fitting import Judged
from nnvvc.codecs.neighbours import Placed
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.scale import restored, scaled_format
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.filters import KEY_QP_OFFSET, PictureFilter
from nnvvc.models.quantised import fastest
from nnvvc.models.registry import FILTER_VIDEO
from nnvvc.picture import Chroma, Picture

CARRIED_OVER = 0.5
"""How much of what the loss networks gain others do."""

LARGEST_SHARE = 0.1
"""What updates may take of the bits."""


@dataclass(frozen=True)
class MachineSample:
    """picture: as decoded. loss: of what a filter makes of it; unfiltered: that without one."""

    picture: Picture
    planes: Sample
    loss: PictureLoss
    unfiltered: float


class MachineFitting:
    """`Fitting` of the filter for machines to a video. header: its stream's.

    Every second picture is fitted to, and the others say what that is worth.
    """

    number = FILTER_VIDEO
    map_shape = None
    steps = range(10, 16)

    def __init__(self, model: PictureFilter, header: StreamHeader) -> None:
        self._scale = header.scale
        self._target = header.source.picture
        self._scaled = scaled_format(self._target, header.scale)
        self._adaptable = Adaptable(model)
        self.count = self._adaptable.count
        self.resampling = header.scale != 1

    def sample(self, found: Placed, original: Picture) -> MachineSample:
        picture = found.picture
        wanted = to_tensors(original.with_chroma(Chroma.C420), self._target)
        planes = Sample(*to_tensors(picture, self._scaled), *wanted, (found.facts.layer,))
        loss = PictureLoss(original)
        return MachineSample(picture, planes, loss, loss(restored(picture, self._scaled, self._target)))

    def largest_share(self, key_qp: int) -> float:
        return LARGEST_SHARE

    def candidates(
        self, samples: Sequence[MachineSample], key_qp: int, start: Values, seconds: float
    ) -> list[Candidate]:
        fitted_to = [s.planes for s in samples[::2]]
        found = optimise(
            self._adaptable,
            fitted_to,
            self._scale,
            key_qp + KEY_QP_OFFSET,
            self._target.effective_matrix,
            start,
            seconds,
        )
        return [Candidate(found)]

    def gain(self, samples: Sequence[MachineSample], key_qp: int, change: Change | None) -> float:
        model = self._adaptable.model if change is None else changed(self._adaptable, change)
        apply = NeuralFilter(fastest(model), self._scaled, self._target, self._scale, key_qp)
        judged = samples[1::2] or samples
        left = [s.loss(apply(s.picture, s.planes.layer)) / max(s.unfiltered, 1e-9) for s in judged]
        return CARRIED_OVER * (1 - float(np.mean(left))) / EXCHANGE

    def judged(self, samples: Sequence[MachineSample], key_qp: int, change: Change | None) -> Judged:
        return Judged(self.gain(samples, key_qp, change))
