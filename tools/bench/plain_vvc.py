"""What our header, hashes and pipes cost: `--codec vvc` against the FFmpeg binary with the same settings.

    python -m tools.bench.plain_vvc [CLIP.y4m ...] [--frames 300] [--preset faster] [--qp 32]

Prints encode and decode wall time as ratios to FFmpeg's, best against best and median against median of
interleaved runs, the container's bytes over the encoder's, and the peak memory of our process for 1 and 10
times the frames. Clips are played forth and back to the length asked. Our modules are compiled first, as
installing does.
"""

import argparse
import compileall
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nnvvc
from nnvvc.media import open_sink, open_source
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings, coded_format, encoder
from tools.content import clip

DECODES = 4
"""Decoding runs per encoding run: they are short, and vary more."""

PROGRAM = [sys.executable, "-m", "nnvvc.cli.main"]

_MEMORY = """
import resource, sys
from nnvvc.cli.main import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(status)
"""


def lengthened(pictures: list[Picture], frames: int) -> Iterator[Picture]:
    """Forth and back, without a cut."""
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    for i in range(frames):
        yield pictures[order[i % len(order)]]


def write_input(
    path: Path, source: Path | None, frames: int, size: tuple[int, int] | None = None
) -> VideoFormat:
    """A clip of `frames` pictures at `path`: from a file, or made here."""
    if source is None:
        fmt = PictureFormat(*(size or (352, 288)))
        pictures, video = list(clip(fmt, 60)), VideoFormat(fmt)
    else:
        with open_source(source) as opened:
            pictures, video = list(opened), opened.format
    with open_sink(path, video) as sink:
        for picture in lengthened(pictures, frames):
            sink.write(picture)
    return video


def timed(command: list[str], **options: object) -> float:
    """Wall seconds of a command that has to succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - started


def compare(source: Path | None, folder: Path, args: argparse.Namespace) -> dict[str, object]:
    """One clip: times both ways, ours and FFmpeg's, interleaved, and sizes."""
    y4m, ours, theirs, out = (folder / n for n in ("in.y4m", "ours.bin", "theirs.266", "out.y4m"))
    video = write_input(y4m, source, args.frames)
    settings = VvcSettings(qp=args.qp, preset=args.preset)
    tool = encoder()
    command = tool.command(coded_format(video.picture), video.fps, settings)
    ffmpeg, options = command[0], command[command.index("-c:v") : command.index("-f", command.index("-c:v"))]
    times: dict[str, list[float]] = {"encode": [], "encode_ffmpeg": [], "decode": [], "decode_ffmpeg": []}
    for _ in range(args.repeat):
        times["encode_ffmpeg"].append(
            timed(
                [ffmpeg, "-y", "-i", str(y4m), "-pix_fmt", "yuv420p10le", *options, "-f", "vvc", str(theirs)]
            )
        )
        times["encode"].append(
            timed(
                [
                    *PROGRAM,
                    "encode",
                    str(y4m),
                    str(ours),
                    "--codec",
                    "vvc",
                    "--qp",
                    str(args.qp),
                    "--preset",
                    args.preset,
                ]
            )
        )
        decode = [ffmpeg, "-y", "-threads", "2", "-i", str(ours), "-pix_fmt", "yuv420p", str(out)]
        for _ in range(DECODES):
            times["decode_ffmpeg"].append(timed(decode))
            times["decode"].append(timed([*PROGRAM, "decode", str(ours), str(out)]))
    best = {name: min(values) for name, values in times.items()}
    median = {name: statistics.median(values) for name, values in times.items()}
    plain = theirs.stat().st_size
    return {
        "clip": source.name if source else "made",
        "frames": args.frames,
        **{
            f"{way}_ratio{name}": round(values[way] / values[f"{way}_ffmpeg"], 3)
            for way in ("encode", "decode")
            for name, values in (("", best), ("_of_medians", median))
        },
        "seconds": {name: round(value, 2) for name, value in best.items()},
        "bytes": ours.stat().st_size,
        "bytes_ffmpeg": plain,
        "container_bytes": ours.stat().st_size - plain,
        "container_share": round(ours.stat().st_size / plain - 1, 5),
    }


def memory(folder: Path, frames: int, options: list[str]) -> dict[str, int]:
    """Peak resident MiB of our own process, children aside, each way, on a small made clip.

    options: of `nnvvc encode`.
    """
    y4m, stream, out = folder / "m.y4m", folder / "m.bin", folder / "m_out.y4m"
    write_input(y4m, None, frames)
    peaks = {}
    for name, arguments in (
        ("encode", ["encode", str(y4m), str(stream), *options]),
        ("decode", ["decode", str(stream), str(out)]),
    ):
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, *arguments], check=True, stderr=subprocess.PIPE, text=True
        )
        peaks[name] = int(done.stderr.split()[-1])
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--qp", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--memory", type=int, nargs="*", default=[200, 2000], metavar="FRAMES")
    args = parser.parse_args()
    options = ["--codec", "vvc", "--preset", args.preset, "--qp", "45"]
    compileall.compile_dir(Path(nnvvc.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {
            "clips": [compare(source, folder, args) for source in args.clips or [None]],
            "memory_mib": {frames: memory(folder, frames, options) for frames in args.memory},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
