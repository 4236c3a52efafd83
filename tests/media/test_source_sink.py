from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnvvc.errors import ConfigError, InputError, OutputError
from nnvvc.media import open_sink, open_source
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat, VideoFormat
from tools.content import clip


def _write(path: Path, fmt: PictureFormat, frames: int = 3, fps: Fraction = Fraction(25)) -> list[Picture]:
    pictures = list(clip(fmt, frames))
    with open_sink(path, VideoFormat(fmt, fps, frames)) as sink:
        for picture in pictures:
            sink.write(picture)
    return pictures


def _same(first: Picture, second: Picture) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(first.planes, second.planes, strict=True))


@pytest.mark.parametrize("name", ["a.y4m", "a.mkv", "a.mp4"])
@pytest.mark.parametrize(
    "fmt",
    [
        PictureFormat(34, 22, 8),
        PictureFormat(35, 23, 10, matrix=Matrix.BT709),
        PictureFormat(32, 16, 8, Chroma.C400),
        PictureFormat(32, 16, 8, full_range=True),
    ],
)
def test_lossless_outputs_are_read_back(tmp_path: Path, name: str, fmt: PictureFormat) -> None:
    if name == "a.mp4" and fmt.width % 2:
        pytest.skip("H.264 in mp4 needs even sizes")
    pictures = _write(tmp_path / name, fmt, fps=Fraction(30000, 1001))
    with open_source(tmp_path / name) as source:
        assert source.format.fps == Fraction(30000, 1001)
        assert source.format.picture.full_range == fmt.full_range
        read = list(source)
    assert len(read) == len(pictures)
    assert all(_same(a.with_chroma(fmt.chroma), b) for a, b in zip(read, pictures, strict=True))
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_raw_video_needs_its_size(tmp_path: Path) -> None:
    pictures = _write(tmp_path / "a.yuv", PictureFormat(18, 10, 10))
    with pytest.raises(ConfigError, match="--size"):
        open_source(tmp_path / "a.yuv")
    with open_source(tmp_path / "a.yuv", size="18x10", pix_fmt="yuv420p10le") as source:
        assert source.format.frames == 3
        assert all(_same(a, b) for a, b in zip(source, pictures, strict=True))
    with (
        pytest.raises(InputError, match="--size"),
        open_source(tmp_path / "a.yuv", size="18x12", pix_fmt="yuv420p10le") as source,
    ):
        list(source)


def test_a_numbered_sequence_goes_out_and_in(tmp_path: Path) -> None:
    _write(tmp_path / "f_%03d.png", PictureFormat(20, 12, 10, matrix=Matrix.BT709))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f_001.png", "f_002.png", "f_003.png"]
    with open_source(tmp_path / "f_%03d.png") as source:
        assert source.format.frames == 3
        assert not source.format.still
        assert len(list(source)) == 3


def test_pictures_of_a_sequence_have_one_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "f1.png"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "f2.png"), np.zeros((6, 4, 3), np.uint8))
    with pytest.raises(InputError, match="f2"), open_source(tmp_path / "f%d.png") as source:
        list(source)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (7, 5)])
def test_pictures_survive_the_conversion(tmp_path: Path, shape: tuple[int, ...]) -> None:
    smooth = np.linspace(20, 230, int(np.prod(shape))).reshape(shape).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), smooth)
    with open_source(tmp_path / "a.png") as source:
        assert source.format.still
        (picture,) = source
        with open_sink(tmp_path / "b.png", source.format) as sink:
            sink.write(picture)
    read = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert read.shape == shape
    if len(shape) == 2:
        np.testing.assert_array_equal(read, smooth)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.y4m", "a.mp4", "a.bin"])
@pytest.mark.parametrize("data", [b"", b"garbage" * 10, b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_bad_files_are_our_errors(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError), open_source(tmp_path / name) as source:
        list(source)


def test_a_missing_file_is_our_error(tmp_path: Path) -> None:
    for name in ("a.y4m", "a.png", "a.mp4", "a_%d.png"):
        with pytest.raises(InputError):
            open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["a.y4m", "a.yuv", "a.png", "a.mkv", "a_%d.png"])
def test_nothing_is_left_after_a_failure(tmp_path: Path, name: str) -> None:
    fmt = PictureFormat(32, 16)
    with pytest.raises(RuntimeError), open_sink(tmp_path / name, VideoFormat(fmt)) as sink:
        sink.write(next(clip(fmt, 1)))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_are_our_errors(tmp_path: Path) -> None:
    video = VideoFormat(PictureFormat(32, 16))
    with pytest.raises(ConfigError):
        open_sink(tmp_path / "a.xyz", video)
    with pytest.raises(OutputError):
        open_sink(tmp_path / "missing" / "a.y4m", video)
    picture = next(clip(video.picture, 1))
    with pytest.raises(OutputError, match="one picture"), open_sink(tmp_path / "a.png", video) as sink:
        sink.write(picture)
        sink.write(picture)
