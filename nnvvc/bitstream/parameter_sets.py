"""Sequence and picture parameter sets (H.266 clauses 7.3.2.4 and 7.3.2.5): declarations, and checked access.

Declared in full but for what no stream of ours has: subpictures, several layers, and pictures cut into tiles
or slices are `UnsupportedStream`, except that `PPS_START` gives a picture's size whatever follows.
"""

from dataclasses import dataclass

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Derived, Field, Item, Refuse, Repeat, Structure, Values, When
from nnvvc.bitstream.nal import NalHeader, NalUnitType, make_nal, rbsp
from nnvvc.errors import DamagedStream, LimitExceeded, UnsupportedStream
from nnvvc.picture import MAX_DIMENSION, MAX_SAMPLES, Chroma

_MAX_PADDED = MAX_DIMENSION + 128


def partition_limits(prefix: str, suffix: str) -> tuple[Item, ...]:
    """Quadtree and multi-type tree limits of one kind of slice, as SPS and picture header have them."""
    depth = f"{prefix}_max_mtt_hierarchy_depth_{suffix}"
    return (
        Field(f"{prefix}_log2_diff_min_qt_min_cb_{suffix}", "ue", high=4),
        Field(depth, "ue", high=10),
        Field(f"{prefix}_log2_diff_max_bt_min_qt_{suffix}", "ue", when=depth, high=5),
        Field(f"{prefix}_log2_diff_max_tt_min_qt_{suffix}", "ue", when=depth, high=4),
    )


_PROFILE_TIER_LEVEL: tuple[Item, ...] = (
    Field("general_profile_idc", "u(7)"),
    Field("general_tier_flag", "u(1)"),
    Field("general_level_idc", "u(8)"),
    Field("ptl_frame_only_constraint_flag", "u(1)"),
    Field("ptl_multilayer_enabled_flag", "u(1)"),
    Field("gci_present_flag", "u(1)"),
    When(
        "gci_present_flag",
        (
            Field("gci_flags", "u(71)", meaning="general constraints, not interpreted"),
            Field("gci_num_additional_bits", "u(8)"),
            Field("gci_additional_bits", "u(gci_num_additional_bits)"),
        ),
    ),
    Field("", "align"),
    Field("ptl_sublayer_level_present_flag", "u(1)", count="sps_max_sublayers_minus1"),
    Field("", "align"),
    Field("sublayer_level_idc", "u(8)", count="sum(ptl_sublayer_level_present_flag)"),
    Field("ptl_num_sub_profiles", "u(8)"),
    Field("general_sub_profile_idc", "u(32)", count="ptl_num_sub_profiles", most=255),
)

REF_PIC_LIST: tuple[Item, ...] = (
    # Of the list numbered `list_idx`, as number `rpls_idx` of the parameter set or in the slice itself.
    Field("num_ref_entries", "ue", high=29),
    Field(
        "ltrp_in_header_flag",
        "u(1)",
        when="sps_long_term_ref_pics_flag and num_ref_entries and not in_slice_header",
        absent="int(in_slice_header)",
    ),
    Repeat(
        "entries",
        "num_ref_entries",
        29,
        (
            Field("st_ref_pic_flag", "u(1)", when="sps_long_term_ref_pics_flag", absent="1"),
            Field("abs_delta_poc_st", "ue", when="st_ref_pic_flag", high=32767),
            Derived(
                "abs_delta_poc",
                "abs_delta_poc_st + (0 if (sps_weighted_pred_flag or sps_weighted_bipred_flag) and i else 1)",
            ),
            Field("strp_entry_sign_flag", "u(1)", when="st_ref_pic_flag and abs_delta_poc"),
            Field(
                "rpls_poc_lsb_lt",
                "u(sps_log2_max_pic_order_cnt_lsb_minus4 + 4)",
                when="not st_ref_pic_flag and not ltrp_in_header_flag",
            ),
        ),
    ),
    Derived("num_ltrp_entries", "num_ref_entries - sum_of(entries, 'st_ref_pic_flag')"),
)

