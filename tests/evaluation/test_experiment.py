import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nnvvc.cli.compare import run as run_compare
from nnvvc.errors import ConfigError, ToolFailed
from nnvvc.evaluation import bd, commands
from nnvvc.evaluation.cells import Cell, CellStore
from nnvvc.evaluation.coders import read_curves
from nnvvc.evaluation.experiment import load_experiment
from nnvvc.evaluation.fidelity import picture_psnr
from nnvvc.evaluation.items import load_data

SPEC = {
    "title": "Red squares",
    "data": {"kind": "coco", "path": "squares.json", "limit": 2},
    "anchor": "HEVC",
    "codecs": {
        "HEVC": {
            "coder": "x265",
            "options": {"preset": "ultrafast", "gop": "intra"},
            "scales": {"1": [22, 32, 42], "1/2": [32]},
            "points": {"qp": [22, 32, 42]},
        },
        "JPEG": {"coder": "jpeg", "points": {"q": [3, 9, 31]}},
    },
    "tasks": {"detection": ["red"], "fidelity": True},
    "quick": {"data": {"limit": 2}, "codecs": {"JPEG": None}},
}


def _evaluate(folder: Path, data: Path, networks: Path, name: str) -> subprocess.Popen[bytes]:
    (folder / "red.yaml").write_text(yaml.safe_dump(SPEC))
    environment = os.environ | {"NNVVC_DATA": str(data), "NNVVC_NETS": str(networks)}
    words = ["evaluate", str(folder / "red.yaml"), "--runs", str(folder / name), "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "nnvvc.cli.main", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_result(data: Path, networks: Path, tmp_path: Path) -> None:
    whole = _evaluate(tmp_path, data, networks, "whole")
    killed = _evaluate(tmp_path, data, networks, "killed")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("cells/*/*/usage.json"))) < 4:
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed/red/results.json").exists()
    again = _evaluate(tmp_path, data, networks, "killed")
    for process in (whole, again):
        output = process.communicate(timeout=240)[0].decode()
        assert process.returncode == 0, output
    first, second = tmp_path / "whole/red", tmp_path / "killed/red"
    assert (first / "results.json").read_bytes() == (second / "results.json").read_bytes()

    results = json.loads((first / "results.json").read_text())
    points = results["curves"][0]["points"]
    assert points[0]["metrics"]["red box AP50"] > 0.9
    assert points[0]["bpp"] > points[-1]["bpp"]
    assert points[0]["metrics"]["PSNR Y (dB)"] > points[-1]["metrics"]["PSNR Y (dB)"] + 5
    assert {row["quality"] for row in results["bd"]} >= {"red box AP", "PSNR 6:1:1 (dB)"}
    # The point at half size is part of the anchor where sizes are free, and only there.
    for row in (r for r in results["bd"] if r["task"]):
        hevc, half, jpeg = (
            [(p["bpp"], p["metrics"][row["quality"]]) for p in curve["points"]] for curve in results["curves"]
        )
        for found, points in ((row, hevc + half), (row["full_size"], hevc)):
            anchor, other = ([list(v) for v in zip(*p, strict=True)] for p in (points, jpeg))
            expected = bd.compare((anchor[0], anchor[1]), (other[0], other[1]), True)
            assert (found["rate"], found["refused"]) == (expected.rate, expected.refused)
    assert not any("full_size" in r for r in results["bd"] if not r["task"])
    assert results["tools"]["ffmpeg"]["sha256"]
    assert (first / "report.html").read_text().count("<img") > 8
    speed = json.loads((first / "speed.json").read_text())
    assert all(c["encode"]["seconds_per_megapixel"] > 0 for c in speed["curves"])


def test_quick_form_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "red.yaml").write_text(yaml.safe_dump(SPEC))
    full, quick = (load_experiment(tmp_path / "red.yaml", q) for q in (False, True))
    assert full.codecs == ["HEVC", "JPEG"] and quick.codecs == ["HEVC"]
    assert quick.data["limit"] == 2 and quick.data["path"] == "squares.json"
    assert quick.name == "red-quick"


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": {"other": ["red"]}},
        {"tasks": {}},
        {"codecs": {"x": {"coder": "none", "points": {"q": [1]}}}},
        {"x": 1},
    ],
)
def test_wrong_experiments_are_named(change: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "red.yaml").write_text(yaml.safe_dump(SPEC | change))
    with pytest.raises(ConfigError):
        load_experiment(tmp_path / "red.yaml")


def test_shipped_experiments_are_sound() -> None:
    folder = Path(__file__).parents[2] / "tools" / "experiments"
    paths = sorted(folder.glob("*.yaml"))
    assert len(paths) >= 4
    for path in paths:
        for quick in (False, True):
            assert load_experiment(path, quick).curves


