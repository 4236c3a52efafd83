"""Speed of the image codec: decoding at 2048x1080, time per pixel at 1024 and 4096, and what a raster
scan would take.

python -m tools.bench.image_speed PICTURES [--qp 32] [--threads 2]

PICTURES: a folder of photos to tile. The autoregressive reference codes one latent position after the
other with the same networks and the same entropy coder; it is timed on a part of the picture and scaled
up. Prints JSON; start-up (loading the model) is left out, and the best of three runs is given, with the
processor time beside the wall time.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from nnvvc.codecs.people_filter import StillFilter
from nnvvc.codecs.picture_coder import decode_picture, encode_picture, image_model, qp_of
from nnvvc.entropy.coder import SymbolDecoder, SymbolEncoder
from nnvvc.entropy.tables import index_of
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models import registry
from nnvvc.models.context import PROFILES
from nnvvc.models.exact import exact_arithmetic
from nnvvc.models.image import ImageModel
from nnvvc.models.lic import LATENT_STRIDE
from nnvvc.picture import Matrix, Picture
from nnvvc.training.photos import read_rgb

POSITIONS = 200


def tiled(folder: Path, width: int, height: int) -> Picture:
    """A picture of that size, tiled from the photos of a folder."""
    photos = [cv2.resize(read_rgb(f), (512, 512)) for f in sorted(folder.glob("*.png"))[:12]]
    rows = [
        np.hstack([photos[(r * 5 + c) % len(photos)] for c in range(-(-width // 512))])
        for r in range(-(-height // 512))
    ]
    rgb = np.ascontiguousarray(np.vstack(rows)[:height, :width])
    return rgb_to_picture(rgb.astype(np.uint8), 10, Matrix.BT709)


def best(function: Callable[[], object], runs: int = 3) -> dict[str, float]:
    """Shortest wall time and shortest processor time, seconds."""
    walls, processors = [], []
    for _ in range(runs):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {"wall": round(min(walls), 3), "processor": round(min(processors), 3)}


def shown(model: ImageModel, apply: StillFilter, body: bytes, picture: Picture) -> Picture:
    """What people see of a coded picture of the format of `picture`."""
    return apply(decode_picture(model, body, picture.format), qp_of(body))


@torch.no_grad()
def raster_scan(model: ImageModel, rows: int, columns: int, qp: int) -> float:
    """Seconds for the latents of a picture, one position after the other."""
    context = model.networks.context
    rate = torch.tensor([qp])
    step = context.steps("base")[-1]
    canvas = torch.zeros(1, model.config.latents, 3, 3, dtype=torch.int32)
    features = torch.zeros(1, model.config.features, 1, 1, dtype=torch.uint8)
    symbols = np.zeros(model.config.latents, np.int32)
    log_step = model.rates.log_step[qp].numpy()[None, :, None, None]
    encoder = SymbolEncoder(model.symbol_models)
    indices = np.full(model.config.latents, 8, np.uint8)
    for _ in range(POSITIONS):
        encoder.encode(symbols, indices)
    decoder = SymbolDecoder(model.symbol_models, encoder.finish())
    start = time.process_time()
    with exact_arithmetic():
        for _ in range(POSITIONS):
            around = context.contexts[2](context.split(canvas))
            both = torch.cat([features.to(around.dtype), around], 1)
            mean, scale = context.parameters_of("base", step, both, canvas[:, :0], rate)
            index_of((scale.numpy() - log_step).reshape(-1))
            decoded = torch.from_numpy(decoder.decode(indices).astype(np.int64))
            canvas[:, :, 1, 1] = (decoded[None] + mean[:, :, 0, 0]).to(torch.int32)
            canvas.zero_()
    return (time.process_time() - start) / POSITIONS * rows * columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--qp", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = image_model(registry.reference(registry.IMAGE_PEOPLE))
    results: dict[str, Any] = {"path": model.path, "threads": args.threads, "qp": args.qp}
    apply = StillFilter()
    picture = tiled(args.pictures, 2048, 1080)
    for profile in PROFILES:
        body = encode_picture(model, picture, args.qp, profile).body
        data = body[1:]
        results[f"2048x1080 {profile}"] = {
            "bytes": len(body),
            "decode": best(partial(decode_picture, model, body, picture.format)),
            "decode and filter": best(partial(shown, model, apply, body, picture)),
            "latent only": best(partial(model.decompress, data, 2048, 1080, args.qp, profile)),
        }
    rows, columns = 1088 // LATENT_STRIDE, 2048 // LATENT_STRIDE
    results["raster scan, latent only, processor"] = round(raster_scan(model, rows, columns, args.qp), 2)
    for side in (1024, 4096):
        square = tiled(args.pictures, side, side)
        body = encode_picture(model, square, args.qp, "base").body
        times = best(partial(shown, model, apply, body, square), 2)
        results[f"{side}x{side}, microseconds per pixel"] = {
            k: round(v / side**2 * 1e6, 4) for k, v in times.items()
        }
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