_VUI: tuple[Item, ...] = (
    Field("vui_progressive_source_flag", "u(1)"),
    Field("vui_interlaced_source_flag", "u(1)"),
    Field("vui_non_packed_constraint_flag", "u(1)"),
    Field("vui_non_projected_constraint_flag", "u(1)"),
    Field("vui_aspect_ratio_info_present_flag", "u(1)"),
    When(
        "vui_aspect_ratio_info_present_flag",
        (
            Field("vui_aspect_ratio_constant_flag", "u(1)"),
            Field("vui_aspect_ratio_idc", "u(8)"),
            Field("vui_sar_width", "u(16)", when="vui_aspect_ratio_idc == 255"),
            Field("vui_sar_height", "u(16)", when="vui_aspect_ratio_idc == 255"),
        ),
    ),
    Field("vui_overscan_info_present_flag", "u(1)"),
    Field("vui_overscan_appropriate_flag", "u(1)", when="vui_overscan_info_present_flag"),
    Field("vui_colour_description_present_flag", "u(1)"),
    When(
        "vui_colour_description_present_flag",
        (
            Field("vui_colour_primaries", "u(8)"),
            Field("vui_transfer_characteristics", "u(8)"),
            Field("vui_matrix_coeffs", "u(8)"),
            Field("vui_full_range_flag", "u(1)"),
        ),
    ),
)

_HRD: tuple[Item, ...] = (
    Field("num_units_in_tick", "u(32)"),
    Field("time_scale", "u(32)"),
    Field("general_nal_hrd_params_present_flag", "u(1)"),
    Field("general_vcl_hrd_params_present_flag", "u(1)"),
    Refuse("general_nal_hrd_params_present_flag or general_vcl_hrd_params_present_flag", "a buffer model"),
    Field("sps_sublayer_cpb_params_present_flag", "u(1)", when="sps_max_sublayers_minus1"),
    Repeat(
        "ols_timing",
        "sps_max_sublayers_minus1 + 1 if sps_sublayer_cpb_params_present_flag else 1",
        7,
        (
            Field("fixed_pic_rate_general_flag", "u(1)"),
            Field(
                "fixed_pic_rate_within_cvs_flag", "u(1)", when="not fixed_pic_rate_general_flag", absent="1"
            ),
            Field("elemental_duration_in_tc_minus1", "ue", when="fixed_pic_rate_within_cvs_flag", high=2047),
        ),
    ),
)

_SPS_START: tuple[Item, ...] = (
    Field("sps_seq_parameter_set_id", "u(4)"),
    Field("sps_video_parameter_set_id", "u(4)"),
    Field("sps_max_sublayers_minus1", "u(3)", high=6),
    Field("sps_chroma_format_idc", "u(2)"),
    Field("sps_log2_ctu_size_minus5", "u(2)", high=2),
    Field("sps_ptl_dpb_hrd_params_present_flag", "u(1)"),
    Refuse("not sps_ptl_dpb_hrd_params_present_flag", "a sequence parameter set without profile and level"),
    *_PROFILE_TIER_LEVEL,
    Field("sps_gdr_enabled_flag", "u(1)"),
    Field("sps_ref_pic_resampling_enabled_flag", "u(1)"),
    Field("sps_res_change_in_clvs_allowed_flag", "u(1)", when="sps_ref_pic_resampling_enabled_flag"),
    Field("sps_pic_width_max_in_luma_samples", "ue", low=1, high=_MAX_PADDED),
    Field("sps_pic_height_max_in_luma_samples", "ue", low=1, high=_MAX_PADDED),
    Field("sps_conformance_window_flag", "u(1)"),
    When(
        "sps_conformance_window_flag",
        (
            Field("sps_conf_win_left_offset", "ue", high=_MAX_PADDED),
            Field("sps_conf_win_right_offset", "ue", high=_MAX_PADDED),
            Field("sps_conf_win_top_offset", "ue", high=_MAX_PADDED),
            Field("sps_conf_win_bottom_offset", "ue", high=_MAX_PADDED),
        ),
    ),
    Field("sps_subpic_info_present_flag", "u(1)"),
    Refuse("sps_subpic_info_present_flag", "a stream with subpictures"),
    Field("sps_bitdepth_minus8", "ue", high=8),
    Field("sps_entropy_coding_sync_enabled_flag", "u(1)"),
    Field("sps_entry_point_offsets_present_flag", "u(1)"),
    Field("sps_log2_max_pic_order_cnt_lsb_minus4", "u(4)", high=12),
    Field("sps_poc_msb_cycle_flag", "u(1)"),
    Field("sps_poc_msb_cycle_len_minus1", "ue", when="sps_poc_msb_cycle_flag", high=27),
    Field("sps_num_extra_ph_bytes", "u(2)"),
    Field("sps_extra_ph_bit_present_flag", "u(1)", count="8 * sps_num_extra_ph_bytes"),
    Field("sps_num_extra_sh_bytes", "u(2)"),
    Field("sps_extra_sh_bit_present_flag", "u(1)", count="8 * sps_num_extra_sh_bytes"),
    Field("sps_sublayer_dpb_params_flag", "u(1)", when="sps_max_sublayers_minus1"),
    Repeat(
        "dpb_parameters",
        "sps_max_sublayers_minus1 + 1 if sps_sublayer_dpb_params_flag else 1",
        7,
        (
            Field("dpb_max_dec_pic_buffering_minus1", "ue", high=64),
            Field("dpb_max_num_reorder_pics", "ue", high=64),
            Field("dpb_max_latency_increase_plus1", "ue"),
        ),
    ),
)

