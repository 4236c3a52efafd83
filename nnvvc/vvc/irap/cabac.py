"""The arithmetic encoder of VVC (H.266 clause 9.3.4.3, in its encoder form), for queues of bins.

Syntax is queued as tokens and coded a CTU at a time: one place where bins are coded keeps the compiled code
small. A token is 2 * context + bin, or -1 - (count << 17 | bits) for up to 14 bypass bins.
"""

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit

LOW, RANGE, PENDING, POSITION = 0, 1, 2, 3
"""Registers of the coder: low end, range, bits of `low` not written yet, bytes written."""

INITIAL_RANGE = 510

Array = NDArray[np.int64]


@njit(cache=True)
def _carry(out: NDArray[np.uint8], position: int) -> None:
    """Add one to the number that the bytes before `position` are."""
    at = position - 1
    while out[at] == 255:
        out[at] = 0
        at -= 1
    out[at] += 1


@njit(cache=True)
def _put_bytes(coder: Array, out: NDArray[np.uint8]) -> None:
    """Write the complete bytes above the ten bits that are still open."""
    low, pending, position = coder[LOW], coder[PENDING], coder[POSITION]
    while pending >= 8:
        byte = low >> (pending + 1)
        low &= (1 << (pending + 1)) - 1
        if byte > 255:
            _carry(out, position)
            byte &= 255
        out[position] = byte
        position += 1
        pending -= 8
    coder[LOW], coder[PENDING], coder[POSITION] = low, pending, position


@njit(cache=True)
def encode(
    coder: Array, states: Array, tokens: NDArray[np.int32], count: int, out: NDArray[np.uint8]
) -> None:
    """Code `count` tokens; `states` (contexts, 4) adapt, and bytes are appended to `out`."""
    low, width, pending = coder[LOW], coder[RANGE], coder[PENDING]
    for i in range(count):
        token = tokens[i]
        if token < 0:
            bypass = -1 - token
            bins = bypass >> 17
            low = (low << bins) + width * (bypass & 0x1FFFF)
            pending += bins
        else:
            context, value = token >> 1, token & 1
            fast, slow = states[context, 0], states[context, 1]
            state = slow + 16 * fast
            likely = state >> 14
            distance = 32767 - state if likely else state
            lps = (((width >> 5) * (distance >> 9)) >> 1) + 4
            width -= lps
            if value == likely:
                if width < 256:
                    low <<= 1
                    pending += 1
                    width <<= 1
            else:
                low += width
                width = lps
                while width < 256:
                    width <<= 1
                    low <<= 1
                    pending += 1
            shift0, shift1 = states[context, 2], states[context, 3]
            fast -= fast >> shift0
            slow -= slow >> shift1
            if value:
                fast += 1023 >> shift0
                slow += 16383 >> shift1
            states[context, 0], states[context, 1] = fast, slow
        if pending >= 24:
            coder[LOW], coder[PENDING] = low, pending
            _put_bytes(coder, out)
            low, pending = coder[LOW], coder[PENDING]
    coder[LOW], coder[RANGE], coder[PENDING] = low, width, pending


@njit(cache=True)
def finish(coder: Array, out: NDArray[np.uint8]) -> None:
    """Code a terminating bin of one, flush, and write a stop bit and zeros to the next byte.

    The coder is then ready for another substream.
    """
    coder[LOW] = (coder[LOW] + coder[RANGE] - 2) << 7
    coder[PENDING] += 7
    _put_bytes(coder, out)
    bits = coder[PENDING] + 2
    value = ((coder[LOW] >> 8) << 1) | 1
    padding = -bits & 7
    value <<= padding
    bits += padding
    if value >> bits:
        _carry(out, coder[POSITION])
        value &= (1 << bits) - 1
    while bits > 0:
        bits -= 8
        out[coder[POSITION]] = (value >> bits) & 255
        coder[POSITION] += 1
    coder[LOW], coder[RANGE], coder[PENDING] = 0, INITIAL_RANGE, 0
