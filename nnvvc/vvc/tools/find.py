"""Where the optional VVC tools are."""

import os
import shutil
from pathlib import Path

from nnvvc.errors import ToolMissing

_VARIABLES = {
    "vvencapp": "NNVVC_VVENCAPP",
    "vvdecapp": "NNVVC_VVDECAPP",
    "EncoderApp": "NNVVC_VTM_ENCODER",
    "DecoderApp": "NNVVC_VTM_DECODER",
}
_OTHER_NAMES = {"EncoderApp": ("EncoderAppStatic",), "DecoderApp": ("DecoderAppStatic",)}


def find_tool(name: str) -> str:
    """The path of a tool: what its environment variable says, else what PATH has. Raises ToolMissing."""
    variable = _VARIABLES[name]
    given = os.environ.get(variable)
    if given:
        if not Path(given).is_file():
            raise ToolMissing(f"{variable} names {given}, which is no file")
        return str(Path(given).resolve())
    for candidate in (name, *_OTHER_NAMES.get(name, ())):
        found: str | None = shutil.which(candidate)
        if found is not None:
            return found
    raise ToolMissing(f"{name} is not on PATH; {variable} can say where it is")