_SPS_TOOLS: tuple[Item, ...] = (
    Field("sps_log2_min_luma_coding_block_size_minus2", "ue", high=4),
    Field("sps_partition_constraints_override_enabled_flag", "u(1)"),
    *partition_limits("sps", "intra_slice_luma"),
    Field("sps_qtbtt_dual_tree_intra_flag", "u(1)", when="sps_chroma_format_idc"),
    When("sps_qtbtt_dual_tree_intra_flag", partition_limits("sps", "intra_slice_chroma")),
    *partition_limits("sps", "inter_slice"),
    Field("sps_max_luma_transform_size_64_flag", "u(1)", when="sps_log2_ctu_size_minus5"),
    Field("sps_transform_skip_enabled_flag", "u(1)"),
    Field("sps_log2_transform_skip_max_size_minus2", "ue", when="sps_transform_skip_enabled_flag", high=3),
    Field("sps_bdpcm_enabled_flag", "u(1)", when="sps_transform_skip_enabled_flag"),
    Field("sps_mts_enabled_flag", "u(1)"),
    Field("sps_explicit_mts_intra_enabled_flag", "u(1)", when="sps_mts_enabled_flag"),
    Field("sps_explicit_mts_inter_enabled_flag", "u(1)", when="sps_mts_enabled_flag"),
    Field("sps_lfnst_enabled_flag", "u(1)"),
    When(
        "sps_chroma_format_idc",
        (
            Field("sps_joint_cbcr_enabled_flag", "u(1)"),
            Field("sps_same_qp_table_for_chroma_flag", "u(1)"),
            Repeat(
                "chroma_qp_tables",
                "1 if sps_same_qp_table_for_chroma_flag else 2 + sps_joint_cbcr_enabled_flag",
                3,
                (
                    Field("sps_qp_table_start_minus26", "se", low=-74, high=36),
                    Field("sps_num_points_in_qp_table_minus1", "ue", high=110),
                    Repeat(
                        "points",
                        "sps_num_points_in_qp_table_minus1 + 1",
                        111,
                        (
                            Field("sps_delta_qp_in_val_minus1", "ue", high=110),
                            Field("sps_delta_qp_diff_val", "ue", high=110),
                        ),
                        index="j",
                    ),
                ),
            ),
        ),
    ),
    Field("sps_sao_enabled_flag", "u(1)"),
    Field("sps_alf_enabled_flag", "u(1)"),
    Field("sps_ccalf_enabled_flag", "u(1)", when="sps_alf_enabled_flag and sps_chroma_format_idc"),
    Field("sps_lmcs_enabled_flag", "u(1)"),
    Field("sps_weighted_pred_flag", "u(1)"),
    Field("sps_weighted_bipred_flag", "u(1)"),
    Field("sps_long_term_ref_pics_flag", "u(1)"),
    Field("sps_inter_layer_prediction_enabled_flag", "u(1)", when="sps_video_parameter_set_id"),
    Refuse("sps_inter_layer_prediction_enabled_flag", "prediction between layers"),
    Field("sps_idr_rpl_present_flag", "u(1)"),
    Field("sps_rpl1_same_as_rpl0_flag", "u(1)"),
    Derived("in_slice_header", "0"),
    Repeat(
        "sps_ref_pic_lists",
        "1 if sps_rpl1_same_as_rpl0_flag else 2",
        2,
        (
            Field("sps_num_ref_pic_lists", "ue", high=64),
            Repeat("lists", "sps_num_ref_pic_lists", 64, REF_PIC_LIST, index="j"),
        ),
        index="list_idx",
    ),
    Field("sps_ref_wraparound_enabled_flag", "u(1)"),
    Field("sps_temporal_mvp_enabled_flag", "u(1)"),
    Field("sps_sbtmvp_enabled_flag", "u(1)", when="sps_temporal_mvp_enabled_flag"),
    Field("sps_amvr_enabled_flag", "u(1)"),
    Field("sps_bdof_enabled_flag", "u(1)"),
    Field("sps_bdof_control_present_in_ph_flag", "u(1)", when="sps_bdof_enabled_flag"),
    Field("sps_smvd_enabled_flag", "u(1)"),
    Field("sps_dmvr_enabled_flag", "u(1)"),
    Field("sps_dmvr_control_present_in_ph_flag", "u(1)", when="sps_dmvr_enabled_flag"),
    Field("sps_mmvd_enabled_flag", "u(1)"),
    Field("sps_mmvd_fullpel_only_enabled_flag", "u(1)", when="sps_mmvd_enabled_flag"),
    Field("sps_six_minus_max_num_merge_cand", "ue", high=5),
    Field("sps_sbt_enabled_flag", "u(1)"),
    Field("sps_affine_enabled_flag", "u(1)"),
    When(
        "sps_affine_enabled_flag",
        (
            Field("sps_five_minus_max_num_subblock_merge_cand", "ue", high=5),
            Field("sps_6param_affine_enabled_flag", "u(1)"),
            Field("sps_affine_amvr_enabled_flag", "u(1)", when="sps_amvr_enabled_flag"),
            Field("sps_affine_prof_enabled_flag", "u(1)"),
            Field("sps_prof_control_present_in_ph_flag", "u(1)", when="sps_affine_prof_enabled_flag"),
        ),
    ),
    Field("sps_bcw_enabled_flag", "u(1)"),
    Field("sps_ciip_enabled_flag", "u(1)"),
    Field("sps_gpm_enabled_flag", "u(1)", when="sps_six_minus_max_num_merge_cand <= 4"),
    Field(
        "sps_max_num_merge_cand_minus_max_num_gpm_cand",
        "ue",
        when="sps_gpm_enabled_flag and sps_six_minus_max_num_merge_cand <= 3",
        high=4,
    ),
    Field("sps_log2_parallel_merge_level_minus2", "ue", high=5),
    Field("sps_isp_enabled_flag", "u(1)"),
    Field("sps_mrl_enabled_flag", "u(1)"),
    Field("sps_mip_enabled_flag", "u(1)"),
    Field("sps_cclm_enabled_flag", "u(1)", when="sps_chroma_format_idc"),
    Field("sps_chroma_horizontal_collocated_flag", "u(1)", when="sps_chroma_format_idc == 1"),
    Field("sps_chroma_vertical_collocated_flag", "u(1)", when="sps_chroma_format_idc == 1"),
    Field("sps_palette_enabled_flag", "u(1)"),
    Field(
        "sps_act_enabled_flag",
        "u(1)",
        when="sps_chroma_format_idc == 3 and not sps_max_luma_transform_size_64_flag",
    ),
    Field(
        "sps_min_qp_prime_ts",
        "ue",
        when="sps_transform_skip_enabled_flag or sps_palette_enabled_flag",
        high=8,
        meaning="internal bit depth minus input bit depth",
    ),
    Field("sps_ibc_enabled_flag", "u(1)"),
    Field("sps_six_minus_max_num_ibc_merge_cand", "ue", when="sps_ibc_enabled_flag", high=5),
    Field("sps_ladf_enabled_flag", "u(1)"),
    When(
        "sps_ladf_enabled_flag",
        (
            Field("sps_num_ladf_intervals_minus2", "u(2)"),
            Field("sps_ladf_lowest_interval_qp_offset", "se", low=-63, high=63),
            Repeat(
                "ladf_intervals",
                "sps_num_ladf_intervals_minus2 + 1",
                4,
                (
                    Field("sps_ladf_qp_offset", "se", low=-63, high=63),
                    Field("sps_ladf_delta_threshold_minus1", "ue", high=65535),
                ),
            ),
        ),
    ),
    Field("sps_explicit_scaling_list_enabled_flag", "u(1)"),
    Field(
        "sps_scaling_matrix_for_lfnst_disabled_flag",
        "u(1)",
        when="sps_lfnst_enabled_flag and sps_explicit_scaling_list_enabled_flag",
    ),
    Field(
        "sps_scaling_matrix_for_alternative_colour_space_disabled_flag",
        "u(1)",
        when="sps_act_enabled_flag and sps_explicit_scaling_list_enabled_flag",
    ),
    Field(
        "sps_scaling_matrix_designated_colour_space_flag",
        "u(1)",
        when="sps_scaling_matrix_for_alternative_colour_space_disabled_flag",
    ),
    Field("sps_dep_quant_enabled_flag", "u(1)"),
    Field("sps_sign_data_hiding_enabled_flag", "u(1)"),
    Field("sps_virtual_boundaries_enabled_flag", "u(1)"),
    Field("sps_virtual_boundaries_present_flag", "u(1)", when="sps_virtual_boundaries_enabled_flag"),
    When(
        "sps_virtual_boundaries_present_flag",
        (
            Field("sps_num_ver_virtual_boundaries", "ue", high=3),
            Field("sps_virtual_boundary_pos_x_minus1", "ue", count="sps_num_ver_virtual_boundaries"),
            Field("sps_num_hor_virtual_boundaries", "ue", high=3),
            Field("sps_virtual_boundary_pos_y_minus1", "ue", count="sps_num_hor_virtual_boundaries"),
        ),
    ),
)

