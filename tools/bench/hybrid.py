"""What learned and lossless key pictures cost: `--codec hybrid` against the FFmpeg binary with plain VVC.

    python -m tools.bench.hybrid [CLIP] [--groups 12] [--intra-period 32] [--preset faster] [--qp 37]
                                 [--repeat 2] [--memory 100 1000]

Prints the speed of decoding (`--for people --filter off`) as a share of FFmpeg's, and the time of encoding as
a ratio to FFmpeg's, both without start-up: the time for all groups less the time for one, on pictures played
forth and back. Also the peak memory of our process for each of the lengths given, both ways.
"""

import argparse
import json
import tempfile
from pathlib import Path

from nnvvc.vvc.tools import VvcSettings, coded_format, encoder
from tools.bench.plain_vvc import PROGRAM, memory, timed, write_input


def hybrid_options(args: argparse.Namespace) -> list[str]:
    """Of `nnvvc encode`."""
    options = ["--codec", "hybrid", "--preset", args.preset, "--qp", str(args.qp)]
    return [*options, "--intra-period", str(args.intra_period)]


def seconds(folder: Path, frames: int, args: argparse.Namespace) -> dict[str, float]:
    """Best wall seconds of each job on so many frames."""
    given, ours, theirs, out = (folder / n for n in ("in.y4m", "ours.bin", "theirs.266", "out.y4m"))
    video = write_input(given, args.clip, frames)
    settings = VvcSettings(qp=args.qp, preset=args.preset, intra_period=args.intra_period)
    command = encoder().command(coded_format(video.picture), video.fps, settings)
    ffmpeg, options = command[0], command[command.index("-c:v") : command.index("-f", command.index("-c:v"))]
    plain = [ffmpeg, "-y", "-i", str(given), "-pix_fmt", "yuv420p10le", *options, "-f", "vvc", str(theirs)]
    decode = ["decode", str(ours), str(out), "--for", "people", "--filter", "off"]
    jobs = {
        "encode_ffmpeg": plain,
        "encode": [*PROGRAM, "encode", str(given), str(ours), *hybrid_options(args)],
        "decode_ffmpeg": [ffmpeg, "-y", "-threads", "2", "-i", str(theirs), "-pix_fmt", "yuv420p", str(out)],
        "decode": [*PROGRAM, *decode],
    }
    return {name: min(timed(job) for _ in range(args.repeat)) for name, job in jobs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--groups", type=int, default=12)
    parser.add_argument("--intra-period", type=int, default=32)
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--qp", type=int, default=37)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 1000], metavar="FRAMES")
    args = parser.parse_args()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.groups > 1:
            one = seconds(folder, args.intra_period + 1, args)
            many = seconds(folder, args.groups * args.intra_period + 1, args)
            net = {job: many[job] - one[job] for job in one}
            result = {
                "clip": args.clip.name if args.clip else "made",
                "groups": args.groups,
                "decode_speed_share": round(net["decode_ffmpeg"] / net["decode"], 3),
                "encode_time_ratio": round(net["encode"] / net["encode_ffmpeg"], 3),
                "seconds_one_group": {job: round(value, 2) for job, value in one.items()},
                "seconds": {job: round(value, 2) for job, value in many.items()},
            }
        result["memory_mib"] = {
            frames: memory(folder, frames, hybrid_options(args)) for frames in args.memory
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
