"""`nnvvc decode`: a stream to pictures or video."""

import argparse

from nnvvc.options import PURPOSES, DecodeOptions
from nnvvc.vvc.tools import DECODER_MEMORY, DECODERS

from . import arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "decode", help="decode a stream", description="Decode a stream, or a folder of them."
    )
    add = parser.add_argument
    add("input", metavar="IN", help="a stream, a folder of .bin files, or - for stdin")
    add(
        "output",
        metavar="OUT",
        nargs="?",
        help="y4m, yuv, png, frame_%%05d.png, mkv, mp4 (both lossless), a folder, or - for y4m on stdout; "
        "default: IN with .png for a picture, .y4m for a video",
    )
    add(
        "--for", dest="purpose", choices=PURPOSES, default="people", help="which output (default %(default)s)"
    )
    add("--filter", choices=("auto", "off"), default="auto", help="auto: as activated in the stream")
    add(
        "--bit-depth",
        choices=("source", "coded"),
        default="source",
        help="coded: the pictures as VVC holds them (default %(default)s)",
    )
    add("--no-verify", action="store_true", help="do not compare with the hashes in the stream")
    add("--conceal", action="store_true", help="go on where the stream is damaged, and report it")
    add("--decoder", choices=tuple(DECODERS), default="ffmpeg", help="VVC decoder (default %(default)s)")
    add("--threads", type=int, default=2, metavar="N", help="of the VVC decoder (default %(default)s)")
    add(
        "--memory-limit",
        type=int,
        default=DECODER_MEMORY >> 20,
        metavar="MIB",
        help="of the VVC decoder's process (default %(default)s)",
    )
    add("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    from nnvvc.api import decode

    options = DecodeOptions(
        purpose=args.purpose,
        filter=args.filter,
        coded=args.bit_depth == "coded",
        verify=not args.no_verify,
        conceal=args.conceal,
        decoder=args.decoder,
        threads=args.threads,
        memory_bytes=args.memory_limit << 20,
    )
    reports = [
        decode(source, target, options, quiet=args.json)
        for source, target in arguments.jobs(args.input, args.output, {".bin"})
    ]
    for report in reports:
        for note in report.notes:
            arguments.warn(note)
    arguments.show_reports(
        reports,
        args.json,
        lambda r: f"{r.target}: {r.pictures} pictures, {r.pictures / r.seconds:.1f} fps",
    )
    return 0
