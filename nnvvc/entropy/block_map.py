"""Maps of small numbers, one per block of a picture, coded with adaptive contexts through constriction.

A number is coded as its difference to its left neighbour, modulo how many there are; the context is whether
the neighbours to the left and above are equal, differ, or are missing.
"""

from collections.abc import Iterator

import constriction
import numpy as np
from numpy.typing import NDArray

from nnvvc.entropy.adaptive import AdaptiveContexts, decoder_of, to_bytes
from nnvvc.errors import DamagedStream, TruncatedStream

BlockMap = NDArray[np.uint8]
"""(rows, columns) of numbers below 256."""

BLOCK = 128
"""Side of a block, luma samples of the output picture: the best of those tried in arXiv 2406.12367."""

_EQUAL, _DIFFERENT, _EDGE = range(3)


def map_shape(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of the blocks of a picture."""
    return -(-height // BLOCK), -(-width // BLOCK)


def _places(blocks: BlockMap) -> Iterator[tuple[int, int, int, int]]:
    """(row, column, prediction, context) of every block in raster order; reads what is before it."""
    rows, columns = blocks.shape
    for y in range(rows):
        for x in range(columns):
            left = int(blocks[y, x - 1]) if x else None
            above = int(blocks[y - 1, x]) if y else None
            if left is None or above is None:
                yield y, x, left if left is not None else above or 0, _EDGE
            else:
                yield y, x, left, _EQUAL if left == above else _DIFFERENT


def encode_blocks(blocks: BlockMap, numbers: int) -> bytes:
    """The map, whose numbers are below `numbers` (2 to 256); its shape is not coded."""
    coder = constriction.stream.queue.RangeEncoder()
    contexts = AdaptiveContexts(3, np.ones(numbers))
    for y, x, prediction, context in _places(blocks):
        symbol = (int(blocks[y, x]) - prediction) % numbers
        coder.encode(symbol, contexts.model(context))
        contexts.saw(context, symbol)
    return to_bytes(coder)


def decode_blocks(data: bytes, shape: tuple[int, int], numbers: int) -> BlockMap:
    """The inverse. Raises DamagedStream or TruncatedStream where the data cannot be right."""
    coder = decoder_of(data)
    contexts = AdaptiveContexts(3, np.ones(numbers))
    blocks = np.zeros(shape, np.uint8)
    try:
        for y, x, prediction, context in _places(blocks):
            symbol = int(coder.decode(contexts.model(context)))
            blocks[y, x] = (prediction + symbol) % numbers
            contexts.saw(context, symbol)
    except (AssertionError, ValueError) as error:
        raise DamagedStream(f"the block map is damaged: {error}") from error
    if not coder.maybe_exhausted():
        raise TruncatedStream("data is left over after the block map")
    return blocks
