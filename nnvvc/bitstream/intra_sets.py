"""Key pictures coded by VVC intra, inside a video: they travel without parameter sets of their own.

VVenC gives a single picture the SPS of the video around it but for the partitioning of intra slices, which
is simpler for the video's own key pictures, lossless and never sent. These few fields are all that is sent.
"""

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Structure, Values, When
from nnvvc.bitstream.nal import NalUnitType, join_annex_b, rbsp, split_annex_b
from nnvvc.bitstream.parameter_sets import SPS_WHOLE, partition_limits, write_sps
from nnvvc.errors import DamagedStream

SETS = (NalUnitType.SPS, NalUnitType.PPS)

INTRA_SETS = Structure(
    "intra_sets",
    (
        Field("own_sets_flag", "u(1)", meaning="parameter sets follow with the picture"),
        When(
            "not own_sets_flag",
            (
                *partition_limits("sps", "intra_slice_luma"),
                *partition_limits("sps", "intra_slice_chroma"),
            ),
        ),
        Field("", "align"),
        Field("nal_units", "rest", meaning="with start codes"),
    ),
    source="of this format: a key picture of picture_codec 1",
)

_PARTITION = tuple(
    item.name
    for suffix in ("intra_slice_luma", "intra_slice_chroma")
    for item in partition_limits("sps", suffix)
    if isinstance(item, Field)
)


def without_parameter_sets(data: bytes, sets: list[bytes]) -> bytes:
    """A picture's byte stream for a video that has the parameter sets `sets`."""
    nals = list(split_annex_b([data]))
    slices = [nal for nal in nals if nal[1] >> 3 not in (*SETS, NalUnitType.AUD)]
    for own in nals:
        if own[1] >> 3 == NalUnitType.SPS:
            limits = {name: _sps(own)[name] for name in _PARTITION}
            packed = _write({**limits, "own_sets_flag": 0, "nal_units": join_annex_b(slices)})
            if list(split_annex_b([with_parameter_sets(packed, sets)])) == [
                nal for nal in nals if nal[1] >> 3 != NalUnitType.AUD
            ]:
                return packed
    return _write({"own_sets_flag": 1, "nal_units": data})


def with_parameter_sets(data: bytes, sets: list[bytes]) -> bytes:
    """The inverse. Raises StreamError in its kinds."""
    values = INTRA_SETS.read(BitReader(data))
    if values["own_sets_flag"]:
        return bytes(values["nal_units"])
    limits = {name: values[name] for name in _PARTITION}
    try:
        own = [write_sps({**_sps(n), **limits}) if n[1] >> 3 == NalUnitType.SPS else n for n in sets]
    except ValueError as error:
        raise DamagedStream(f"a key picture does not fit the parameter sets of its video: {error}") from error
    return join_annex_b([*own, *split_annex_b([values["nal_units"]])])


def _sps(nal: bytes) -> Values:
    return SPS_WHOLE.read(BitReader(rbsp(nal)))


def _write(values: Values) -> bytes:
    writer = BitWriter()
    INTRA_SETS.write(writer, values)
    return writer.getvalue()
