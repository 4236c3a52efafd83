"""The commands as a user runs them: in a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from nnvvc.media import open_sink, open_source
from nnvvc.picture import PictureFormat, VideoFormat
from tools.content import clip


def run(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "nnvvc.cli.main", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip `a.y4m` and its stream `a.bin`."""
    path = tmp_path_factory.mktemp("cli")
    write_clip(path / "a.y4m")
    done = run("encode", path / "a.y4m", path / "a.bin", "--codec", "vvc", "--preset", "faster", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bytes"] == (path / "a.bin").stat().st_size
    assert report["pictures"] == 9
    assert done.stderr == b""
    return path


def write_clip(path: Path, frames: int = 9, size: tuple[int, int] = (80, 48)) -> None:
    fmt = PictureFormat(*size)
    with open_sink(path, VideoFormat(fmt)) as sink:
        for picture in clip(fmt, frames):
            sink.write(picture)


def test_encode_and_decode_with_names_of_their_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes((folder / "a.bin").read_bytes())
    done = run("decode", tmp_path / "b.bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with open_source(tmp_path / "b.y4m") as source:
        assert (source.format.picture.width, source.format.picture.bit_depth) == (80, 8)
        assert len(list(source)) == 9
    again = run("decode", tmp_path / "b.bin")
    assert again.returncode == 2
    assert b"exists" in again.stderr


def test_standard_input_and_output(folder: Path) -> None:
    encoded = run(
        "encode", "-", "-", "--codec", "vvc", "--preset", "faster", stdin=(folder / "a.y4m").read_bytes()
    )
    assert encoded.returncode == 0, encoded.stderr
    decoded = run("decode", "-", "-", stdin=encoded.stdout)
    assert decoded.returncode == 0, decoded.stderr
    assert decoded.stdout.startswith(b"YUV4MPEG2 W80 H48")
    assert decoded.stdout.count(b"FRAME\n") == 9


def test_info_says_what_is_there(folder: Path) -> None:
    text = run("info", folder / "a.bin")
    assert text.returncode == 0
    assert b"9 pictures" in text.stdout
    data = json.loads(run("info", folder / "a.bin", "--json").stdout)
    assert data["pictures"] == 9
    assert data["header"]["width_minus1"] == 79
    assert data["size"] == (folder / "a.bin").stat().st_size


@pytest.mark.parametrize("ending", ["266", "mp4", "mkv"])
def test_exports_hold_the_same_pictures(folder: Path, tmp_path: Path, ending: str) -> None:
    done = run("export", folder / "a.bin", tmp_path / f"x.{ending}")
    assert done.returncode == 0, done.stderr
    coded = tmp_path / "c.y4m"
    assert run("decode", folder / "a.bin", coded, "--bit-depth", "coded").returncode == 0
    with open_source(tmp_path / f"x.{ending}") as exported, open_source(coded) as expected:
        for a, b in zip(exported, expected, strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def test_a_folder_in_gives_a_folder_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("x", "y"):
        write_clip(tmp_path / "in" / f"{name}.y4m", frames=1)
    options = ("--codec", "vvc", "--preset", "faster")
    assert run("encode", tmp_path / "in", tmp_path / "coded", *options).returncode == 0
    assert sorted(p.name for p in (tmp_path / "coded").iterdir()) == ["x.bin", "y.bin"]
    assert run("decode", tmp_path / "coded", tmp_path / "out").returncode == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["x.y4m", "y.y4m"]
    assert run("encode", tmp_path / "in").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "missing.y4m", "o.bin"),
        ("encode", "empty.y4m", "o.bin"),
        ("encode", "garbage.mp4", "o.bin"),
        ("encode", "garbage.png", "o.bin"),
        ("encode", "raw.yuv", "o.bin"),
        ("encode", "ok.y4m", "missing/o.bin", "--codec", "vvc"),
        ("encode", "ok.y4m", "o.bin", "--qp", "99"),
        ("encode", "ok.y4m", "o.bin", "--codec", "vvc", "--preset", "faster", "--vvc-params", "NoSuch=1"),
        ("encode", "cut.y4m", "o.bin", "--codec", "vvc", "--preset", "faster"),
        ("encode", "ok.y4m", "o.bin", "--codec", "vvc", "--encoder", "vtm"),
        ("encode", "ok.y4m", "o.bin", "--codec", "nonsense"),
        ("decode", "missing.bin", "o.y4m"),
        ("decode", "empty.y4m", "o.y4m"),
        ("decode", "garbage.png", "o.y4m"),
        ("decode", "ok.y4m", "o.y4m"),
        ("decode", "cut.bin", "o.y4m"),
        ("decode", "ok.bin", "o.xyz"),
        ("decode", "ok.bin", "o.png"),
        ("info", "missing.bin"),
        ("info", "garbage.png"),
        ("export", "cut.bin", "o.266"),
        ("export", "garbage.png", "o.mp4"),
        ("cut", "garbage.png", "o.bin"),
        ("cut", "ok.bin", "o.bin", "--groups", "7:"),
        ("cut", "ok.bin", "o.bin", "--groups", "one"),
        ("join", "ok.bin", "garbage.png", "o.bin"),
    ],
)
def test_bad_input_ends_with_status_2_and_nothing_left(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.defpath)
    for variable in ("NNVVC_VTM_ENCODER", "NNVVC_VTM_DECODER"):
        monkeypatch.delenv(variable, raising=False)
    stream, clip_bytes = (folder / "a.bin").read_bytes(), (folder / "a.y4m").read_bytes()
    files = {
        "empty.y4m": b"",
        "garbage.mp4": b"garbage" * 100,
        "garbage.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "raw.yuv": bytes(1000),
        "ok.y4m": clip_bytes,
        "cut.y4m": clip_bytes[: len(clip_bytes) // 2],
        "ok.bin": stream,
        "cut.bin": stream[: len(stream) // 2],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files)


def test_a_full_disk_is_our_error(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "nnvvc.cli.main", "decode", str(folder / "a.bin"), "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=100, check=False)
    assert done.returncode == 2
    assert b"no room left" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_file_and_no_child(tmp_path: Path, number: signal.Signals) -> None:
    write_clip(tmp_path / "a.y4m", frames=200, size=(320, 240))
    command = [sys.executable, "-m", "nnvvc.cli.main", "encode", str(tmp_path / "a.y4m")]
    command += ["--codec", "vvc", "--preset", "slower"]

    def heed_interrupts() -> None:
        # A shell's background jobs, which these tests may be, are made to ignore them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    ) as process:
        children: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while not children and time.monotonic() < deadline:
            time.sleep(0.1)
            children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(number)
        assert process.wait(30) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["a.y4m"]
    # One that was just being started ends by itself, as its input does.
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_doctor_finds_the_default_tools() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = {(t["role"], t["name"]): t["state"] for t in json.loads(done.stdout)["tools"]}
    assert found["encoder", "ffmpeg"] == found["decoder", "ffmpeg"] == found["decoder", "pyav"] == "works"
