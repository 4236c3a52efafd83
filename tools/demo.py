"""Encode and decode a clip made from a photo, and print what came of it.

python -m tools.demo [--frames 64] [--qp 32] [--codec auto]
"""

import argparse
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np

from nnvvc.api import Report, decode, encode
from nnvvc.media import open_sink, open_source
from nnvvc.media.colour import picture_to_rgb, rgb_to_picture
from nnvvc.media.pictures import read_picture
from nnvvc.options import EncodeOptions
from nnvvc.picture import Matrix, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings

WIDTH, HEIGHT = 352, 288


def photo() -> Path:
    """A photo that matplotlib ships."""
    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def make_clip(path: Path, frames: int) -> None:
    """A pan over the photo, 8 bits, BT.601, as y4m."""
    rgb = picture_to_rgb(read_picture(photo()))
    fmt = PictureFormat(WIDTH, HEIGHT, 8, matrix=Matrix.BT601)
    with open_sink(path, VideoFormat(fmt, Fraction(30), frames)) as sink:
        for i in range(frames):
            along = (1 - np.cos(2 * np.pi * i / 64)) / 2
            x, y = round(along * (rgb.shape[1] - WIDTH)), round(along * (rgb.shape[0] - HEIGHT))
            window = np.ascontiguousarray(rgb[y : y + HEIGHT, x : x + WIDTH])
            sink.write(rgb_to_picture(window, 8, Matrix.BT601))


def psnr(first: Path, second: Path) -> tuple[float, float, float]:
    """PSNR of Y, U and V in dB, from the mean squared error over all pictures."""
    errors, count = np.zeros(3), 0
    with open_source(first) as a, open_source(second) as b:
        peak = (1 << a.format.picture.bit_depth) - 1
        for x, y in zip(a, b, strict=True):
            pairs = zip(x.planes, y.planes, strict=True)
            errors += [np.mean((p.astype(float) - q) ** 2) for p, q in pairs]
            count += 1
    mse = np.maximum(errors / count, 1e-12)
    y, u, v = 10 * np.log10(peak**2 / mse)
    return float(y), float(u), float(v)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--qp", type=int, default=32)
    parser.add_argument("--codec", default="auto")
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    args = parser.parse_args()
    folder: Path = args.folder
    folder.mkdir(exist_ok=True)
    source, stream, decoded = folder / "clip.y4m", folder / "clip.bin", folder / "decoded.y4m"
    make_clip(source, args.frames)
    options = EncodeOptions(codec=args.codec, vvc=VvcSettings(qp=args.qp, preset="faster"))
    encoded = encode(source, stream, options, quiet=False)
    made = decode(stream, decoded, quiet=False)
    y, u, v = psnr(source, decoded)
    raw = source.stat().st_size
    print(f"{args.frames} pictures of {WIDTH}x{HEIGHT}, {raw} bytes raw")
    print(
        f"stream   {encoded.bytes} bytes, {encoded.kilobits_per_second:.1f} kbit/s, 1:{raw // encoded.bytes}"
    )
    print(f"PSNR     Y {y:.2f}  U {u:.2f}  V {v:.2f} dB")
    print(f"encoding {_fps(encoded)}, decoding {_fps(made)}")
    print(f"see {stream} and {decoded}; `nnvvc info {stream}` says more")


def _fps(report: Report) -> str:
    return f"{report.pictures / report.seconds:.1f} fps"


if __name__ == "__main__":
    main()
