"""Fraunhofer's own applications: `vvencapp` and `vvdecapp`, where they are on PATH or named by a variable."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

from nnvvc.picture import Picture, PictureFormat
from nnvvc.process import run_tool
from nnvvc.vvc.tools.base import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    decode_by,
    file_chunks,
    run_to_end,
    spool,
    working_folder,
)
from nnvvc.vvc.tools.ffmpeg import vvenc_params
from nnvvc.vvc.tools.find import find_tool


class VvencappEncoder:
    """VVenC's application; it writes a file, which is handed on when it is whole."""

    name = "vvencapp"

    def version(self) -> str:
        return _version(find_tool("vvencapp"))

    def command(self, fmt: PictureFormat, fps: Fraction, settings: VvcSettings) -> list[str]:
        params = vvenc_params(settings)
        # Parameters that the application spells as options; the others go through as they are.
        period = params.pop("IntraPeriod")
        refresh = params.pop("DecodingRefreshType", "cra")
        further = ":".join(f"{name}={value}" for name, value in params.items())
        return [
            find_tool("vvencapp"), "-i", "-", "-s", f"{fmt.width}x{fmt.height}", "-c", "yuv420_10",
            "--fps", f"{fps.numerator}/{fps.denominator}", "--preset", settings.preset,
            "-q", str(settings.qp), "--qpa", "0", "-t", str(settings.threads),
            "-ip", period, "-rt", refresh, "--additional", further, "-v", "1", "-o", "out.266",
        ]  # fmt: skip

    def encode(
        self, frames: Iterable[Picture], fmt: PictureFormat, fps: Fraction, settings: VvcSettings
    ) -> Iterator[bytes]:
        command = self.command(fmt, fps, settings)
        with working_folder() as folder:
            run_to_end(command, "vvencapp", folder, chunks=(picture.tobytes() for picture in frames))
            yield from file_chunks(folder / "out.266")


class VvdecappDecoder:
    """VVdeC's application; it reads from a file only."""

    name = "vvdecapp"

    def version(self) -> str:
        return _version(find_tool("vvdecapp"))

    def decode(
        self, chunks: Iterable[bytes], coded: CodedFormat, settings: DecoderSettings
    ) -> Iterator[Picture]:
        command = [find_tool("vvdecapp"), "-b", "in.266", "-o", "-", "-v", "1", "-t", str(settings.threads)]
        with working_folder() as folder:
            spool(chunks, folder / "in.266")
            yield from decode_by(command, "vvdecapp", (), coded.picture, settings, folder)


def _version(path: str) -> str:
    text = run_tool([path, "--version"], name=path)
    match = re.search(r"version\s+(\S+)", text)
    return match[1] if match else "unknown"
