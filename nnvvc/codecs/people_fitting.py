"""The filter for people, fitted to pictures: by squared error, and off in the blocks where it hurts."""

from collections.abc import Sequence

import numpy as np
import torch

from nnvvc.adapt.biases import optimise
from nnvvc.adapt.descent import Candidate, Values
from nnvvc.adapt.samples import Sample, decibels
from nnvvc.codecs.filter_planes import Planes, to_tensors
from nnvvc.codecs.filter_updates import Change
from nnvvc.codecs.fitting import Judged
from nnvvc.codecs.neighbours import Placed, Sights, planes_among
from nnvvc.codecs.people_filter import filtered_planes, ready, turn_off
from nnvvc.entropy.block_map import BLOCK, BlockMap, map_shape
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.people import PeopleNetwork
from nnvvc.models.threads import lone_threads
from nnvvc.picture import Chroma, Picture, PictureFormat

RATE_PER_DECIBEL = 0.21
"""Share of a stream's bits that a decibel is worth: what it costs at least to gain one by a lower QP."""

LARGEST_SHARE, LOW_RATE_QP = 0.0145, 30
"""What updates may take of the bits from this slice QP of key pictures on; below, four times it."""


class PeopleFitting:
    """`Fitting` of a filter for people to pictures of a format, of any depth. number: of the model."""

    resampling = False
    steps = range(3, 12)

    def __init__(self, number: int, model: PeopleNetwork, fmt: PictureFormat) -> None:
        self.number = number
        self._format = fmt
        self._sights = Sights(fmt)
        self._adaptable = Adaptable(model)
        self.count = self._adaptable.count
        self.map_shape = map_shape(fmt.width, fmt.height)

    def sample(self, found: Placed, original: Picture) -> Sample:
        wanted = to_tensors(original.with_chroma(Chroma.C420), self._format)
        count = self._adaptable.model.neighbours
        return Sample(*planes_among(found, self._sights, count), *wanted, found.layers_of(count))

    def largest_share(self, key_qp: int) -> float:
        return LARGEST_SHARE if key_qp >= LOW_RATE_QP else 4 * LARGEST_SHARE

    def candidates(
        self, samples: Sequence[Sample], key_qp: int, start: Values, seconds: float
    ) -> list[Candidate]:
        found = optimise(self._adaptable, samples, key_qp, start, seconds)
        return [_by_bits(candidate) for candidate in found]

    def gain(self, samples: Sequence[Sample], key_qp: int, change: Change | None) -> float:
        return RATE_PER_DECIBEL * decibels(samples, self._filtered(samples, key_qp, change))

    def judged(self, samples: Sequence[Sample], key_qp: int, change: Change | None) -> Judged:
        filtered = self._filtered(samples, key_qp, change)
        everywhere = RATE_PER_DECIBEL * decibels(samples, filtered)
        off = blocks_off(samples, filtered)
        if off.all() or not off.any():
            return Judged(everywhere)
        for sample, planes in zip(samples, filtered, strict=True):
            turn_off(planes, sample.plain, off)
        return Judged(everywhere, off, RATE_PER_DECIBEL * decibels(samples, filtered))

    def _filtered(self, samples: Sequence[Sample], key_qp: int, change: Change | None) -> list[Planes]:
        qp = torch.tensor([float(key_qp)])
        model = ready(self._adaptable, change)
        off = None if change is None else change.off
        with lone_threads(torch.get_num_threads()) as pool:
            return list(
                pool.map(lambda s: filtered_planes(model, (s.luma, s.chroma), qp, s.layers, off), samples)
            )


def _by_bits(candidate: Candidate) -> Candidate:
    """The same with gains as shares of the bits."""
    gain, rounded = candidate.gain, candidate.rounded
    if gain is None or rounded is None:
        return candidate
    return Candidate(
        candidate.values,
        lambda values: RATE_PER_DECIBEL * gain(values),
        lambda numbers, step, bits, before: rounded(numbers, step, RATE_PER_DECIBEL * bits, before),
    )


def blocks_off(samples: Sequence[Sample], filtered: Sequence[Planes]) -> BlockMap:
    """1 for each block of the pictures where the filter makes the luma error larger."""
    height, width = samples[0].luma.shape[2:]
    columns, rows = -(-width // BLOCK), -(-height // BLOCK)
    total = torch.zeros(rows * BLOCK, columns * BLOCK)
    for sample, (luma, _) in zip(samples, filtered, strict=True):
        before = (sample.plain[0] - sample.wanted).square()
        change = (luma - sample.wanted).square() - before
        total[:height, :width] += change[0, 0] / float(before.mean() + 1e-8)
    sums = total.view(rows, BLOCK, columns, BLOCK).sum((1, 3))
    result: BlockMap = (sums > 0).numpy().astype(np.uint8)
    return result
