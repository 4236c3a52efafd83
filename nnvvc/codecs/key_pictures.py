"""Coders of key pictures: what the hybrid pipeline needs of a picture codec."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from nnvvc.bitstream.header import ModelReference, StreamHeader
from nnvvc.bitstream.key_slice import PictureCodec
from nnvvc.codecs.image import IMAGE_MODELS, image_model_in
from nnvvc.codecs.picture_coder import decode_picture, encode_picture, image_model
from nnvvc.errors import DamagedStream
from nnvvc.models import registry
from nnvvc.options import EncodeOptions, Profile, Purpose
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.tools import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    coded_format,
    decoder,
    encoder,
    from_coded,
    to_coded,
)

LARGEST_CTU = 128


@dataclass(frozen=True)
class CodedKey:
    """codec, data: what the stream carries. picture: what every decoder makes of it, 10 bits, 4:2:0."""

    codec: PictureCodec
    data: bytes
    picture: Picture


class KeyPictureCoder(Protocol):
    """Codes pictures one by one. Decoding is exact: the same samples on every machine.

    models: the networks that decoding needs.
    """

    models: tuple[ModelReference, ...]

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        """Code a picture of 10 bits, 4:2:0, of any size. qp: 0 to 63."""

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> Picture:
        """The picture again; fmt: its format. Raises StreamError in its kinds."""


class IntraKeys:
    """Key pictures coded by VVC intra: an access unit each, decoded by a stock decoder."""

    models: tuple[ModelReference, ...] = ()

    def __init__(self, preset: str = "medium", threads: int = 2) -> None:
        self._preset = preset
        self._threads = threads

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        """Raises ToolError."""
        coded = coded_format(picture.format)
        settings = VvcSettings(qp, self._preset, 1, "ai", self._threads, {"IntraQPOffset": "0"})
        data = b"".join(encoder().encode([to_coded(picture, coded)], coded, Fraction(30), settings))
        decoded = self.decode(PictureCodec.VVC_INTRA, data, picture.format)
        return CodedKey(PictureCodec.VVC_INTRA, data, decoded)

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> Picture:
        """Raises StreamError and ToolError."""
        coded = CodedFormat(coded_format(fmt), LARGEST_CTU)
        pictures = list(decoder().decode([data], coded, DecoderSettings(threads=1)))
        if len(pictures) != 1:
            raise DamagedStream(f"a key picture coded by VVC decodes to {len(pictures)} pictures")
        return from_coded(pictures[0], fmt)


class LearnedKeys:
    """Key pictures of the learned image codec; those that VVC intra coded are decoded too."""

    def __init__(self, model: ModelReference, profile: Profile = "base", finetune_seconds: float = 0) -> None:
        """Raises UnknownModel where the model is not installed."""
        self.models: tuple[ModelReference, ...] = (model,)
        self._model = image_model(model)
        self._profile = profile
        self._finetune_seconds = finetune_seconds

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        coded = encode_picture(self._model, picture, qp, self._profile, self._finetune_seconds)
        return CodedKey(PictureCodec.LEARNED, coded.body, coded.picture)

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> Picture:
        if codec is PictureCodec.VVC_INTRA:
            return IntraKeys().decode(codec, data, fmt)
        return decode_picture(self._model, data, fmt)


def coder_for(options: EncodeOptions, purpose: Purpose) -> KeyPictureCoder:
    """The coder that encoding asks for. Raises UnknownModel where its weights are not installed."""
    model = registry.reference(IMAGE_MODELS[purpose])
    return LearnedKeys(model, options.profile, options.finetune_seconds)


def coder_of(header: StreamHeader) -> KeyPictureCoder:
    """The coder that a stream needs. Raises UnknownModel."""
    return LearnedKeys(image_model_in(header)) if header.models else IntraKeys()
