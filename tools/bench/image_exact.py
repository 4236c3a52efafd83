"""The same bits decode to the same pictures: threads, both arithmetic paths, instruction sets, another
process.

python -m tools.bench.image_exact PICTURES [--qp 32] [--large 4096] [--limit N]

Codes every picture of the folder, 20 crops of odd sizes and one large tiled picture, in turn with the
profiles, and decodes them, filtered for people, in child processes under each setting, on a GPU too where
there is one. Prints JSON:
pictures, settings, and what differed; ends with status 1 where anything did. Also compares real bytes with
the model's own entropy.
"""

import argparse
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnvvc.codecs.people_filter import StillFilter
from nnvvc.codecs.picture_coder import decode_picture, encode_picture, qp_of
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models import registry
from nnvvc.models.context import PROFILES
from nnvvc.models.image import ImageModel
from nnvvc.models.lic import HYPER_STRIDE
from nnvvc.models.planes import planes_of_picture
from nnvvc.picture import Matrix, Picture
from nnvvc.training.photos import read_rgb
from tools.bench.image_speed import tiled

SIZES = [
    (1, 1), (1, 64), (64, 1), (2, 2), (3, 5), (15, 16), (17, 33), (31, 200), (63, 63), (64, 64),
    (65, 64), (127, 2), (128, 129), (191, 77), (199, 256), (255, 257), (256, 255), (257, 256), (300, 11),
    (333, 301),
]  # fmt: skip
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
SSE41 = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
SETTINGS: dict[str, dict[str, str]] = {
    "int8, 1 thread": {"threads": "1", "path": "int8"},
    "int8, 2 threads": {"threads": "2", "path": "int8"},
    "reference, 1 thread": {"threads": "1", "path": "reference"},
    "reference, 2 threads": {"threads": "2", "path": "reference"},
    "int8, AVX2": {"threads": "2", "path": "int8", **AVX2},
    "reference, AVX2": {"threads": "1", "path": "reference", **AVX2},
    "reference, SSE 4.1": {"threads": "1", "path": "reference", **SSE41},
}
if torch.cuda.is_available():
    SETTINGS["reference, CUDA"] = {"threads": "1", "path": "reference", "device": "cuda"}


def digest(picture: Picture) -> str:
    return hashlib.sha256(b"".join(p.tobytes() for p in picture.planes)).hexdigest()


def pictures(folder: Path, large: int, limit: int | None) -> list[Picture]:
    files = sorted(folder.glob("*.png"))[:limit]
    rgbs = [read_rgb(f) for f in files]
    crops = [rgbs[i % len(rgbs)][7 * i : 7 * i + h, 5 * i : 5 * i + w] for i, (w, h) in enumerate(SIZES)]
    result = [rgb_to_picture(np.ascontiguousarray(r), 10, Matrix.BT709) for r in [*rgbs, *crops]]
    return [*result, tiled(folder, large, large)] if large else result


def child(file: str, path: str, threads: str, device: str = "cpu") -> None:
    """Decode all that was coded and print the digests."""
    torch.set_num_threads(int(threads))
    model = ImageModel.load(registry.WEIGHTS / registry.FILES[registry.IMAGE_PEOPLE], device, path)
    coded = pickle.loads(Path(file).read_bytes())
    apply = StillFilter()
    print(json.dumps([digest(apply(decode_picture(model, body, fmt), qp_of(body))) for body, fmt in coded]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--qp", type=int, default=32)
    parser.add_argument("--large", type=int, default=4096)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = ImageModel.load(registry.WEIGHTS / registry.FILES[registry.IMAGE_PEOPLE])
    apply = StillFilter()
    coded, expected, worst = [], [], 0.0
    for number, picture in enumerate(pictures(args.pictures, args.large, args.limit)):
        profile = PROFILES[number % len(PROFILES)]
        result = encode_picture(model, picture, args.qp, profile)
        coded.append((result.body, picture.format))
        expected.append(digest(apply(result.picture, args.qp)))
        if picture.format.width < 1024:
            latents = model.analyse(planes_of_picture(picture, HYPER_STRIDE), args.qp)
            ideal = model.forward(*latents, args.qp, profile)[0] / 8
            worst = max(worst, len(result.body) - 1.01 * ideal)
    report: dict[str, Any] = {
        "pictures": len(coded),
        "bytes over 1.01 x entropy": round(worst, 1),
        "differ": {},
    }
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        file.write(pickle.dumps(coded))
        file.flush()
        for name, setting in SETTINGS.items():
            environment = {**os.environ, **{k: v for k, v in setting.items() if k.isupper()}}
            code = f"from tools.bench.image_exact import child; child({file.name!r}, "
            code += f"{setting['path']!r}, {setting['threads']!r}, {setting.get('device', 'cpu')!r})"
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True
            )
            got = json.loads(done.stdout) if done.returncode == 0 else [done.stderr[-300:]]
            pairs = zip(expected, got, strict=False)
            report["differ"][name] = sum(a != b for a, b in pairs) + abs(len(expected) - len(got))
    print(json.dumps(report, indent=1))
    return int(any(report["differ"].values()) or worst > 64)


if __name__ == "__main__":
    sys.exit(main())