_SPS_END: tuple[Item, ...] = (
    Field("sps_timing_hrd_params_present_flag", "u(1)"),
    When("sps_timing_hrd_params_present_flag", _HRD),
    Field("sps_field_seq_flag", "u(1)"),
    Field("sps_vui_parameters_present_flag", "u(1)"),
    Field("sps_vui_payload_size_minus1", "ue", when="sps_vui_parameters_present_flag", high=1023),
    Field("", "align", when="sps_vui_parameters_present_flag"),
    Field(
        "vui_payload",
        "bytes(sps_vui_payload_size_minus1 + 1)",
        when="sps_vui_parameters_present_flag",
        absent="b''",
    ),
    Field("sps_extension_flag", "u(1)"),
    Field("sps_range_extension_flag", "u(1)", when="sps_extension_flag"),
)

SPS_START = Structure("seq_parameter_set_rbsp", _SPS_START, "H.266 clause 7.3.2.4, up to the picture buffer")
SPS = Structure("seq_parameter_set_rbsp", (*_SPS_START, *_SPS_TOOLS), "H.266 clause 7.3.2.4, up to timing")
SPS_WHOLE = Structure("seq_parameter_set_rbsp", (*_SPS_START, *_SPS_TOOLS, *_SPS_END), "H.266 clause 7.3.2.4")
VUI = Structure("vui_parameters", _VUI, "H.274 clause 7.2, up to the chroma sample position")

