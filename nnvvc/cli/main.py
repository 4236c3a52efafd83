"""The command `nnvvc`: runs the command's module, and turns errors into messages and exit statuses."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from types import FrameType

from nnvvc.errors import NnvvcError
from nnvvc.memory import keep_freed_memory
from nnvvc.version import __version__

COMMANDS = ("encode", "decode", "info", "export", "cut", "join", "doctor", "train", "evaluate", "compare")

_FAULT = 1
_INTERRUPTED = 130


def build_parser(commands: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands, whose modules it loads."""
    parser = argparse.ArgumentParser(
        prog="nnvvc",
        description="A hybrid video codec for machines and people: one stream that VVC decoders understand.",
    )
    parser.add_argument("--version", action="version", version=f"nnvvc {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in commands:
        import_module(f"nnvvc.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 2 for what the user can mend, 1 for our own fault."""
    # A stop from outside unwinds like Ctrl-C: files are removed, child processes ended.
    signal.signal(signal.SIGTERM, _stop)
    arguments = sys.argv[1:] if argv is None else argv
    # Linear algebra is torch's here; OpenBLAS's own threads only wait, and spin while they do. So do torch's,
    # and take the processor from the VVC tools that run beside us; training has none, and runs at half the
    # speed where its threads sleep between two small operations.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if arguments[:1] != ["train"]:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    keep_freed_memory()
    try:
        known = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS
        args = build_parser(known).parse_args(arguments)
        return int(import_module(f"nnvvc.cli.{args.command}").run(args))
    except NnvvcError as error:
        print(f"nnvvc: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("nnvvc: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads what is printed any more (`nnvvc info x | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("nnvvc: this is a fault of nnvvc: please report it with the lines above", file=sys.stderr)
        return _FAULT


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
