"""`slice_data()` of a lossless I slice: quadtree, BDPCM blocks, wavefronts (H.266 clauses 7.3.11 and 8.4.5).

Every coding unit is predicted by BDPCM, which hides most other syntax. Because nothing is lost, the
prediction of a block is made of the picture itself: the sample to the left or above, and at the picture's
edge what clause 8.4.5.2.8 substitutes for samples that do not exist.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nnvvc.compiled import njit
from nnvvc.vvc.irap import contexts
from nnvvc.vvc.irap.cabac import INITIAL_RANGE, POSITION, RANGE, encode, finish
from nnvvc.vvc.irap.residual import SCANS, put_residual

Plane = NDArray[np.uint16]

# Options of a slice, by index.
IBC, JOINT_CBCR, QP_DELTA, DUAL_TREE, LOG2_MIN_QT, LOG2_CU, LOG2_CTU, WAVEFRONT, MID = range(9)

_SINGLE, _LUMA, _CHROMA = 0, 1, 2
_TOKENS_PER_CTU = 1 << 20
"""More than 128x128 samples of luma and their chroma can need, at 20 tokens a sample."""

_SPLIT, _SKIP, _IBC, _QPD, _JOINT = (
    contexts.SPLIT,
    contexts.SKIP,
    contexts.IBC,
    contexts.QP_DELTA,
    contexts.JOINT,
)
_LUMA_MODE, _CHROMA_MODE = contexts.BDPCM_LUMA, contexts.BDPCM_CHROMA
_Y, _CB, _CR = contexts.CODED_Y, contexts.CODED_CB, contexts.CODED_CR


@njit(cache=True)
def _differences(
    plane: Plane, x0: int, y0: int, size: int, mid: int, across: NDArray[np.int32], down: NDArray[np.int32]
) -> bool:
    """Residuals of horizontal and vertical BDPCM; whether the vertical ones are smaller."""
    sum_across, sum_down = 0, 0
    for y in range(size):
        for x in range(size):
            sample = np.int32(plane[y0 + y, x0 + x])
            if x0 + x > 0:
                left = np.int32(plane[y0 + y, x0 + x - 1])
            elif y0 > 0:
                left = np.int32(plane[y0 - 1, 0])
            else:
                left = np.int32(mid)
            if y0 + y > 0:
                above = np.int32(plane[y0 + y - 1, x0 + x])
            elif x0 > 0:
                above = np.int32(plane[0, x0 - 1])
            else:
                above = np.int32(mid)
            across[y, x] = sample - left
            down[y, x] = sample - above
            sum_across += abs(int(sample - left))
            sum_down += abs(int(sample - above))
    return sum_down < sum_across


@njit(cache=True)
def _coded(block: NDArray[np.int32], size: int) -> int:
    """1 where any residual is not zero."""
    for y in range(size):
        for x in range(size):
            if block[y, x] != 0:
                return 1
    return 0


@njit(cache=True)
def _put_unit(
    tokens: NDArray[np.int32],
    at: int,
    planes: tuple[Plane, Plane, Plane],
    x0: int,
    y0: int,
    log2_size: int,
    tree: int,
    options: NDArray[np.int64],
    work: NDArray[np.int32],
    qp_done: NDArray[np.bool_],
    scans: NDArray[np.int64],
) -> int:
    """Queue one coding unit: modes, coded flags, residuals. work: (6, 64, 64)."""
    size, half = 1 << log2_size, 1 << (log2_size - 1)
    vertical, vertical_chroma = 0, 0
    if tree != _CHROMA:
        if options[IBC]:
            tokens[at] = 2 * _SKIP
            tokens[at + 1] = 2 * _IBC
            at += 2
        vertical = int(_differences(planes[0], x0, y0, size, options[MID], work[0], work[1]))
        tokens[at] = 2 * _LUMA_MODE + 1
        tokens[at + 1] = 2 * (_LUMA_MODE + 1) + vertical
        at += 2
    cb, cr, luma = 0, 0, 0
    if tree != _LUMA:
        down_cb = _differences(planes[1], x0 >> 1, y0 >> 1, half, options[MID], work[2], work[3])
        down_cr = _differences(planes[2], x0 >> 1, y0 >> 1, half, options[MID], work[4], work[5])
        vertical_chroma = int(down_cb and down_cr)
        cb, cr = _coded(work[2 + vertical_chroma], half), _coded(work[4 + vertical_chroma], half)
        tokens[at] = 2 * _CHROMA_MODE + 1
        tokens[at + 1] = 2 * (_CHROMA_MODE + 1) + vertical_chroma
        tokens[at + 2] = 2 * _CB + cb
        tokens[at + 3] = 2 * _CR + cr
        at += 4
    if tree != _CHROMA:
        luma = _coded(work[vertical], size)
        tokens[at] = 2 * _Y + luma
        at += 1
        if options[QP_DELTA] and not qp_done[0] and (luma or cb or cr):
            tokens[at] = 2 * _QPD
            at += 1
            qp_done[0] = True
    if options[JOINT_CBCR] and (cb or cr):
        tokens[at] = 2 * (_JOINT + 2 * cb + cr - 1)
        at += 1
    if luma:
        at = put_residual(tokens, at, work[vertical], size, scans)
    if cb:
        at = put_residual(tokens, at, work[2 + vertical_chroma], half, scans)
    if cr:
        at = put_residual(tokens, at, work[4 + vertical_chroma], half, scans)
    return at


@njit(cache=True)
def _put_tree(
    tokens: NDArray[np.int32],
    at: int,
    planes: tuple[Plane, Plane, Plane],
    x_ctu: int,
    y_ctu: int,
    tree_ctu: int,
    options: NDArray[np.int64],
    sizes: NDArray[np.uint8],
    work: NDArray[np.int32],
    qp_done: NDArray[np.bool_],
    scans: NDArray[np.int64],
) -> int:
    """Queue the coding tree of a CTU. sizes: log2 of the unit at each 8x8, for luma and chroma trees.

    The stack is explicit: numba cannot cache functions that call themselves.
    """
    height, width = planes[0].shape
    dual = options[DUAL_TREE] != 0
    stack = np.empty((32, 4), np.int64)
    stack[0] = (x_ctu, y_ctu, options[LOG2_CTU], tree_ctu)
    depth = 1
    while depth > 0:
        depth -= 1
        x0, y0, log2_size, tree = stack[depth]
        size = 1 << log2_size
        if x0 >= width or y0 >= height:
            continue
        inside = x0 + size <= width and y0 + size <= height
        split = not inside or log2_size > options[LOG2_CU]
        kind = 1 if tree == _CHROMA else 0
        if inside and log2_size > options[LOG2_MIN_QT] and not (dual and log2_size > 6):
            smaller = 0
            if x0 > 0 and sizes[kind, y0 >> 3, (x0 >> 3) - 1] < log2_size:
                smaller += 1
            if y0 > 0 and sizes[kind, (y0 >> 3) - 1, x0 >> 3] < log2_size:
                smaller += 1
            tokens[at] = 2 * (_SPLIT + smaller) + int(split)
            at += 1
        if not split:
            for j in range(y0 >> 3, (y0 + size) >> 3):
                for i in range(x0 >> 3, (x0 + size) >> 3):
                    sizes[kind, j, i] = log2_size
            at = _put_unit(tokens, at, planes, x0, y0, log2_size, tree, options, work, qp_done, scans)
            continue
        for quarter in range(3, -1, -1):
            x, y = x0 + (quarter & 1) * (size >> 1), y0 + (quarter >> 1) * (size >> 1)
            # A CTU of 128 has two trees in each of its quarters, luma first.
            if dual and log2_size == 7:
                stack[depth] = (x, y, log2_size - 1, _CHROMA)
                stack[depth + 1] = (x, y, log2_size - 1, _LUMA)
                depth += 2
            else:
                stack[depth] = (x, y, log2_size - 1, tree)
                depth += 1
    return at


@njit(cache=True)
def _encode_slice(
    planes: tuple[Plane, Plane, Plane],
    options: NDArray[np.int64],
    states: NDArray[np.int64],
    scans: NDArray[np.int64],
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> int:
    """Code all CTUs into `out`; ends of substreams but the last go to `ends`; returns the bytes written."""
    height, width = planes[0].shape
    log2_ctu, wavefront = options[LOG2_CTU], options[WAVEFRONT] != 0
    columns, rows = (width - 1 >> log2_ctu) + 1, (height - 1 >> log2_ctu) + 1
    coder = np.zeros(4, np.int64)
    coder[RANGE] = INITIAL_RANGE
    row_states = states.copy()
    tokens = np.empty(_TOKENS_PER_CTU, np.int32)
    work = np.zeros((6, 64, 64), np.int32)
    sizes = np.zeros((2, (height >> 3) + 16, (width >> 3) + 16), np.uint8)
    qp_done = np.zeros(1, np.bool_)
    two_trees = options[DUAL_TREE] != 0 and log2_ctu < 7
    for row in range(rows):
        for column in range(columns):
            if wavefront and column == 0 and row > 0:
                states[:] = row_states
            qp_done[0] = False
            x0, y0 = column << log2_ctu, row << log2_ctu
            count = 0
            for tree in range(_LUMA, _CHROMA + 1) if two_trees else range(_SINGLE, _SINGLE + 1):
                count = _put_tree(tokens, count, planes, x0, y0, tree, options, sizes, work, qp_done, scans)
            encode(coder, states, tokens, count, out)
            if wavefront and column == 0:
                row_states[:] = states
        if row == rows - 1 or wavefront:
            finish(coder, out)
            if row < rows - 1:
                ends[row] = coder[POSITION]
    return int(coder[POSITION])


def encode_slice(
    planes: tuple[Plane, Plane, Plane], options: NDArray[np.int64], slice_qp: int
) -> list[bytes]:
    """Substreams of a slice, before emulation prevention: one, or with wavefronts one for each CTU row.

    planes: uint16 luma (height, width) and chroma (height / 2, width / 2), sizes in steps of 8 luma samples.
    options: int64, indexed by the names above.
    """
    height, width = planes[0].shape
    out = np.empty(6 * height * width + (1 << 16), np.uint8)
    ends = np.zeros(height // 32 + 2, np.int64)
    length = _encode_slice(planes, options, contexts.initial_states(slice_qp), SCANS, out, ends)
    bounds = [0, *(int(e) for e in ends if e), length]
    return [out[a:b].tobytes() for a, b in pairwise(bounds)]
