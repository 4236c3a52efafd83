"""The hybrid pipeline around a small deterministic picture codec."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import ModelReference
from nnvvc.bitstream.key_slice import PictureCodec
from nnvvc.bitstream.nal import NalUnitType
from nnvvc.bitstream.payload import PayloadKind
from nnvvc.codecs.hybrid import HybridCodec
from nnvvc.codecs.key_pictures import ChosenKeys, CodedKey, DecodedKey, IntraKeys, KeyPictureCoder
from nnvvc.errors import ConfigError, DamagedStream, StreamError
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import Gop, VvcSettings
from tests.bitstream.conftest import decode as decode_by_ffmpeg
from tests.bitstream.conftest import moving_picture


class Coarse(KeyPictureCoder):
    """Samples at half size, quantised by the QP and deflated."""

    models = (ModelReference(1000, b"test"),)

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        step = 8 + qp
        levels = [(p[::2, ::2] // step).astype(np.uint8) for p in picture.planes]
        data = bytes([qp]) + zlib.compress(b"".join(level.tobytes() for level in levels))
        found = self.decode(PictureCodec.LEARNED, data, picture.format)
        return CodedKey(PictureCodec.LEARNED, data, found.picture)

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
        try:
            levels = np.frombuffer(zlib.decompress(data[1:]), np.uint8).astype(np.uint16)
        except zlib.error as error:
            raise DamagedStream("not deflated") from error
        step, planes, start = 8 + data[0], [], 0
        for height, width in fmt.plane_shapes:
            rows, columns = (height + 1) // 2, (width + 1) // 2
            small = levels[start : start + rows * columns].reshape(rows, columns) * step + step // 2
            large = small.repeat(2, 0).repeat(2, 1)[:height, :width]
            planes.append(np.minimum(large, 1023).astype(np.uint16))
            start += rows * columns
        picture = Picture(tuple(planes), fmt)
        return DecodedKey(picture, picture)


def codec(coder: KeyPictureCoder) -> HybridCodec:
    return HybridCodec(lambda *_: coder, lambda _: coder)


CODEC = codec(Coarse())


Video = tuple[list[Picture], VideoFormat]


def video(frames: int, width: int = 120, height: int = 72, bit_depth: int = 8) -> Video:
    fmt = PictureFormat(width, height, 10)
    pictures = [moving_picture(i, fmt).with_bit_depth(bit_depth) for i in range(frames)]
    return pictures, VideoFormat(pictures[0].format, Fraction(25), frames)


def encode(
    frames: list[Picture], fmt: VideoFormat, coder: HybridCodec = CODEC, gop: Gop = "ra", **options: Any
) -> bytes:
    vvc = VvcSettings(37, "faster", 1 if gop == "ai" else 16, gop, threads=1)
    chosen = EncodeOptions(codec="hybrid", vvc=vvc, **options)
    return b"".join(coder.encode(iter(frames), fmt, chosen))


def decoded(stream: bytes, coder: HybridCodec = CODEC, *, coded: bool = False) -> list[Picture]:
    return list(coder.decode(Demuxer([stream]), DecodeOptions(coded=coded)))


def exported(stream: bytes, coder: HybridCodec = CODEC) -> bytes:
    return b"".join(coder.export(Demuxer([stream])))


def mean_error(a: Picture, b: Picture) -> float:
    return float(np.mean([np.abs(x.astype(int) - y).mean() for x, y in zip(a.planes, b.planes, strict=True)]))


def assert_same(a: list[Picture], b: list[Picture]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("gop", ["ra", "ra-closed", "ld"])
def test_hybrid_video_decodes_to_what_its_export_is(gop: Gop, tmp_path: Path) -> None:
    frames, fmt = video(37)
    stream = encode(frames, fmt, gop=gop)
    units = list(Demuxer([stream]))
    keys = [u for u in units if u.payload(PayloadKind.KEY_SLICE) is not None]
    assert len(keys) == 3
    assert not any(n[1] >> 3 in (7, 8, 9) for u in units for n in u.nals)
    if gop == "ra":
        assert [k.type for k in keys[1:]] == [NalUnitType.CRA] * 2
    shown = decoded(stream, coded=True)
    assert_same(shown, decode_by_ffmpeg(exported(stream), replace(fmt.picture, bit_depth=10), tmp_path))
    restored = decoded(stream)
    assert all(p.format == fmt.picture for p in restored)
    assert max(mean_error(a, b) for a, b in zip(frames, restored, strict=True)) < 16


def test_the_golden_stream_decodes_as_ever() -> None:
    """Made by version 1 of the format; a change here is a change of the format."""
    stream = (Path(__file__).parent / "golden" / "hybrid_v1.bin").read_bytes()
    digest = hashlib.sha256(b"".join(p.tobytes() for p in decoded(stream, coded=True)))
    assert digest.hexdigest() == "d45875689f01e3b45f23c32081409af376ea7855402a894fa73279f65936eb66"


def test_key_pictures_are_the_learned_ones() -> None:
    frames, fmt = video(20)
    shown = decoded(encode(frames, fmt), coded=True)
    for index in (0, 16):
        learned = Coarse().encode(frames[index].with_bit_depth(10), 34).picture
        for seen, expected in zip(shown[index].planes, learned.planes, strict=True):
            assert np.abs(seen.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("size", "scale"),
    [((119, 71), Fraction(1)), ((150, 98), Fraction(1, 2)), ((33, 200), Fraction(3, 4))],
)
def test_any_size_and_scale(size: tuple[int, int], scale: Fraction) -> None:
    frames, fmt = video(3, *size)
    shown = decoded(encode(frames, fmt, scale=scale))
    assert [p.format for p in shown] == [fmt.picture] * 3
    assert mean_error(shown[0], frames[0]) < 50


def test_one_picture_and_all_intra(tmp_path: Path) -> None:
    cases: tuple[tuple[int, Gop], ...] = ((1, "ra"), (3, "ai"))
    for count, gop in cases:
        frames, fmt = video(count)
        stream = encode(frames, fmt, gop=gop)
        shown = decoded(stream, coded=True)
        assert_same(shown, decode_by_ffmpeg(exported(stream), replace(fmt.picture, bit_depth=10), tmp_path))
        assert len(shown) == count


def test_groups_side_by_side_make_the_same_stream() -> None:
    frames, fmt = video(37)
    alone = encode(frames, fmt, gop="ra-closed")
    assert encode(frames, fmt, gop="ra-closed", workers=2) == alone


def test_key_pictures_of_noise_need_a_coarser_step() -> None:
    """What would overflow the encoder's buffer is rounded; a change of step begins a new segment."""

    class Exact(Coarse):
        def encode(self, picture: Picture, qp: int) -> CodedKey:
            data = zlib.compress(picture.tobytes())
            return CodedKey(PictureCodec.LEARNED, data, picture)

        def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
            return DecodedKey(Picture.frombytes(zlib.decompress(data), fmt))

    frames, fmt = video(20, bit_depth=10)
    slopes = (np.fromfunction(lambda y, x: 200 + 2 * x + y, p.shape) for p in frames[0].planes)
    ramp = tuple(slope.astype(np.uint16) for slope in slopes)
    frames = [Picture(ramp, fmt.picture)] * 20
    rng = np.random.default_rng(1)
    frames[16] = Picture(
        tuple(rng.integers(200, 300, p.shape).astype(np.uint16) for p in frames[16].planes), fmt.picture
    )
    exact = codec(Exact())
    shown = decoded(encode(frames, fmt, exact), exact, coded=True)
    assert mean_error(shown[0], frames[0]) == 0
    assert 0 < mean_error(shown[16], frames[16]) <= 4


