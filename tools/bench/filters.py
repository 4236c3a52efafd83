"""What filtering costs, as a ratio to decoding VVC: every filter of the package, on pictures of one clip.

    python -m tools.bench.filters [CLIP] [--qp 32] [--frames 33] [--threads 2]

Codes the clip with VVenC `faster`, random access, at the scale that a filter is for, times FFmpeg's decoder
and then the filter on some of its pictures, the best of several runs each. Prints JSON: milliseconds for a
million luma samples of what comes out, and the ratio.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from nnvvc.codecs.neighbours import REACH, Placing
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.codecs.people_filter import PeopleFilter, StillFilter
from nnvvc.media import open_source
from nnvvc.media.resample import resample
from nnvvc.models import registry
from nnvvc.models.filters import load_filter
from nnvvc.models.precision import has_bfloat16
from nnvvc.models.quantised import available, quantised
from nnvvc.picture import Chroma, Picture, PictureFormat
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder
from tools.bench.image_speed import best
from tools.content import clip as made_clip

FILTERED = 3
"""Pictures of the clip that are filtered."""


def decoded(clip: Sequence[Picture], qp: int, threads: int) -> tuple[list[Picture], float]:
    """The clip as it comes out of the decoder, and the seconds a picture took."""
    fmt = clip[0].format
    stream = b"".join(encoder().encode(clip, fmt, Fraction(30), VvcSettings(qp=qp, preset="faster")))
    run = lambda: list(decoder().decode([stream], CodedFormat(fmt), DecoderSettings(threads=threads)))  # noqa: E731
    return run(), best(run)["wall"] / len(clip)


def filters(
    full: Picture, small: Picture, scale: Fraction, qp: int
) -> dict[str, Callable[[Picture], Picture]]:
    """Those for pictures coded at `scale`. full, small: a picture as the source has it, and as coded."""
    used = {n: registry.reference(n) for n in registry.FILES}
    source, coded = full.format, small.format
    found: dict[str, Callable[[Picture], Picture]] = {}
    for name, number in (("machines", registry.FILTER_MACHINES), ("machines, video", registry.FILTER_VIDEO)):
        model = load_filter(registry.weights_of(used[number]))
        found[name] = partial(NeuralFilter(model, coded, source, scale, qp), layer=3 * model.config.video)
        if available():
            eight = NeuralFilter(quantised(model), coded, source, scale, qp)
            found[f"{name}, 8 bits"] = partial(eight, layer=3 * model.config.video)
    if scale == 1:
        people, still = PeopleFilter(used[registry.FILTER_PEOPLE], coded, source, qp), StillFilter()
        placing = Placing()
        for _ in range(REACH):
            placing.push(small, PictureFacts(3, ()))
        found["people"] = partial(_in_order, people, placing)
        found["people, image codec, exact"] = lambda p: still(p, qp)
    return found


def _in_order(people: PeopleFilter, placing: Placing, picture: Picture) -> Picture:
    """The picture that is REACH before it, filtered."""
    (found,) = placing.push(picture, PictureFacts(3, ()))
    return people(found)


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
        for name, apply in filters(full[0], coded[0], scale, args.qp).items():
            taken = best(lambda: [apply(p) for p in coded[:FILTERED]])["wall"] / FILTERED  # noqa: B023
            found[name] = {
                "ms": round(1000 * taken / millions, 1),
                "ratio": round(taken / seconds, 1),
            }
        results[f"coded at {scale}"] = found
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
