"""FFmpeg's VVC decoder through PyAV, in a Python process of its own."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from nnvvc.picture import Picture
from nnvvc.vvc.tools.base import CodedFormat, DecoderSettings, decode_by, pix_fmt


class PyAvDecoder:
    """The decoder of the FFmpeg libraries that the PyAV wheel ships."""

    name = "pyav"

    def version(self) -> str:
        import av

        return f"PyAV {av.__version__}"

    def decode(
        self, chunks: Iterable[bytes], coded: CodedFormat, settings: DecoderSettings
    ) -> Iterator[Picture]:
        fmt = coded.picture
        threads = 1 if coded.one_ctu_wide else settings.threads
        command = [sys.executable, "-m", "nnvvc.vvc.tools.pyav", str(threads), pix_fmt(fmt)]
        command += [str(fmt.width), str(fmt.height), "conceal" if settings.conceal else "strict"]
        return decode_by(command, "the PyAV decoder", chunks, fmt, settings)


def _main(threads: int, wanted: str, width: int, height: int, conceal: bool) -> int:
    """The child: Annex B on standard input, raw pictures on standard output."""
    import av

    context = av.CodecContext.create("vvc", "r")
    context.thread_count = threads
    out = sys.stdout.buffer

    def write(packets: Iterable[Any]) -> None:
        for packet in packets:
            try:
                frames = context.decode(packet)
            except av.FFmpegError:
                if not conceal:
                    raise
                continue
            for frame in frames:
                if (frame.format.name, frame.width, frame.height) != (wanted, width, height):
                    raise ValueError(
                        f"the picture format changes to {frame.format.name} {frame.width}x{frame.height}"
                    )
                for plane in frame.planes:
                    wide = plane.width * (1 if wanted in ("yuv420p", "gray") else 2)
                    data = bytes(plane)
                    for row in range(plane.height):
                        start = row * plane.line_size
                        out.write(data[start : start + wide])

    while chunk := os.read(sys.stdin.fileno(), 1 << 16):
        write(context.parse(chunk))
    write(context.parse())
    write([None])
    out.flush()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(
            _main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "conceal")
        )
    except Exception as error:  # The parent reads the last line and makes a typed error of it.
        sys.exit(f"{type(error).__name__}: {error}")
