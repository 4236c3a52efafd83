"""Picture header and slice header (H.266 clauses 7.3.2.8 and 7.3.7), as far as key pictures have them.

Of any picture the beginning is read, which holds the picture order count; of IRAP pictures, which are intra,
all. The context of every structure here is `ParameterSets.context` and `nal_unit_type`.
"""

from nnvvc.bitstream.bits import BitReader
from nnvvc.bitstream.fields import Derived, Field, Item, Refuse, Repeat, Structure, Values, When
from nnvvc.bitstream.nal import NalHeader, NalUnitType, rbsp
from nnvvc.bitstream.parameter_sets import REF_PIC_LIST, ParameterSets, partition_limits
from nnvvc.errors import DamagedStream

_START_BYTES = 64
"""Enough for the fixed beginning of any header: eight numbers."""

MAX_ENTRY_POINTS = 600

_PH_IDS: tuple[Item, ...] = (
    Field("ph_gdr_or_irap_pic_flag", "u(1)"),
    Field("ph_non_ref_pic_flag", "u(1)"),
    Field("ph_gdr_pic_flag", "u(1)", when="ph_gdr_or_irap_pic_flag"),
    Field("ph_inter_slice_allowed_flag", "u(1)"),
    Field("ph_intra_slice_allowed_flag", "u(1)", when="ph_inter_slice_allowed_flag", absent="1"),
    Field("ph_pic_parameter_set_id", "ue", high=63),
)

POC: tuple[Item, ...] = (Field("ph_pic_order_cnt_lsb", "u(sps_log2_max_pic_order_cnt_lsb_minus4 + 4)"),)

POC_MSB: tuple[Item, ...] = (
    Field("ph_poc_msb_cycle_present_flag", "u(1)", when="sps_poc_msb_cycle_flag"),
    Field(
        "ph_poc_msb_cycle_val", "u(sps_poc_msb_cycle_len_minus1 + 1)", when="ph_poc_msb_cycle_present_flag"
    ),
)

_PH_START: tuple[Item, ...] = (
    *POC,
    Field("ph_recovery_poc_cnt", "ue", when="ph_gdr_pic_flag", high=65535),
    Field("ph_extra_bit", "u(1)", count="sum(sps_extra_ph_bit_present_flag)"),
    *POC_MSB,
)


def _alf(prefix: str, condition: str) -> When:
    """Adaptive loop filter choices, of picture or slice; its parameter sets stay in the stream."""
    return When(
        condition,
        (
            Field(f"{prefix}_alf_enabled_flag", "u(1)"),
            When(
                f"{prefix}_alf_enabled_flag",
                (
                    Field(f"{prefix}_num_alf_aps_ids_luma", "u(3)"),
                    Field(f"{prefix}_alf_aps_id_luma", "u(3)", count=f"{prefix}_num_alf_aps_ids_luma"),
                    Field(f"{prefix}_alf_cb_enabled_flag", "u(1)", when="sps_chroma_format_idc"),
                    Field(f"{prefix}_alf_cr_enabled_flag", "u(1)", when="sps_chroma_format_idc"),
                    Field(
                        f"{prefix}_alf_aps_id_chroma",
                        "u(3)",
                        when=f"{prefix}_alf_cb_enabled_flag or {prefix}_alf_cr_enabled_flag",
                    ),
                    Field(f"{prefix}_alf_cc_cb_enabled_flag", "u(1)", when="sps_ccalf_enabled_flag"),
                    Field(f"{prefix}_alf_cc_cb_aps_id", "u(3)", when=f"{prefix}_alf_cc_cb_enabled_flag"),
                    Field(f"{prefix}_alf_cc_cr_enabled_flag", "u(1)", when="sps_ccalf_enabled_flag"),
                    Field(f"{prefix}_alf_cc_cr_aps_id", "u(3)", when=f"{prefix}_alf_cc_cr_enabled_flag"),
                ),
            ),
        ),
    )


