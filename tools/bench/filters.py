"""What filtering costs, as a ratio to decoding VVC: every filter of the package, on pictures of one clip.

    python -m tools.bench.filters [CLIP] [--qp 32] [--frames 33] [--threads 2]

Codes the clip with VVenC `faster`, random access, at the scale that a filter is for, times FFmpeg's decoder
and then the filter on some of its pictures (that for people on all of them), the best of several runs each.
Prints JSON: milliseconds for a million luma samples of what comes out, and the ratio.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from nnvvc.codecs.neighbours import placed
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.codecs.people_filter import PeopleFilter, StillFilter, filtered_pictures
from nnvvc.media import open_source
from nnvvc.media.resample import resample
from nnvvc.memory import keep_freed_memory
from nnvvc.models import registry
from nnvvc.models.filters import load_filter
from nnvvc.models.precision import has_bfloat16
from nnvvc.models.quantised import available, quantised
from nnvvc.picture import Chroma, Picture, PictureFormat
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder
from tools.bench.image_speed import best
from tools.content import clip as made_clip

KEY_DISTANCE = 32
"""Pictures from one key picture to the next."""

FILTERED = 3
"""Pictures of the clip that are filtered, where one has nothing to do with the others."""


def decoded(clip: Sequence[Picture], qp: int, threads: int) -> tuple[list[Picture], float]:
    """The clip as it comes out of the decoder, and the seconds a picture took."""
    fmt = clip[0].format
    stream = b"".join(encoder().encode(clip, fmt, Fraction(30), VvcSettings(qp=qp, preset="faster")))
    run = lambda: list(decoder().decode([stream], CodedFormat(fmt), DecoderSettings(threads=threads)))  # noqa: E731
    return run(), best(run)["wall"] / len(clip)


def filters(
    full: Picture, coded: Sequence[Picture], scale: Fraction, qp: int, threads: int
) -> dict[str, tuple[Callable[[], object], int]]:
    """What filters pictures coded at `scale`, and how many. full: a picture as the source has it."""
    used = {n: registry.reference(n) for n in registry.FILES}
    source, small = full.format, coded[0].format
    found: dict[str, tuple[Callable[[], object], int]] = {}

    def add(name: str, apply: Callable[[Picture], Picture]) -> None:
        found[name] = lambda: [apply(p) for p in coded[:FILTERED]], FILTERED

    for name, number in (("machines", registry.FILTER_MACHINES), ("machines, video", registry.FILTER_VIDEO)):
        model = load_filter(registry.weights_of(used[number]))
        layer = 3 * model.config.video
        add(name, partial(NeuralFilter(model, small, source, scale, qp), layer=layer))
        if available():
            add(
                f"{name}, 8 bits",
                partial(NeuralFilter(quantised(model), small, source, scale, qp), layer=layer),
            )
    if scale == 1:
        facts = [PictureFacts(3 if number % KEY_DISTANCE else 0, ()) for number in range(len(coded))]

        def people(number: int) -> list[Picture]:
            apply = PeopleFilter(used[number], small, source, qp)
            return list(filtered_pictures(apply, placed(zip(coded, facts, strict=True)), threads))

        for name, number in (("quick", registry.FILTER_QUICK), ("full", registry.FILTER_PEOPLE)):
            found[f"people, {name}"] = partial(people, number), len(coded)
        still = StillFilter()
        add("people, image codec, exact", lambda p: still(p, qp))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--qp", type=int, default=32)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    if args.clip is None:
        pictures = list(made_clip(PictureFormat(960, 540), args.frames))
    else:
        with open_source(args.clip) as source:
            pictures = list(islice(source, args.frames))
    full = [p.with_chroma(Chroma.C420).with_bit_depth(10) for p in pictures]
    fmt = full[0].format
    millions = fmt.width * fmt.height / 1e6
    results: dict[str, object] = {
        "threads": args.threads,
        "bfloat16": has_bfloat16(),
    }
    for scale in (Fraction(1), Fraction(1, 2)):
        size = (int(fmt.width * scale), int(fmt.height * scale))
        coded, seconds = decoded([resample(p, *size) for p in full], args.qp, args.threads)
        found = {"decoding VVC": {"ms": round(1000 * seconds / millions, 2)}}
        for name, (apply, count) in filters(full[0], coded, scale, args.qp, args.threads).items():
            taken = best(apply)["wall"] / count
            found[name] = {
                "ms": round(1000 * taken / millions, 1),
                "ratio": round(taken / seconds, 1),
            }
        results[f"coded at {scale}"] = found
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
