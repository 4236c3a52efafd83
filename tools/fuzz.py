"""Damage streams in many ways; see that nothing comes of it but typed errors or reported concealment.

    python -m tools.fuzz --count 20000 [--seconds 120] [--seed 1]

Each damaged stream goes through `info` and `decode`, some with concealment. A case fails where an exception
that is no NnvvcError comes out, where it takes longer than 10 s, or where memory grows over the limit. The
failing stream is written to the folder given with --keep.
"""

import argparse
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import NalHeader, NalUnitType, join_annex_b, split_annex_b
from nnvvc.bitstream.payload import PICTURE_KINDS, PayloadKind, read_payload, write_payload
from nnvvc.bitstream.summary import summarise
from nnvvc.errors import NnvvcError
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings
from tools.content import clip

SECONDS_PER_CASE = 10.0
MEMORY_LIMIT = 1_500_000_000

Mutation = Callable[[random.Random, list[bytes]], bytes]


def seed_streams() -> list[bytes]:
    """Small sound streams of several kinds."""
    streams = []
    for width, height, gop, params in (
        (96, 64, "ra", {}),
        (144, 80, "ra-closed", {}),
        (96, 64, "ld", {}),
        (64, 64, "ai", {"SEIDecodedPictureHash": "1"}),
    ):
        fmt = PictureFormat(width, height)
        settings = VvcSettings(qp=40, preset="faster", intra_period=8, gop=gop, threads=1, params=params)
        video = VideoFormat(fmt, Fraction(25), 12)
        options = EncodeOptions(codec="vvc", vvc=settings)
        streams.append(b"".join(encode_frames(clip(fmt, 12, seed=width), video, options)))
    fmt = PictureFormat(96, 64, 10)
    settings = VvcSettings(qp=40, preset="faster", intra_period=8, gop="ra-closed", threads=1)
    for codec, frames in (("hybrid", 9), ("image", 1)):
        video = VideoFormat(fmt, Fraction(25), frames, still=frames == 1)
        options = EncodeOptions(codec=codec, purpose="people", vvc=settings)
        streams.append(b"".join(encode_frames(clip(fmt, frames, seed=frames), video, options)))
    return streams


def flip_bits(rng: random.Random, streams: list[bytes]) -> bytes:
    data = bytearray(rng.choice(streams))
    for _ in range(rng.choice((1, 1, 2, 5, 20, 100))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_early_bits(rng: random.Random, streams: list[bytes]) -> bytes:
    """In headers and parameter sets, where a bit means most."""
    data = bytearray(rng.choice(streams))
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(300, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(rng: random.Random, streams: list[bytes]) -> bytes:
    data = rng.choice(streams)
    return data[: rng.randrange(len(data))]


def remove(rng: random.Random, streams: list[bytes]) -> bytes:
    data = rng.choice(streams)
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 2, 3, 10, 100, 1000)) :]


def splice(rng: random.Random, streams: list[bytes]) -> bytes:
    first, second = rng.choice(streams), rng.choice(streams)
    return first[: rng.randrange(len(first))] + second[rng.randrange(len(second)) :]


def shuffle_units(rng: random.Random, streams: list[bytes]) -> bytes:
    nals = list(split_annex_b([rng.choice(streams)]))
    for _ in range(rng.randrange(1, 4)):
        action = rng.randrange(3)
        i, j = rng.randrange(len(nals)), rng.randrange(len(nals))
        if action == 0:
            nals[i], nals[j] = nals[j], nals[i]
        elif action == 1:
            nals.insert(i, nals[j])
        elif len(nals) > 1:
            del nals[i]
    return join_annex_b(nals)


def random_bytes(rng: random.Random, streams: list[bytes]) -> bytes:
    data = rng.randbytes(rng.choice((0, 1, 4, 100, 5000)))
    return rng.choice((b"", b"\0\0\1", b"\0\0\0\1\x00\x79", b"\0\0\1\x00\xe1")) + data


def retype(rng: random.Random, streams: list[bytes]) -> bytes:
    nals = list(split_annex_b([rng.choice(streams)]))
    i = rng.randrange(len(nals))
    nals[i] = nals[i][:1] + bytes([rng.randrange(32) << 3 | rng.randrange(8)]) + nals[i][2:]
    return join_annex_b(nals)


