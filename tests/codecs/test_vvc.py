import io
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.bitstream.nal import NalUnitType, join_annex_b, split_annex_b
from nnvvc.bitstream.payload import PeriodEnd, read_payload
from nnvvc.codecs import codec_of
from nnvvc.codecs.vvc import mux
from nnvvc.errors import (
    DamagedStream,
    InputError,
    PictureMismatch,
    StreamError,
    ToolError,
    TruncatedStream,
    UnsupportedStream,
)
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    coded_format,
    decoder,
    encoder,
    to_coded,
)
from tools.content import clip

FRAMES = 12


def _options(**changes: object) -> EncodeOptions:
    settings = VvcSettings(qp=30, preset="faster", intra_period=8, threads=1)
    return EncodeOptions(codec="vvc", vvc=settings, **changes)  # type: ignore[arg-type]


def _encoded(fmt: PictureFormat, **changes: object) -> bytes:
    video = VideoFormat(fmt, Fraction(30000, 1001), FRAMES)
    return b"".join(encode_frames(clip(fmt, FRAMES), video, _options(**changes)))


@pytest.fixture(scope="module")
def stream() -> bytes:
    return _encoded(PictureFormat(96, 64))


def _nals(stream: bytes) -> list[bytes]:
    return list(split_annex_b([stream]))


def _type(nal: bytes) -> int:
    return nal[1] >> 3


def _psnr(first: Iterable[Picture], second: Iterable[Picture], bit_depth: int) -> float:
    errors = [
        np.mean((p.astype(float) - q) ** 2)
        for a, b in zip(first, second, strict=True)
        for p, q in zip(a.planes, b.planes, strict=True)
    ]
    return float(10 * np.log10(((1 << bit_depth) - 1) ** 2 / np.mean(errors)))


@pytest.mark.parametrize(
    "fmt",
    [
        PictureFormat(96, 64),
        PictureFormat(67, 41, 10, matrix=Matrix.BT709),
        PictureFormat(40, 40, 8, Chroma.C400),
        PictureFormat(48, 34, 8, full_range=True),
        PictureFormat(5, 3),
    ],
)
def test_pictures_and_their_format_survive(fmt: PictureFormat) -> None:
    video = decode_chunks([_encoded(fmt)])
    assert video.format == VideoFormat(fmt, Fraction(30000, 1001), FRAMES)
    # A few pixels among padding are coded worse.
    assert _psnr(video, clip(fmt, FRAMES), fmt.bit_depth) > (30 if fmt.width > 8 else 25)


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(3, 4), Fraction(1, 4)])
def test_coded_scale_is_undone(scale: Fraction) -> None:
    fmt = PictureFormat(130, 98)
    stream = _encoded(fmt, scale=scale)
    assert len(stream) < len(_encoded(fmt))
    video = decode_chunks([stream])
    assert video.format.picture == fmt
    assert _psnr(video, clip(fmt, FRAMES), 8) > 15


def test_coded_pictures_are_those_of_the_stock_decoder(stream: bytes) -> None:
    exported = b"".join(codec_of(Pipeline.VVC).export(Demuxer([stream])))
    coded = CodedFormat(coded_format(PictureFormat(96, 64)))
    expected = [p.tobytes() for p in decoder("ffmpeg").decode([exported], coded, DecoderSettings())]
    ours = [p.tobytes() for p in decode_chunks([stream], DecodeOptions(coded=True))]
    assert ours == expected
    assert len(ours) == FRAMES


def test_the_container_costs_little(stream: bytes) -> None:
    exported = b"".join(codec_of(Pipeline.VVC).export(Demuxer([stream])))
    assert len(stream) - len(exported) <= 300


def test_our_streams_play_as_they_are(stream: bytes) -> None:
    coded = CodedFormat(coded_format(PictureFormat(96, 64)))
    for name in ("ffmpeg", "pyav"):
        assert len(list(decoder(name).decode([stream], coded, DecoderSettings()))) == FRAMES


@pytest.mark.parametrize("size", [1, 7, 100, 10**9])
def test_any_chunking_decodes_the_same(stream: bytes, size: int) -> None:
    file = io.BytesIO(stream)
    chunks = iter(lambda: file.read(size), b"")
    expected = [p.tobytes() for p in decode_chunks([stream])]
    assert [p.tobytes() for p in decode_chunks(chunks)] == expected


