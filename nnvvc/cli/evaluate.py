"""`nnvvc evaluate EXPERIMENT.yaml`: measure codecs and write results.json, speed.json and report.html."""

import argparse
import os
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure codecs against anchors and write a report",
        description="Measure codecs as an experiment file says, from real files: rate against task accuracy "
        "and fidelity, BD-rate, times. NNVVC_DATA names the folder of the data sets, NNVVC_NETS that of the "
        "task networks. A run that was stopped goes on where it was; cells that did not change are kept.",
    )
    parser.add_argument(
        "experiment", type=Path, help="a YAML file, such as tools/experiments/image-machines.yaml"
    )
    parser.add_argument("--quick", action="store_true", help="the experiment's short form")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CODEC", help="measure only this codec"
    )
    parser.add_argument(
        "--workers", type=int, help="cells made at a time, one thread each; default: processors"
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take up cells that are there already; --no-resume makes all again",
    )
    parser.add_argument("--keep", action="store_true", help="keep the decoded pictures")
    parser.add_argument("--runs", type=Path, default=Path("runs/evaluation"), help="folder of all cells")
    parser.add_argument("--out", type=Path, help="folder of the report, by default one in --runs")


def run(args: argparse.Namespace) -> int:
    from nnvvc.errors import ConfigError
    from nnvvc.evaluation.cells import write_json
    from nnvvc.evaluation.experiment import load_experiment, run_experiment
    from nnvvc.evaluation.report import write_report
    from nnvvc.evaluation.results import Results

    workers = args.workers if args.workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise ConfigError("--workers must be 1 or more")
    experiment = load_experiment(args.experiment, args.quick, args.only)
    done = run_experiment(experiment, args.runs, workers, args.keep, args.resume, _report)
    out = args.out or args.runs / experiment.name
    out.mkdir(parents=True, exist_ok=True)
    results = Results(done)
    write_json(out / "results.json", results.to_json())
    write_json(out / "speed.json", results.speed())
    write_report(results, out / "report.html")
    for row in results.comparisons:
        figure = row["refused"] or f"{row['rate']:+.2f} %"
        print(f"{row['codec']} against {row['anchor']}, {row['quality']}: {figure}")
    for codec, reason in done.skipped.items():
        print(f"{codec} was skipped: {reason}")
    print(f"report: {out / 'report.html'}")
    return 0


def _report(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} cells", end="\n" if done == total else "", file=sys.stderr, flush=True)
