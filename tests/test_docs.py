from pathlib import Path

from nnvvc.bitstream.document import render_all
from nnvvc.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent


def test_the_format_page_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs" / "format.md").read_text() == render_all(), "run `make docs`"


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"nnvvc {command}" in readme
