"""The trained image models: by purpose, and by the number and digest that a stream header names."""

import os
from functools import lru_cache
from pathlib import Path

from nnvvc.bitstream.header import MODEL_DIGEST_BYTES, ModelReference
from nnvvc.errors import ConfigError, UnknownModel
from nnvvc.models.image import ImageModel

WEIGHTS = Path(__file__).parent / "weights"
IMAGE_MODELS = {"people": 1, "machines": 2}
"""Numbers of the image models in stream headers. Numbers from 1000 on are for tests and experiments."""
FOLDER_VARIABLE = "NNVVC_IMAGE_MODELS"
"""Environment variable: a folder of image models to use instead of the packaged ones."""


def model_file(purpose: str) -> Path:
    """Where the weights of a purpose are."""
    return Path(os.environ.get(FOLDER_VARIABLE, WEIGHTS)) / f"image_{purpose}.safetensors"


@lru_cache(maxsize=4)
def _load(file: Path, device: str) -> ImageModel:
    return ImageModel.load(file, device)


def image_model(purpose: str, device: str = "cpu") -> ImageModel:
    """The image model for `people` or `machines`, loaded once. Raises ConfigError where it is not there."""
    file = model_file(purpose)
    if not file.exists():
        raise ConfigError(f"there are no image weights for {purpose} at {file}")
    return _load(file, device)


def reference(purpose: str) -> ModelReference:
    """How a stream header names the image model of a purpose."""
    return ModelReference(IMAGE_MODELS[purpose], image_model(purpose).digest[:MODEL_DIGEST_BYTES])


def referenced_image_model(references: tuple[ModelReference, ...]) -> ImageModel:
    """The image model among those a stream names. Raises UnknownModel."""
    for wanted in references:
        for purpose, number in IMAGE_MODELS.items():
            if wanted.number != number:
                continue
            if not model_file(purpose).exists():
                raise UnknownModel(
                    f"the stream needs image model {number} ({purpose}), which is not installed"
                )
            if reference(purpose) != wanted:
                raise UnknownModel(
                    f"the stream was made with other weights of image model {number} ({purpose}): "
                    f"{wanted.digest.hex()}, installed is {reference(purpose).digest.hex()}"
                )
            return image_model(purpose)
    raise UnknownModel("the stream names no image model that is known here; a newer nnvvc may know it")
