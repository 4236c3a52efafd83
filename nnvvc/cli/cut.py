"""`nnvvc cut`: some groups of a stream as a stream."""

import argparse

from . import arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "cut",
        help="take groups of pictures out of a stream",
        description="Write some groups of a stream as a stream; nothing is coded anew. Groups stand alone "
        "where the stream was encoded with --gop ra-closed or ld.",
    )
    parser.add_argument("input", metavar="IN", help="a stream")
    parser.add_argument("output", metavar="OUT", help="a stream")
    parser.add_argument(
        "--groups",
        type=span,
        default=(0, None),
        metavar="FIRST:END",
        help="their numbers, from 0, the last one not included; either can be left out",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def span(text: str) -> tuple[int, int | None]:
    """`2:5`, `2:`, `:5`, or `2` for a single one."""
    first, colon, end = text.partition(":")
    try:
        start = int(first) if first else 0
        return start, (int(end) if end else None) if colon else start + 1
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:END") from None


def run(args: argparse.Namespace) -> int:
    from nnvvc.api import cut

    report = cut(args.input, args.output, *args.groups)
    arguments.show_reports(
        [report], args.json, lambda r: f"{r.target}: {r.pictures} pictures, {r.bytes} bytes"
    )
    return 0
