"""`nnvvc export`: a stream as plain VVC that plays anywhere."""

import argparse

from . import arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "export",
        help="write a stream as plain VVC",
        description="Write a stream as plain VVC for any decoder: .266, or .mp4 or .mkv around it.",
    )
    parser.add_argument("input", metavar="IN", help="a stream, or - for stdin")
    parser.add_argument("output", metavar="OUT", help=".266, .mp4 or .mkv; - for a byte stream on stdout")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    from nnvvc.api import export

    report = export(args.input, args.output)
    arguments.show_reports(
        [report], args.json, lambda r: f"{r.target}: {r.pictures} pictures, {r.bytes} bytes of VVC"
    )
    return 0
