"""The filter for machines around VVC: what the stream says about it, and its use on decoded pictures.

A stream header that lists the filter's model says that it is meant for every picture of the stream. Videos
also carry it as standard SEI where a coded video sequence begins: neural-network post-filter characteristics
(the model as a URI) and a persistent activation. A single picture does without: they would cost it more than
the filter gains at low rates.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.header import ModelReference, StreamHeader
from nnvvc.bitstream.nal import IDR, NalHeader, NalUnitType
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.sei import SeiMessage, nnpf_activation, nnpf_characteristics, write_sei
from nnvvc.bitstream.slice_header import read_key_slice
from nnvvc.errors import UnsupportedStream
from nnvvc.models.filter_registry import FILTER_MACHINES, filter_reference, referenced_filter

if TYPE_CHECKING:
    from nnvvc.models.filters import PictureFilter

TILE = 1024
"""Side of the tiles, luma samples of the decoded picture, that larger pictures are filtered in."""

MARGIN = 128
"""Samples around a tile that the filter sees too."""

KEY_QP_OFFSET = 3
"""VVenC codes key pictures, single ones too, at its QP less this; filters are trained with its QP."""

_PACKED_420 = 3
_REPEAT = 1
_SUITABLE, _BEST = 2, 3


def machine_filter_reference() -> ModelReference:
    """The filter for machines, as a stream header lists it. Raises UnknownModel where it is not installed."""
    return filter_reference(FILTER_MACHINES)


def filter_in(header: StreamHeader) -> ModelReference | None:
    """The filter for machines that a stream header lists."""
    return next((m for m in header.models if m.number == FILTER_MACHINES), None)


def key_slice_qp(unit: AccessUnit, sets: ParameterSets) -> int:
    """Slice QP of a key picture, luma (H.266 clause 7.4.8). Raises StreamError in its kinds."""
    picture_header = None
    for nal in unit.nals:
        header = NalHeader.read(nal)
        if header.type is NalUnitType.PICTURE_HEADER:
            picture_header = nal
        elif header.is_slice:
            values = read_key_slice(nal, sets, picture_header)
            context = sets.context(values["ph_pic_parameter_set_id"])
            delta = values.get("sh_qp_delta", 0) + values.get("ph_qp_delta", 0)
            return int(26 + context["pps_init_qp_minus26"] + delta)
    raise UnsupportedStream("the stream does not begin with a VVC key picture, whose QP the filter needs")


Messages = tuple[SeiMessage, SeiMessage]
"""Characteristics, for a prefix SEI NAL unit, and activation, for a suffix one (H.274)."""


def messages_for(header: StreamHeader) -> Messages | None:
    """What a video's coded sequences begin with; None for a single picture, or where no filter is used."""
    used = filter_in(header)
    if used is None or header.source.still:
        return None
    return announcement(referenced_filter(used), used, header.scale)


def announcement(model: "PictureFilter", used: ModelReference, scale: Fraction) -> Messages:
    """The messages for a filter on pictures coded at `scale`."""
    from nnvvc.models.filters import enlargement, kmac_per_pixel

    parameters = sum(p.numel() for p in model.parameters())
    resampling = scale != 1
    resolution = {
        "pic_width_num_minus1": scale.denominator - 1,
        "pic_width_denom_minus1": scale.numerator - 1,
        "pic_height_num_minus1": scale.denominator - 1,
        "pic_height_denom_minus1": scale.numerator - 1,
    }
    # No metadata with a resampling purpose: VTM's reader and writer disagree about their length there.
    metadata = {
        "metadata_extension_num_bits": 4,
        "for_human_viewing_idc": 0,
        "for_machine_analysis_idc": _BEST,
    }
    characteristics = nnpf_characteristics(
        purpose=4 if resampling else 1,
        id=used.number,
        base_flag=1,
        mode_idc=1,
        uri_tag="tag:nnvvc,2026:model",
        uri=f"nnvvc:{used.number}:{used.digest.hex()}",
        property_present_flag=1,
        **(resolution if resampling else {}),
        auxiliary_inp_idc=1,
        inp_order_idc=_PACKED_420,
        out_order_idc=_PACKED_420,
        overlap=MARGIN,
        constant_patch_size_flag=1,
        patch_width_minus1=TILE - 1,
        patch_height_minus1=TILE - 1,
        padding_type=_REPEAT,
        complexity_info_present_flag=1,
        parameter_type_idc=1,
        log2_parameter_bit_length_minus3=1,
        num_parameters_idc=max(0, parameters.bit_length() - 11),
        num_kmac_operations_idc=round(kmac_per_pixel(model.config, enlargement(scale))),
        total_kilobyte_size=-(-2 * parameters // 1000),
        **({} if resampling else metadata),
    )
    activation = nnpf_activation(target_id=used.number, persistence_flag=1, target_base_flag=1)
    return characteristics, activation


def announce(unit: AccessUnit, messages: Messages, first: bool) -> None:
    """Put the messages into an access unit that begins a coded video sequence; others are left alone."""
    if first or unit.type in IDR:
        characteristics, activation = messages
        unit.insert(write_sei([characteristics]))
        unit.append(write_sei([activation], suffix=True))