_PPS_START: tuple[Item, ...] = (
    Field("pps_pic_parameter_set_id", "u(6)"),
    Field("pps_seq_parameter_set_id", "u(4)"),
    Field("pps_mixed_nalu_types_in_pic_flag", "u(1)"),
    Field("pps_pic_width_in_luma_samples", "ue", low=1, high=_MAX_PADDED),
    Field("pps_pic_height_in_luma_samples", "ue", low=1, high=_MAX_PADDED),
    Field("pps_conformance_window_flag", "u(1)"),
    When(
        "pps_conformance_window_flag",
        (
            Field("pps_conf_win_left_offset", "ue", high=_MAX_PADDED),
            Field("pps_conf_win_right_offset", "ue", high=_MAX_PADDED),
            Field("pps_conf_win_top_offset", "ue", high=_MAX_PADDED),
            Field("pps_conf_win_bottom_offset", "ue", high=_MAX_PADDED),
        ),
    ),
    Field("pps_scaling_window_explicit_signalling_flag", "u(1)"),
    When(
        "pps_scaling_window_explicit_signalling_flag",
        tuple(
            Field(f"pps_scaling_win_{side}_offset", "se", low=-_MAX_PADDED * 16, high=_MAX_PADDED)
            for side in ("left", "right", "top", "bottom")
        ),
    ),
    Field("pps_output_flag_present_flag", "u(1)"),
    Field("pps_no_pic_partition_flag", "u(1)"),
)

