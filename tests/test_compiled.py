"""Compiled code that is kept."""

import subprocess
import sys
from pathlib import Path

LOOPS = """
from nnvvc.compiled import njit
from p import between

@njit(cache=True)
def next_one(x):
    return x + between.STEP
"""

RUN = """
from p.loops import next_one
print(next_one(1), sum(next_one.stats.cache_hits.values()))
"""


def test_it_is_made_anew_when_a_module_changes_that_it_takes_from(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loops.py").write_text(LOOPS)
    (package / "between.py").write_text("from p.constants import STEP\n")
    (package / "other.py").touch()

    def run(step: int | None) -> list[int]:
        if step is not None:
            (package / "constants.py").write_text(f"STEP = {step}\n")
        done = subprocess.run(
            [sys.executable, "-B", "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return [int(number) for number in done.stdout.split()]

    assert run(1) == [2, 0]
    assert run(None) == [2, 1]
    assert run(20) == [21, 0]
    (package / "other.py").write_text("# Nobody imports this.\n")
    assert run(None) == [21, 1]