def _deblocking(prefix: str, condition: str) -> When:
    """Deblocking strength, of picture or slice."""
    offsets = tuple(
        Field(f"{prefix}_{plane}_{kind}_offset_div2", "se", low=-12, high=12)
        for plane in ("cb", "cr")
        for kind in ("beta", "tc")
    )
    return When(
        condition,
        (
            Field(f"{prefix}_deblocking_params_present_flag", "u(1)"),
            When(
                f"{prefix}_deblocking_params_present_flag",
                (
                    Field(
                        f"{prefix}_deblocking_filter_disabled_flag",
                        "u(1)",
                        when="not pps_deblocking_filter_disabled_flag",
                    ),
                    When(
                        f"not {prefix}_deblocking_filter_disabled_flag",
                        (
                            Field(f"{prefix}_luma_beta_offset_div2", "se", low=-12, high=12),
                            Field(f"{prefix}_luma_tc_offset_div2", "se", low=-12, high=12),
                            When("pps_chroma_tool_offsets_present_flag", offsets),
                        ),
                    ),
                ),
            ),
        ),
    )


REF_PIC_LISTS: tuple[Item, ...] = (
    Derived("in_slice_header", "1"),
    Repeat(
        "ref_pic_lists",
        "2",
        2,
        (
            # Lists of the SPS for this direction; list 1 may be a copy of list 0.
            Derived("sps_lists", "sps_ref_pic_lists[list_idx and 1 - sps_rpl1_same_as_rpl0_flag]['lists']"),
            Derived("chosen", "not list_idx or pps_rpl1_idx_present_flag"),
            Field(
                "rpl_sps_flag",
                "u(1)",
                when="len(sps_lists) and chosen",
                absent="ref_pic_lists[0]['rpl_sps_flag'] if list_idx and len(sps_lists) else 0",
            ),
            Field(
                "rpl_idx",
                "u(ceil_log2(len(sps_lists)))",
                when="rpl_sps_flag and len(sps_lists) > 1 and chosen",
                absent="ref_pic_lists[0]['rpl_idx'] if list_idx and rpl_sps_flag and not chosen else 0",
            ),
            Refuse(
                "rpl_sps_flag and rpl_idx >= len(sps_lists)", "a reference picture list that was not sent"
            ),
            When("not rpl_sps_flag", REF_PIC_LIST),
            Derived(
                "long_term",
                "sps_lists[rpl_idx]['num_ltrp_entries'] if rpl_sps_flag else num_ltrp_entries",
            ),
            Derived(
                "lsb_in_header",
                "sps_lists[rpl_idx]['ltrp_in_header_flag'] if rpl_sps_flag else ltrp_in_header_flag",
            ),
            Repeat(
                "long_term_entries",
                "long_term",
                29,
                (
                    Field("poc_lsb_lt", "u(sps_log2_max_pic_order_cnt_lsb_minus4 + 4)", when="lsb_in_header"),
                    Field("delta_poc_msb_cycle_present_flag", "u(1)"),
                    Field("delta_poc_msb_cycle_lt", "ue", when="delta_poc_msb_cycle_present_flag"),
                ),
            ),
        ),
        index="list_idx",
    ),
)

RPL_IN_SLICE = "not pps_rpl_info_in_ph_flag and (nal_unit_type not in (7, 8) or sps_idr_rpl_present_flag)"

