"""Integer probability tables of zero-mean symbols, one per step of the scale.

A table covers the symbols -reach to reach, and one more entry for what lies beyond. Its entries add up to
2**24, constriction's own precision. Tables are made once, when a model is exported, and travel with its
weights: no decoder ever computes a probability.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

PRECISION = 24
INDICES = 64
LOW = -58
"""log2 of the standard deviation of index 0, in sixteenths of an octave."""
STEP = 3
"""Sixteenths of an octave from one index to the next."""

Ints = NDArray[np.int32]
Scalar = TypeVar("Scalar", float, NDArray[np.float32])


def log_scale_of(index: Scalar) -> Scalar:
    """log2 of the standard deviation, in quantiser steps, that a scale index stands for."""
    return (LOW + STEP * index) / 16.0


def index_of(log_scale_16: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Scale index of a log2 standard deviation in sixteenths of an octave: the nearest, within range."""
    index = (log_scale_16 - LOW + STEP // 2) // STEP
    return np.clip(index, 0, INDICES - 1).astype(np.uint8)


@dataclass(frozen=True)
class Tables:
    """counts: all tables one after the other; reach: largest symbol of each."""

    counts: Ints
    reach: Ints

    def __post_init__(self) -> None:
        """Raises ValueError for tables that do not hold together."""
        if len(self.reach) != INDICES or (self.reach < 0).any() or (self.reach > 1 << 14).any():
            raise ValueError("probability tables: wrong number of tables, or a reach out of range")
        if len(self.counts) != int((2 * self.reach.astype(np.int64) + 2).sum()) or (self.counts < 1).any():
            raise ValueError("probability tables: the counts do not fit the reaches")
        if any(int(t.sum(dtype=np.int64)) != 1 << PRECISION for t in self.split()):
            raise ValueError(f"probability tables: counts do not add up to 2**{PRECISION}")

    def split(self) -> list[Ints]:
        """The counts of each table: symbols -reach to reach, then the escape."""
        return np.split(self.counts, np.cumsum(2 * self.reach + 2)[:-1])


def whole_counts(probabilities: NDArray[np.float64]) -> Ints:
    """Probabilities as counts of at least 1 that add up to 2**PRECISION; the largest one takes the
    rounding.
    """
    share = probabilities / probabilities.sum()
    counts = np.maximum(np.rint(share * (1 << PRECISION)), 1).astype(np.int64)
    counts[np.argmax(counts)] += (1 << PRECISION) - counts.sum()
    result: Ints = counts.astype(np.int32)
    return result


def logistic_tables() -> Tables:
    """Tables of logistic distributions, the family that the networks are trained with."""
    counts, reaches = [], []
    for index in range(INDICES):
        inverse = np.pi / np.sqrt(3.0) / 2.0 ** log_scale_of(index)
        # Beyond the reach less than about 2**-20 is left.
        reach = max(1, int(np.ceil(14.0 / inverse)))
        edges = (np.arange(-reach, reach + 2) - 0.5) * inverse
        cumulative = 0.5 * (1.0 + np.tanh(edges / 2.0))
        tail = 2.0 * cumulative[0]
        counts.append(whole_counts(np.append(np.diff(cumulative), tail)))
        reaches.append(reach)
    return Tables(np.concatenate(counts), np.array(reaches, np.int32))
