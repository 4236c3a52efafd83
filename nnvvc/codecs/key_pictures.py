"""Coders of key pictures: what the hybrid pipeline needs of a picture codec."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import ModelReference, StreamHeader
from nnvvc.bitstream.key_slice import PictureCodec
from nnvvc.bitstream.learned_picture import read_learned_picture
from nnvvc.codecs.cost import rate_distortion
from nnvvc.errors import DamagedStream
from nnvvc.models import registry
from nnvvc.options import EncodeOptions, Profile, Purpose
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.lossless import lossless_settings
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


@dataclass(frozen=True)
class CodedKey:
    """codec, data: what the stream carries. picture: what every decoder makes of it, and other pictures refer
    to. learned: what machines see instead, where the picture went through a learned codec. 10 bits, 4:2:0.
    """

    codec: PictureCodec
    data: bytes
    picture: Picture
    learned: Picture | None = None


@dataclass(frozen=True)
class DecodedKey:
    """picture, learned: as in `CodedKey`."""

    picture: Picture
    learned: Picture | None = None


class KeyPictureCoder(Protocol):
    """Codes pictures one by one. Decoding is exact: the same samples on every machine.

    models: the networks that decoding needs.
    """

    models: tuple[ModelReference, ...]

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        """Code a picture of 10 bits, 4:2:0, of any size. qp: 0 to 63."""

    def candidates(self, picture: Picture, qp: int) -> list[CodedKey]:
        """The picture in all ways that there are to code it."""
        return [self.encode(picture, qp)]

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
        """The picture again; fmt: its format. Raises StreamError in its kinds."""


class IntraKeys(KeyPictureCoder):
    """Key pictures coded by VVC intra, decoded by a stock decoder.

    Their parameter sets are those of the video around them, coded with `settings`: they are not sent again.
    """

    models: tuple[ModelReference, ...] = ()

    def __init__(self, settings: VvcSettings, fps: Fraction, tool: str = "ffmpeg") -> None:
        same_tools = lossless_settings(settings, 0)
        only_lossless = ("LambdaModifierI", "MaxMTTDepthI")
        params = {name: value for name, value in same_tools.params.items() if name not in only_lossless}
        self._settings = replace(same_tools, params=params)
        self._fps = fps
        self._tool = tool

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        """Raises ToolError."""
        coded = coded_format(picture.format)
        params = {**self._settings.params, "IntraQPOffset": str(qp - self._settings.qp)}
        settings = replace(self._settings, params=params)
        frame = to_coded(picture, coded)
        data = b"".join(encoder(self._tool).encode([frame], coded, self._fps, settings))
        return CodedKey(PictureCodec.VVC_INTRA, data, decode_intra(data, picture.format))

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
        """Raises StreamError and ToolError."""
        return DecodedKey(decode_intra(data, fmt))


def decode_intra(data: bytes, fmt: PictureFormat) -> Picture:
    """The picture of a VVC stream that has just one. Raises StreamError and ToolError."""
    size = Demuxer([data]).first.size
    coded = coded_format(fmt)
    if size is None or (size.width, size.height) != (coded.width, coded.height):
        raise DamagedStream("a key picture coded by VVC is not of the size that was coded")
    pictures = list(decoder().decode([data], CodedFormat(coded, size.ctu_size), DecoderSettings(threads=1)))
    if len(pictures) != 1:
        raise DamagedStream(f"a key picture coded by VVC decodes to {len(pictures)} pictures")
    return from_coded(pictures[0], fmt)


class ChosenKeys(KeyPictureCoder):
    """The better of two coders for each picture, by squared error and bits."""

    def __init__(self, first: KeyPictureCoder, second: KeyPictureCoder) -> None:
        self.models = first.models
        self._first = first
        self._second = second

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        return min(
            self.candidates(picture, qp),
            key=lambda key: rate_distortion([key.picture], [picture], len(key.data), qp),
        )

    def candidates(self, picture: Picture, qp: int) -> list[CodedKey]:
        return self._first.candidates(picture, qp) + self._second.candidates(picture, qp)

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
        return self._first.decode(codec, data, fmt)


class LearnedKeys(KeyPictureCoder):
    """Key pictures of the learned image codec; those that VVC intra coded are decoded too.

    adapter: makes a reference, and a picture for people, of what was coded for machines. The networks are
    loaded when the first learned picture comes: many streams have none.
    """

    def __init__(
        self,
        model: ModelReference,
        adapter: ModelReference | None = None,
        profile: Profile = "base",
        finetune_seconds: float = 0,
    ) -> None:
        """Raises UnknownModel where a model is not installed."""
        self.models: tuple[ModelReference, ...] = (model,) if adapter is None else (model, adapter)
        for used in self.models:
            registry.weights_of(used)
        self._adapter = adapter
        self._profile = profile
        self._finetune_seconds = finetune_seconds

    def encode(self, picture: Picture, qp: int) -> CodedKey:
        from nnvvc.codecs.picture_coder import encode_picture, image_model

        model = image_model(self.models[0])
        coded = encode_picture(model, picture, qp, self._profile, self._finetune_seconds)
        return CodedKey(PictureCodec.LEARNED, coded.body, self._adapted(coded.picture, qp), coded.picture)

    def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
        if codec is PictureCodec.VVC_INTRA:
            return DecodedKey(decode_intra(data, fmt))
        from nnvvc.codecs.picture_coder import decode_picture, image_model

        learned = decode_picture(image_model(self.models[0]), data, fmt)
        qp, _, _ = read_learned_picture(data)
        return DecodedKey(self._adapted(learned, qp), learned)

    def _adapted(self, picture: Picture, qp: int) -> Picture:
        if self._adapter is None:
            return picture
        from nnvvc.codecs.picture_coder import picture_adapter

        return picture_adapter(self._adapter)(picture, qp)


def coder_for(options: EncodeOptions, header: StreamHeader, purpose: Purpose) -> KeyPictureCoder:
    """The coder that encoding asks for; VVC intra is chosen for pictures where it is better.

    The weights are those for the purpose, and for machines the adapter that belongs to them. Raises
    UnknownModel where they are not installed.
    """
    model = registry.reference(registry.IMAGE_MODELS[purpose])
    adapter = registry.reference(registry.ADAPTER_PEOPLE) if purpose == "machines" else None
    learned = LearnedKeys(model, adapter, options.profile, options.finetune_seconds or 0.0)
    return ChosenKeys(learned, IntraKeys(options.vvc, header.source.fps, options.encoder))


def coder_of(header: StreamHeader) -> KeyPictureCoder:
    """The coder that a stream needs. Raises UnknownModel."""
    return LearnedKeys(registry.image_model_in(header), registry.adapter_in(header))
