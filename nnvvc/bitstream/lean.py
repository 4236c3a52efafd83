"""A single picture's stream without what only further pictures would need.

VVenC's SPS describes reference picture lists for groups it never codes here: 200 bytes and more, a tenth of a
small picture.
"""

from collections.abc import Iterable

from nnvvc.bitstream.bits import BitReader
from nnvvc.bitstream.nal import NalHeader, NalUnitType, rbsp
from nnvvc.bitstream.parameter_sets import SPS_WHOLE, write_sps
from nnvvc.errors import UnsupportedStream


def lean_still(nals: Iterable[bytes]) -> list[bytes]:
    """The NAL units of an IDR picture's stream, decoding to the same; unchanged where that is not certain."""
    given = list(nals)
    try:
        leaner = [_lean(nal) for nal in given]
    except UnsupportedStream:
        return given
    return [nal for nal in leaner if nal]


def _lean(nal: bytes) -> bytes:
    kind = NalHeader.read(nal).type
    if kind is NalUnitType.AUD:
        return b""
    if kind is not NalUnitType.SPS:
        return nal
    sps = SPS_WHOLE.read(BitReader(rbsp(nal)))
    if sps["sps_idr_rpl_present_flag"] or sps["sps_sublayer_dpb_params_flag"]:
        return nal
    none = {"sps_num_ref_pic_lists": 0, "lists": []}
    alone = {"dpb_max_dec_pic_buffering_minus1": 0, "dpb_max_num_reorder_pics": 0}
    return write_sps(
        {
            **sps,
            "sps_max_sublayers_minus1": 0,
            "ptl_sublayer_level_present_flag": [],
            "dpb_parameters": [alone],
            "sps_rpl1_same_as_rpl0_flag": 1,
            "sps_ref_pic_lists": [none],
            "sps_timing_hrd_params_present_flag": 0,
        }
    )