def forge_length(rng: random.Random, streams: list[bytes]) -> bytes:
    """A payload of ours whose length lies, with a checksum that fits."""
    nals = list(split_annex_b([rng.choice(streams)]))
    body = bytes([rng.choice((0, 1, 2, 3, 4, 16, 77))]) + rng.choice(
        (b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x10", b"\x05", b"\xff" * 12, b"")
    )
    body += rng.randbytes(rng.randrange(20))
    nal = bytes([0, 0xE1]) + body + struct.pack(">I", zlib.crc32(body)) + b"\x80"
    nals.insert(rng.randrange(len(nals)), nal)
    return join_annex_b(nals)


def forge_header(rng: random.Random, streams: list[bytes]) -> bytes:
    """A stream header with a sound checksum that asks for something else."""
    nals = list(split_annex_b([rng.choice(streams)]))
    i = next(i for i, n in enumerate(nals) if NalHeader.read(n).type is NalUnitType.PAYLOAD)
    kind, body = read_payload(nals[i])
    if rng.random() < 0.5:
        header = StreamHeader.frombytes(body)
        size = rng.choice(((16384, 4096), (8192, 8192), (1, 1), (97, 65), (98, 64), (640, 480)))
        fmt = PictureFormat(*size, rng.choice((8, 10, 16)))
        frames = rng.choice((None, 0, 1, 1 << 30))
        forged = StreamHeader(
            header.pipeline, VideoFormat(fmt, Fraction(25), frames), header.scale, header.models
        )
        body = forged.tobytes()
    else:
        changed = bytearray(body)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        body = bytes(changed)
    nals[i] = write_payload(PayloadKind(kind), body)
    return join_annex_b(nals)


def forge_picture(rng: random.Random, streams: list[bytes]) -> bytes:
    """Learned pictures, whole or in place of slices, changed under a checksum that fits."""
    learned = [s for s in streams if any(_is_picture(n) for n in split_annex_b([s]))]
    nals = list(split_annex_b([rng.choice(learned)]))
    i = rng.choice([i for i, n in enumerate(nals) if _is_picture(n)])
    kind, body = read_payload(nals[i])
    changed = bytearray(body)
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(min(len(changed), rng.choice((4, 40, 4000))))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        del changed[rng.randrange(len(changed)) :]
    nals[i] = write_payload(kind, bytes(changed))
    return join_annex_b(nals)


def _is_picture(nal: bytes) -> bool:
    return nal[1] >> 3 == NalUnitType.PAYLOAD and nal[2] in PICTURE_KINDS


def forge_parameter_set(rng: random.Random, streams: list[bytes]) -> bytes:
    """Bits changed in the SPS and PPS only: sizes, tools, buffers."""
    nals = list(split_annex_b([rng.choice(streams)]))
    sets = [i for i, n in enumerate(nals) if n[1] >> 3 in (NalUnitType.SPS, NalUnitType.PPS)]
    if not sets:
        return flip_early_bits(rng, streams)
    i = rng.choice(sets)
    changed = bytearray(nals[i])
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed[rng.randrange(2, len(changed))] ^= 1 << rng.randrange(8)
    nals[i] = bytes(changed)
    if rng.random() < 0.5:
        # Without our header nothing else states the size.
        nals = [n for n in nals if n[1] >> 3 != NalUnitType.PAYLOAD]
    return join_annex_b(nals)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_early_bits,
    cut,
    remove,
    splice,
    shuffle_units,
    random_bytes,
    retype,
    forge_length,
    forge_header,
    forge_picture,
    forge_parameter_set,
)


def run_case(data: bytes, conceal: bool) -> str:
    """What `info` and `decode` make of a stream, in two words. Raises whatever is not an NnvvcError."""
    try:
        summarise(Demuxer([data], tolerant=conceal))
        outcome = "read"
    except NnvvcError as error:
        outcome = type(error).__name__
    try:
        video = decode_chunks(_pieces(data), DecodeOptions(threads=1, conceal=conceal))
        count = sum(1 for _ in video)
        outcome += f" decoded{'-noted' if video.notes else ''}" if count else " nothing"
    except NnvvcError as error:
        outcome += f" {type(error).__name__}"
    return outcome


def fuzz(
    streams: list[bytes], count: int, seconds: float, seed: int, keep: Path | None = None
) -> tuple[Counter[str], list[str]]:
    """Run up to `count` cases or `seconds`. Returns how often each outcome came, and what failed."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    started = time.monotonic()
    for number in range(count):
        if time.monotonic() - started > seconds:
            break
        rng = random.Random(f"{seed}/{number}")
        mutation = rng.choice(MUTATIONS)
        data = mutation(rng, streams)
        begun = time.monotonic()
        try:
            outcome = run_case(data, conceal=rng.random() < 0.3)
        except Exception as error:
            outcome = f"FAILED {type(error).__name__}: {error}"
        took, memory = time.monotonic() - begun, peak_memory()
        if took > SECONDS_PER_CASE:
            outcome = f"FAILED hung for {took:.0f} s"
        if memory > MEMORY_LIMIT:
            outcome = f"FAILED took {memory >> 20} MiB"
        outcomes[outcome] += 1
        if outcome.startswith("FAILED"):
            failures.append(f"case {number} ({mutation.__name__}): {outcome}")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{number}.bin").write_bytes(data)
            if memory > MEMORY_LIMIT:
                break  # The peak stays where it is: later cases cannot be judged.
    return outcomes, failures


def peak_memory() -> int:
    """Bytes: the largest resident size of this process or of a child so far."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024


def _pieces(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 777] for i in range(0, len(data), 777))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for failing streams")
    args = parser.parse_args()
    outcomes, failures = fuzz(seed_streams(), args.count, args.seconds, args.seed, args.keep)
    for outcome, times in outcomes.most_common():
        print(f"{times:7} {outcome}")
    print(f"{sum(outcomes.values())} cases, {len(failures)} failures, peak memory {peak_memory() >> 20} MiB")
    for line in failures[:50]:
        print(line, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
