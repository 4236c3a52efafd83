"""Residuals of transform-skip blocks with BDPCM, `residual_ts_coding()` (clause 7.3.11.11), as tokens."""

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.vvc.irap import contexts

Block = NDArray[np.int32]
Tokens = NDArray[np.int32]

MAX_BLOCK = 32


def _diagonal_scan(size: int) -> list[tuple[int, int]]:
    """Up-right diagonal scan of a square (clause 6.5.2), as (x, y)."""
    return [(x, d - x) for d in range(2 * size - 1) for x in range(d + 1) if x < size and d - x < size]


SCANS = np.zeros((4, 64, 2), np.int64)
"""Scans of squares of 1, 2, 4 and 8."""
for _log2 in range(4):
    _scan = _diagonal_scan(1 << _log2)
    SCANS[_log2, : len(_scan)] = _scan

_G1, _GX, _PARITY, _SIGN = contexts.GREATER_1, contexts.GREATER_X, contexts.PARITY, contexts.SIGN
_SIG, _GROUP = contexts.SIGNIFICANT, contexts.GROUP


@njit(cache=True)
def put_remainder(tokens: Tokens, at: int, value: int) -> int:
    """`abs_remainder` with Rice parameter 1 (clause 9.3.3.11)."""
    if value < 10:
        prefix = value >> 1
        bins, bits = prefix + 2, (((1 << prefix) - 1) << 2) | (value & 1)
        tokens[at] = -1 - ((bins << 17) | bits)
        return at + 1
    rest = (value >> 1) - 5
    prefix = 0
    while rest > (2 << prefix) - 2:
        prefix += 1
    bins = prefix + 5
    tokens[at] = -1 - ((bins << 17) | ((1 << bins) - 1))
    bits = ((rest - ((1 << prefix) - 1)) << 1) | (value & 1)
    tokens[at + 1] = -1 - (((prefix + 2) << 17) | bits)
    return at + 2


@njit(cache=True)
def put_residual(tokens: Tokens, at: int, block: Block, size: int, scans: NDArray[np.int64]) -> int:
    """Queue a `size` x `size` block that is not all zero; returns where the queue ends.

    In each 4x4 group: what is greater than zero and one, signs and parity; then greater than 3, 5, 7 and 9;
    then the remainders. The first two use contexts while the budget for such bins lasts.
    """
    groups_log2 = 0
    while 4 << groups_log2 < size:
        groups_log2 += 1
    last = (1 << 2 * groups_log2) - 1
    budget = (size * size * 7) >> 2
    coded = np.zeros((9, 9), np.uint8)
    infer_last = True
    for group in range(last + 1):
        gx, gy = scans[groups_log2, group, 0], scans[groups_log2, group, 1]
        x0, y0 = 4 * gx, 4 * gy
        any_level = 0
        for y in range(4):
            for x in range(4):
                if block[y0 + y, x0 + x] != 0:
                    any_level = 1
        if group != last or not infer_last:
            tokens[at] = 2 * (_GROUP + coded[gy + 1, gx] + coded[gy, gx + 1]) + any_level
            at += 1
        coded[gy + 1, gx + 1] = any_level
        if any_level == 0:
            continue
        if group < last:
            infer_last = False
        first_end = -1
        infer_level = True
        for k in range(16):
            if budget < 4:
                break
            x, y = x0 + scans[2, k, 0], y0 + scans[2, k, 1]
            level = block[y, x]
            left = block[y, x - 1] if x > 0 else 0
            above = block[y - 1, x] if y > 0 else 0
            if k != 15 or not infer_level:
                tokens[at] = 2 * (_SIG + (left != 0) + (above != 0)) + (level != 0)
                at += 1
                budget -= 1
            if level != 0:
                infer_level = False
                signs = (left > 0) - (left < 0) + (above > 0) - (above < 0)
                context = _SIGN + (0 if signs == 0 else 1 if signs > 0 else 2)
                tokens[at] = 2 * context + (level < 0)
                magnitude = abs(level)
                tokens[at + 1] = 2 * _G1 + (magnitude > 1)
                at += 2
                budget -= 2
                if magnitude > 1:
                    tokens[at] = 2 * _PARITY + (magnitude & 1)
                    at += 1
                    budget -= 1
            first_end = k
        second_end = -1
        for k in range(16):
            if budget < 4:
                break
            magnitude = abs(block[y0 + scans[2, k, 1], x0 + scans[2, k, 0]])
            for step in range(4):
                if magnitude < 2 + 2 * step:
                    break
                tokens[at] = 2 * (_GX + step) + (magnitude >= 4 + 2 * step)
                at += 1
                budget -= 1
            second_end = k
        for k in range(16):
            level = block[y0 + scans[2, k, 1], x0 + scans[2, k, 0]]
            magnitude = abs(level)
            if k <= second_end:
                if magnitude >= 10:
                    at = put_remainder(tokens, at, (magnitude - 10) >> 1)
            elif k <= first_end:
                if magnitude >= 2:
                    at = put_remainder(tokens, at, (magnitude - 2) >> 1)
            else:
                at = put_remainder(tokens, at, magnitude)
                if magnitude:
                    tokens[at] = -1 - ((1 << 17) | (level < 0))
                    at += 1
    return at
