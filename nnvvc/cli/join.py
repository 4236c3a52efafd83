"""`nnvvc join`: streams one after the other as one."""

import argparse

from . import arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "join",
        help="put streams one after the other",
        description="Write streams of the same format and options as one; nothing is coded anew.",
    )
    parser.add_argument("inputs", metavar="IN", nargs="+", help="streams, in order")
    parser.add_argument("output", metavar="OUT", help="a stream")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    from nnvvc.api import join

    report = join(args.inputs, args.output)
    arguments.show_reports(
        [report], args.json, lambda r: f"{r.target}: {r.pictures} pictures, {r.bytes} bytes"
    )
    return 0
