"""Pictures through the learned image codec: what the image and the hybrid pipelines share."""

from dataclasses import dataclass
from functools import lru_cache

from nnvvc.adapt.latents import PEOPLE, Aim, finetune
from nnvvc.bitstream.header import ModelReference
from nnvvc.bitstream.learned_picture import read_learned_picture, write_learned_picture
from nnvvc.models import registry
from nnvvc.models.adapter import ExactAdapter, load_adapter
from nnvvc.models.context import PROFILES
from nnvvc.models.image import ImageModel
from nnvvc.models.lic import HYPER_STRIDE
from nnvvc.models.planes import picture_of_samples, planes_of_picture
from nnvvc.picture import Picture, PictureFormat


@lru_cache(maxsize=4)
def image_model(reference: ModelReference, device: str = "cpu") -> ImageModel:
    """The image model that a stream names, loaded once. Raises UnknownModel, InexactArithmetic."""
    return ImageModel.load(registry.weights_of(reference), device)


@lru_cache(maxsize=4)
def picture_adapter(reference: ModelReference) -> ExactAdapter:
    """The adapter that a stream names, loaded once. Raises UnknownModel, InexactArithmetic."""
    return load_adapter(registry.weights_of(reference))


@dataclass(frozen=True)
class CodedPicture:
    """body: of a KEY_PICTURE payload. picture: what a decoder gives, 10 bits."""

    body: bytes
    picture: Picture


def encode_picture(
    model: ImageModel,
    picture: Picture,
    qp: int,
    profile: str,
    finetune_seconds: float | None = 0.0,
    aim: Aim = PEOPLE,
) -> CodedPicture:
    """Code a picture of 10 bits, 4:2:0 or 4:0:0 (as grey 4:2:0).

    qp: 0 to 63. finetune_seconds: time to optimise its latents for this aim; None: its number of steps, where
    the picture is not too large.
    """
    planes = planes_of_picture(picture, HYPER_STRIDE).to(model.device)
    latents, hyper = model.analyse(planes, qp)
    given = (model, planes, latents, hyper, qp, profile)
    if finetune_seconds is None:
        # Large pictures would take minutes that nobody asked for.
        small = picture.format.width * picture.format.height <= aim.largest
        latents, hyper = finetune(*given, aim, steps=aim.steps if small else 0)
    elif finetune_seconds > 0:
        latents, hyper = finetune(*given, aim, seconds=finetune_seconds)
    data, decoded = model.compress(latents, hyper, qp, profile)
    body = write_learned_picture(qp, PROFILES.index(profile), data)
    return CodedPicture(body, picture_of_samples(model.synthesise(decoded, qp), picture.format))


def qp_of(body: bytes) -> int:
    """The QP that the picture of a KEY_PICTURE payload was coded with. Raises StreamError."""
    return read_learned_picture(body)[0]


def decode_picture(model: ImageModel, body: bytes, fmt: PictureFormat) -> Picture:
    """The picture of a KEY_PICTURE payload; fmt: its size and chroma format, 10 bits. Raises StreamError."""
    qp, profile, data = read_learned_picture(body)
    latents = model.decompress(data, fmt.width, fmt.height, qp, PROFILES[profile])
    return picture_of_samples(model.synthesise(latents, qp), fmt)
