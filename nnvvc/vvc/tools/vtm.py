"""VTM, the reference software: `EncoderApp` and `DecoderApp`. Both work on files only."""

import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from nnvvc.errors import ToolMissing
from nnvvc.picture import Picture, PictureFormat
from nnvvc.process import run_tool
from nnvvc.vvc.tools.base import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    block_bytes,
    file_chunks,
    pictures_from,
    read_blocks,
    run_to_end,
    spool,
    working_folder,
)
from nnvvc.vvc.tools.find import find_tool

_CONFIGURATION = {
    "ra": "encoder_randomaccess_vtm.cfg",
    "ra-closed": "encoder_randomaccess_vtm.cfg",
    "ld": "encoder_lowdelay_vtm.cfg",
    "ai": "encoder_intra_vtm.cfg",
}
_REFRESH = {"ra": 1, "ra-closed": 2, "ld": 0, "ai": 0}
_STALL_SECONDS = 600.0


class VtmEncoder:
    """VTM's encoder with its own configuration files: the folder `cfg` near the binary or NNVVC_VTM_CFG."""

    name = "vtm"

    def version(self) -> str:
        _configuration_folder()
        return _version(find_tool("EncoderApp"))

    def command(self, fmt: PictureFormat, fps: Fraction, settings: VvcSettings) -> list[str]:
        period = 1 if settings.gop == "ai" else settings.intra_period or -1
        options = {
            "InputFile": "in.yuv",
            "BitstreamFile": "out.266",
            "ReconFile": "",
            "SourceWidth": fmt.width,
            "SourceHeight": fmt.height,
            "InputBitDepth": 10,
            "InternalBitDepth": 10,
            "InputChromaFormat": 420,
            "FrameRate": max(1, round(fps)),
            "QP": settings.qp,
            "IntraPeriod": period,
            "DecodingRefreshType": _REFRESH[settings.gop],
            "ConformanceWindowMode": 1,
            "Level": "6.2",
            **settings.params,
        }
        configuration = _configuration_folder() / _CONFIGURATION[settings.gop]
        return [
            find_tool("EncoderApp"),
            "-c",
            str(configuration),
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def encode(
        self, frames: Iterable[Picture], fmt: PictureFormat, fps: Fraction, settings: VvcSettings
    ) -> Iterator[bytes]:
        with working_folder() as folder:
            spool((picture.tobytes() for picture in frames), folder / "in.yuv")
            count = (folder / "in.yuv").stat().st_size // block_bytes(fmt)
            command = [*self.command(fmt, fps, settings), f"--FramesToBeEncoded={count}"]
            run_to_end(command, "the VTM encoder", folder)
            yield from file_chunks(folder / "out.266")


class VtmDecoder:
    """VTM's decoder. It also checks the picture hashes that a stream carries, and fails where one differs."""

    name = "vtm"

    def version(self) -> str:
        return _version(find_tool("DecoderApp"))

    def decode(
        self, chunks: Iterable[bytes], coded: CodedFormat, settings: DecoderSettings
    ) -> Iterator[Picture]:
        with working_folder() as folder:
            spool(chunks, folder / "in.266")
            # `-d 0` keeps the coded bit depth. Neural filter payloads land in the working folder too.
            command = [find_tool("DecoderApp"), "-b", "in.266", "-o", "out.yuv", "-d", "0"]
            run_to_end(
                command,
                "the VTM decoder",
                folder,
                stall_seconds=_STALL_SECONDS,
                memory_bytes=settings.memory_bytes,
            )
            with (folder / "out.yuv").open("rb") as file:
                blocks = read_blocks(file, block_bytes(coded.picture), "the VTM decoder")
                yield from pictures_from(blocks, coded.picture)


def _version(path: str) -> str:
    match = re.search(r"Version (\S+)", run_tool([path], name=path))
    return f"VTM {match[1]}" if match else "unknown"


def _configuration_folder() -> Path:
    given = os.environ.get("NNVVC_VTM_CFG")
    if given:
        folders = [Path(given)]
    else:
        folders = [parent / "cfg" for parent in Path(find_tool("EncoderApp")).resolve().parents]
    for folder in folders:
        if (folder / "encoder_randomaccess_vtm.cfg").is_file():
            return folder
    raise ToolMissing("VTM's folder cfg is not found near its encoder: NNVVC_VTM_CFG can say where it is")
