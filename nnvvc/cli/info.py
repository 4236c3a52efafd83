"""`nnvvc info`: what a stream is and is made of."""

import argparse
import json

from nnvvc.bitstream.summary import Summary, plain_data


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "info", help="show what a stream is made of", description="Show what a stream is and is made of."
    )
    parser.add_argument("input", metavar="IN", help="a stream, or - for stdin")
    parser.add_argument("--conceal", action="store_true", help="go on where the stream is damaged")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    from nnvvc.bitstream.demuxer import Demuxer
    from nnvvc.bitstream.summary import summarise
    from nnvvc.files import Counted, open_input, read_chunks

    with open_input(args.input) as file:
        chunks = Counted(read_chunks(file))
        summary = summarise(Demuxer(chunks, tolerant=args.conceal))
    if args.json:
        print(json.dumps({"size": chunks.bytes, **summary.data()}, indent=1))
    else:
        _print(args.input, chunks.bytes, summary)
    return 0


def _print(name: str, size: int, summary: Summary) -> None:
    what = "nnvvc stream" if summary.header else "plain VVC stream"
    print(f"{name}: {what}, {size} bytes, {summary.pictures} pictures")
    print(f"  coded pictures: {summary.width}x{summary.height}, {summary.bit_depth} bits")
    print(f"  intra periods: {summary.intra_periods}, with hash: {summary.period_hashes}")
    if summary.header:
        print("stream header")
        for field, value in summary.header.items():
            print(f"  {field:32} {plain_data(value)}")
    print("NAL units")
    for kind, count in summary.nal_units.most_common():
        share = summary.nal_bytes[kind] / max(size, 1)
        print(f"  {kind:24} {count:7} {summary.nal_bytes[kind]:12} bytes {share:7.2%}")
    for kind, values in summary.seis.items():
        print(f"SEI {kind}")
        for field, value in values.items():
            print(f"  {field:40} {plain_data(value)}")
    for line in summary.damage:
        print(f"damaged: {line}")
