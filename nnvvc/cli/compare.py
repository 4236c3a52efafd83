"""`nnvvc compare A.json B.json`: what moved between two results of `nnvvc evaluate`."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "compare",
        help="say what moved between two results",
        description="Say what moved between two results.json of `nnvvc evaluate`: rates, scores, BD figures.",
    )
    parser.add_argument("first", type=Path, help="results.json of one run")
    parser.add_argument("second", type=Path, help="results.json of another")


def run(args: argparse.Namespace) -> int:
    from nnvvc.evaluation.compare import compare_results

    lines = compare_results(_read(args.first), _read(args.second))
    print("\n".join(lines) if lines else "nothing moved")
    return 0


def _read(path: Path) -> dict[str, Any]:
    from nnvvc.errors import InputError

    try:
        data = json.loads(path.read_text())
        if not {"curves", "bd", "tools"} <= data.keys():
            raise ValueError("not a results.json of nnvvc evaluate")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: {error}") from error
    return dict(data)
