"""Adaptive models for constriction: counts of what was seen, one set per context."""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from nnvvc.entropy.share_loops import fill_shares

SEEN = 2
"""What an occurrence adds to a count."""


class AdaptiveContexts:
    """Models of symbols 0 to len(prior) - 1. prior: the counts that every context begins with."""

    def __init__(self, contexts: int, prior: NDArray[np.float64]) -> None:
        self._counts = np.tile(prior.astype(np.float64), (contexts, 1))
        self._shares = np.empty(len(prior))

    def model(self, context: int) -> Any:
        """Whole counts of constriction's own resolution: nothing is left for it to round."""
        fill_shares(self._counts[context], self._shares)
        return constriction.stream.model.Categorical(self._shares, perfect=False)

    def saw(self, context: int, symbol: int) -> None:
        self._counts[context, symbol] += SEEN


def to_bytes(coder: Any) -> bytes:
    """What a range encoder made; zeros at the end are left out."""
    data: bytes = coder.get_compressed().astype("<u4").tobytes()
    return data.rstrip(b"\0")


def decoder_of(data: bytes) -> Any:
    """A range decoder for the inverse."""
    words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
    return constriction.stream.queue.RangeDecoder(words)
