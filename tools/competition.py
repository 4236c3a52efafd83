"""Filters for machines, one or several in competition, compared by what networks see that none of them knows.

python -m tools.competition PICTURES WEIGHTS... [--qps 37 47] [--every 2] [--judges yolox_nano yolov5n_seg]

Codes the pictures at half size with VVenC `medium`, all intra, filters them with each of the weights, chooses
filters block by block as an encoder does (`NNVVC_NETS`), and measures the error of the judges' features,
relative to that without a filter. Writes OUT.json: errors, the size of block maps, and which filter was taken
for which block; and OUT.png: how the use of the filters goes with QP, with objects, with texture, and, where
the log of the training lies beside the weights, with time.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from nnvvc.adapt.block_choice import BlockLosses
from nnvvc.adapt.loss_networks import loss_network, seen_of_picture
from nnvvc.codecs.filter_choice import choose_filters
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.scale import restored, scaled_format
from nnvvc.entropy.block_map import BLOCK, BlockMap, encode_blocks
from nnvvc.evaluation.fidelity import feature_distance
from nnvvc.evaluation.networks import TaskNetwork, load_network
from nnvvc.media.colour import picture_to_rgb, rgb_to_picture
from nnvvc.media.resample import resample
from nnvvc.models.filters import KEY_QP_OFFSET, PictureFilter, load_filter
from nnvvc.picture import Matrix, Picture
from nnvvc.training.object_map import object_map
from nnvvc.training.photos import read_rgb
from nnvvc.vvc.tools import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    coded_format,
    decoder,
    encoder,
    to_coded,
)

SCALE = Fraction(1, 2)

LAYERS = ("feat8", "feat16", "feat32")

SURE = 0.3
"""Score from which a block counts as one with an object."""


class Coded:
    """A picture, and what VVC leaves of it at half size."""

    def __init__(self, original: Picture, qp: int) -> None:
        self.original, self.qp = original, qp
        self.losses = BlockLosses(original)
        self.scaled = scaled_format(original.format, SCALE)
        coded = coded_format(self.scaled)
        small = to_coded(resample(original, self.scaled.width, self.scaled.height), coded)
        settings = VvcSettings(qp=qp, preset="medium", gop="ai", threads=1)
        stream = b"".join(encoder().encode([small], coded, Fraction(30), settings))
        (self.decoded,) = decoder().decode([stream], CodedFormat(coded), DecoderSettings(threads=1))
        self.bytes = len(stream)

    @property
    def plain(self) -> Picture:
        """Enlarged without a filter."""
        return restored(self.decoded, self.scaled, self.original.format)

    def filtered(self, model: PictureFilter) -> tuple[Picture, BlockMap | None]:
        """As the best filters make it, and which these are."""
        apply = NeuralFilter(model, self.scaled, self.original.format, SCALE, self.qp - KEY_QP_OFFSET)
        return choose_filters(apply, self.decoded, self.losses, 8 * self.bytes), apply.choice


def block_facts(original: Picture) -> list[tuple[float, float]]:
    """Per block, in raster order: how sure a detector is of an object there; standard deviation of luma."""
    seen = seen_of_picture(original)
    scores = object_map(loss_network("nanodet_plus_m"), seen)[0, 0].numpy()
    below, beside = (-side % BLOCK for side in original.planes[0].shape)
    luma = np.pad(original.planes[0].astype(np.float32), ((0, below), (0, beside)), "edge")
    cells = scores.shape[0] * BLOCK // luma.shape[0]
    facts = []
    for y in range(0, luma.shape[0], BLOCK):
        for x in range(0, luma.shape[1], BLOCK):
            part = luma[y : y + BLOCK, x : x + BLOCK]
            texture = part - cv2.GaussianBlur(part, (0, 0), 4)
            top, left = y // BLOCK * cells, x // BLOCK * cells
            sure = scores[top : top + cells, left : left + cells]
            facts.append((float(sure.max()), float(texture.std())))
    return facts


def errors(judges: dict[str, TaskNetwork], original: Picture, picture: Picture) -> dict[str, float]:
    before, after = picture_to_rgb(original), picture_to_rgb(picture)
    return {n: feature_distance(judge, LAYERS, [before], [after]) for n, judge in judges.items()}


def measure(
    pictures: Sequence[Path], weights: Sequence[Path], qps: Sequence[int], judges: dict[str, TaskNetwork]
) -> list[dict[str, Any]]:
    """One row for each picture, QP and weights."""
    models = {path.parent.name: load_filter(path) for path in weights}
    rows = []
    for file in pictures:
        original = rgb_to_picture(read_rgb(file), 10, Matrix.BT709)
        facts = block_facts(original)
        for qp in qps:
            coded = Coded(original, qp)
            plain = errors(judges, original, coded.plain)
            for name, model in models.items():
                picture, choice = coded.filtered(model)
                coded_map = b"" if choice is None else encode_blocks(choice, model.config.filters)
                found = errors(judges, original, picture)
                numbers = [0] * len(facts) if choice is None else choice.ravel().tolist()
                rows.append(
                    {
                        "weights": name,
                        "picture": file.stem,
                        "qp": qp,
                        "bytes": coded.bytes,
                        "map_bytes": len(coded_map),
                        "plain": plain,
                        "filtered": found,
                        "filters": model.config.filters,
                        "blocks": [(int(c), *f) for c, f in zip(numbers, facts, strict=True)],
                    }
                )
        print(file.stem, flush=True)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per weights: error left of every judge, mean over pictures, per QP; share of block maps."""
    result: dict[str, Any] = {}
    for name in dict.fromkeys(r["weights"] for r in rows):
        of = [r for r in rows if r["weights"] == name]
        left = {
            judge: {
                qp: float(np.mean([r["filtered"][judge] / r["plain"][judge] for r in of if r["qp"] == qp]))
                for qp in sorted({r["qp"] for r in of})
            }
            for judge in of[0]["plain"]
        }
        result[name] = {
            "error left": left,
            "mean": float(np.mean([v for by_qp in left.values() for v in by_qp.values()])),
            "map share": sum(r["map_bytes"] for r in of) / sum(r["bytes"] + r["map_bytes"] for r in of),
        }
    return result


