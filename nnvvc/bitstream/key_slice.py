"""A learned key picture in place of an IDR or CRA slice: what the decoder needs of the slice that was
dropped.

From these few fields, the parameter sets and the learned picture a decoder writes a VVC slice that codes the
picture without loss, and puts it where the dropped one was.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.fields import Field, Structure, Values, When
from nnvvc.bitstream.nal import NalUnitType
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.payload import PayloadKind, write_payload
from nnvvc.bitstream.slice_header import POC, POC_MSB, REF_PIC_LISTS, RPL_IN_SLICE
from nnvvc.errors import UnsupportedStream


class PictureCodec(IntEnum):
    """How a key picture is coded."""

    LEARNED = 0
    VVC_INTRA = 1


_TYPES = (NalUnitType.IDR_W_RADL, NalUnitType.IDR_N_LP, NalUnitType.CRA)

_IDS = (
    Field("slice_type_idc", "u(2)", high=2, meaning="IDR_W_RADL 0, IDR_N_LP 1, CRA 2"),
    Field("log2_step", "u(2)", meaning="samples are multiples of 1 << log2_step"),
    Field("patch_flag", "u(1)", meaning="a patch of samples follows"),
    Field("picture_codec", "u(2)", high=1, meaning="learned 0, VVC intra 1"),
    Field("ph_non_ref_pic_flag", "u(1)"),
    Field("ph_pic_parameter_set_id", "ue", high=63),
)

_KEPT = (
    *POC,
    *POC_MSB,
    Field(
        "ph_pic_output_flag",
        "u(1)",
        when="pps_output_flag_present_flag and not ph_non_ref_pic_flag",
        absent="1",
    ),
    When(RPL_IN_SLICE, REF_PIC_LISTS),
    Field("", "align"),
    Field("patch_bytes", "leb128", when="patch_flag", high=1 << 26),
    Field("patch", "bytes(patch_bytes)", when="patch_flag", absent="b''", meaning="see `vvc.irap.patch`"),
    Field(
        "picture", "rest", meaning="as its codec wrote it: a learned picture, or NAL units with start codes"
    ),
)

_IDS_ONLY = Structure("key_slice", _IDS)
_KEPT_ONLY = Structure("key_slice", _KEPT)

KEY_SLICE = Structure(
    "key_slice",
    (*_IDS, *_KEPT),
    source="of this format: payload kind 4, in place of a key picture's slices; ph_ fields of H.266",
)


@dataclass(frozen=True, slots=True)
class KeySlice:
    """nal_unit_type: IDR_W_RADL, IDR_N_LP or CRA. header: the fields of the dropped slice, by name.

    log2_step, patch: how the reconstruction was made to fit a lossless VVC slice. codec, picture: the coded
    picture.
    """

    nal_unit_type: NalUnitType
    header: Values
    codec: PictureCodec
    picture: bytes
    log2_step: int = 0
    patch: bytes = field(default=b"", repr=False)

    @property
    def pps_id(self) -> int:
        return int(self.header["ph_pic_parameter_set_id"])

    def write(self, context: Values) -> bytes:
        """The NAL unit that carries it. context: `ParameterSets.context` of its PPS."""
        writer = BitWriter()
        KEY_SLICE.write(writer, self._values(), {**context, "nal_unit_type": int(self.nal_unit_type)})
        return write_payload(PayloadKind.KEY_SLICE, writer.getvalue())

    @classmethod
    def frombytes(cls, body: bytes, sets: ParameterSets) -> "KeySlice":
        """From the body of a payload. Raises StreamError in its kinds."""
        reader = BitReader(body)
        values = _IDS_ONLY.read(reader)
        nal_unit_type = _TYPES[values["slice_type_idc"]]
        context = {
            **sets.context(values["ph_pic_parameter_set_id"]),
            **values,
            "nal_unit_type": int(nal_unit_type),
        }
        values |= _KEPT_ONLY.read(reader, context)
        codec = PictureCodec(values["picture_codec"])
        return cls(nal_unit_type, values, codec, values["picture"], values["log2_step"], values["patch"])

    def _values(self) -> Values:
        if self.nal_unit_type not in _TYPES:
            raise UnsupportedStream(f"a key picture of NAL type {self.nal_unit_type.name} cannot be replaced")
        return {
            **self.header,
            "slice_type_idc": _TYPES.index(self.nal_unit_type),
            "log2_step": self.log2_step,
            "picture_codec": int(self.codec),
            "patch_flag": int(bool(self.patch)),
            "patch_bytes": len(self.patch),
            "patch": self.patch,
            "picture": self.picture,
        }
