"""What filtering for people takes, as a ratio to decoding the same streams, clip by clip and QP by QP.

    python -m tools.bench.people_filter CLIP... [--filter base] [--filter-model quick] [--qps 22 27 32 37 42]
        [--frames 33] [--seconds 1] [--threads 2] [--out DIR]

Codes clips as `python -m tools.people_filter` does, whose streams it finds in DIR, and times FFmpeg's decoder
on each stream, and then the filter on its pictures: the least of three runs each, one after the other. Prints
JSON: milliseconds for a million luma samples, and ratios; over all streams, times are added up.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from nnvvc.api import encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.nal import join_annex_b
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.neighbours import placed
from nnvvc.codecs.output_order import OutputOrder
from nnvvc.codecs.people_filter import PeopleFilter, filtered_pictures
from nnvvc.memory import keep_freed_memory
from nnvvc.options import FILTER_MODELS
from nnvvc.picture import Picture, VideoFormat
from nnvvc.vvc import tools as vvc_tools
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, decoder
from tools.bench.image_speed import best
from tools.people_filter import Remembering, clip_of, name_of, options_for


def times(stream: bytes, video: VideoFormat, threads: int) -> tuple[float, float]:
    """Seconds that decoding a stream takes, and filtering its pictures."""
    units = Demuxer([stream])
    header = units.header
    assert header is not None
    used = filter_in(header, "people")
    assert used is not None
    key_qp, order, plain = key_slice_qp(units.first, units.sets), OutputOrder(), b""
    for unit in order.watch(units):
        plain += join_annex_b(unit.vvc_nals())
    pictures: list[Picture] = []

    def decode() -> None:
        settings = DecoderSettings(threads=threads)
        pictures[:] = decoder().decode([plain], CodedFormat(video.picture), settings)

    decoding = best(decode)["wall"]
    shown = list(placed((picture, order.next()) for picture in pictures))

    def apply() -> None:
        found = PeopleFilter(used, video.picture, pictures[0].format, key_qp)
        assert len(list(filtered_pictures(found, shown, threads))) == len(pictures)

    return decoding, best(apply)["wall"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--filter", choices=("base", "adapt"), default="base")
    parser.add_argument("--filter-model", choices=FILTER_MODELS, default="quick")
    parser.add_argument("--qps", type=int, nargs="+", default=[22, 27, 32, 37, 42])
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("people-filter"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    Remembering.folder = given.out
    vvc_tools.ENCODERS["ffmpeg"] = Remembering
    keep_freed_memory()
    found: dict[str, Any] = {}
    totals = [0.0, 0.0]
    for path in given.clips:
        clip, video = clip_of(path, given.frames)
        millions = len(clip) * video.picture.width * video.picture.height / 1e6
        for qp in given.qps:
            options = options_for(qp, given.filter, given.filter_model, given.seconds)
            seconds = times(b"".join(encode_frames(clip, video, options)), video, given.threads)
            totals = [a + b for a, b in zip(totals, seconds, strict=True)]
            ms = [round(1000 * s / millions, 1) for s in seconds]
            about = {"decoding": ms[0], "filtering": ms[1], "ratio": round(seconds[1] / seconds[0], 2)}
            found[f"{name_of(path)} {qp}"] = about
    print(json.dumps(found | {"ratio of all": round(totals[1] / totals[0], 2)}, indent=1))


if __name__ == "__main__":
    main()
