"""Streams cut and joined at groups that stand alone: the pictures are the same ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from nnvvc import cut, decode_chunks, join
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.groups import group_sizes
from nnvvc.errors import ConfigError, InputError, NnvvcError
from nnvvc.options import EncodeOptions
from nnvvc.picture import Picture
from nnvvc.vvc.tools import Gop, VvcSettings
from tests.codecs.test_hybrid import assert_same, decoded, encode, video

FRAMES = 21


def stream_of(codec: str, gop: Gop, qp: int = 37) -> bytes:
    frames, fmt = video(FRAMES)
    if codec == "hybrid":
        return encode(frames, fmt, gop=gop)
    from nnvvc import encode_frames

    options = EncodeOptions(codec="vvc", vvc=VvcSettings(qp, "faster", 8, gop, threads=1))
    return b"".join(encode_frames(frames, fmt, options))


def pictures(codec: str, path: Path) -> list[Picture]:
    stream = path.read_bytes()
    return decoded(stream) if codec == "hybrid" else list(decode_chunks([stream]))


@pytest.mark.parametrize("codec", ["vvc", "hybrid"])
def test_parts_are_the_whole(codec: str, tmp_path: Path) -> None:
    whole, head, tail, again = (tmp_path / f"{n}.bin" for n in ("whole", "head", "tail", "again"))
    whole.write_bytes(stream_of(codec, "ra-closed"))
    sizes = group_sizes(Demuxer([whole.read_bytes()]))
    assert len(sizes) > 1
    assert sum(sizes) == FRAMES
    assert cut(whole, head, 0, 1).pictures == sizes[0]
    assert cut(whole, tail, 1).pictures == FRAMES - sizes[0]
    shown = pictures(codec, whole)
    assert_same(pictures(codec, head), shown[: sizes[0]])
    assert_same(pictures(codec, tail), shown[sizes[0] :])
    report = join([head, tail], again)
    assert report.pictures == report.format.frames == FRAMES
    assert again.read_bytes() == whole.read_bytes()
    join([tail, head], again)
    assert_same(pictures(codec, again), shown[sizes[0] :] + shown[: sizes[0]])
    header = Demuxer([again.read_bytes()]).header
    assert header is not None and header.source.frames == FRAMES


def test_open_groups_are_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.bin"
    whole.write_bytes(stream_of("vvc", "ra"))
    assert group_sizes(Demuxer([whole.read_bytes()])) == [FRAMES]
    with pytest.raises(ConfigError, match="none of the 1"):
        cut(whole, tmp_path / "x.bin", 1)
    with pytest.raises(ConfigError, match="ra-closed"):
        cut(whole, tmp_path / "x.bin", 0, 2)
    assert list(tmp_path.iterdir()) == [whole]


def test_only_streams_of_a_kind_are_joined(tmp_path: Path) -> None:
    first, other = tmp_path / "a.bin", tmp_path / "b.bin"
    data = stream_of("vvc", "ra-closed")
    first.write_bytes(data)
    stream = Demuxer([data])
    assert stream.header is not None
    header = replace(stream.header, source=replace(stream.header.source, fps=stream.header.source.fps * 2))
    other.write_bytes(data.replace(stream.header.write(), header.write()))
    for sources, error in (
        ([first, other], ConfigError),
        ([], ConfigError),
        ([first, tmp_path / "c"], InputError),
    ):
        with pytest.raises(error):
            join(sources, tmp_path / "x.bin")
    other.write_bytes(data[: len(data) // 2])
    with pytest.raises(NnvvcError):
        join([first, other], tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()
