"""VVC encoders and decoders, each a child process behind the same small interface."""

from collections.abc import Callable

from nnvvc.errors import ConfigError
from nnvvc.vvc.tools.base import (
    CODED_BIT_DEPTH,
    DECODER_MEMORY,
    GOPS,
    PRESETS,
    CodedFormat,
    DecoderSettings,
    Gop,
    VvcDecoder,
    VvcEncoder,
    VvcSettings,
    coded_format,
    from_coded,
    to_coded,
)
from nnvvc.vvc.tools.ffmpeg import FFmpegDecoder, FFmpegEncoder
from nnvvc.vvc.tools.fraunhofer import VvdecappDecoder, VvencappEncoder
from nnvvc.vvc.tools.pyav import PyAvDecoder
from nnvvc.vvc.tools.vtm import VtmDecoder, VtmEncoder

ENCODERS: dict[str, Callable[[], VvcEncoder]] = {
    "ffmpeg": FFmpegEncoder,
    "vvencapp": VvencappEncoder,
    "vtm": VtmEncoder,
}
"""By the name given to `--encoder`; the first is the default."""

DECODERS: dict[str, Callable[[], VvcDecoder]] = {
    "ffmpeg": FFmpegDecoder,
    "pyav": PyAvDecoder,
    "vvdecapp": VvdecappDecoder,
    "vtm": VtmDecoder,
}
"""By the name given to `--decoder`; the first is the default."""


def encoder(name: str = "ffmpeg") -> VvcEncoder:
    """Raises ConfigError for an unknown name."""
    if name not in ENCODERS:
        raise ConfigError(f"there is no VVC encoder {name!r}: use {', '.join(ENCODERS)}")
    return ENCODERS[name]()


def decoder(name: str = "ffmpeg") -> VvcDecoder:
    """Raises ConfigError for an unknown name."""
    if name not in DECODERS:
        raise ConfigError(f"there is no VVC decoder {name!r}: use {', '.join(DECODERS)}")
    return DECODERS[name]()


__all__ = [
    "CODED_BIT_DEPTH",
    "DECODERS",
    "DECODER_MEMORY",
    "ENCODERS",
    "GOPS",
    "PRESETS",
    "CodedFormat",
    "DecoderSettings",
    "Gop",
    "VvcDecoder",
    "VvcEncoder",
    "VvcSettings",
    "coded_format",
    "decoder",
    "encoder",
    "from_coded",
    "to_coded",
]
