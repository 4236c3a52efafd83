"""The key picture writer: slice headers around lossless slice data."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnvvc.bitstream.bits import BitWriter
from nnvvc.bitstream.fields import Values
from nnvvc.bitstream.nal import NalHeader, NalUnitType, escape
from nnvvc.bitstream.slice_header import SLICE_WITH_PICTURE_HEADER
from nnvvc.errors import UnsupportedStream
from nnvvc.picture import Chroma, Picture, Plane
from nnvvc.vvc.irap import slice_data

LOG2_LARGEST_UNIT = 5

_KEPT = (
    "ph_non_ref_pic_flag",
    "ph_pic_parameter_set_id",
    "ph_pic_order_cnt_lsb",
    "ph_extra_bit",
    "ph_poc_msb_cycle_present_flag",
    "ph_poc_msb_cycle_val",
    "ph_pic_output_flag",
    "sh_extra_bit",
    "sh_no_output_of_prior_pics_flag",
    "ref_pic_lists",
)
"""Fields of the dropped slice that the new one has too."""

_NEEDED: tuple[tuple[Callable[[Values], bool], str], ...] = (
    (lambda c: bool(c["sps_bdpcm_enabled_flag"]), "lossless blocks need transform skip and BDPCM"),
    (
        lambda c: bool(c["sps_partition_constraints_override_enabled_flag"]),
        "the partitioning of single pictures cannot be chosen",
    ),
    (lambda c: c["sps_min_qp_prime_ts"] == 0, "transform skip is limited to coarse steps"),
    (lambda c: c["sps_chroma_format_idc"] == Chroma.C420, "only 4:2:0 pictures can be written"),
    (lambda c: not c["sps_palette_enabled_flag"], "palette mode is switched on"),
    (lambda c: not c["sps_act_enabled_flag"], "the adaptive colour transform is switched on"),
    (lambda c: c["sps_log2_min_luma_coding_block_size_minus2"] <= 3, "coding blocks are larger than 32"),
)


def check_parameter_sets(context: Values) -> None:
    """Raises UnsupportedStream where key pictures cannot be written for these parameter sets.

    context: `ParameterSets.context` of the picture's PPS.
    """
    for holds, reason in _NEEDED:
        if not holds(context):
            raise UnsupportedStream(f"a lossless key picture does not fit the parameter sets: {reason}")


def write_key_slice(picture: Picture, nal_unit_type: NalUnitType, header: Values, context: Values) -> bytes:
    """A slice NAL unit, without start code, that decodes to exactly `picture`.

    picture: 4:2:0, at the bit depth of the SPS; smaller than the coded size by the conformance window, or as
    large. nal_unit_type: IDR_W_RADL, IDR_N_LP or CRA. header: fields of the slice that it stands for, as
    `read_key_slice` or `KeySlice.header` gives them. context: `ParameterSets.context` of its PPS.

    Raises UnsupportedStream for parameter sets that it cannot be written for.
    """
    check_parameter_sets(context)
    width, height = context["pps_pic_width_in_luma_samples"], context["pps_pic_height_in_luma_samples"]
    bit_depth = context["sps_bitdepth_minus8"] + 8
    if picture.format.bit_depth != bit_depth or picture.format.chroma is not Chroma.C420:
        raise ValueError(f"a 4:2:0 picture of {bit_depth} bits is wanted")
    luma, cb, cr = picture.planes
    planes = (
        _padded(luma, height, width),
        _padded(cb, height // 2, width // 2),
        _padded(cr, height // 2, width // 2),
    )
    slice_qp = -6 * (bit_depth - 8)
    substreams = slice_data.encode_slice(planes, _options(context), slice_qp)
    data = [escape(substream) for substream in substreams]
    values = {name: header[name] for name in _KEPT if name in header}
    values |= _lossless_fields(context, slice_qp, [len(part) for part in data[:-1]])
    writer = BitWriter()
    SLICE_WITH_PICTURE_HEADER.write(writer, values, {**context, "nal_unit_type": int(nal_unit_type)})
    writer.trailing_bits()  # byte_alignment() has the same bits
    return NalHeader(nal_unit_type).tobytes() + escape(writer.getvalue()) + b"".join(data)


def warm_up() -> None:
    """Compile, or load from numba's cache, all that writing needs: about ten seconds the first time."""
    planes = (np.zeros((8, 8), np.uint16), np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.uint16))
    options = np.array([0, 0, 0, 0, 3, 3, 5, 0, 512], np.int64)
    slice_data.encode_slice(planes, options, -12)


