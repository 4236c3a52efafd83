"""SEI messages (H.266 clause 7.3.6, H.274): framing, and the four that are read and written here.

The layout of the neural-network post-filter messages is that of VTM 23.13 (H.274 third edition); earlier VTM
releases have other fields. Two of its traps are kept clear of: an activation goes into a suffix SEI NAL unit,
and always has its tail (`prompt_update_flag` and what follows).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Derived, Field, Item, Refuse, Structure, Values, When
from nnvvc.bitstream.nal import NalHeader, NalUnitType, make_nal, rbsp
from nnvvc.errors import LimitExceeded

PROJECT_UUID = UUID("6b1d6ab2-9a0f-5c5e-8d6a-3f0c64a5b1ee")
"""Marks `user_data_unregistered` messages of this project."""

MAX_MESSAGES = 256
"""Most SEI messages that are read from one NAL unit."""


class SeiType(IntEnum):
    """`payloadType`, as far as it is interpreted here."""

    USER_DATA_UNREGISTERED = 5
    DECODED_PICTURE_HASH = 132
    NNPF_CHARACTERISTICS = 210
    NNPF_ACTIVATION = 211


@dataclass(frozen=True, slots=True)
class SeiMessage:
    """One message: its type, known or not, and its payload."""

    type: int
    payload: bytes


def write_sei(messages: Iterable[SeiMessage], *, suffix: bool = False) -> bytes:
    """A prefix or suffix SEI NAL unit without start code."""
    writer = BitWriter()
    for message in messages:
        for number in (message.type, len(message.payload)):
            writer.raw(b"\xff" * (number // 255) + bytes((number % 255,)))
        writer.raw(message.payload)
    writer.trailing_bits()
    kind = NalUnitType.SUFFIX_SEI if suffix else NalUnitType.PREFIX_SEI
    return make_nal(NalHeader(kind), writer.getvalue())


def read_sei(nal: bytes) -> Iterator[SeiMessage]:
    """The messages of an SEI NAL unit. Raises TruncatedStream, DamagedStream or LimitExceeded."""
    reader = BitReader(rbsp(nal))
    for _ in range(MAX_MESSAGES):
        kind = _number(reader)
        yield SeiMessage(kind, reader.raw(_number(reader)))
        if not reader.more_data():
            reader.trailing_bits()
            return
    raise LimitExceeded(f"an SEI NAL unit has more than {MAX_MESSAGES} messages")


def _number(reader: BitReader) -> int:
    """`ff_byte`s and the last byte; the sum is below 2**32 because the NAL unit's size is limited."""
    total = 0
    while (byte := reader.u(8)) == 0xFF:
        total += 255
    return total + byte


def write_payload_of(structure: Structure, kind: SeiType, values: Values) -> SeiMessage:
    """A message of a declared structure, aligned as `sei_payload()` asks."""
    writer = BitWriter()
    structure.write(writer, values)
    if writer.position & 7:
        writer.trailing_bits()
    return SeiMessage(kind, writer.getvalue())


def read_payload_of(structure: Structure, message: SeiMessage) -> Values:
    """The inverse. Raises TruncatedStream, DamagedStream, LimitExceeded or UnsupportedStream."""
    return structure.read(BitReader(message.payload))


def read_known(message: SeiMessage) -> tuple[str, Values] | None:
    """Name and values of a message that is interpreted here; None for others."""
    structure = _STRUCTURES.get(message.type)
    return None if structure is None else (structure.name, read_payload_of(structure, message))


def user_data(body: bytes) -> SeiMessage:
    """A `user_data_unregistered` message of this project."""
    return SeiMessage(SeiType.USER_DATA_UNREGISTERED, PROJECT_UUID.bytes + body)


def project_data(message: SeiMessage) -> bytes | None:
    """The body of a message of this project; None for any other message."""
    mark = PROJECT_UUID.bytes
    if message.type != SeiType.USER_DATA_UNREGISTERED or not message.payload.startswith(mark):
        return None
    return message.payload[len(mark) :]


class HashType(IntEnum):
    """`dph_sei_hash_type`."""

    MD5 = 0
    CRC = 1
    CHECKSUM = 2


DIGEST_SIZES = {HashType.MD5: 16, HashType.CRC: 2, HashType.CHECKSUM: 4}


