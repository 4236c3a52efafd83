"""Whether every decoder gets the same pictures from a hybrid stream, sample for sample.

    python -m tools.hybrid_exact CLIP... [--qp 27 37 47] [--intra-period 32 64] [--gop ra ra-closed]
                                 [--frames 129] [--preset faster] [--json RESULT.json]

Each clip is played forth and back to the length asked and encoded by `--codec hybrid`. `decode --for people
--filter off --bit-depth coded`, in new processes with one and with two threads, has to give what FFmpeg,
VVdeC and VTM make of `export`; decoders that are not installed are left out and named. The hashes in the
stream are of the pictures that VVenC reconstructs, so a decode that verifies also proves that nothing drifts.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.errors import ToolMissing
from nnvvc.files import read_chunks
from nnvvc.media import open_source
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, coded_format, decoder
from nnvvc.vvc.tools.base import crop
from tools.bench.plain_vvc import write_input

DECODERS = ("ffmpeg", "pyav", "vvdecapp", "vtm")


def nnvvc(*arguments: object) -> None:
    """Run the command line program; its error message is the exception's."""
    done = subprocess.run(
        [sys.executable, "-m", "nnvvc.cli.main", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"nnvvc {arguments[0]}: {done.stderr.strip()}")


def digest_of_file(path: Path) -> tuple[int, str]:
    """Number of pictures in a y4m file, and a digest of their samples."""
    count, total = 0, hashlib.sha256()
    with open_source(path) as source:
        for picture in source:
            total.update(picture.tobytes())
            count += 1
    return count, total.hexdigest()


def digest_by(name: str, exported: Path, width: int, height: int) -> tuple[int, str]:
    """The same of what a decoder makes of an exported stream."""
    with exported.open("rb") as file:
        size = Demuxer(read_chunks(file)).first.size
    assert size is not None

    def chunks() -> Iterator[bytes]:
        with exported.open("rb") as file:
            yield from read_chunks(file)

    from nnvvc.codecs.vvc_pictures import coded_format_of

    coded: CodedFormat = coded_format_of(size)
    count, total = 0, hashlib.sha256()
    for picture in decoder(name).decode(chunks(), coded, DecoderSettings(threads=1, memory_bytes=4 << 30)):
        total.update(crop(picture, width, height).tobytes())
        count += 1
    return count, total.hexdigest()


def check(clip: Path, frames: int, preset: str, qp: int, period: int, gop: str) -> dict[str, object]:
    """Encode once, decode in every way. The result says which ways differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given, stream, exported = folder / "in.y4m", folder / "s.bin", folder / "s.266"
        video = write_input(given, clip, frames)
        coded = coded_format(video.picture)
        options = [
            "--codec",
            "hybrid",
            "--qp",
            qp,
            "--preset",
            preset,
            "--gop",
            gop,
            "--intra-period",
            period,
        ]
        nnvvc("encode", given, stream, *options)
        nnvvc("export", stream, exported)
        found: dict[str, tuple[int, str]] = {}
        for threads in (1, 2):
            out = folder / f"{threads}.y4m"
            people = ["--for", "people", "--filter", "off", "--bit-depth", "coded", "--threads", threads]
            nnvvc("decode", stream, out, *people)
            found[f"nnvvc {threads}"] = digest_of_file(out)
            out.unlink()
        missing = []
        for tool in DECODERS:
            try:
                found[tool] = digest_by(tool, exported, coded.width, coded.height)
            except ToolMissing:
                missing.append(tool)
        wanted = found["nnvvc 1"]
        return {
            "clip": clip.name if clip.suffix != ".jpg" else clip.parent.name,
            "qp": qp,
            "intra_period": period,
            "gop": gop,
            "bytes": stream.stat().st_size,
            "pictures": wanted[0],
            "complete": wanted[0] == frames,
            "different": [way for way, value in found.items() if value != wanted],
            "missing": missing,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[27, 37, 47])
    parser.add_argument("--intra-period", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--gop", nargs="+", default=["ra", "ra-closed"])
    parser.add_argument("--frames", type=int, default=129)
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    for clip, period, gop, qp in product(args.clips, args.intra_period, args.gop, args.qp):
        try:
            result = check(clip, args.frames, args.preset, qp, period, gop)
        except Exception as error:
            result = {"clip": str(clip), "qp": qp, "intra_period": period, "gop": gop, "error": str(error)}
        results.append(result)
        print(json.dumps(result), flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(any(r.get("error") or r["different"] or not r["complete"] for r in results))


if __name__ == "__main__":
    sys.exit(main())
