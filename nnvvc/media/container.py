"""Video files that FFmpeg's libraries open (mp4, mkv, ...), through PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from nnvvc.errors import InputError, OutputError
from nnvvc.media.colour import rgb_to_picture
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat, VideoFormat

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_MATRIX = {1: Matrix.BT709, 5: Matrix.BT601, 6: Matrix.BT601, 9: Matrix.BT2020}

_NATIVE = {
    "yuv420p": (8, Chroma.C420),
    "yuvj420p": (8, Chroma.C420),
    "yuv420p10le": (10, Chroma.C420),
    "yuv420p12le": (12, Chroma.C420),
    "gray": (8, Chroma.C400),
    "gray10le": (10, Chroma.C400),
    "gray12le": (12, Chroma.C400),
}


class ContainerReader:
    """The first video stream of a container.

    format: of the pictures that `frames` yields. converted: the name of the pixel format that has to be
    converted to 4:2:0, or None. Raises InputError where the file has no video or cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            self._container: Any = av.open(path)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"{path} holds no video")
        self._path = path
        self._stream: Any = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        context: Any = self._stream.codec_context
        name = context.pix_fmt
        if name is None or context.width < 1 or context.height < 1:
            self._container.close()
            raise InputError(
                f"{path}: the video's size and format cannot be found out: damaged, or too short"
            )
        self._rgb = av.VideoFormat(name).is_rgb
        matrix = _MATRIX.get(int(context.colorspace), Matrix.UNSPECIFIED)
        full = "yuvj" in name or int(context.color_range) == _FULL_RANGE
        if name in _NATIVE:
            depth, chroma = _NATIVE[name]
            self.converted: str | None = None
            self._target = name
        else:
            deep = any(component.bits > 8 for component in av.VideoFormat(name).components)
            depth, chroma = (10 if deep or self._rgb else 8), Chroma.C420
            self.converted = name
            self._target = "yuv420p10le" if deep else "yuv420p"
        if self._rgb:
            matrix, full = Matrix.BT709, False
        fmt = PictureFormat(context.width, context.height, depth, chroma, matrix, full)
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(30)
        frames = self._stream.frames or None
        self.format = VideoFormat(fmt, Fraction(rate), frames)

    def frames(self) -> Iterator[Picture]:
        """The pictures in output order. Raises InputError where decoding fails or the size changes."""
        fmt = self.format.picture
        try:
            for frame in self._container.decode(self._stream):
                if (frame.width, frame.height) != (fmt.width, fmt.height):
                    raise InputError(
                        f"{self._path}: the size changes from {fmt.width}x{fmt.height} to "
                        f"{frame.width}x{frame.height}: cut the video there first"
                    )
                yield self._picture(frame)
        except av.FFmpegError as error:
            raise InputError(f"{self._path} cannot be decoded: {error.strerror or error}") from error

    def close(self) -> None:
        self._container.close()

    def _picture(self, frame: Any) -> Picture:
        fmt = self.format.picture
        if self._rgb:
            return rgb_to_picture(frame.to_ndarray(format="rgb24"), fmt.bit_depth, fmt.matrix, fmt.full_range)
        if frame.format.name != self._target:
            frame = frame.reformat(format=self._target)
        return Picture(
            tuple(_plane(p, fmt.bit_depth) for p in list(frame.planes)[: len(fmt.plane_shapes)]), fmt
        )


class ContainerWriter:
    """A container of losslessly coded pictures: FFV1 in .mkv, H.264 with QP 0 in .mp4."""

    def __init__(self, path: Path, video: VideoFormat) -> None:
        """Raises OutputError where the file cannot be opened or the format cannot be held."""
        fmt = video.picture
        wide = fmt.bit_depth > 8
        # Many readers of H.264 give grey video chroma anyway: there it is written with it.
        self._chroma = Chroma.C420 if path.suffix == ".mp4" else fmt.chroma
        pix_fmt = ("gray" if self._chroma is Chroma.C400 else "yuv420p") + ("10le" if wide else "")
        self._format = fmt
        self._pix_fmt = pix_fmt
        codec = "libx264" if path.suffix == ".mp4" else "ffv1"
        try:
            self._container: Any = av.open(str(path), "w")
            stream: Any = self._container.add_stream(codec, rate=video.fps)
            stream.width, stream.height = fmt.width, fmt.height
            stream.pix_fmt = pix_fmt
            if codec == "libx264":
                stream.options = {"qp": "0", "preset": "veryfast"}
            context = stream.codec_context
            context.color_range = _FULL_RANGE if fmt.full_range else 1
            context.colorspace = int(fmt.matrix)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(f"cannot write {path.name}: {error}") from error
        self._stream = stream
        self._count = 0

    def write(self, picture: Picture) -> None:
        """Append a picture of 8 bits or, for deeper formats, of 10."""
        frame = av.VideoFrame(self._format.width, self._format.height, self._pix_fmt)
        deep = self._pix_fmt.endswith("10le")
        source = (picture.with_bit_depth(10) if deep else picture).with_chroma(self._chroma)
        for plane, samples in zip(frame.planes, source.planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            data = np.ascontiguousarray(samples.astype("<u2" if deep else "u1")).view(np.uint8)
            rows[:, : data.shape[1]] = data
            plane.update(rows.tobytes())
        frame.pts = self._count
        self._count += 1
        self._mux(frame)

    def close(self) -> None:
        """Write what is left and close. Raises OutputError."""
        self._mux(None)
        try:
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"the container cannot be finished: {error}") from error

    def abort(self) -> None:
        """Let go of the file, whatever is in it."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            return

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(f"the container cannot be written: {error}") from error


def _plane(plane: Any, bit_depth: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    wide = 1 if bit_depth == 8 else 2
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width * wide]
    samples = np.ascontiguousarray(rows).view("u1" if wide == 1 else "<u2")
    return samples.astype(np.uint16)
