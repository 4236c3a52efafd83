"""The context variables that a lossless I slice needs, with their initial values (H.266 clause 9.3.2.2).

One entry each: initial values and window sizes (`shiftIdx`) of the contexts of a syntax element that are
used, from the tables of the clause for I slices. Of several elements only the contexts for BDPCM blocks
occur.
"""

import numpy as np
from numpy.typing import NDArray

_TABLE: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("split_cu_flag", (19, 28, 38), (12, 13, 8)),
    ("cu_skip_flag", (0,), (5,)),
    ("pred_mode_ibc_flag", (17,), (1,)),
    ("intra_bdpcm_luma", (19, 35), (1, 4)),
    ("intra_bdpcm_chroma", (1, 27), (1, 0)),
    ("tu_y_coded_flag", (12,), (1,)),
    ("tu_cb_coded_flag", (21,), (0,)),
    ("tu_cr_coded_flag", (36,), (0,)),
    ("cu_qp_delta_abs", (35,), (8,)),
    ("tu_joint_cbcr_residual_flag", (12, 21, 35), (1, 1, 0)),
    ("sb_coded_flag", (18, 20, 38), (5, 8, 8)),
    ("sig_coeff_flag", (25, 28, 38), (13, 13, 8)),
    ("par_level_flag", (11,), (6,)),
    ("abs_level_gt1_flag", (14,), (6,)),
    ("abs_level_gtx_flag", (10, 3, 3, 3), (1, 1, 1, 1)),
    ("coeff_sign_flag", (28, 25, 46), (5, 8, 8)),
)

_FIRST: dict[str, int] = {}
_INIT_VALUES: list[int] = []
_SHIFTS: list[int] = []
for _name, _values, _shifts in _TABLE:
    _FIRST[_name] = len(_INIT_VALUES)
    _INIT_VALUES += _values
    _SHIFTS += _shifts

SPLIT = _FIRST["split_cu_flag"]
SKIP = _FIRST["cu_skip_flag"]
IBC = _FIRST["pred_mode_ibc_flag"]
BDPCM_LUMA = _FIRST["intra_bdpcm_luma"]
BDPCM_CHROMA = _FIRST["intra_bdpcm_chroma"]
CODED_Y = _FIRST["tu_y_coded_flag"]
CODED_CB = _FIRST["tu_cb_coded_flag"]
CODED_CR = _FIRST["tu_cr_coded_flag"]
QP_DELTA = _FIRST["cu_qp_delta_abs"]
JOINT = _FIRST["tu_joint_cbcr_residual_flag"]
GROUP = _FIRST["sb_coded_flag"]
SIGNIFICANT = _FIRST["sig_coeff_flag"]
PARITY = _FIRST["par_level_flag"]
GREATER_1 = _FIRST["abs_level_gt1_flag"]
GREATER_X = _FIRST["abs_level_gtx_flag"]
SIGN = _FIRST["coeff_sign_flag"]


def initial_states(slice_qp: int) -> NDArray[np.int64]:
    """States of all contexts at the start of a slice: rows of (pStateIdx0, pStateIdx1, shift0, shift1)."""
    value, shift = np.array(_INIT_VALUES), np.array(_SHIFTS)
    slope, offset = (value >> 3) - 4, (value & 7) * 18 + 1
    start = np.clip(((slope * (int(np.clip(slice_qp, 0, 63)) - 16)) >> 1) + offset, 1, 127)
    short = (shift >> 2) + 2
    return np.stack([start << 3, start << 7, short, (shift & 3) + 3 + short], axis=1).astype(np.int64)
