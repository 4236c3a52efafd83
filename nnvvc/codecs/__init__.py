"""The pipelines, found by name or by what a stream header says."""

from importlib import import_module

from nnvvc.bitstream.header import Pipeline
from nnvvc.codecs.base import Codec, DecodedVideo
from nnvvc.errors import ConfigError, UnsupportedStream
from nnvvc.picture import VideoFormat

# Modules are imported when they are needed: a plain VVC stream needs no networks.
_MODULES = {"vvc": "nnvvc.codecs.vvc", "image": "nnvvc.codecs.image", "hybrid": "nnvvc.codecs.hybrid"}
_PIPELINES = {Pipeline.VVC: "vvc", Pipeline.IMAGE: "image", Pipeline.HYBRID: "hybrid"}

CODECS = ("auto", *_MODULES)


def codec(name: str, video: VideoFormat | None = None) -> Codec:
    """The codec of that name; `auto` chooses by the input. Raises ConfigError for an unknown one."""
    if name == "auto":
        name = _automatic(video)
    if name not in _MODULES:
        raise ConfigError(f"--codec {name} is not one of {', '.join(CODECS)}")
    found: Codec = import_module(_MODULES[name]).CODEC
    return found


def codec_of(pipeline: Pipeline) -> Codec:
    """The codec that decodes such a stream. Raises UnsupportedStream where there is none."""
    if pipeline not in _PIPELINES:
        raise UnsupportedStream(
            f"streams of the {pipeline.name.lower()} pipeline need a newer version of nnvvc"
        )
    return codec(_PIPELINES[pipeline])


def _automatic(video: VideoFormat | None) -> str:
    # The learned codec needs more bits than VVC intra still (docs/image-codec.md), so pictures are VVC's. In
    # video each key picture is whichever of the two measures better.
    return "vvc" if video is not None and video.still else "hybrid"


__all__ = ["CODECS", "Codec", "DecodedVideo", "codec", "codec_of"]
