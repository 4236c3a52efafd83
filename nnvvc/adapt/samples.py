"""Decoded pictures and their originals, that filters for people are fitted to, and what they gain on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One decoded picture and its original, as filters take planes. luma, chroma: with its neighbours', for a
    filter that sees them. layers: of the picture, and of those neighbours, see `RestorationFilter`.
    """

    luma: Tensor
    chroma: Tensor
    wanted: Tensor
    wanted_chroma: Tensor
    layers: tuple[int, ...]

    @property
    def layer(self) -> int:
        """The picture's own."""
        return self.layers[0]

    @property
    def plain(self) -> tuple[Tensor, Tensor]:
        """The picture's own luma and chroma."""
        return self.luma[:, :1], self.chroma[:, :2]


def errors_of(sample: Sample, luma: Tensor, chroma: Tensor) -> tuple[float, float]:
    """Mean squared errors; never zero."""
    return (
        float((luma - sample.wanted).square().mean()) + 1e-8,
        float((chroma - sample.wanted_chroma).square().mean()) + 1e-8,
    )


def decibels(samples: Sequence[Sample], filtered: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Luma PSNR that filtered planes gain over the samples' own, mean over the pictures, in decibels."""
    gains = [
        10 * math.log10(errors_of(s, *s.plain)[0] / errors_of(s, *planes)[0])
        for s, planes in zip(samples, filtered, strict=True)
    ]
    return sum(gains) / len(gains)