def test_vvc_intra_as_the_coder_of_key_pictures() -> None:
    frames, fmt = video(18)
    settings = VvcSettings(37, "faster", 16, threads=1)
    intra = codec(IntraKeys(settings, fmt.fps))
    stream = encode(frames, fmt, intra)
    assert mean_error(decoded(stream, intra)[0], frames[0]) < 12
    # Parameter sets are sent once, and put back at each key picture on export.
    assert stream.count(b"\0\0\0\1\0\x79") == 1
    assert exported(stream, intra).count(b"\0\0\0\1\0\x79") == 2


def test_the_better_coder_is_chosen_for_each_picture() -> None:
    class Grey(Coarse):
        def encode(self, picture: Picture, qp: int) -> CodedKey:
            return super().encode(picture, 63)

    picture = video(1, bit_depth=10)[0][0]
    good, poor = Coarse().encode(picture, 20), Grey().encode(picture, 20)
    for coders in ((Coarse(), Grey()), (Grey(), Coarse())):
        assert ChosenKeys(*coders).encode(picture, 20).data == good.data
    assert good.data != poor.data


def test_full_effort_keeps_the_key_picture_that_its_group_is_best_with() -> None:
    """By itself the costly one is worse; the pictures after it, which are the same, pay for it."""

    class Costly(Coarse):
        def encode(self, picture: Picture, qp: int) -> CodedKey:
            return super().encode(picture, 0)

    class Cheap(Coarse):
        def encode(self, picture: Picture, qp: int) -> CodedKey:
            return super().encode(picture, 120)

    frames, fmt = video(1)
    frames = frames * 12
    coder = codec(ChosenKeys(Costly(), Cheap()))
    streams = [encode(frames, fmt, coder, effort=effort) for effort in ("normal", "full")]
    shown = [decoded(stream, coder) for stream in streams]
    assert len(shown[0]) == len(shown[1]) == 12
    errors = [np.mean([mean_error(a, b) for a, b in zip(s, frames, strict=True)]) for s in shown]
    assert errors[1] < errors[0]
    assert streams[0] != streams[1]


