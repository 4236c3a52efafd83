"""A lossless VVC stream of one picture, with parameter sets of our own: Main 10, few tools."""

from nnvvc.bitstream.bits import BitWriter
from nnvvc.bitstream.fields import Values
from nnvvc.bitstream.nal import NalUnitType, join_annex_b
from nnvvc.bitstream.parameter_sets import VUI, ParameterSets, write_pps, write_sps
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat
from nnvvc.vvc.irap.writer import write_key_slice

_MAIN_10 = 1
_LEVEL_6_2 = 102
_UNSPECIFIED = 2


def write_still(picture: Picture) -> bytes:
    """A byte stream of one access unit that decodes to exactly `picture`.

    picture: 4:2:0, of 10 bits, sides even. Raises ValueError for others.
    """
    fmt = picture.format
    if fmt.chroma is not Chroma.C420 or fmt.bit_depth != 10 or fmt.width % 2 or fmt.height % 2:
        raise ValueError("a 4:2:0 picture of 10 bits with even sides is wanted")
    sps = _sps(fmt)
    pps = {
        "pps_pic_width_in_luma_samples": sps["sps_pic_width_max_in_luma_samples"],
        "pps_pic_height_in_luma_samples": sps["sps_pic_height_max_in_luma_samples"],
        "pps_no_pic_partition_flag": 1,
        "pps_deblocking_filter_control_present_flag": 1,
        "pps_deblocking_filter_disabled_flag": 1,
    }
    nals = [write_sps(sps), write_pps(pps, sps)]
    sets = ParameterSets()
    for nal in nals:
        sets.add(nal)
    nals.append(write_key_slice(picture, NalUnitType.IDR_N_LP, {}, sets.context(0)))
    return join_annex_b(nals)


def _sps(fmt: PictureFormat) -> Values:
    vui = _vui(fmt)
    return {
        "sps_chroma_format_idc": int(Chroma.C420),
        "sps_log2_ctu_size_minus5": 2,
        "sps_ptl_dpb_hrd_params_present_flag": 1,
        "general_profile_idc": _MAIN_10,
        "general_level_idc": _LEVEL_6_2,
        "ptl_frame_only_constraint_flag": 1,
        "sps_pic_width_max_in_luma_samples": fmt.width + -fmt.width % 8,
        "sps_pic_height_max_in_luma_samples": fmt.height + -fmt.height % 8,
        "sps_conformance_window_flag": 1,
        "sps_conf_win_right_offset": (-fmt.width % 8) // 2,
        "sps_conf_win_bottom_offset": (-fmt.height % 8) // 2,
        "sps_bitdepth_minus8": fmt.bit_depth - 8,
        "dpb_parameters": [{}],
        "sps_log2_min_luma_coding_block_size_minus2": 1,
        "sps_partition_constraints_override_enabled_flag": 1,
        "sps_transform_skip_enabled_flag": 1,
        "sps_log2_transform_skip_max_size_minus2": 3,
        "sps_bdpcm_enabled_flag": 1,
        # Chroma has the QP of luma.
        "sps_same_qp_table_for_chroma_flag": 1,
        "chroma_qp_tables": [{"points": [{"sps_delta_qp_diff_val": 1}]}],
        "sps_rpl1_same_as_rpl0_flag": 1,
        "sps_vui_parameters_present_flag": 1,
        "sps_vui_payload_size_minus1": len(vui) - 1,
        "vui_payload": vui,
    }


def _vui(fmt: PictureFormat) -> bytes:
    writer = BitWriter()
    described = fmt.matrix is not Matrix.UNSPECIFIED or fmt.full_range
    VUI.write(
        writer,
        {
            "vui_progressive_source_flag": 1,
            "vui_colour_description_present_flag": int(described),
            "vui_colour_primaries": _UNSPECIFIED,
            "vui_transfer_characteristics": _UNSPECIFIED,
            "vui_matrix_coeffs": int(fmt.matrix),
            "vui_full_range_flag": int(fmt.full_range),
        },
    )
    writer.u(0, 1)  # vui_chroma_loc_info_present_flag
    if writer.position & 7:
        writer.trailing_bits()
    return writer.getvalue()