def picture_hash(kind: HashType, digests: tuple[bytes, ...]) -> SeiMessage:
    """A decoded picture hash message, for a suffix SEI NAL unit: one digest a plane, 1 or 3."""
    if len(digests) not in (1, 3) or any(len(d) != DIGEST_SIZES[kind] for d in digests):
        raise ValueError(f"{len(digests)} digests do not make a {kind.name} picture hash")
    values = {
        "dph_sei_hash_type": int(kind),
        "dph_sei_single_component_flag": int(len(digests) == 1),
        "dph_sei_digests": list(digests),
    }
    return write_payload_of(DECODED_PICTURE_HASH, SeiType.DECODED_PICTURE_HASH, values)


def picture_digests(message: SeiMessage) -> tuple[HashType, tuple[bytes, ...]]:
    """Kind and digests, by plane, of a decoded picture hash message."""
    values = read_payload_of(DECODED_PICTURE_HASH, message)
    return HashType(values["dph_sei_hash_type"]), tuple(values["dph_sei_digests"])


DECODED_PICTURE_HASH = Structure(
    "decoded_picture_hash",
    (
        Field("dph_sei_hash_type", "u(8)", high=2, meaning="MD5 0, CRC 1, checksum 2"),
        Field("dph_sei_single_component_flag", "u(1)", meaning="luma only"),
        Field("dph_sei_reserved_zero_7bits", "u(7)"),
        Field(
            "dph_sei_digests",
            "bytes((16, 2, 4)[dph_sei_hash_type])",
            count="1 if dph_sei_single_component_flag else 3",
            meaning="one for each plane",
        ),
    ),
    source="H.274, SEI payload type 132, in a suffix SEI NAL unit",
)

_LUMA, _CHROMA = "{}_order_idc != 1", "{}_order_idc != 0"


def _depths(side: str) -> tuple[Field, ...]:
    """Bit depths of integer tensors, going in or coming out."""
    order, integer = f"nnpfc_{side}", f"nnpfc_{side}_format_idc == 1"
    return (
        Field(
            f"nnpfc_{side}_tensor_luma_bitdepth_minus8",
            "ue",
            high=24,
            when=f"{integer} and {_LUMA.format(order)}",
        ),
        Field(
            f"nnpfc_{side}_tensor_chroma_bitdepth_minus8",
            "ue",
            high=24,
            when=f"{integer} and {_CHROMA.format(order)}",
        ),
    )


