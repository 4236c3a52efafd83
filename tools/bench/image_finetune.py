"""What finetuning the latents of pictures saves, in real bytes at equal PSNR.

python -m tools.bench.image_finetune PICTURES [--every 3] [--qps 27 34 41 48] [--steps 60] [--profile high]

Codes every so many pictures of the folder with and without finetuning, and compares the size with what the
picture's own curve without finetuning (QP 22 to 57) gives at the same RGB PSNR. Prints JSON: the saving in
percent at each QP, mean over pictures, and the mean over all.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from nnvvc.adapt.filtered_distortion import FilteredDistortion
from nnvvc.adapt.latents import Aim, finetune
from nnvvc.codecs.people_filter import StillFilter
from nnvvc.codecs.picture_coder import image_model
from nnvvc.media.colour import picture_to_rgb, rgb_to_picture
from nnvvc.models import registry
from nnvvc.models.lic import HYPER_STRIDE
from nnvvc.models.planes import picture_of_samples, planes_of_picture
from nnvvc.picture import Matrix
from nnvvc.training.photos import read_rgb

CURVE = range(22, 58, 5)


def point(file: Path, qp: int, profile: str, steps: int) -> tuple[float, float]:
    """(log2 of the bytes, RGB PSNR in dB) of a picture."""
    rgb = read_rgb(file)
    model, apply = image_model(registry.reference(registry.IMAGE_PEOPLE)), StillFilter()
    picture = rgb_to_picture(rgb, 10, Matrix.BT709)
    planes = planes_of_picture(picture, HYPER_STRIDE)
    latents, hyper = model.analyse(planes, qp)
    if steps:
        distortion = FilteredDistortion(apply.exact.model, qp, picture.format.full_range)
        given = (model, planes, latents, hyper, qp, profile)
        latents, hyper = finetune(*given, Aim(distortion), steps=steps)
    data, decoded = model.compress(latents, hyper, qp, profile)
    coded = picture_of_samples(model.synthesise(decoded, qp), picture.format)
    shown = picture_to_rgb(apply(coded, qp))
    error = float(np.square(shown.astype(np.float64) - rgb).mean())
    return math.log2(len(data)), 10 * math.log10(255**2 / error)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--qps", type=int, nargs="+", default=[27, 34, 41, 48])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--profile", default="high")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    files = sorted(args.pictures.glob("*.png"))[:: args.every]
    savings: dict[int, list[float]] = {qp: [] for qp in args.qps}
    for file in files:
        rates, qualities = zip(*sorted(point(file, qp, args.profile, 0) for qp in CURVE), strict=True)
        plain = PchipInterpolator(qualities, rates)
        for qp in args.qps:
            rate, quality = point(file, qp, args.profile, args.steps)
            savings[qp].append(100 * (1 - 2 ** (rate - float(plain(quality)))))
    means = {qp: round(float(np.mean(s)), 2) for qp, s in savings.items()}
    mean = round(float(np.mean(list(savings.values()))), 2)
    facts = {"pictures": [f.stem for f in files], "steps": args.steps, "profile": args.profile}
    print(json.dumps({**facts, "percent saved at QP": means, "mean": mean}, indent=1))


if __name__ == "__main__":
    main()