_PH_REST: tuple[Item, ...] = (
    Refuse("ph_inter_slice_allowed_flag", "a key picture that is not intra"),
    _alf("ph", "sps_alf_enabled_flag and pps_alf_info_in_ph_flag"),
    Field("ph_lmcs_enabled_flag", "u(1)", when="sps_lmcs_enabled_flag"),
    Field("ph_lmcs_aps_id", "u(2)", when="ph_lmcs_enabled_flag"),
    Field("ph_chroma_residual_scale_flag", "u(1)", when="ph_lmcs_enabled_flag and sps_chroma_format_idc"),
    Field("ph_explicit_scaling_list_enabled_flag", "u(1)", when="sps_explicit_scaling_list_enabled_flag"),
    Field("ph_scaling_list_aps_id", "u(3)", when="ph_explicit_scaling_list_enabled_flag"),
    Field(
        "ph_virtual_boundaries_present_flag",
        "u(1)",
        when="sps_virtual_boundaries_enabled_flag and not sps_virtual_boundaries_present_flag",
    ),
    When(
        "ph_virtual_boundaries_present_flag",
        (
            Field("ph_num_ver_virtual_boundaries", "ue", high=3),
            Field("ph_virtual_boundary_pos_x_minus1", "ue", count="ph_num_ver_virtual_boundaries"),
            Field("ph_num_hor_virtual_boundaries", "ue", high=3),
            Field("ph_virtual_boundary_pos_y_minus1", "ue", count="ph_num_hor_virtual_boundaries"),
        ),
    ),
    Field(
        "ph_pic_output_flag",
        "u(1)",
        when="pps_output_flag_present_flag and not ph_non_ref_pic_flag",
        absent="1",
    ),
    Field(
        "ph_partition_constraints_override_flag",
        "u(1)",
        when="sps_partition_constraints_override_enabled_flag",
    ),
    When(
        "ph_partition_constraints_override_flag",
        (
            *partition_limits("ph", "intra_slice_luma"),
            When("sps_qtbtt_dual_tree_intra_flag", partition_limits("ph", "intra_slice_chroma")),
        ),
    ),
    Field("ph_cu_qp_delta_subdiv_intra_slice", "ue", when="pps_cu_qp_delta_enabled_flag", high=14),
    Field(
        "ph_cu_chroma_qp_offset_subdiv_intra_slice",
        "ue",
        when="pps_cu_chroma_qp_offset_list_enabled_flag",
        high=14,
    ),
    Field("ph_qp_delta", "se", when="pps_qp_delta_info_in_ph_flag", low=-100, high=100),
    Field("ph_joint_cbcr_sign_flag", "u(1)", when="sps_joint_cbcr_enabled_flag"),
    Field("ph_sao_luma_enabled_flag", "u(1)", when="sps_sao_enabled_flag and pps_sao_info_in_ph_flag"),
    Field(
        "ph_sao_chroma_enabled_flag",
        "u(1)",
        when="sps_sao_enabled_flag and pps_sao_info_in_ph_flag and sps_chroma_format_idc",
    ),
    _deblocking("ph", "pps_dbf_info_in_ph_flag"),
    Field("ph_extension_length", "ue", when="pps_picture_header_extension_present_flag", high=256),
    Field("ph_extension_data_byte", "u(8)", count="ph_extension_length", most=256),
)

_SLICE: tuple[Item, ...] = (
    Field("sh_extra_bit", "u(1)", count="sum(sps_extra_sh_bit_present_flag)"),
    Field("sh_no_output_of_prior_pics_flag", "u(1)", when="7 <= nal_unit_type <= 10"),
    _alf("sh", "sps_alf_enabled_flag and not pps_alf_info_in_ph_flag"),
    Field(
        "sh_lmcs_used_flag",
        "u(1)",
        when="ph_lmcs_enabled_flag and not sh_picture_header_in_slice_header_flag",
    ),
    Field(
        "sh_explicit_scaling_list_used_flag",
        "u(1)",
        when="ph_explicit_scaling_list_enabled_flag and not sh_picture_header_in_slice_header_flag",
    ),
    When(RPL_IN_SLICE, REF_PIC_LISTS),
    Field("sh_qp_delta", "se", when="not pps_qp_delta_info_in_ph_flag", low=-100, high=100),
    When(
        "pps_slice_chroma_qp_offsets_present_flag",
        (
            Field("sh_cb_qp_offset", "se", low=-12, high=12),
            Field("sh_cr_qp_offset", "se", low=-12, high=12),
            Field("sh_joint_cbcr_qp_offset", "se", when="sps_joint_cbcr_enabled_flag", low=-12, high=12),
        ),
    ),
    Field("sh_cu_chroma_qp_offset_enabled_flag", "u(1)", when="pps_cu_chroma_qp_offset_list_enabled_flag"),
    Field("sh_sao_luma_used_flag", "u(1)", when="sps_sao_enabled_flag and not pps_sao_info_in_ph_flag"),
    Field(
        "sh_sao_chroma_used_flag",
        "u(1)",
        when="sps_sao_enabled_flag and not pps_sao_info_in_ph_flag and sps_chroma_format_idc",
    ),
    _deblocking("sh", "pps_deblocking_filter_override_enabled_flag and not pps_dbf_info_in_ph_flag"),
    Field("sh_dep_quant_used_flag", "u(1)", when="sps_dep_quant_enabled_flag"),
    Field(
        "sh_sign_data_hiding_used_flag",
        "u(1)",
        when="sps_sign_data_hiding_enabled_flag and not sh_dep_quant_used_flag",
    ),
    Field(
        "sh_ts_residual_coding_disabled_flag",
        "u(1)",
        when="sps_transform_skip_enabled_flag"
        " and not sh_dep_quant_used_flag and not sh_sign_data_hiding_used_flag",
    ),
    Field("sh_slice_header_extension_length", "ue", when="pps_slice_header_extension_present_flag", high=256),
    Field("sh_slice_header_extension_data_byte", "u(8)", count="sh_slice_header_extension_length", most=256),
    Derived("ctu_size", "32 << sps_log2_ctu_size_minus5"),
    Derived(
        "num_entry_points",
        "(pps_pic_height_in_luma_samples - 1) // ctu_size"
        " if sps_entropy_coding_sync_enabled_flag and sps_entry_point_offsets_present_flag else 0",
    ),
    Field("sh_entry_offset_len_minus1", "ue", when="num_entry_points", high=31),
    Field(
        "sh_entry_point_offset_minus1",
        "u(sh_entry_offset_len_minus1 + 1)",
        when="num_entry_points",
        count="num_entry_points",
        most=MAX_ENTRY_POINTS,
    ),
)

