"""A VVC byte stream into .mp4 or .mkv, unchanged, with the times that its order counts imply.

The work is done by FFmpeg's libraries in a process of its own, since they look into the stream.
"""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from nnvvc.errors import OutputError, ToolFailed
from nnvvc.process import ChildProcess

ENDINGS = (".mp4", ".mkv", ".mov")


def output_ranks(orders: Sequence[tuple[int, int]]) -> list[int]:
    """The place of each picture in output order. orders: (coded video sequence, order count) per picture."""
    ranks = [0] * len(orders)
    for rank, index in enumerate(sorted(range(len(orders)), key=lambda i: orders[i])):
        ranks[index] = rank
    return ranks


def write_container(stream: Path, target: Path, ranks: Sequence[int], fps: Fraction) -> None:
    """Put the access units of the file `stream` into the container `target`.

    ranks: place in output order of each access unit. Raises OutputError or ToolFailed.
    """
    if target.suffix.lower() not in ENDINGS:
        raise OutputError(f"{target}: a VVC stream goes into .266, .mp4 or .mkv")
    command = [sys.executable, "-m", "nnvvc.media.mp4", stream, target, str(fps)]
    with ChildProcess([str(c) for c in command], name="the container writer") as child:
        child.feed([" ".join(map(str, ranks)).encode()])
        for _ in child.read():
            pass
        child.finish()


def _main(stream: str, target: str, fps: Fraction, ranks: list[int]) -> None:
    import av

    delay = max((index - rank for index, rank in enumerate(ranks)), default=0)
    with av.open(stream, format="vvc") as source, av.open(target, "w") as container:
        template: Any = source.streams.video[0]
        output: Any = container.add_stream_from_template(template, opaque=True)
        output.time_base = 1 / fps
        count = 0
        for packet in source.demux(template):
            if packet.size == 0:
                continue
            if count == len(ranks):
                raise ToolFailed("there are more pictures than access units")
            packet.stream = output
            packet.time_base = 1 / fps
            packet.pts, packet.dts = ranks[count], count - delay
            packet.duration = 1
            container.mux(packet)
            count += 1
    if count != len(ranks):
        raise ToolFailed(f"{count} of {len(ranks)} pictures were found")


if __name__ == "__main__":
    try:
        numbers = [int(word) for word in sys.stdin.read().split()]
        _main(sys.argv[1], sys.argv[2], Fraction(sys.argv[3]), numbers)
    except Exception as error:  # The parent makes a typed error of the last line.
        sys.exit(f"{type(error).__name__}: {error}")
