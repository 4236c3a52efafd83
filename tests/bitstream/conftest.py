"""Real VVC streams, made once: small clips through the VVenC of the FFmpeg wheel."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from nnvvc.picture import Picture, PictureFormat

FORMAT = PictureFormat(72, 56, 10)


def moving_picture(index: int, fmt: PictureFormat = FORMAT) -> Picture:
    """Waves that move by a sample or two a picture."""

    def plane(shape: tuple[int, int], scale: float) -> NDArray[np.uint16]:
        y, x = np.mgrid[: shape[0], : shape[1]] * scale
        wave = np.sin((x + 2 * index) / 5) + np.cos((y - index) / 7) + np.sin((x + y + index) / 3)
        return (512 + 140 * wave).astype(np.uint16)

    return Picture(tuple(plane(s, 1 if i == 0 else 2) for i, s in enumerate(fmt.plane_shapes)), fmt)


def encode(frames: int, params: str, fmt: PictureFormat = FORMAT, qp: int = 40) -> bytes:
    """`frames` moving pictures as a VVC stream."""
    raw = b"".join(moving_picture(i, fmt).tobytes() for i in range(frames))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{fmt.width}x{fmt.height}", "-r", "25"]
    command += ["-i", "-", "-c:v", "libvvenc", "-preset", "faster", "-qp", str(qp), "-qpa", "0"]
    command += ["-threads", "1", "-vvenc-params", f"POC0IDR=1:MTProfile=0:{params}", "-f", "vvc", "-"]
    return subprocess.run(command, input=raw, capture_output=True, check=True, timeout=120).stdout


def decode(stream: bytes, fmt: PictureFormat, folder: Path) -> list[Picture]:
    """Pictures of a VVC stream, decoded by FFmpeg on one thread."""
    path = folder / "stream.266"
    path.write_bytes(stream)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-threads", "1"]
    command += [
        "-f",
        "vvc",
        "-i",
        str(path),
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p10le",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    size = 2 * fmt.samples
    return [Picture.frombytes(raw[i : i + size], fmt) for i in range(0, len(raw), size)]


@pytest.fixture(scope="session")
def open_stream() -> bytes:
    """Three key pictures, two of them CRA with leading pictures."""
    return encode(36, "IntraPeriod=16:GOPSize=16:DecodingRefreshType=cra")


@pytest.fixture(scope="session")
def closed_stream() -> bytes:
    """Three key pictures, two of them IDR with leading pictures."""
    return encode(36, "IntraPeriod=16:GOPSize=16:DecodingRefreshType=idr")
