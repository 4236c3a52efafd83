"""What the filter for people gains on clips: rate and PSNR of streams without it, with it, and with updates.

python -m tools.people_filter CLIP... [--filter-model quick] [--qps 22 27 32 37 42] [--frames 33]
    [--seconds 10] [--vmaf] [--out DIR]

Every clip is coded once at each QP by VVenC `medium`, random access, intra period 32; the filter's messages
are put into that stream as encoding with `--filter` does. Rates are the sizes of whole files, PSNR is of
10 bits. Clips shorter than FRAMES are played forth and back. Streams and figures stay in DIR, where a later
run finds them; filters are measured anew with `--again`. Writes DIR/points.json, DIR/bd_rate.json and
DIR/bd_rate.png.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nnvvc.api import decode_chunks, encode_frames
from nnvvc.evaluation.bd import compare
from nnvvc.evaluation.fidelity import picture_psnr, vmaf
from nnvvc.files import atomic_path
from nnvvc.media import open_source
from nnvvc.media.sink import open_sink
from nnvvc.options import FILTER_MODELS, DecodeOptions, EncodeOptions
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat
from nnvvc.vvc import tools as vvc_tools
from nnvvc.vvc.tools import FFmpegEncoder, VvcSettings
from tools.bench.plain_vvc import lengthened

FILTERS = ("none", "base", "adapt")
METRICS = {"psnr_y": "Y", "psnr_u": "U", "psnr_v": "V", "vmaf": "VMAF"}


class Remembering(FFmpegEncoder):
    """The usual encoder, whose streams are kept in `folder` and taken from there."""

    folder = Path()

    def encode(
        self, frames: Iterable[Picture], fmt: PictureFormat, fps: Fraction, settings: VvcSettings
    ) -> Iterator[bytes]:
        pictures = list(frames)
        digest = hashlib.sha256(" ".join(self.command(fmt, fps, settings)).encode())
        for picture in pictures:
            for plane in picture.planes:
                digest.update(plane.tobytes())
        kept = self.folder / f"{digest.hexdigest()[:24]}.vvc"
        if not kept.exists():
            stream = b"".join(super().encode(pictures, fmt, fps, settings))
            with atomic_path(kept) as path:
                path.write_bytes(stream)
        yield kept.read_bytes()


def clip_of(path: Path, frames: int) -> tuple[list[Picture], VideoFormat]:
    """The first frames of a clip, forth and back where it is shorter, 4:2:0."""
    with open_source(path) as source:
        fps = source.format.fps
        pictures = [p.with_chroma(Chroma.C420) for _, p in zip(range(frames), source, strict=False)]
    shown = list(lengthened(pictures, frames))
    return shown, VideoFormat(shown[0].format, fps, frames)


def name_of(path: Path) -> str:
    """Of a clip: its file's, or that of the folder of its pictures."""
    return path.parent.name if "%" in path.name else path.stem


def options_for(qp: int, used: str, filter_model: str, seconds: float) -> EncodeOptions:
    """used: the filter. seconds: for fitting it to a group, where it is fitted."""
    settings = VvcSettings(qp=qp, preset="medium", intra_period=32)
    fitting = seconds if used == "adapt" else None
    return EncodeOptions(
        codec="vvc", vvc=settings, filter=used, filter_model=filter_model, adapt_seconds=fitting
    )