def test_streams_of_other_makers_decode(stream: bytes) -> None:
    foreign = join_annex_b(n for n in _nals(stream) if _type(n) < 28)
    video = decode_chunks([foreign])
    assert video.format.picture == PictureFormat(96, 64, 10)
    ours = decode_chunks([stream], DecodeOptions(coded=True))
    assert [p.tobytes() for p in video] == [p.tobytes() for p in ours]


def test_each_period_has_a_hash_and_a_wrong_one_is_named(stream: bytes) -> None:
    nals = _nals(stream)
    hashes = [i for i, n in enumerate(nals) if _type(n) == NalUnitType.PERIOD_HASH]
    assert len(hashes) == 2
    ends = [PeriodEnd.frombytes(read_payload(nals[i])[1]) for i in hashes]
    assert [(e.number, e.last) for e in ends] == [(0, False), (1, True)]
    nals[hashes[0]] = replace(ends[0], samples_crc32=ends[1].samples_crc32).write()
    with pytest.raises((PictureMismatch, DamagedStream), match="pictures 0 to"):
        list(decode_chunks([join_annex_b(nals)]))
    assert len(list(decode_chunks([join_annex_b(nals)], DecodeOptions(verify=False)))) == FRAMES
    video = decode_chunks([join_annex_b(nals)], DecodeOptions(conceal=True))
    assert len(list(video)) == FRAMES
    assert "pictures 0 to" in video.notes[0]


def test_a_lost_picture_is_noticed(stream: bytes) -> None:
    nals = _nals(stream)
    last = max(i for i, n in enumerate(nals) if _type(n) <= NalUnitType.RASL)
    with pytest.raises((StreamError, ToolError)):
        list(decode_chunks([join_annex_b(nals[:last] + nals[last + 1 :])]))


def test_a_stream_cut_before_its_last_hash_is_truncated(stream: bytes) -> None:
    nals = _nals(stream)
    with pytest.raises(TruncatedStream, match="hash before it is missing"):
        list(decode_chunks([join_annex_b(nals[:-1])]))


def test_a_header_for_other_pictures_is_damage(stream: bytes) -> None:
    nals = _nals(stream)
    at = next(i for i, n in enumerate(nals) if _type(n) == NalUnitType.PAYLOAD)
    nals[at] = StreamHeader(Pipeline.VVC, VideoFormat(PictureFormat(196, 64))).write()
    with pytest.raises(DamagedStream, match="196x64"):
        decode_chunks([join_annex_b(nals)])


def test_a_picture_size_that_changes_is_refused(stream: bytes) -> None:
    other = join_annex_b(n for n in _nals(_encoded(PictureFormat(64, 64))) if _type(n) < 28)
    with pytest.raises(UnsupportedStream, match="changes"):
        list(decode_chunks([stream, other]))


@pytest.mark.parametrize("kind", ["md5", "crc"])
def test_standard_hashes_can_be_added(kind: str, stream: bytes) -> None:
    hashed = _encoded(PictureFormat(96, 64), picture_hash=kind)
    suffixes = [n for n in _nals(hashed) if _type(n) == NalUnitType.SUFFIX_SEI]
    assert len(suffixes) == FRAMES
    assert [p.tobytes() for p in decode_chunks([hashed])] == [p.tobytes() for p in decode_chunks([stream])]


@pytest.mark.tool
@pytest.mark.parametrize("name", ["vvencapp", "vtm"])
def test_streams_of_other_encoders_pass_through(name: str) -> None:
    from tests.vvc.test_tools import _skip_unless_there

    tool = encoder(name)
    _skip_unless_there(tool.version)
    fmt = PictureFormat(71, 49)
    coded = coded_format(fmt)
    frames = [to_coded(p, coded) for p in clip(fmt, 5)]
    settings = VvcSettings(qp=37, preset="faster", threads=1)
    chunks = list(tool.encode(frames, coded, Fraction(25), settings))
    stream = b"".join(mux(chunks, StreamHeader(Pipeline.VVC, VideoFormat(fmt, Fraction(25)))))
    assert len(list(decode_chunks([stream]))) == 5
    assert len(list(decode_chunks(chunks))) == 5


def test_the_coded_scale_can_be_left_open() -> None:
    for purpose, scale in (("machines", Fraction(1, 2)), ("people", Fraction(1))):
        stream = _encoded(PictureFormat(64, 64), scale=None, purpose=purpose)
        header = Demuxer([stream]).header
        assert header is not None and header.scale == scale


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="no pictures"):
        list(encode_frames([], VideoFormat(PictureFormat(64, 64)), _options()))
