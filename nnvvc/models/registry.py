"""The trained models of this installation: stream headers name them by number and first bytes of their
SHA-256.

A number stands for one purpose for good; the digest says which training of it was used. Image codecs have
numbers from 1 on, adapters from 32, filters from 64.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from nnvvc.bitstream.header import MODEL_DIGEST_BYTES, ModelReference, StreamHeader
from nnvvc.errors import UnknownModel
from nnvvc.options import Purpose

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the weights."""

IMAGE_PEOPLE, IMAGE_MACHINES = 1, 2
ADAPTER_PEOPLE = 32
FILTER_MACHINES, FILTER_PEOPLE, FILTER_VIDEO, FILTER_IMAGE, FILTER_LEARNED, FILTER_QUICK = range(64, 70)

FILES = {
    IMAGE_PEOPLE: "image_people.safetensors",
    IMAGE_MACHINES: "image_machines.safetensors",
    ADAPTER_PEOPLE: "adapter_people.safetensors",
    FILTER_MACHINES: "filter_machines.safetensors",
    FILTER_PEOPLE: "filter_people.safetensors",
    FILTER_VIDEO: "filter_video.safetensors",
    FILTER_IMAGE: "filter_image.safetensors",
    FILTER_LEARNED: "filter_learned.safetensors",
    FILTER_QUICK: "filter_quick.safetensors",
}

PEOPLE_FILTERS = FILTER_PEOPLE, FILTER_QUICK
"""Those of VVC's pictures: `models.people` loads them."""


IMAGE_MODELS: dict[Purpose, int] = {"people": IMAGE_PEOPLE, "machines": IMAGE_MACHINES}


def image_model_in(header: StreamHeader) -> ModelReference:
    """The image model that a stream header lists. Raises UnknownModel where there is none known here."""
    for listed in header.models:
        if listed.number in IMAGE_MODELS.values():
            return listed
    raise UnknownModel("the stream names no image model that is known here; a newer nnvvc may know it")


def adapter_in(header: StreamHeader) -> ModelReference | None:
    """The adapter of learned pictures that a stream header lists."""
    return next((m for m in header.models if m.number == ADAPTER_PEOPLE), None)


@lru_cache(maxsize=16)
def reference(number: int) -> ModelReference:
    """How a stream header names the installed weights of a model. Raises UnknownModel where there are
    none.
    """
    name = FILES.get(number)
    if name is None:
        raise UnknownModel(f"model {number} is not known here; a newer nnvvc may have it")
    try:
        digest = hashlib.sha256((WEIGHTS / name).read_bytes()).digest()
    except OSError as error:
        raise UnknownModel(f"model {number} ({name}) is not part of this installation") from error
    return ModelReference(number, digest[:MODEL_DIGEST_BYTES])


def weights_of(wanted: ModelReference) -> Path:
    """The weights that a stream names. Raises UnknownModel where they are not there, or are other ones."""
    installed = reference(wanted.number)
    if installed != wanted:
        raise UnknownModel(
            f"the stream was made with other weights of model {wanted.number} ({FILES[wanted.number]}): "
            f"{wanted.digest.hex()}, installed is {installed.digest.hex()}"
        )
    return WEIGHTS / FILES[wanted.number]