@pytest.fixture
def cells(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    monkeypatch.setenv("NNVVC_DATA", str(data))
    (item, *_) = load_data(SPEC["data"], tmp_path / "sources").items  # type: ignore[arg-type]
    options = {"preset": "faster", "gop": "intra"}
    spec = {"VVenC": {"coder": "vvenc", "options": options, "scales": ["1/2"], "points": {"qp": [40]}}}
    return [
        Cell(read_curves(s)[0], 40, item) for s in (spec, spec, {"x": spec["VVenC"] | {"scales": ["3/4"]}})
    ]


def test_cells_are_made_once_and_bytes_are_the_same(cells: list[Cell], tmp_path: Path) -> None:
    stores = [CellStore(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        store.make(cells[0], {})
    assert stores[0].record(cells[0]) == stores[1].record(cells[0])
    assert stores[0].record(cells[0])["bytes"] == (stores[0].path(cells[0]) / "stream.266").stat().st_size
    before = (stores[0].path(cells[0]) / "usage.json").stat().st_mtime_ns
    stores[0].make(cells[1], {"size": lambda item, path: path.stat().st_size})
    assert (stores[0].path(cells[0]) / "usage.json").stat().st_mtime_ns == before
    assert stores[0].score(cells[0], "size") > cells[0].item.pixels * 3
    assert stores[0].path(cells[2]) != stores[0].path(cells[0])


def test_a_pipeline_of_ours_is_a_codec_too(cells: list[Cell], tmp_path: Path) -> None:
    options = {"codec": "vvc", "preset": "faster"}
    (curve,) = read_curves({"ours": {"options": options, "scales": ["1/2"], "points": {"qp": [40]}}})
    cell, store = Cell(curve, 40, cells[0].item), CellStore(tmp_path / "cells", keep=True)
    store.make(cell, {})
    assert (
        "nnvvc encode source.y4m stream.bin --codec vvc --preset faster --qp 40"
        in store.record(cell)["commands"][0]
    )
    (before,), (after,) = (
        list(cell.item.pictures(p)) for p in (cell.item.source, store.decoded(cell, tmp_path))
    )
    assert after.format == before.format
    assert picture_psnr(before, after)["psnr_y"] > 15
    assert store.usage(cell)["encode"]["peak_bytes"] > 20e6


def test_failing_command_says_what_the_tool_said(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="absent"):
        commands.run(["ffmpeg", "-v", "error", "-i", "absent.y4m", "x.y4m"], tmp_path)
    with pytest.raises(ToolFailed, match="nnvvc decode"):
        commands.run(["nnvvc", "decode", "absent.bin", "x.y4m"], tmp_path)


def test_usage_sees_the_child(tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25:duration=2"]
    usage = commands.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx265", "-f", "null", "-"], tmp_path)
    assert usage.seconds > 0.1 and usage.cpu_seconds > 0.05
    assert 20e6 < usage.peak_bytes < 2e9


def test_compare_says_what_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from argparse import Namespace

    point = {"qp": 22, "bytes": 100, "metrics": {"AP": 0.5}}
    curve = {"name": "VVenC", "parameter": "qp", "points": [point]}
    old = {"curves": [curve], "bd": [{"codec": "c", "quality": "AP", "rate": -10.0}], "tools": {}}
    moved = {"curves": [curve | {"points": [point | {"bytes": 90}]}], "bd": [], "tools": {}}
    for name, content in (("a", old), ("b", moved)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = [tmp_path / f"{name}.json" for name in ("a", "b")]
    assert run_compare(Namespace(first=files[0], second=files[0])) == 0
    assert capsys.readouterr().out == "nothing moved\n"
    assert run_compare(Namespace(first=files[0], second=files[1])) == 0
    text = capsys.readouterr().out
    assert "VVenC qp 22: bytes 100 -> 90 (-10)" in text and "c: BD-rate over AP -10 % -> nothing" in text


def test_what_people_see_of_a_stream_for_machines_is_decoded_apart(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNVVC_DATA", str(data))
    spec = {"name": {"options": {"codec": "hybrid", "for": "machines"}, "points": {"qp": [40]}}}
    (curve,) = read_curves(spec)
    (item, *_) = load_data(SPEC["data"], tmp_path / "sources").items  # type: ignore[arg-type]
    plan = curve.plan(item, 40)
    assert "machines" in plan.decode and plan.for_people is not None
    assert "machines" not in plan.for_people and plan.for_people not in plan.commands
    (plain,) = read_curves({"name": {"options": {"codec": "hybrid"}, "points": {"qp": [40]}}})
    assert plain.plan(item, 40).for_people is None