_FORMATTING: tuple[Item, ...] = (
    Field("nnpfc_num_input_pics_minus1", "ue", high=63, meaning="pictures that go in together, less 1"),
    When(
        "nnpfc_num_input_pics_minus1 > 0",
        (
            Field("nnpfc_input_pic_filtering_flag", "u(1)", count="nnpfc_num_input_pics_minus1 + 1"),
            Field("nnpfc_absent_input_pic_zero_flag", "u(1)"),
        ),
    ),
    Field("nnpfc_out_sub_c_flag", "u(1)", when="nnpfc_purpose & 2"),
    Field("nnpfc_out_colour_format_idc", "u(2)", when="nnpfc_purpose & 32"),
    When(
        "nnpfc_purpose & 4",
        (
            Field("nnpfc_pic_width_num_minus1", "ue", high=65535),
            Field("nnpfc_pic_width_denom_minus1", "ue", high=65535),
            Field("nnpfc_pic_height_num_minus1", "ue", high=65535),
            Field("nnpfc_pic_height_denom_minus1", "ue", high=65535),
        ),
    ),
    Field(
        "nnpfc_interpolated_pics",
        "ue",
        when="nnpfc_purpose & 8",
        high=63,
        count="nnpfc_num_input_pics_minus1",
    ),
    Field("nnpfc_extrapolated_pics_minus1", "ue", when="nnpfc_purpose & 64", high=63),
    Field("nnpfc_component_last_flag", "u(1)"),
    Field("nnpfc_inp_format_idc", "ue", high=255, meaning="0 real numbers, 1 integers"),
    Field("nnpfc_auxiliary_inp_idc", "ue", high=7, meaning="bit 0: the QP goes in too; 1: prompt; 2: seed"),
    Field("nnpfc_inband_prompt_flag", "u(1)", when="nnpfc_auxiliary_inp_idc & 2"),
    Field("", "align", when="nnpfc_inband_prompt_flag"),
    Field("nnpfc_prompt", "st", when="nnpfc_inband_prompt_flag", absent="''"),
    Field("nnpfc_inband_seed_flag", "u(1)", when="nnpfc_auxiliary_inp_idc & 4"),
    Field("nnpfc_seed", "u(16)", when="nnpfc_inband_seed_flag"),
    Field("nnpfc_inp_order_idc", "ue", high=3, meaning="0 luma, 1 chroma, 2 three planes, 3 packed 4:2:0"),
    *_depths("inp"),
    Field("nnpfc_out_format_idc", "ue", high=255, meaning="0 real numbers, 1 integers"),
    Field("nnpfc_out_order_idc", "ue", high=3, meaning="as going in"),
    *_depths("out"),
    Field("nnpfc_sep_col_desc_flag", "u(1)"),
    When(
        "nnpfc_sep_col_desc_flag",
        (
            Field("nnpfc_col_primaries", "u(8)"),
            Field("nnpfc_transfer_characteristics", "u(8)"),
            Field("nnpfc_matrix_coeffs", "u(8)", when="nnpfc_out_format_idc == 1"),
            Field("nnpfc_full_range_flag", "u(1)", when="nnpfc_out_format_idc == 1"),
        ),
    ),
    Field("nnpfc_chroma_loc_info_present_flag", "u(1)", when="nnpfc_out_order_idc != 0"),
    Field("nnpfc_chroma_sample_loc_type_frame", "ue", when="nnpfc_chroma_loc_info_present_flag", high=6),
    Field("nnpfc_overlap", "ue", high=16383),
    Field("nnpfc_constant_patch_size_flag", "u(1)"),
    Field("nnpfc_patch_width_minus1", "ue", when="nnpfc_constant_patch_size_flag", high=32766),
    Field("nnpfc_patch_height_minus1", "ue", when="nnpfc_constant_patch_size_flag", high=32766),
    Derived("nnpfc_extended_patch", "not nnpfc_constant_patch_size_flag"),
    Field("nnpfc_extended_patch_width_cd_delta_minus1", "ue", when="nnpfc_extended_patch"),
    Field("nnpfc_extended_patch_height_cd_delta_minus1", "ue", when="nnpfc_extended_patch"),
    Field("nnpfc_padding_type", "ue", high=15, meaning="0 zero, 1 repeat, 2 mirror, 3 wrap, 4 fixed"),
    When(
        "nnpfc_padding_type == 4",
        (
            Field("nnpfc_luma_padding_val", "ue", when="nnpfc_inp_order_idc != 1"),
            Field("nnpfc_cb_padding_val", "ue", when="nnpfc_inp_order_idc != 0"),
            Field("nnpfc_cr_padding_val", "ue", when="nnpfc_inp_order_idc != 0"),
        ),
    ),
    Field("nnpfc_complexity_info_present_flag", "u(1)"),
    When(
        "nnpfc_complexity_info_present_flag",
        (
            Field(
                "nnpfc_parameter_type_idc", "u(2)", high=2, meaning="0 integers, 1 floating point, 2 binary"
            ),
            Field("nnpfc_log2_parameter_bit_length_minus3", "u(2)", when="nnpfc_parameter_type_idc != 2"),
            Field(
                "nnpfc_num_parameters_idc", "u(6)", high=52, meaning="at most (2048 << idc) - 1 parameters"
            ),
            Field(
                "nnpfc_num_kmac_operations_idc", "ue", meaning="thousand multiplications a sample, at most"
            ),
            Field("nnpfc_total_kilobyte_size", "ue"),
        ),
    ),
    Field("nnpfc_metadata_extension_num_bits", "ue", high=4096),
    # The bits that VTM's writer forgets to count for this purpose make its reader run away.
    Refuse(
        "nnpfc_metadata_extension_num_bits and nnpfc_purpose & 4",
        "metadata of a resampling post-filter",
    ),
    Derived("nnpfc_metadata_tag_bit", "1 if nnpfc_purpose == 0 else 0"),
    Field(
        "nnpfc_application_purpose_tag_uri_present_flag",
        "u(1)",
        when="nnpfc_metadata_extension_num_bits and nnpfc_purpose == 0",
    ),
    Refuse("nnpfc_application_purpose_tag_uri_present_flag", "a post-filter's purpose given as a URI"),
    Derived("nnpfc_metadata_bits", "nnpfc_metadata_extension_num_bits - nnpfc_metadata_tag_bit"),
    Field(
        "nnpfc_for_human_viewing_idc", "u(2)", when="nnpfc_metadata_bits >= 2", meaning="2 suitable, 3 best"
    ),
    Field(
        "nnpfc_for_machine_analysis_idc",
        "u(2)",
        when="nnpfc_metadata_bits >= 4",
        meaning="2 suitable, 3 best",
    ),
    Field(
        "nnpfc_reserved_metadata_extension",
        "u(nnpfc_metadata_bits - 4)",
        when="nnpfc_metadata_bits > 4",
    ),
)

