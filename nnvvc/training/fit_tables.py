"""Probability tables fitted to what a trained model's symbols really do, instead of the logistic family."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnvvc.entropy.tables import PRECISION, Tables, whole_counts
from nnvvc.models.context import PROFILES
from nnvvc.models.image import ImageModel

PRIOR = 3000.0
"""The logistic table counts like this many symbols, so that rare symbols keep a sensible probability."""


class Histogram:
    """Counts symbols by scale index; signs are taken together."""

    def __init__(self, tables: Tables) -> None:
        self.reach = tables.reach
        self.counts = [np.zeros(int(r) + 2) for r in tables.reach]

    def add(self, symbols: NDArray[np.int32], indices: NDArray[np.uint8]) -> None:
        for index in np.unique(indices):
            reach = int(self.reach[index])
            magnitudes = np.minimum(np.abs(symbols[indices == index]), reach + 1)
            self.counts[index] += np.bincount(magnitudes, minlength=reach + 2)

    def tables(self, prior: Tables) -> Tables:
        """Tables of the same reach: the counts, and PRIOR symbols spread as `prior` says."""
        result = []
        for counts, logistic in zip(self.counts, prior.split(), strict=True):
            reach = len(counts) - 2
            spread = PRIOR * logistic / float(1 << PRECISION)
            sides = counts[1 : reach + 1] / 2
            seen = np.concatenate([sides[::-1], counts[:1], sides, counts[reach + 1 :]])
            result.append(whole_counts(seen + spread))
        return Tables(np.concatenate(result), prior.reach)


def fit_tables(model: ImageModel, pictures: list[Tensor], qps: list[int]) -> Tables:
    """Tables for the symbols of these planes (1, 6, H/2, W/2, padded), at these QPs and in all profiles."""
    histogram = Histogram(model.tables)
    with torch.no_grad():
        for number, planes in enumerate(pictures):
            qp = qps[number % len(qps)]
            latents = model.analyse(planes, qp)
            model.code(*latents, qp, PROFILES[number % len(PROFILES)], histogram.add)
    return histogram.tables(model.tables)
