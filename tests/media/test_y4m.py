import contextlib
import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.errors import InputError, NnvvcError
from nnvvc.media import y4m
from nnvvc.picture import Chroma, ChromaSiting, PictureFormat, VideoFormat
from tools.content import clip


def _file(header: str, frames: bytes = b"") -> io.BytesIO:
    return io.BytesIO(header.encode() + b"\n" + frames)


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    bit_depth=st.sampled_from([8, 10, 12]),
    chroma=st.sampled_from(list(Chroma)),
    full_range=st.booleans(),
    fps=st.fractions(Fraction(1, 100), 240, max_denominator=1001),
)
def test_what_is_written_is_read(
    width: int, height: int, bit_depth: int, chroma: Chroma, full_range: bool, fps: Fraction
) -> None:
    fmt = PictureFormat(width, height, bit_depth, chroma, full_range=full_range)
    pictures = list(clip(fmt, 2))
    file = io.BytesIO()
    file.write(y4m.write_header(VideoFormat(fmt, fps)))
    for picture in pictures:
        y4m.write_frame(file, picture)
    file.seek(0)
    header = y4m.read_header(file)
    read = list(y4m.read_frames(file, header))
    assert header.video.fps == fps
    assert (header.video.picture.full_range, header.video.picture.bit_depth) == (full_range, bit_depth)
    assert len(read) == 2
    for a, b in zip(read, pictures, strict=True):
        for p, q in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize(
    ("tag", "siting"),
    [
        ("C420jpeg", ChromaSiting.CENTER),
        ("C420mpeg2", ChromaSiting.LEFT),
        ("C420paldv", ChromaSiting.TOP_LEFT),
        ("C420", ChromaSiting.UNSPECIFIED),
        ("", ChromaSiting.UNSPECIFIED),
    ],
)
def test_siting_is_read(tag: str, siting: ChromaSiting) -> None:
    header = y4m.read_header(_file(f"YUV4MPEG2 W6 H4 F25:1 Ip A0:0 {tag}"))
    assert header.video.picture.siting is siting


@pytest.mark.parametrize(("tag", "across", "down"), [("422", 2, 1), ("444", 1, 1), ("422p10", 2, 1)])
def test_denser_chroma_is_brought_to_420(tag: str, across: int, down: int) -> None:
    wide = 2 if tag.endswith("p10") else 1
    chroma = -(-5 // across) * -(-3 // down)
    frame = b"FRAME\n" + bytes([100, 0][:wide]) * 15 + bytes([50, 0][:wide]) * (2 * chroma)
    file = _file(f"YUV4MPEG2 W5 H3 F25:1 C{tag}", frame)
    header = y4m.read_header(file)
    (picture,) = y4m.read_frames(file, header)
    assert header.converted is not None
    assert picture.planes[1].shape == (2, 3)
    assert set(np.unique(picture.planes[1])) == {50}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "RIFF",
        "YUV4MPEG2 W0 H4",
        "YUV4MPEG2 Wx H4",
        "YUV4MPEG2 W4 H4 C411",
        "YUV4MPEG2 W4 H4 F1",
        "YUV4MPEG2",
    ],
)
def test_other_headers_are_refused(header: str) -> None:
    with pytest.raises(InputError):
        y4m.read_header(_file(header))


def test_a_file_cut_inside_a_frame_is_refused() -> None:
    file = _file("YUV4MPEG2 W4 H4 F25:1", b"FRAME\n" + bytes(20))
    header = y4m.read_header(file)
    with pytest.raises(InputError, match="frame 0"):
        list(y4m.read_frames(file, header))


@given(st.binary(max_size=200))
def test_any_bytes_give_pictures_or_our_error(data: bytes) -> None:
    file = io.BytesIO(b"YUV4MPEG2 " + data)
    with contextlib.suppress(NnvvcError):
        list(y4m.read_frames(file, y4m.read_header(file)))
