"""Lists of small signed numbers, most of them zero, coded with adaptive contexts through constriction.

The context is how large the two numbers before were.
"""

from collections.abc import Sequence

import constriction
import numpy as np

from nnvvc.entropy.adaptive import AdaptiveContexts, decoder_of, to_bytes
from nnvvc.errors import DamagedStream, TruncatedStream

LARGEST = 31
"""Of the magnitudes that can be coded."""

_PRIOR = 12.0 * 0.45 ** np.abs(np.arange(-LARGEST, LARGEST + 1)) + 0.01
_CONTEXTS = 3


def _context(before: int, previous: int) -> int:
    return min(_CONTEXTS - 1, abs(before) + abs(previous))


def encode_numbers(values: Sequence[int]) -> bytes:
    """The numbers, of LARGEST at most; how many there are is not coded."""
    coder = constriction.stream.queue.RangeEncoder()
    contexts = AdaptiveContexts(_CONTEXTS, _PRIOR)
    before = previous = 0
    for value in values:
        context = _context(before, previous)
        coder.encode(value + LARGEST, contexts.model(context))
        contexts.saw(context, value + LARGEST)
        before, previous = previous, value
    return to_bytes(coder)


def decode_numbers(data: bytes, count: int) -> list[int]:
    """The inverse. Raises DamagedStream or TruncatedStream where the data cannot be right."""
    coder = decoder_of(data)
    contexts = AdaptiveContexts(_CONTEXTS, _PRIOR)
    values: list[int] = []
    before = previous = 0
    try:
        for _ in range(count):
            context = _context(before, previous)
            symbol = int(coder.decode(contexts.model(context)))
            contexts.saw(context, symbol)
            values.append(symbol - LARGEST)
            before, previous = previous, values[-1]
    except (AssertionError, ValueError) as error:
        raise DamagedStream(f"the numbers of a filter update are damaged: {error}") from error
    if not coder.maybe_exhausted():
        raise TruncatedStream("data is left over after the numbers of a filter update")
    return values
