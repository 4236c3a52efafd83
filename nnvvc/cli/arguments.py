"""Arguments and manners that several commands share."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from nnvvc.api import Report
from nnvvc.errors import ConfigError, InputError, OutputError


def fraction(text: str) -> Fraction:
    """A rate: `30`, `29.97` or `30000/1001`."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or a fraction") from None
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1000")
    return value


def encoder_parameters(text: str) -> dict[str, str]:
    """`name=value:name=value`, as FFmpeg spells it."""
    result = {}
    for part in filter(None, text.split(":")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=VALUE")
        result[name] = value
    return result


def jobs(source: str, target: str | None, endings: Iterable[str]) -> list[tuple[str, str | None]]:
    """Pairs of input and output: one, or, for a folder, one for each file in it with such an ending.

    Raises InputError for a folder without such files, ConfigError for one without a folder to write to.
    """
    folder = Path(source)
    if not folder.is_dir():
        return [(source, target)]
    if target is None:
        raise ConfigError(f"{source} is a folder: name a folder for the output")
    accepted = set(endings)
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in accepted)
    if not files:
        raise InputError(f"{source} holds no file with an ending {', '.join(sorted(accepted))}")
    out = Path(target)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}") from error
    return [(str(path), str(out)) for path in files]


def show_reports(reports: list[Report], as_json: bool, describe: Callable[[Report], str]) -> None:
    """Say what was done: JSON on standard output where asked for, else a line each on a terminal."""
    if as_json:
        results = [_as_data(report) for report in reports]
        print(json.dumps(results[0] if len(results) == 1 else results))
    elif sys.stderr.isatty():
        for report in reports:
            print(describe(report), file=sys.stderr)


def warn(note: str) -> None:
    """One line on standard error."""
    print(f"nnvvc: {note}", file=sys.stderr)


def _as_data(report: Report) -> dict[str, Any]:
    data = asdict(report)
    fmt = report.format
    data["format"] = {
        "width": fmt.picture.width,
        "height": fmt.picture.height,
        "bit_depth": fmt.picture.bit_depth,
        "chroma": fmt.picture.chroma.name,
        "matrix": fmt.picture.matrix.name,
        "full_range": fmt.picture.full_range,
        "fps": str(fmt.fps),
        "still": fmt.still,
    }
    data["kilobits_per_second"] = round(report.kilobits_per_second, 3)
    data["fps"] = round(report.pictures / max(report.seconds, 1e-9), 3)
    return data
