"""docs/format.md, rendered from the declarations: `python -m nnvvc.bitstream.document`."""

from nnvvc.bitstream.fields import Structure, table
from nnvvc.bitstream.filter_update import FILTER_UPDATE
from nnvvc.bitstream.header import STREAM_HEADER
from nnvvc.bitstream.intra_sets import INTRA_SETS
from nnvvc.bitstream.key_slice import KEY_SLICE
from nnvvc.bitstream.learned_picture import LEARNED_PICTURE
from nnvvc.bitstream.nal import OURS
from nnvvc.bitstream.parameter_sets import PPS, SPS_WHOLE, VUI
from nnvvc.bitstream.payload import PAYLOAD, PERIOD_HASH, PayloadKind
from nnvvc.bitstream.sei import DECODED_PICTURE_HASH, NNPF_ACTIVATION, NNPF_CHARACTERISTICS, USER_DATA
from nnvvc.bitstream.slice_header import SLICE_WITH_PICTURE_HEADER

OWN = (PAYLOAD, STREAM_HEADER, LEARNED_PICTURE, KEY_SLICE, INTRA_SETS, PERIOD_HASH, FILTER_UPDATE)
"""Structures of this format."""

STANDARD = (
    NNPF_CHARACTERISTICS,
    NNPF_ACTIVATION,
    DECODED_PICTURE_HASH,
    USER_DATA,
    SPS_WHOLE,
    VUI,
    PPS,
    SLICE_WITH_PICTURE_HEADER,
)
"""Structures of H.266 and H.274, as far as they are read."""


INTRODUCTION = """\
# The stream format

Made by `make docs` from the declarations that the reader and the writer run; do not edit it by hand.

A `.bin` file is an H.266 (VVC) Annex B byte stream: NAL units, nothing else. What VVC knows travels in its
own NAL units, byte for byte as the VVC encoder wrote them. What it does not know travels in NAL unit types 28
and 30, which H.266 leaves unspecified and every decoder drops: each is a `payload` with its length and a
CRC-32. A stream whose key pictures are VVC's own plays anywhere as it stands; `nnvvc export` makes such a
stream of any other.

| what | where |
|---|---|
| parameter sets, coded pictures | VVC NAL units |
| `stream_header` | payload kind 0 in the first access unit, after its delimiter where there is one |
| a learned picture, with what its VVC slices had to say | payload kind 1 or 4, in their place |
| `period_hash` over the decoded pictures of an intra period | payload kind 16, at the period's end |
| description and activation of filters | SEI messages 210 and 211 of H.274 |
| an update of a video filter | SEI message 210, with SEI message 5 where it is long: `filter_update` |

Widths: `u(n)` is n bits, `ue` and `se` are Exp-Golomb codes, `st` a string that ends in a zero byte, `leb128`
seven bits a byte with the low ones first, `align` zero bits up to the next byte. Conditions and counts are
the very expressions that are executed.
"""


def render(structure: Structure) -> str:
    """A heading and a table of the structure's fields, in Markdown."""
    lines = [f"### `{structure.name}`", "", f"{structure.source}.", ""]
    lines += ["| field | code | range | present when | meaning |", "|---|---|---|---|---|"]
    for name, code, limits, when, meaning in table(structure):
        lines.append(
            f"| {_code(name or 'alignment')} | {_code(code)} | {limits} | {_code(when)} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def render_kinds() -> str:
    """The payload kinds and the NAL unit types that carry them."""
    lines = ["| payload kind | name |", "|---|---|"]
    lines += [f"| {kind.value} | {kind.name} |" for kind in PayloadKind]
    types = ", ".join(f"{kind.value} ({kind.name})" for kind in sorted(OURS))
    return "\n".join(lines) + f"\n\nNAL unit types of this format: {types}.\n"


def render_all() -> str:
    """Everything, own structures first."""
    parts = [INTRODUCTION, "## Structures of this format\n", render_kinds(), *map(render, OWN)]
    parts += ["## Structures of H.266 and H.274\n", *map(render, STANDARD)]
    return "\n".join(parts)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`" if text else ""


if __name__ == "__main__":
    print(render_all(), end="")
