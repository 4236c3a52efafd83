"""What the filter for people gains when more or fewer of its numbers are fitted to a clip.

python -m tools.adaptation CLIP... [--qps 27 37] [--seconds 5 20 60] [--frames 33] [--out adaptation]

Codes the clips with VVenC `medium`, random access, and fits each kind of numbers (`models.adaptable`), for
each of the times, to every third picture. Gains are decibels of luma PSNR over unfiltered pictures, of those
that were fitted; bits are those of the update that is worth most. Writes OUT.json and OUT.png.
"""

import argparse
import json
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from nnvvc.adapt.biases import optimise
from nnvvc.adapt.descent import Values
from nnvvc.adapt.samples import Sample, decibels
from nnvvc.codecs.adapted import SAMPLES
from nnvvc.codecs.filter_planes import to_tensors
from nnvvc.codecs.filter_updates import biases_of
from nnvvc.codecs.fitting import Bits, in_steps
from nnvvc.codecs.neighbours import NEIGHBOURS, Sights, placed, planes_among
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.codecs.people_filter import filtered_planes
from nnvvc.codecs.people_fitting import RATE_PER_DECIBEL
from nnvvc.entropy.small_numbers import encode_numbers
from nnvvc.media import open_source
from nnvvc.models import registry
from nnvvc.models.adaptable import Adaptable, Kind
from nnvvc.models.people import load_people
from nnvvc.picture import Chroma
from nnvvc.training.clip_data import layers_of
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder

LEARNING_RATES: dict[Kind, float] = {
    "sent": 0.02,
    "biases": 0.02,
    "biases and gains": 0.02,
    "last layer": 0.005,
    "all weights": 0.002,
}

STEPS = range(3, 25, 2)


def samples_of(path: Path, qp: int, frames: int) -> tuple[list[Sample], int, int]:
    """Pictures of a clip as they are fitted, the key picture's slice QP, and the stream's bits."""
    with open_source(path) as source:
        clip = [p.with_chroma(Chroma.C420).with_bit_depth(10) for p in islice(source, frames)]
    fmt = clip[0].format
    settings = VvcSettings(qp=qp, preset="medium", intra_period=32)
    stream = b"".join(encoder().encode(clip, fmt, Fraction(30), settings))
    layers, key_qp = layers_of(stream)
    distance = 32 // SAMPLES | 1
    decoded = decoder().decode([stream], CodedFormat(fmt), DecoderSettings())
    shown = placed((picture, PictureFacts(layer)) for picture, layer in zip(decoded, layers, strict=True))
    sights = Sights(fmt)
    found = [
        Sample(*planes_among(p, sights, NEIGHBOURS), *to_tensors(clip[number], fmt), p.layers_of(NEIGHBOURS))
        for number, p in enumerate(shown)
        if number % distance == 0 and p.facts.layer
    ]
    return found, key_qp, 8 * len(stream)


class Fitter:
    """Fits one kind of numbers to a clip."""

    def __init__(self, kind: Kind, samples: list[Sample], key_qp: int, bits: int) -> None:
        model = load_people(registry.weights_of(registry.reference(registry.FILTER_PEOPLE)))
        self.adaptable = Adaptable(model, kind)
        self.kind = kind
        self.samples, self.key_qp, self.bits = samples, key_qp, bits

    def gain(self, values: Values | None) -> float:
        """Decibels over unfiltered pictures."""
        model = self.adaptable.model
        if values is not None:
            model = self.adaptable.applied(torch.from_numpy(values))
        qp = torch.tensor([float(self.key_qp)])
        filtered = [filtered_planes(model, (s.luma, s.chroma), qp, s.layers) for s in self.samples]
        return decibels(self.samples, filtered)

    def point(self, seconds: float) -> dict[str, Any]:
        """The gain after this time, before and after the numbers are rounded, and the update's bits."""
        start = np.zeros(self.adaptable.count, np.float32)
        rate = LEARNING_RATES[self.kind]
        found = optimise(self.adaptable, self.samples, self.key_qp, start, seconds, learning_rate=rate)
        best = {"gain": self.gain(None), "bits": 0}
        chosen = None
        for candidate in found:
            # Candidates' gains are in decibels here.
            bits = Bits(round(RATE_PER_DECIBEL * self.bits))
            tried = [(i, numbers) for i in STEPS for numbers in in_steps(candidate, i, bits, None)]
            for step_idx, numbers in tried:
                if any(numbers):
                    values = biases_of(numbers, step_idx)
                    gain = self.gain(values) if candidate.gain is None else candidate.gain(values)
                    rounded = {"gain": gain, "bits": 8 * len(encode_numbers(numbers))}
                    if self._worth(rounded) > self._worth(best):
                        best, chosen = rounded, values
        best["gain"] = self.gain(chosen)
        return {
            "kind": self.kind,
            "count": self.adaptable.count,
            "seconds": seconds,
            "before_rounding": max(self.gain(candidate.values) for candidate in found),
            **best,
            "share": best["bits"] / self.bits,
        }

    def _worth(self, point: dict[str, float]) -> float:
        return RATE_PER_DECIBEL * self.bits * point["gain"] - point["bits"]


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Means over clips, per QP: gain over time, and gain over the update's share of the bits."""
    from matplotlib.figure import Figure

    qps = sorted({r["qp"] for r in results})
    figure = Figure(figsize=(9, 3.6 * len(qps)), layout="constrained")
    axes = figure.subplots(len(qps), 2, squeeze=False)
    for row, qp in zip(axes, qps, strict=True):
        for kind in get_args(Kind):
            found = [r for r in results if r["qp"] == qp and r["kind"] == kind]
            times = sorted({r["seconds"] for r in found})
            mean = {
                key: [float(np.mean([r[key] for r in found if r["seconds"] == t])) for t in times]
                for key in ("before_rounding", "gain", "share")
            }
            row[0].plot(times, mean["before_rounding"], marker=".", label=kind)
            row[1].plot([100 * s for s in mean["share"]], mean["gain"], marker=".", label=kind)
        base = float(np.mean([r["base"] for r in results if r["qp"] == qp]))
        for side in row:
            side.axhline(base, color="grey", linestyle=":", label="base filter")
            side.grid(alpha=0.3)
            side.set(ylabel="gain, dB", title=f"QP {qp}")
        row[0].set(xlabel="time for fitting, seconds", xscale="log")
        row[1].set(xlabel="update that is worth most, percent of the bits")
    axes[0, 0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--qps", type=int, nargs="+", default=[27, 37])
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 20, 60])
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("adaptation"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results: list[dict[str, Any]] = []
    for clip in args.clips:
        for qp in args.qps:
            samples, key_qp, bits = samples_of(clip, qp, args.frames)
            for kind in get_args(Kind):
                fitter = Fitter(kind, samples, key_qp, bits)
                base = fitter.gain(None)
                for seconds in args.seconds:
                    results.append({"clip": clip.stem, "qp": qp, "base": base, **fitter.point(seconds)})
                    print(json.dumps(results[-1]), flush=True)
    args.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
