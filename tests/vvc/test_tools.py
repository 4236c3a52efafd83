import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnvvc.errors import ConfigError, ToolFailed, ToolMissing
from nnvvc.picture import Chroma, PictureFormat
from nnvvc.vvc.tools import (
    DECODERS,
    ENCODERS,
    GOPS,
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    coded_format,
    decoder,
    encoder,
    ffmpeg,
    from_coded,
    to_coded,
)
from tools.content import clip

FORMAT = PictureFormat(72, 48, 10)


def _settings(**changes: object) -> VvcSettings:
    return VvcSettings(qp=37, preset="faster", threads=1, **changes)  # type: ignore[arg-type]


def _decoded(name: str, stream: bytes, fmt: PictureFormat = FORMAT) -> list[bytes]:
    settings = DecoderSettings(threads=2)
    return [p.tobytes() for p in decoder(name).decode([stream], CodedFormat(fmt), settings)]


@pytest.mark.parametrize("gop", GOPS)
def test_every_gop_makes_a_stream_that_both_default_decoders_agree_on(gop: str) -> None:
    frames = list(clip(FORMAT, 10))
    stream = b"".join(encoder().encode(frames, FORMAT, Fraction(25), _settings(gop=gop, intra_period=8)))
    first = _decoded("ffmpeg", stream)
    assert len(first) == 10
    assert first == _decoded("pyav", stream)


@pytest.mark.tool
@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "ffmpeg"])
def test_other_encoders(name: str) -> None:
    _skip_unless_there(encoder(name).version)
    frames = list(clip(FORMAT, 3))
    stream = b"".join(encoder(name).encode(frames, FORMAT, Fraction(25), _settings()))
    assert len(_decoded("ffmpeg", stream)) == 3


@pytest.mark.tool
@pytest.mark.parametrize("name", [n for n in DECODERS if n not in ("ffmpeg", "pyav")])
def test_other_decoders_agree(name: str) -> None:
    _skip_unless_there(decoder(name).version)
    stream = b"".join(encoder().encode(list(clip(FORMAT, 5)), FORMAT, Fraction(25), _settings()))
    assert _decoded(name, stream) == _decoded("ffmpeg", stream)


def _skip_unless_there(version: object) -> None:
    try:
        version()  # type: ignore[operator]
    except ToolMissing as error:
        pytest.skip(str(error))


def test_perceptual_adaptation_is_off_and_parameters_pass_through() -> None:
    command = encoder().command(FORMAT, Fraction(25), _settings(params={"MCTF": "0", "IntraPeriod": "7"}))
    assert command[command.index("-qpa") + 1] == "0"
    params = command[command.index("-vvenc-params") + 1].split(":")
    assert {"MCTF=0", "IntraPeriod=7", "POC0IDR=1", "MTProfile=0"} <= set(params)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (64, 64), (31, 40)])
@pytest.mark.parametrize("chroma", list(Chroma))
def test_padding_is_undone(size: tuple[int, int], chroma: Chroma) -> None:
    source = PictureFormat(*size, 8, chroma)
    (picture,) = clip(source, 1)
    coded = coded_format(source)
    assert coded.width % 2 == coded.height % 2 == 0
    there = to_coded(picture, coded)
    assert there.format == coded
    back = from_coded(there, source)
    assert all(np.array_equal(p, q) for p, q in zip(back.planes, picture.planes, strict=True))


@pytest.mark.parametrize(
    "changes", [{"qp": 64}, {"preset": "x"}, {"gop": "x"}, {"threads": 0}, {"intra_period": -1}]
)
def test_settings_are_checked(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        VvcSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("failures", "kept"), [(1, ffmpeg.KEPT_BYTES), (2, ffmpeg.KEPT_BYTES), (1, 1000)])
def test_an_encoder_that_wrote_nothing_is_asked_once_more(
    failures: int, kept: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool, calls = tmp_path / "ffmpeg", tmp_path / "calls"
    real = ffmpeg.ffmpeg_path()
    tool.write_text(
        f"#!/bin/sh\necho >> {calls}\n"
        f'[ $(wc -l < {calls}) -gt {failures} ] && exec {real} "$@"\ncat > /dev/null\n'
    )
    tool.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: str(tool))
    monkeypatch.setattr(ffmpeg, "KEPT_BYTES", kept)
    chunks = encoder().encode(clip(FORMAT, 3), FORMAT, Fraction(25), _settings(gop="ai"))
    if failures == 1 and kept > 1000:
        stream = b"".join(chunks)
        assert len(calls.read_text()) == 2
        assert len(_decoded("ffmpeg", stream)) == 3
    else:
        with pytest.raises(ToolFailed, match="without a stream"):
            list(chunks)
        assert len(calls.read_text()) == failures


def test_unknown_and_missing_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError):
        decoder("x")
    monkeypatch.setenv("NNVVC_VVDECAPP", os.devnull + "x")
    with pytest.raises(ToolMissing, match="NNVVC_VVDECAPP"):
        decoder("vvdecapp").version()
