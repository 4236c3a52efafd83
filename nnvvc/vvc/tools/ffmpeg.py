"""The FFmpeg binary that the imageio-ffmpeg wheel ships: libvvenc to encode, the native decoder to decode."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache

from nnvvc.errors import ToolFailed, ToolMissing
from nnvvc.files import Counted
from nnvvc.picture import Matrix, Picture, PictureFormat
from nnvvc.process import OUTPUT_FD, ChildProcess, run_tool
from nnvvc.vvc.tools.base import (
    ENCODER_STALL_SECONDS,
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    decode_by,
    pix_fmt,
)

KEPT_BYTES = 1 << 26
"""Frames are kept up to this much until something of a stream comes out."""

_COLOURSPACE = {Matrix.BT601: "smpte170m", Matrix.BT709: "bt709", Matrix.BT2020: "bt2020nc"}


@cache
def ffmpeg_path() -> str:
    """The binary: IMAGEIO_FFMPEG_EXE where it is set, else the wheel's. Raises ToolMissing."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ToolMissing(f"FFmpeg is not there: `pip install imageio-ffmpeg` brings it ({error})") from error


@cache
def _ffmpeg_version() -> str:
    match = re.search(r"ffmpeg version (\S+)", run_tool([ffmpeg_path(), "-version"], name="FFmpeg"))
    return match[1] if match else "unknown"


def vvenc_params(settings: VvcSettings) -> dict[str, str]:
    """VVenC's long parameter names and values for the settings, the user's own on top."""
    period = settings.intra_period or -1
    params = {"POC0IDR": "1", "MTProfile": "0"}
    match settings.gop:
        case "ra":
            params |= {"IntraPeriod": str(period), "DecodingRefreshType": "cra"}
        case "ra-closed":
            params |= {"IntraPeriod": str(period), "DecodingRefreshType": "idr"}
        case "ld":
            # VVenC's groups without reordering have 8 pictures and no random access points.
            params |= {
                "IntraPeriod": str(period),
                "DecodingRefreshType": "none",
                "PicReordering": "0",
                "GOPSize": "8",
            }
        case "ai":
            params |= {"IntraPeriod": "1"}
    return params | dict(settings.params)


def _colour_tags(fmt: PictureFormat) -> list[str]:
    """Said of the input, so that nothing is converted and the encoder writes them into the VUI."""
    tags = ["-color_range", "pc"] if fmt.full_range else []
    if fmt.matrix is not Matrix.UNSPECIFIED:
        tags += ["-colorspace", _COLOURSPACE[fmt.matrix]]
    return tags


class FFmpegEncoder:
    """VVenC inside FFmpeg."""

    name = "ffmpeg"

    def version(self) -> str:
        if "libvvenc" not in _encoders():
            raise ToolMissing(f"{ffmpeg_path()} has no libvvenc: unset IMAGEIO_FFMPEG_EXE to use the wheel's")
        return f"FFmpeg {_ffmpeg_version()}, libvvenc"

    def command(self, fmt: PictureFormat, fps: Fraction, settings: VvcSettings) -> list[str]:
        params = ":".join(f"{name}={value}" for name, value in vvenc_params(settings).items())
        return [
            ffmpeg_path(), "-hide_banner", "-loglevel", "error",
            "-f", "rawvideo", "-pix_fmt", pix_fmt(fmt), "-s", f"{fmt.width}x{fmt.height}",
            "-r", f"{fps.numerator}/{fps.denominator}", *_colour_tags(fmt), "-i", "pipe:0",
            "-c:v", "libvvenc", "-preset", settings.preset, "-qp", str(settings.qp), "-qpa", "0",
            "-vvenc-params", params, "-threads", str(settings.threads),
            # VVenC prints its warnings to standard output, in the middle of the stream.
            "-f", "vvc", f"pipe:{OUTPUT_FD}",
        ]  # fmt: skip

    def encode(
        self, frames: Iterable[Picture], fmt: PictureFormat, fps: Fraction, settings: VvcSettings
    ) -> Iterator[bytes]:
        command = self.command(fmt, fps, settings)
        kept = _Kept(frames)
        # Now and then VVenC ends well and has written nothing, whatever the QP.
        while True:
            with ChildProcess(
                command, name="FFmpeg (libvvenc)", stall_seconds=ENCODER_STALL_SECONDS
            ) as child:
                child.feed(picture.tobytes() for picture in kept)
                output = Counted(child.read())
                for chunk in output:
                    kept.forget()
                    yield chunk
                child.finish()
            if output.bytes:
                return
            if not kept.again():
                raise ToolFailed(
                    "VVenC ended without a stream, as it does now and then: try again, or switch off its "
                    "temporal filter with --vvc-params MCTF=0"
                )


class _Kept:
    """Frames that can be gone through once more as long as they are few and none was forgotten."""

    def __init__(self, frames: Iterable[Picture]) -> None:
        self._frames = iter(frames)
        self._kept: list[Picture] | None = []
        self._room = KEPT_BYTES

    def __iter__(self) -> Iterator[Picture]:
        for frame in self._frames:
            self._room -= sum(plane.nbytes for plane in frame.planes)
            if self._room < 0:
                self.forget()
            if (kept := self._kept) is not None:
                kept.append(frame)
            yield frame

    def forget(self) -> None:
        self._kept = None

    def again(self) -> bool:
        """Whether going through it gives all frames once more; it does so once."""
        if not self._kept:
            return False
        self._frames = iter(self._kept)
        self.forget()
        return True


class FFmpegDecoder:
    """FFmpeg's native VVC decoder."""

    name = "ffmpeg"

    def version(self) -> str:
        return f"FFmpeg {_ffmpeg_version()}, native vvc"

    def decode(
        self, chunks: Iterable[bytes], coded: CodedFormat, settings: DecoderSettings
    ) -> Iterator[Picture]:
        fmt = coded.picture
        # With several threads this decoder races on pictures that are one CTU wide.
        threads = 1 if coded.one_ctu_wide else settings.threads
        strict = [] if settings.conceal else ["-xerror"]
        command = [
            ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", *strict,
            "-threads", str(threads), "-f", "vvc", "-i", "pipe:0",
            "-map", "0:v:0", "-fps_mode", "passthrough", "-noautoscale",
            # Frames pass into a y4m file as they are; the raw format would copy each of them first.
            "-pix_fmt", pix_fmt(fmt), "-strict", "-1",
            "-c:v", "wrapped_avframe", "-f", "yuv4mpegpipe", "pipe:1",
        ]  # fmt: skip
        return decode_by(command, "the FFmpeg decoder", chunks, fmt, settings, y4m=True)


@cache
def _encoders() -> str:
    return run_tool([ffmpeg_path(), "-hide_banner", "-encoders"], name="FFmpeg")
