"""The reference decoder reads our SEI messages back as they were written, and decodes past them."""

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.bitstream.sei import SeiMessage, nnpf_activation, nnpf_characteristics, write_sei
from nnvvc.errors import ToolMissing
from nnvvc.picture import PictureFormat
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder
from nnvvc.vvc.tools.find import find_tool
from tools.content import clip

FORMAT = PictureFormat(72, 48, 10)
URI = {"mode_idc": 1, "uri_tag": "tag:example,2026:model", "uri": "example:1:00ff"}
COMMON = {
    "property_present_flag": 1,
    "inp_order_idc": 3,
    "out_order_idc": 3,
    "overlap": 16,
    "padding_type": 1,
}
COMPLEXITY = {
    "complexity_info_present_flag": 1,
    "parameter_type_idc": 1,
    "log2_parameter_bit_length_minus3": 1,
    "num_parameters_idc": 8,
    "num_kmac_operations_idc": 18,
    "total_kilobyte_size": 900,
}
PATCH = {"constant_patch_size_flag": 1, "patch_width_minus1": 127, "patch_height_minus1": 95}

CHARACTERISTICS = [
    {"purpose": 1, **COMMON, **COMPLEXITY, **PATCH, "auxiliary_inp_idc": 1},
    {
        "purpose": 1,
        **COMMON,
        "metadata_extension_num_bits": 4,
        "for_human_viewing_idc": 1,
        "for_machine_analysis_idc": 3,
    },
    {
        "purpose": 4,
        **COMMON,
        "pic_width_num_minus1": 3,
        "pic_width_denom_minus1": 1,
        "pic_height_num_minus1": 1,
    },
    {"purpose": 0, **COMMON, "inp_format_idc": 1, "inp_tensor_luma_bitdepth_minus8": 2, "inp_order_idc": 0},
    {
        "purpose": 1,
        **COMMON,
        "padding_type": 4,
        "luma_padding_val": 5,
        "cb_padding_val": 6,
        "cr_padding_val": 7,
    },
]


def read_by_vtm(stream: bytes, folder: Path) -> tuple[list[dict[str, str]], bytes]:
    """The fields of each SEI message that VTM lists, and its decoded pictures."""
    (folder / "in.266").write_bytes(stream)
    command = [find_tool("DecoderApp"), "-b", "in.266", "-o", "out.yuv", "-d", "0"]
    command.append("--OutputDecodedSEIMessagesFilename=sei.txt")
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    messages: list[dict[str, str]] = []
    for line in (folder / "sei.txt").read_text().splitlines():
        if "SEI message (" in line:
            messages.append({})
        elif match := re.match(r"\s*(\w+): (.*)", line):
            messages[-1][match[1]] = match[2]
    return messages, (folder / "out.yuv").read_bytes()


def with_messages(
    stream: bytes, base: SeiMessage, update: SeiMessage, activation: SeiMessage | None
) -> bytes:
    units = list(AccessUnits(split_annex_b([stream])))
    for unit, characteristics in zip(units, (base, update), strict=False):
        unit.insert(write_sei([characteristics]))
        if activation is not None:
            unit.append(write_sei([activation], suffix=True))
    return b"".join(unit.tobytes() for unit in units)


@pytest.mark.tool
@pytest.mark.parametrize("fields", CHARACTERISTICS)
def test_vtm_reads_back_what_was_written(fields: dict[str, int], tmp_path: Path) -> None:
    try:
        find_tool("DecoderApp")
    except ToolMissing as error:
        pytest.skip(str(error))
    settings = VvcSettings(qp=37, preset="faster", threads=1)
    plain = b"".join(encoder().encode(list(clip(FORMAT, 3)), FORMAT, Fraction(25), settings))
    base = {"id": 64, "base_flag": 1, **URI, **fields}
    update = {"purpose": fields["purpose"], "id": 64, "base_flag": 0, **URI, "uri": "data:;base64,AAEC"}
    activation = {"target_id": 64, "persistence_flag": 1, "target_base_flag": 1, "no_prev_clvs_flag": 1}
    # VTM's decoder does not know the size that a resampling filter begins with: it stops where one is active.
    active = fields["purpose"] != 4
    stream = with_messages(
        plain,
        nnpf_characteristics(**base),
        nnpf_characteristics(**update),
        nnpf_activation(**activation) if active else None,
    )
    messages, decoded = read_by_vtm(stream, tmp_path)
    expected = [(base, "nnpfc"), (activation, "nnpfa"), (update, "nnpfc"), (activation, "nnpfa")]
    expected = expected if active else expected[::2]
    for (sent, prefix), got in zip(expected, messages, strict=True):
        for name, value in sent.items():
            assert got[f"{prefix}_{name.replace('denom', 'denominator')}"] == str(value), name
    for name in ("ffmpeg", "pyav"):
        pictures = decoder(name).decode([stream], CodedFormat(FORMAT), DecoderSettings(threads=1))
        assert b"".join(p.tobytes() for p in pictures) == decoded


@pytest.mark.tool
def test_vvdec_decodes_past_them(tmp_path: Path) -> None:
    try:
        decoder("vvdecapp").version()
    except ToolMissing as error:
        pytest.skip(str(error))
    settings = VvcSettings(qp=37, preset="faster", threads=1)
    plain = b"".join(encoder().encode(list(clip(FORMAT, 3)), FORMAT, Fraction(25), settings))
    base = nnpf_characteristics(id=64, base_flag=1, **URI, **CHARACTERISTICS[0])
    update = nnpf_characteristics(id=64, purpose=1, **URI)
    activation = nnpf_activation(target_id=64, persistence_flag=1)
    results = [
        [p.tobytes() for p in decoder("vvdecapp").decode([s], CodedFormat(FORMAT), DecoderSettings())]
        for s in (plain, with_messages(plain, base, update, activation))
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 3