def test_damage_to_a_key_picture_is_an_error_or_concealed() -> None:
    frames, fmt = video(40)
    stream = encode(frames, fmt)
    second = [u for u in Demuxer([stream]) if u.irap][1]
    nal = next(n for n in second.nals if n[1] >> 3 == NalUnitType.PAYLOAD)
    broken = stream.replace(nal, nal[:-9] + bytes([nal[-9] ^ 0x55]) + nal[-8:])
    with pytest.raises(StreamError):
        decoded(broken)
    demuxer = Demuxer([broken], tolerant=True)
    result = CODEC.decode(demuxer, DecodeOptions(conceal=True))
    # Of the three groups the second is lost, with the leading pictures of the third.
    whole = decoded(stream)
    assert_same(list(result), [whole[i] for i in (0, *range(32, 40))])
    assert len(result.notes) == 1
    assert "left out" in result.notes[0]


@pytest.mark.parametrize("gop", ["ra", "ra-closed"])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_group_is_an_error_or_passed_over(gop: Gop, lost: int) -> None:
    frames, fmt = video(57)
    stream = encode(frames, fmt, gop=gop)
    units = list(Demuxer([stream]))
    starts = [i for i, u in enumerate(units) if u.irap] + [len(units)]
    assert len(starts) == 5
    groups = [b"".join(u.tobytes() for u in units[a:b]) for a, b in pairwise(starts)]
    broken = b"".join(groups[:lost] + groups[lost + 1 :])
    with pytest.raises(StreamError, match="missing"):
        decoded(broken)
    shown = CODEC.decode(Demuxer([broken], tolerant=True), DecodeOptions(conceal=True, coded=True))
    pictures = list(shown)
    assert len(shown.notes) == 1
    assert "missing" in shown.notes[0]
    whole = decoded(stream, coded=True)
    after = 16 * (lost + 1)
    if gop == "ra":
        # The pictures between two key pictures belong to the second one's group, and need the first.
        kept = [*range(16 * lost - 15), *(range(after, 57) if lost < 3 else ())]
    else:
        kept = [*range(16 * lost), *range(after, 57)]
    assert_same(pictures, [whole[i] for i in kept])


def test_streams_are_made_as_they_come() -> None:
    """The first period is written before the last frames are asked for."""
    frames, fmt = video(16)
    asked = 0

    def endless() -> Iterator[Picture]:
        nonlocal asked
        for index in range(16 * 6):
            asked = index
            yield frames[index % 16]

    options = EncodeOptions(codec="hybrid", vvc=VvcSettings(45, "faster", 16, "ra-closed", 1))
    stream = CODEC.encode(endless(), fmt, options)
    next(stream)
    assert asked < 16 * 5
    for _ in stream:
        pass
    assert asked == 16 * 6 - 1


def test_what_cannot_be_had_is_named() -> None:
    frames, fmt = video(1)
    with pytest.raises(ConfigError, match="VVenC"):
        encode(frames, fmt, encoder="vtm")