def point(clip: Sequence[Picture], stream: bytes, with_vmaf: bool) -> dict[str, float]:
    """Bytes, and the mean of each metric over the pictures."""
    decoded = list(decode_chunks([stream], DecodeOptions(coded=True)))
    originals = [p.with_bit_depth(10) for p in clip]
    scores = [picture_psnr(a, b) for a, b in zip(originals, decoded, strict=True)]
    found = {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
    if with_vmaf:
        with tempfile.TemporaryDirectory() as name:
            paths = [Path(name) / "original.y4m", Path(name) / "decoded.y4m"]
            for path, pictures in zip(paths, (originals, decoded), strict=True):
                with open_sink(path, VideoFormat(pictures[0].format, Fraction(25))) as sink:
                    for picture in pictures:
                        sink.write(picture)
            found["vmaf"] = float(np.mean(vmaf(*paths)))
    return found | {"bytes": len(stream)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="files, or patterns of pictures")
    parser.add_argument("--qps", type=int, nargs="+", default=[22, 27, 32, 37, 42])
    parser.add_argument("--filters", nargs="+", choices=FILTERS, default=list(FILTERS))
    parser.add_argument("--filter-model", choices=FILTER_MODELS, default="quick")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--seconds", type=float, default=10.0, help="for fitting the filter to a group")
    parser.add_argument("--vmaf", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure filters anew")
    parser.add_argument("--out", type=Path, default=Path("people-filter"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    Remembering.folder = given.out
    vvc_tools.ENCODERS["ffmpeg"] = Remembering
    target = given.out / "points.json"
    points: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    for path in given.clips:
        clip, video = clip_of(path, given.frames)
        name = name_of(path)
        for qp in given.qps:
            for used in given.filters:
                key = f"{name} {qp} {used}"
                known = points.get(key, {})
                if known and ("vmaf" in known or not given.vmaf) and (used == "none" or not given.again):
                    continue
                options = options_for(qp, used, given.filter_model, given.seconds)
                stream = b"".join(encode_frames(clip, video, options))
                points[key] = point(clip, stream, given.vmaf) | {"clip": name, "qp": qp, "filter": used}
                with atomic_path(target) as written:
                    written.write_text(json.dumps(points, indent=1) + "\n")
                print(key, json.dumps({k: points[key][k] for k in ("bytes", "psnr_y")}), flush=True)
    rates = bd_rates(list(points.values()))
    (given.out / "bd_rate.json").write_text(json.dumps(rates, indent=1) + "\n")
    for used, of_clips in rates.items():
        for clip_name, values in of_clips.items():
            row = "  ".join(f"{METRICS[m]} {v:+.2f}" for m, v in values.items())
            print(f"{used:6} {clip_name:22} {row}")
    draw(rates, given.out / "bd_rate.png")


def bd_rates(points: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """BD-rate against no filter in percent, by filter, clip (and their mean) and metric."""
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for used in FILTERS[1:]:
        found: dict[str, dict[str, float]] = {}
        for clip in sorted({p["clip"] for p in points if p["filter"] == used}):
            curves = [
                sorted(
                    (p for p in points if p["clip"] == clip and p["filter"] == f), key=lambda p: p["bytes"]
                )
                for f in ("none", used)
            ]
            found[clip] = {}
            for metric in METRICS:
                if all(metric in p for curve in curves for p in curve):
                    rate = compare(*_curves(curves, metric), task=False).rate
                    if rate is not None:
                        found[clip][metric] = rate
        if found:
            shared = [m for m in METRICS if all(m in values for values in found.values())]
            found["mean"] = {m: float(np.mean([v[m] for v in found.values()])) for m in shared}
            rates[used] = found
    return rates


def _curves(curves: Sequence[Sequence[dict[str, Any]]], metric: str) -> Any:
    return [([float(p["bytes"]) for p in c], [float(p[metric]) for p in c]) for c in curves]


def draw(rates: dict[str, dict[str, dict[str, float]]], target: Path) -> None:
    """A bar per clip and filter."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    if not rates or not next(iter(rates.values()))["mean"]:
        return
    metrics = list(next(iter(rates.values()))["mean"])
    figure, axes = plt.subplots(len(metrics), 1, figsize=(8, 2.2 * len(metrics)), sharex=True, squeeze=False)
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        for number, (used, found) in enumerate(rates.items()):
            width = 0.8 / len(rates)
            places = np.arange(len(found)) + width * (number - (len(rates) - 1) / 2)
            heights = [v.get(metric, np.nan) for v in found.values()]
            axis.bar(places, heights, 0.95 * width, label=f"--filter {used}")
        axis.set_ylabel(f"{METRICS[metric]}, %")
        axis.axhline(0, color="black", linewidth=0.6)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].legend()
    axes[-1, 0].set_xticks(range(len(found)), list(found), rotation=25, ha="right")
    figure.suptitle("BD-rate against the same VVC streams without a filter")
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
