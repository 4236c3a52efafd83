"""`nnvvc doctor`: which VVC tools are there, and whether they work, shown by letting them."""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial

import numpy as np

from nnvvc.errors import NnvvcError, ToolFailed, ToolMissing
from nnvvc.picture import Picture, PictureFormat
from nnvvc.version import __version__
from nnvvc.vvc.tools import DECODERS, ENCODERS, CodedFormat, DecoderSettings, VvcSettings, decoder, encoder

_FRAMES = 3
_FORMAT = PictureFormat(64, 64, 10)
_DEFAULT = "ffmpeg"


@dataclass(frozen=True, slots=True)
class Finding:
    """state: works, missing or failed. detail: the version, or what to do."""

    role: str
    name: str
    state: str
    detail: str


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="show which VVC tools are there and work",
        description="Show which VVC tools are there; each encodes or decodes a few pictures to prove it.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    findings = examine()
    if args.json:
        print(json.dumps({"nnvvc": __version__, "tools": [asdict(f) for f in findings]}, indent=1))
    else:
        print(f"nnvvc {__version__}, Python {platform.python_version()}, {platform.platform()}")
        for finding in findings:
            default = " (default)" if finding.name == _DEFAULT else ""
            print(f"{finding.role:8} {finding.name + default:20} {finding.state:8} {finding.detail}")
    needed = all(f.state == "works" for f in findings if f.name == _DEFAULT)
    if not needed:
        print(
            "nnvvc: the default tools do not work: `pip install imageio-ffmpeg` brings them", file=sys.stderr
        )
    return 0 if needed else 2


def examine() -> list[Finding]:
    """Try every tool that is known."""
    streams: list[bytes] = []
    findings = [
        _examine("encoder", n, encoder(n).version, partial(_try_encoder, n, streams)) for n in ENCODERS
    ]
    stream = streams[0] if streams else b""
    findings += [
        _examine("decoder", n, decoder(n).version, partial(_try_decoder, n, stream)) for n in DECODERS
    ]
    return findings


def _examine(role: str, name: str, version: Callable[[], str], attempt: Callable[[], None]) -> Finding:
    try:
        detail = version()
        attempt()
    except ToolMissing as error:
        return Finding(role, name, "missing", str(error))
    except NnvvcError as error:
        return Finding(role, name, "failed", str(error))
    return Finding(role, name, "works", detail)


def _try_encoder(name: str, streams: list[bytes]) -> None:
    settings = VvcSettings(qp=37, preset="faster", threads=1)
    stream = b"".join(encoder(name).encode(iter(_frames()), _FORMAT, Fraction(30), settings))
    _try_decoder(_DEFAULT, stream)
    streams.append(stream)


def _try_decoder(name: str, stream: bytes) -> None:
    if not stream:
        raise ToolFailed("no encoder made a stream to try it with")
    pictures = list(decoder(name).decode(iter([stream]), CodedFormat(_FORMAT), DecoderSettings(threads=1)))
    if len(pictures) != _FRAMES:
        raise ToolFailed(f"{len(pictures)} pictures came of {_FRAMES}")


def _frames() -> list[Picture]:
    """A gradient that moves."""
    y, x = np.mgrid[0:64, 0:64]
    grey = np.full((32, 32), 512, np.uint16)
    return [
        Picture((((x * 8 + y * 4 + 16 * i) % 1024).astype(np.uint16), grey, grey), _FORMAT)
        for i in range(_FRAMES)
    ]