NNPF_CHARACTERISTICS = Structure(
    "nn_post_filter_characteristics",
    (
        Field(
            "nnpfc_purpose",
            "u(16)",
            meaning="bits: quality 1, chroma 2, resolution 4, rate 8, depth 16",
        ),
        Refuse("nnpfc_purpose > 127", "a post-filter that extrapolates in space"),
        Field("nnpfc_id", "ue", meaning="256 to 511 and 2**31 up are reserved"),
        Field(
            "nnpfc_base_flag", "u(1)", meaning="1: a filter; 0: an update of the filter of the same number"
        ),
        Field("nnpfc_mode_idc", "ue", high=1, meaning="0: ISO/IEC 15938-17 bytes here; 1: by URI"),
        Field("", "align", when="nnpfc_mode_idc == 1"),
        Field("nnpfc_uri_tag", "st", when="nnpfc_mode_idc == 1", absent="''"),
        Field("nnpfc_uri", "st", when="nnpfc_mode_idc == 1", absent="''"),
        Field("nnpfc_property_present_flag", "u(1)"),
        When("nnpfc_property_present_flag", _FORMATTING),
        Field("", "align", when="nnpfc_mode_idc == 0"),
        Field(
            "nnpfc_payload_byte",
            "rest",
            when="nnpfc_mode_idc == 0",
            absent="b''",
            meaning="the coded network",
        ),
    ),
    source="H.274, SEI payload type 210, layout of VTM 23.13",
)

NNPF_ACTIVATION = Structure(
    "nn_post_filter_activation",
    (
        Field("nnpfa_target_id", "ue", meaning="the filter, by nnpfc_id"),
        Field("nnpfa_cancel_flag", "u(1)"),
        When(
            "not nnpfa_cancel_flag",
            (
                Field("nnpfa_persistence_flag", "u(1)", meaning="until cancelled, not for this picture only"),
                Field("nnpfa_target_base_flag", "u(1)", meaning="the base filter, without updates"),
                Field("nnpfa_no_prev_clvs_flag", "u(1)"),
                Field("nnpfa_no_foll_clvs_flag", "u(1)", when="nnpfa_persistence_flag"),
                Field("nnpfa_num_output_entries", "ue", high=64),
                Field("nnpfa_output_flag", "u(1)", count="nnpfa_num_output_entries"),
                Field("nnpfa_prompt_update_flag", "u(1)"),
                Field("", "align", when="nnpfa_prompt_update_flag"),
                Field("nnpfa_prompt", "st", when="nnpfa_prompt_update_flag", absent="''"),
                Field("nnpfa_seed_update_flag", "u(1)"),
                Field("nnpfa_seed", "u(16)", when="nnpfa_seed_update_flag"),
                Field("nnpfa_selected_input_flag", "u(1)"),
                Field("nnpfa_num_input_pic_shift", "ue", when="nnpfa_selected_input_flag", high=63),
            ),
        ),
    ),
    source="H.274, SEI payload type 211, layout of VTM 23.13; in a suffix SEI NAL unit",
)

USER_DATA = Structure(
    "user_data_unregistered",
    (
        Field("uuid_iso_iec_11578", "bytes(16)", meaning=f"{PROJECT_UUID} for this project"),
        Field("user_data_payload_byte", "rest", meaning="block choices, cluster numbers and the like"),
    ),
    source="H.274, SEI payload type 5",
)

_STRUCTURES: dict[int, Structure] = {
    SeiType.USER_DATA_UNREGISTERED: USER_DATA,
    SeiType.DECODED_PICTURE_HASH: DECODED_PICTURE_HASH,
    SeiType.NNPF_CHARACTERISTICS: NNPF_CHARACTERISTICS,
    SeiType.NNPF_ACTIVATION: NNPF_ACTIVATION,
}


VISUAL_QUALITY, RESAMPLING = 1, 4
"""Values of `nnpfc_purpose`."""


def nnpf_characteristics(**values: Any) -> SeiMessage:
    """An NNPFC message; the fields by their name without the prefix `nnpfc_`, those not given are zero."""
    named = {f"nnpfc_{name}": value for name, value in values.items()}
    if 256 <= named.get("nnpfc_id", 0) < 512 or named.get("nnpfc_id", 0) >= 1 << 31:
        raise ValueError(f"nnpfc_id {named['nnpfc_id']} is reserved")
    return write_payload_of(NNPF_CHARACTERISTICS, SeiType.NNPF_CHARACTERISTICS, named)


def nnpf_activation(**values: Any) -> SeiMessage:
    """An NNPFA message, likewise with the prefix `nnpfa_`; it belongs in a suffix SEI NAL unit."""
    named = {f"nnpfa_{name}": value for name, value in values.items()}
    return write_payload_of(NNPF_ACTIVATION, SeiType.NNPF_ACTIVATION, named)
