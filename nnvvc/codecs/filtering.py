"""Filters around VVC, for machines and for people: what the stream says about them.

A stream header that lists a filter's model says that it is meant for every picture of the stream. Videos
also carry it as standard SEI where a coded video sequence begins: neural-network post-filter characteristics
(the model as a URI) and a persistent activation. A single picture does without: they would cost it more than
the filter gains at low rates. Where the model is several filters, a single picture's header says which of
them is for which block.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.header import ModelReference, StreamHeader
from nnvvc.bitstream.nal import IDR, NalHeader, NalUnitType
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.sei import (
    RESAMPLING,
    VISUAL_QUALITY,
    SeiMessage,
    nnpf_activation,
    nnpf_characteristics,
    write_sei,
)
from nnvvc.bitstream.slice_header import read_key_slice
from nnvvc.errors import ConfigError, UnsupportedStream
from nnvvc.models.registry import (
    FILTER_IMAGE,
    FILTER_LEARNED,
    FILTER_MACHINES,
    FILTER_PEOPLE,
    FILTER_QUICK,
    FILTER_VIDEO,
    PEOPLE_FILTERS,
    reference,
    weights_of,
)
from nnvvc.options import EncodeOptions, Purpose

if TYPE_CHECKING:
    from torch import nn

TILE = 1024
"""Side of the tiles, luma samples of the decoded picture, that larger pictures are filtered in."""

MARGIN = 128
"""Samples around a tile that the filter sees too."""

_PACKED_420 = 3
_REPEAT = 1
_BEST = 3


_PURPOSES: dict[Purpose, tuple[int, ...]] = {
    "machines": (FILTER_MACHINES, FILTER_VIDEO),
    "people": PEOPLE_FILTERS,
}

LEARNED_FILTERS: dict[Purpose, int] = {"machines": FILTER_LEARNED, "people": FILTER_IMAGE}
"""Of pictures of the learned image codec."""

_SMALLEST = {FILTER_MACHINES: Fraction(1, 4), FILTER_VIDEO: Fraction(1, 2)}
"""The smallest coded scale of the pictures of filters that enlarge."""


def filters_for(options: EncodeOptions, scale: Fraction, still: bool) -> tuple[ModelReference, ...]:
    """The models behind an encoder's `--filter`, as a stream header lists them. For people, a single picture
    has the full one always: there are no others to know anything from.

    Raises ConfigError where there is no such filter for pictures coded at `scale`, UnknownModel where it is
    not installed.
    """
    name = options.filter
    if name in ("auto", "none"):
        return ()
    number = FILTER_QUICK if options.filter_model == "quick" and not still else FILTER_PEOPLE
    if name == "machines":
        number = FILTER_MACHINES if still else FILTER_VIDEO
    smallest = _SMALLEST.get(number, Fraction(1))
    if scale < smallest:
        raise ConfigError(f"--filter {name} needs pictures coded at --scale {smallest} or more")
    return (reference(number),)


def filter_in(header: StreamHeader, purpose: Purpose) -> ModelReference | None:
    """The filter of VVC's pictures that a stream header lists for this purpose."""
    return next((m for m in header.models if m.number in _PURPOSES[purpose]), None)


def learned_filter_in(header: StreamHeader, purpose: Purpose) -> ModelReference | None:
    """The filter that a stream header lists for learned pictures."""
    return next((m for m in header.models if m.number == LEARNED_FILTERS[purpose]), None)


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


Messages = tuple[SeiMessage, SeiMessage | None]
"""Characteristics, for a prefix SEI NAL unit, and activation, for a suffix one (H.274)."""


def messages_for(header: StreamHeader, updated: bool = False) -> list[Messages]:
    """What a video's coded sequences begin with; nothing for a single picture, or where no filter is used."""
    used = [] if header.source.still else [filter_in(header, purpose) for purpose in _PURPOSES]
    return [announcement(u, header.scale, updated) for u in used if u is not None]


def announcement(used: ModelReference, scale: Fraction, updated: bool = False) -> Messages:
    """The messages for a filter on pictures coded at `scale`. Raises UnknownModel.

    updated: the filter is active with the updates that will follow.
    """
    parameters, kmac, neighbours = _facts(used, scale)
    resampling = scale != 1
    resolution = {
        "pic_width_num_minus1": scale.denominator - 1,
        "pic_width_denom_minus1": scale.numerator - 1,
        "pic_height_num_minus1": scale.denominator - 1,
        "pic_height_denom_minus1": scale.numerator - 1,
    }
    inputs = {
        "num_input_pics_minus1": neighbours,
        # The picture itself is what comes out; those around it only help.
        "input_pic_filtering_flag": [1] + [0] * neighbours,
    }
    # No metadata with a resampling purpose: VTM's reader and writer disagree about their length there.
    metadata = {
        "metadata_extension_num_bits": 4,
        "for_human_viewing_idc": _BEST if used.number in _PURPOSES["people"] else 0,
        "for_machine_analysis_idc": _BEST if used.number in _PURPOSES["machines"] else 0,
    }
    characteristics = nnpf_characteristics(
        purpose=RESAMPLING if resampling else VISUAL_QUALITY,
        id=used.number,
        base_flag=1,
        mode_idc=1,
        uri_tag="tag:nnvvc,2026:model",
        uri=f"nnvvc:{used.number}:{used.digest.hex()}",
        property_present_flag=1,
        **(inputs if neighbours else {}),
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
        num_kmac_operations_idc=round(kmac),
        total_kilobyte_size=-(-2 * parameters // 1000),
        **({} if resampling else metadata),
    )
    if resampling:
        # VTM 23.13 takes the size before resampling for zero, and stops where such a filter is active.
        return characteristics, None
    return characteristics, nnpf_activation(
        target_id=used.number, persistence_flag=1, target_base_flag=int(not updated)
    )


def _facts(used: ModelReference, scale: Fraction) -> tuple[int, float, int]:
    """Parameters, thousands of multiplications per luma sample, and pictures around the filtered one."""
    from nnvvc.codecs.neighbours import SPANNED
    from nnvvc.models import filters, people

    model: nn.Module
    neighbours = 0
    if used.number in PEOPLE_FILTERS:
        model = found = people.load_people(weights_of(used))
        kmac = people.card_of(found)["kmac_per_pixel"]
        # Of all that are spanned, a few are looked at.
        neighbours = SPANNED if found.neighbours else 0
    else:
        model = machines = filters.load_filter(weights_of(used))
        kmac = filters.kmac_per_pixel(machines.config, filters.enlargement(scale))
    return sum(p.numel() for p in model.parameters()), kmac, neighbours


def announce(unit: AccessUnit, messages: list[Messages], first: bool) -> None:
    """Put the messages into an access unit that begins a coded video sequence; others are left alone."""
    if messages and (first or unit.type in IDR):
        unit.insert(write_sei([characteristics for characteristics, _ in messages]))
        activations = [activation for _, activation in messages if activation is not None]
        if activations:
            unit.append(write_sei(activations, suffix=True))
