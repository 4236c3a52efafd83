import pytest

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.bitstream.document import render, render_all
from nnvvc.bitstream.fields import Derived, Field, Refuse, Repeat, Structure, When
from nnvvc.errors import DamagedStream, LimitExceeded, UnsupportedStream

EXAMPLE = Structure(
    "example",
    (
        Field("flag", "u(1)", meaning="more follows"),
        When("flag", (Field("width", "u(4)", low=1), Field("value", "u(width)"))),
        Field("offset", "se", low=-3, high=3),
        Derived("double", "2 * offset"),
        Refuse("double == 6", "an offset of three"),
        Field("n", "ue"),
        Repeat("items", "n", 4, (Field("x", "ue"), Field("y", "ue", when="x and i"))),
        Field("bits", "u(1)", count="n", most=4),
        Field("", "align"),
        Field("text", "st", when="flag", absent="''"),
        Field("tail", "rest"),
    ),
    "of this test",
)
VALUES = {
    "flag": 1,
    "width": 3,
    "value": 5,
    "offset": -2,
    "n": 2,
    "items": [{"x": 4}, {"x": 1, "y": 9}],
    "bits": [0, 1],
    "text": "hé",
    "tail": b"end",
}


def written(values: dict[str, object]) -> bytes:
    writer = BitWriter()
    EXAMPLE.write(writer, values)
    return writer.getvalue()


def test_one_declaration_writes_reads_lists_and_documents() -> None:
    read = EXAMPLE.read(BitReader(written(VALUES)))
    expected = {**VALUES, "double": -4, "items": [{"x": 4, "y": 0}, {"x": 1, "y": 9}]}
    assert {name: read[name] for name in expected} == expected
    listed = {line.name: line.value for line in EXAMPLE.list(read)}
    assert listed["items[1].y"] == 9
    assert "items[0].y" not in listed
    assert "double" not in listed
    text = render(EXAMPLE)
    assert "| `value` | `u(width)` |  | `flag` |" in text
    assert "-3 to 3" in text


def test_absent_fields_are_inferred() -> None:
    read = EXAMPLE.read(BitReader(written({})))
    assert (read["width"], read["text"], read["tail"], read["items"]) == (0, "", b"", [])


@pytest.mark.parametrize("change", [{"offset": 4}, {"width": 0}, {"n": 5}, {"value": 8}])
def test_values_out_of_range_are_not_written(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"allowed|fit"):
        written({**VALUES, **change})


def test_values_out_of_range_are_not_read() -> None:
    with pytest.raises(DamagedStream, match="offset is 4"):
        EXAMPLE.read(BitReader(bytes([0b00001000, 0])))
    with pytest.raises(UnsupportedStream, match="three"):
        EXAMPLE.read(BitReader(bytes([0b00011000, 0])))
    with pytest.raises(LimitExceeded, match="items"):
        EXAMPLE.read(BitReader(bytes([0b01000000, 0b10000000, 0, 0])[:1] + b"\x01\x80" + b"\0" * 4))


def test_the_format_page_names_every_structure() -> None:
    text = render_all()
    for name in (
        "stream_header",
        "key_slice",
        "period_hash",
        "nn_post_filter_characteristics",
        "slice_header",
    ):
        assert f"### `{name}`" in text