_IN_SLICE = Field("sh_picture_header_in_slice_header_flag", "u(1)", meaning="a picture header follows")

PICTURE_IDS = Structure("picture_header_structure", _PH_IDS, "H.266 clause 7.3.2.8, up to the parameter set")
PICTURE_START = Structure("picture_header_structure", _PH_START, "H.266 clause 7.3.2.8, after the former")
PICTURE_HEADER = Structure(
    "picture_header_structure", (*_PH_IDS, *_PH_START, *_PH_REST), "H.266 clause 7.3.2.8, intra pictures"
)
SLICE_WITH_PICTURE_HEADER = Structure(
    "slice_header",
    (_IN_SLICE, *_PH_IDS, *_PH_START, *_PH_REST, *_SLICE),
    "H.266 clause 7.3.7, intra slices of IRAP pictures that hold the picture header",
)
SLICE_ALONE = Structure(
    "slice_header", (_IN_SLICE, *_SLICE), "H.266 clause 7.3.7, intra slices after a picture header"
)


def starts_picture(nal: bytes) -> bool:
    """Whether a slice NAL unit holds the header of its picture, whose only slice it then is."""
    if len(nal) < 3:
        raise DamagedStream("a slice has no header")
    return nal[2] >= 0x80


def read_picture_start(nal: bytes, sets: ParameterSets) -> Values:
    """Parameter set, order count and flags, from a picture header or a slice that `starts_picture`."""
    data = rbsp(nal, _START_BYTES)
    reader = BitReader(data)
    if NalHeader.read(nal).is_slice:
        reader.u(1)
    values = PICTURE_IDS.read(reader)
    context = {**sets.sps_start(values["ph_pic_parameter_set_id"]), **values}
    return {**values, **PICTURE_START.read(reader, context)}


def read_key_slice(nal: bytes, sets: ParameterSets, picture_header: bytes | None = None) -> Values:
    """All header fields of an IRAP picture, from its first slice and its PH NAL unit where it has one.

    Raises TruncatedStream, DamagedStream, and UnsupportedStream for what cannot be written anew here.
    """
    nal_unit_type = NalHeader.read(nal).type
    if starts_picture(nal):
        start = read_picture_start(nal, sets)
        context = {**sets.context(start["ph_pic_parameter_set_id"]), "nal_unit_type": int(nal_unit_type)}
        return SLICE_WITH_PICTURE_HEADER.read(BitReader(rbsp(nal)), context)
    if picture_header is None or NalHeader.read(picture_header).type is not NalUnitType.PICTURE_HEADER:
        raise DamagedStream("a slice comes before its picture header")
    start = read_picture_start(picture_header, sets)
    context = {**sets.context(start["ph_pic_parameter_set_id"]), "nal_unit_type": int(nal_unit_type)}
    picture = PICTURE_HEADER.read(BitReader(rbsp(picture_header)), context)
    return {**picture, **SLICE_ALONE.read(BitReader(rbsp(nal)), {**context, **picture})}
