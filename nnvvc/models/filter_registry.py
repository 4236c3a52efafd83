"""The trained filters that come with the package, by the number and digest that streams name them with.

A number stands for one purpose for good; the digest says which training of it was used. Numbers of filters
begin at 64, below are the image models'.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nnvvc.bitstream.header import MODEL_DIGEST_BYTES, ModelReference
from nnvvc.errors import UnknownModel

if TYPE_CHECKING:
    # Streams without a filter need no networks, whose import takes seconds.
    from nnvvc.models.filters import PictureFilter

WEIGHTS = Path(__file__).parent / "weights"

FILTER_MACHINES, FILTER_PEOPLE = 64, 65

_FILES = {FILTER_MACHINES: "filter_machines.safetensors", FILTER_PEOPLE: "filter_people.safetensors"}


def _file(number: int) -> Path:
    if number not in _FILES:
        raise UnknownModel(f"filter number {number} needs a newer version of nnvvc")
    path = WEIGHTS / _FILES[number]
    if not path.is_file():
        raise UnknownModel(f"the weights {path.name} are not part of this installation")
    return path


@lru_cache(maxsize=8)
def filter_reference(number: int) -> ModelReference:
    """What a stream header says of the filter as it is installed. Raises UnknownModel."""
    digest = hashlib.sha256(_file(number).read_bytes()).digest()
    return ModelReference(number, digest[:MODEL_DIGEST_BYTES])


def referenced_filter(wanted: ModelReference) -> "PictureFilter":
    """The filter that a stream was made for. Raises UnknownModel where another or none is installed."""
    path = _file(wanted.number)
    if filter_reference(wanted.number) != wanted:
        raise UnknownModel(
            f"the stream was made with other weights than the {path.name} of this installation"
        )
    from nnvvc.models.filters import load_filter

    return load_filter(path)