_PPS_REST: tuple[Item, ...] = (
    Refuse("pps_mixed_nalu_types_in_pic_flag", "a picture with NAL units of several types"),
    Refuse("not pps_no_pic_partition_flag", "a picture cut into tiles or slices"),
    Field("pps_subpic_id_mapping_present_flag", "u(1)"),
    Refuse("pps_subpic_id_mapping_present_flag", "a stream with subpictures"),
    Field("pps_cabac_init_present_flag", "u(1)"),
    Field("pps_num_ref_idx_default_active_minus1", "ue", count="2", high=14),
    Field("pps_rpl1_idx_present_flag", "u(1)"),
    Field("pps_weighted_pred_flag", "u(1)"),
    Field("pps_weighted_bipred_flag", "u(1)"),
    Field("pps_ref_wraparound_enabled_flag", "u(1)"),
    Field("pps_pic_width_minus_wraparound_offset", "ue", when="pps_ref_wraparound_enabled_flag"),
    Field("pps_init_qp_minus26", "se", low=-74, high=37),
    Field("pps_cu_qp_delta_enabled_flag", "u(1)"),
    Field("pps_chroma_tool_offsets_present_flag", "u(1)"),
    When(
        "pps_chroma_tool_offsets_present_flag",
        (
            Field("pps_cb_qp_offset", "se", low=-12, high=12),
            Field("pps_cr_qp_offset", "se", low=-12, high=12),
            Field("pps_joint_cbcr_qp_offset_present_flag", "u(1)"),
            Field(
                "pps_joint_cbcr_qp_offset_value",
                "se",
                when="pps_joint_cbcr_qp_offset_present_flag",
                low=-12,
                high=12,
            ),
            Field("pps_slice_chroma_qp_offsets_present_flag", "u(1)"),
            Field("pps_cu_chroma_qp_offset_list_enabled_flag", "u(1)"),
            When(
                "pps_cu_chroma_qp_offset_list_enabled_flag",
                (
                    Field("pps_chroma_qp_offset_list_len_minus1", "ue", high=5),
                    Repeat(
                        "chroma_qp_offsets",
                        "pps_chroma_qp_offset_list_len_minus1 + 1",
                        6,
                        (
                            Field("pps_cb_qp_offset_list", "se", low=-12, high=12),
                            Field("pps_cr_qp_offset_list", "se", low=-12, high=12),
                            Field(
                                "pps_joint_cbcr_qp_offset_list",
                                "se",
                                when="pps_joint_cbcr_qp_offset_present_flag",
                                low=-12,
                                high=12,
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
    Field("pps_deblocking_filter_control_present_flag", "u(1)"),
    When(
        "pps_deblocking_filter_control_present_flag",
        (
            Field("pps_deblocking_filter_override_enabled_flag", "u(1)"),
            Field("pps_deblocking_filter_disabled_flag", "u(1)"),
            When(
                "not pps_deblocking_filter_disabled_flag",
                (
                    Field("pps_luma_beta_offset_div2", "se", low=-12, high=12),
                    Field("pps_luma_tc_offset_div2", "se", low=-12, high=12),
                    When(
                        "pps_chroma_tool_offsets_present_flag",
                        tuple(
                            Field(f"pps_{plane}_{kind}_offset_div2", "se", low=-12, high=12)
                            for plane in ("cb", "cr")
                            for kind in ("beta", "tc")
                        ),
                    ),
                ),
            ),
        ),
    ),
    # With one slice and one tile, nothing is left to the picture header.
    *(Derived(f"pps_{what}_info_in_ph_flag", "0") for what in ("rpl", "dbf", "sao", "alf", "wp", "qp_delta")),
    Field("pps_picture_header_extension_present_flag", "u(1)"),
    Field("pps_slice_header_extension_present_flag", "u(1)"),
)

PPS_START = Structure("pic_parameter_set_rbsp", _PPS_START, "H.266 clause 7.3.2.5, up to tiles and slices")
PPS = Structure("pic_parameter_set_rbsp", (*_PPS_START, *_PPS_REST), "H.266 clause 7.3.2.5, up to extensions")


@dataclass(frozen=True, slots=True)
class CodedSize:
    """Size and depth of decoded pictures. padded: before the conformance window cuts them."""

    width: int
    height: int
    padded_width: int
    padded_height: int
    bit_depth: int
    chroma: Chroma
    ctu_size: int


class ParameterSets:
    """The parameter sets seen so far. They are read in full when a slice header first needs that.

    Every `add` checks sizes against the limits of this package before any decoder sees the stream.
    """

    def __init__(self) -> None:
        self._raw: dict[tuple[NalUnitType, int], bytes] = {}
        self._start: dict[tuple[NalUnitType, int], Values] = {}
        self._context: dict[int, Values] = {}

    def add(self, nal: bytes) -> None:
        """Take in an SPS or PPS NAL unit; others are ignored. Raises StreamError in its kinds."""
        kind = NalHeader.read(nal).type
        if kind not in _STARTS:
            return
        structure, number = _STARTS[kind]
        values = structure.read(BitReader(rbsp(nal)))
        if kind is NalUnitType.SPS:
            _check_size(values, "sps", "max_in_luma_samples")
            if values["sps_chroma_format_idc"] > Chroma.C420:
                raise UnsupportedStream("4:2:2 and 4:4:4 streams are not supported; 4:2:0 and 4:0:0 are")
        else:
            _check_size(values, "pps", "in_luma_samples")
        key = (kind, values[number])
        if self._raw.get(key) != nal:
            self._raw[key] = nal
            self._start[key] = values
            self._context.clear()

    def copy(self) -> "ParameterSets":
        """The sets as they are now."""
        result = ParameterSets()
        result._raw, result._start, result._context = dict(self._raw), dict(self._start), dict(self._context)
        return result

    def sps_start(self, pps_id: int) -> Values:
        """The beginning of the SPS that a picture with this PPS uses."""
        pps = self._get(NalUnitType.PPS, pps_id)
        return self._get(NalUnitType.SPS, pps["pps_seq_parameter_set_id"])

    def context(self, pps_id: int) -> Values:
        """All fields of the PPS and its SPS, as context of a picture or slice header."""
        if pps_id not in self._context:
            sps_id = self._get(NalUnitType.PPS, pps_id)["pps_seq_parameter_set_id"]
            self._get(NalUnitType.SPS, sps_id)
            sps = SPS.read(BitReader(rbsp(self._raw[NalUnitType.SPS, sps_id])))
            pps = PPS.read(BitReader(rbsp(self._raw[NalUnitType.PPS, pps_id])), sps)
            self._context[pps_id] = {**sps, **pps}
        return self._context[pps_id]

    def size(self, pps_id: int) -> CodedSize:
        """Size of the pictures that use this PPS."""
        pps, sps = self._get(NalUnitType.PPS, pps_id), self.sps_start(pps_id)
        width, height = pps["pps_pic_width_in_luma_samples"], pps["pps_pic_height_in_luma_samples"]
        if (
            width > sps["sps_pic_width_max_in_luma_samples"]
            or height > sps["sps_pic_height_max_in_luma_samples"]
        ):
            raise DamagedStream("a picture is larger than its sequence allows")
        chroma = Chroma(sps["sps_chroma_format_idc"])
        unit = 2 if chroma is Chroma.C420 else 1
        # A picture of the largest size has the window of the SPS (H.266 clause 7.4.3.5).
        largest = (width, height) == (
            sps["sps_pic_width_max_in_luma_samples"],
            sps["sps_pic_height_max_in_luma_samples"],
        )
        window, prefix = (sps, "sps") if largest else (pps, "pps")
        left, right, top, bottom = (
            unit * window[f"{prefix}_conf_win_{side}_offset"] for side in ("left", "right", "top", "bottom")
        )
        if left + right >= width or top + bottom >= height:
            raise DamagedStream("the conformance window leaves nothing of the picture")
        cropped = (width - left - right, height - top - bottom)
        ctu_size = 32 << sps["sps_log2_ctu_size_minus5"]
        return CodedSize(*cropped, width, height, sps["sps_bitdepth_minus8"] + 8, chroma, ctu_size)

    def nal_units(self) -> list[bytes]:
        """The NAL units themselves, SPS first."""
        return [self._raw[key] for key in sorted(self._raw)]

    def _get(self, kind: NalUnitType, number: int) -> Values:
        try:
            return self._start[kind, number]
        except KeyError as error:
            raise DamagedStream(f"{kind.name} {number} is used but was not sent before") from error


_STARTS = {
    NalUnitType.SPS: (SPS_START, "sps_seq_parameter_set_id"),
    NalUnitType.PPS: (PPS_START, "pps_pic_parameter_set_id"),
}


def _check_size(values: Values, prefix: str, suffix: str) -> None:
    width, height = values[f"{prefix}_pic_width_{suffix}"], values[f"{prefix}_pic_height_{suffix}"]
    if width * height > MAX_SAMPLES + _MAX_PADDED * 128:
        raise LimitExceeded(f"pictures of {width}x{height} samples are over the limit of {MAX_SAMPLES}")
    if width % 8 or height % 8:
        raise DamagedStream(f"a coded size of {width}x{height} is not in steps of 8")


def read_vui(nal: bytes) -> Values | None:
    """Colour and timing of an SPS NAL unit: fields of `VUI` and `num_units_in_tick`, `time_scale`.

    None where it has none, or has them behind what is not read here.
    """
    try:
        sps = SPS_WHOLE.read(BitReader(rbsp(nal)))
        vui = VUI.read(BitReader(sps["vui_payload"])) if sps["vui_payload"] else {}
    except UnsupportedStream:
        return None
    return {**vui, "num_units_in_tick": sps["num_units_in_tick"], "time_scale": sps["time_scale"]}


def write_sps(values: Values) -> bytes:
    """An SPS NAL unit without extensions; fields not given are zero."""
    return _write(SPS_WHOLE, NalUnitType.SPS, values, {})


def write_pps(values: Values, sps: Values) -> bytes:
    """A PPS NAL unit without extensions; fields not given are zero."""
    return _write(PPS, NalUnitType.PPS, values, sps)


def _write(structure: Structure, kind: NalUnitType, values: Values, context: Values) -> bytes:
    writer = BitWriter()
    structure.write(writer, values, context)
    if kind is NalUnitType.PPS:
        writer.u(0, 1)  # pps_extension_flag
    writer.trailing_bits()
    return make_nal(NalHeader(kind), writer.getvalue())