def plot(rows: Sequence[dict[str, Any]], logs: dict[str, Path], path: Path) -> None:
    """Shares of the filters by QP, objects and texture, a row for each of the weights with several."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["weights"] for r in rows if r["filters"] > 1))
    if not names:
        return
    figure = Figure(figsize=(13, 2.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 4, squeeze=False, sharey=True)
    for name, row in zip(names, axes, strict=True):
        of = [r for r in rows if r["weights"] == name]
        blocks = [(r["qp"], *b) for r in of for b in r["blocks"]]
        qp, number, score, texture = (np.array(v) for v in zip(*blocks, strict=True))
        terciles = np.digitize(texture, np.quantile(texture, [1 / 3, 2 / 3]))
        groups = [
            {f"QP {q}": qp == q for q in sorted(set(qp.tolist()))},
            {"no object": score < SURE, "object": score >= SURE},
            {word: terciles == i for i, word in enumerate(("smooth", "between", "textured"))},
        ]
        for axis, group in zip(row, groups, strict=False):
            bottom = np.zeros(len(group))
            for filter_number in range(of[0]["filters"]):
                share = np.array([float((number[part] == filter_number).mean()) for part in group.values()])
                axis.bar(list(group), share, bottom=bottom, label=f"filter {filter_number}")
                bottom += share
        plot_training(row[3], logs.get(name), of[0]["filters"])
        row[0].set(ylabel="share of blocks", title=name)
        row[2].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)


def plot_training(axis: Any, log: Path | None, filters: int) -> None:
    """Shares of the filters over the time of training, from its log."""
    if log is None:
        axis.axis("off")
        return
    with log.open() as file:
        lines = [line for line in csv.DictReader(file) if line["train_use0"]]
    minutes = [float(line["minutes"]) for line in lines]
    shares = [[float(line[f"train_use{i}"]) for line in lines] for i in range(filters)]
    axis.stackplot(minutes, shares)
    axis.set(xlabel="minutes of training")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="folder")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--qps", type=int, nargs="+", default=[37, 47])
    parser.add_argument("--every", type=int, default=1, help="look at one picture of so many")
    parser.add_argument("--judges", nargs="+", default=["yolox_nano", "yolov5n_seg"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("competition"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    judges = {name: load_network(name, threads=args.threads) for name in args.judges}
    pictures = sorted(p for p in args.pictures.iterdir() if p.suffix in (".jpg", ".png"))[:: args.every]
    rows = measure(pictures, args.weights, args.qps, judges)
    found = summary(rows)
    args.out.with_suffix(".json").write_text(json.dumps({"summary": found, "rows": rows}) + "\n")
    logs = {path.parent.name: path.parent / "log.csv" for path in args.weights}
    plot(rows, {k: v for k, v in logs.items() if v.exists()}, args.out.with_suffix(".png"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