def _padded(plane: Plane, height: int, width: int) -> Plane:
    """Extended to the coded size by repeating the last column and row."""
    missing = (height - plane.shape[0], width - plane.shape[1])
    if min(missing) < 0:
        raise ValueError(f"a plane of {plane.shape} does not fit a coded size of {height}x{width}")
    return np.ascontiguousarray(np.pad(plane, ((0, missing[0]), (0, missing[1])), mode="edge"))


def _log2_min_qt(context: Values) -> int:
    return max(3, int(context["sps_log2_min_luma_coding_block_size_minus2"]) + 2)


def _options(context: Values) -> NDArray[np.int64]:
    log2_ctu = context["sps_log2_ctu_size_minus5"] + 5
    log2_skip = context["sps_log2_transform_skip_max_size_minus2"] + 2
    log2_min_qt = _log2_min_qt(context)
    log2_unit = min(LOG2_LARGEST_UNIT, log2_skip, log2_ctu)
    if log2_unit < log2_min_qt:
        raise UnsupportedStream(
            "transform skip is not allowed in blocks as large as the smallest coding block"
        )
    options = np.zeros(9, np.int64)
    options[slice_data.IBC] = context["sps_ibc_enabled_flag"]
    options[slice_data.JOINT_CBCR] = context["sps_joint_cbcr_enabled_flag"]
    options[slice_data.QP_DELTA] = context["pps_cu_qp_delta_enabled_flag"]
    options[slice_data.DUAL_TREE] = context["sps_qtbtt_dual_tree_intra_flag"]
    options[slice_data.LOG2_MIN_QT] = log2_min_qt
    options[slice_data.LOG2_CU] = log2_unit
    options[slice_data.LOG2_CTU] = log2_ctu
    options[slice_data.WAVEFRONT] = context["sps_entropy_coding_sync_enabled_flag"]
    options[slice_data.MID] = 1 << (context["sps_bitdepth_minus8"] + 7)
    return options


def _lossless_fields(context: Values, slice_qp: int, entry_points: list[int]) -> Values:
    """Header fields that make the slice lossless: quadtree only, the lowest QP, all filters off."""
    quadtree = _log2_min_qt(context) - context["sps_log2_min_luma_coding_block_size_minus2"] - 2
    override = context["pps_deblocking_filter_override_enabled_flag"]
    disabled = context["pps_deblocking_filter_disabled_flag"]
    if not override and not disabled:
        _check_deblocking(context, slice_qp)
    fields: Values = {
        "sh_picture_header_in_slice_header_flag": 1,
        "ph_gdr_or_irap_pic_flag": 1,
        "ph_partition_constraints_override_flag": 1,
        "ph_log2_diff_min_qt_min_cb_intra_slice_luma": quadtree,
        "ph_log2_diff_min_qt_min_cb_intra_slice_chroma": quadtree,
        "sh_qp_delta": slice_qp - 26 - context["pps_init_qp_minus26"],
        "sh_deblocking_params_present_flag": override and not disabled,
        "sh_deblocking_filter_disabled_flag": 1,
    }
    if entry_points and context["sps_entry_point_offsets_present_flag"]:
        bits = max(1, *((size - 1).bit_length() for size in entry_points))
        fields["sh_entry_offset_len_minus1"] = bits - 1
        fields["sh_entry_point_offset_minus1"] = [size - 1 for size in entry_points]
    return fields


def _check_deblocking(context: Values, slice_qp: int) -> None:
    """At this QP the deblocking filter does nothing unless its offsets are very large (clause 8.8.3.6)."""
    offsets = ("luma_tc", "luma_beta", "cb_tc", "cb_beta", "cr_tc", "cr_beta")
    largest = max(context[f"pps_{name}_offset_div2"] for name in offsets)
    chroma = max(0, context["pps_cb_qp_offset"], context["pps_cr_qp_offset"])
    if slice_qp + chroma + 2 * largest + 2 >= 16:
        raise UnsupportedStream("the deblocking filter cannot be switched off for a lossless key picture")
