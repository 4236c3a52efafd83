"""What can be asked of encoding and decoding: the command line's options, and the Python interface's."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from nnvvc.errors import ConfigError
from nnvvc.vvc.tools import DECODER_MEMORY, DecoderSettings, VvcSettings

Purpose = Literal["machines", "people"]
PURPOSES: tuple[Purpose, ...] = ("machines", "people")

Profile = Literal["fast", "base", "high"]
PROFILES: tuple[Profile, ...] = ("fast", "base", "high")

SCALES: dict[str, Fraction | None] = {
    "auto": None,
    "1": Fraction(1),
    "3/4": Fraction(3, 4),
    "1/2": Fraction(1, 2),
    "1/4": Fraction(1, 4),
}
KEY_QP_OFFSET = -3
"""What VVenC has for its own key pictures."""

FILTER_MODELS = ("quick", "full")
FILTERS = ("auto", "none", "base", "adapt", "machines")
BACKGROUNDS = ("keep", "smooth")
EFFORTS = ("normal", "full")
PICTURE_HASHES = ("none", "md5", "crc")


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How to encode.

    codec: `auto` takes plain VVC for pictures and the hybrid codec for video. purpose: what choices are
    made for; None is the codec's own default. vvc: settings of the VVC encoder, whose qp is also the learned
    codecs'. encoder: its name in `nnvvc.vvc.tools`. scale: coded size over source size, None for a choice by
    measurement. key_qp_offset: QP of the hybrid codec's key pictures less that of the video. filter: the
    neural filter announced in the stream; `auto` is `base` or `machines` for the image codec's pictures (for
    people not with the profile `fast`), else `none`. filter_model: of video
    for people, `quick` takes as long as decoding it twice, `full` several times that, and gains more.
    background: `smooth` leaves out what detectors find nothing in.
    finetune_seconds: time for optimising each latent; None: a few steps for pictures of the image codec, for
    people up to four megapixels, for machines up to one, where the loss networks are there. adapt_seconds:
    for fitting the filter to each group of pictures, with `adapt`, 10 by default, and with `machines`, for
    which it is none by default.
    profile: of the probability model. effort: `full` chooses each key picture of the hybrid codec by encoding
    its group with it, and the QP of a single picture for machines by what its bits are worth to them.
    workers: groups of pictures encoded at a time. picture_hash: writes the standard SEI per picture besides
    the hash of each intra period.
    """

    codec: str = "auto"
    purpose: Purpose | None = None
    vvc: VvcSettings = field(default_factory=VvcSettings)
    encoder: str = "ffmpeg"
    scale: Fraction | None = Fraction(1)
    key_qp_offset: int = KEY_QP_OFFSET
    filter: str = "auto"
    filter_model: str = "quick"
    background: str = "keep"
    finetune_seconds: float | None = None
    adapt_seconds: float | None = None
    profile: Profile = "base"
    effort: str = "normal"
    workers: int = 1
    picture_hash: str = "none"

    def __post_init__(self) -> None:
        """Raises ConfigError for values out of range."""
        _check("--for", self.purpose, (None, *PURPOSES))
        _check("--filter", self.filter, FILTERS)
        _check("--filter-model", self.filter_model, FILTER_MODELS)
        _check("--background", self.background, BACKGROUNDS)
        _check("--effort", self.effort, EFFORTS)
        _check("--profile", self.profile, PROFILES)
        _check("--picture-hash", self.picture_hash, PICTURE_HASHES)
        _check("--scale", self.scale, tuple(SCALES.values()))
        if not -20 <= self.key_qp_offset <= 20:
            raise ConfigError("--key-qp-offset must be from -20 to 20")
        if self.workers < 1:
            raise ConfigError("--workers must be 1 or more")
        if (self.finetune_seconds or 0.0) < 0 or (self.adapt_seconds or 0.0) < 0:
            raise ConfigError("a time to optimise for cannot be negative")

    @property
    def seconds_to_adapt(self) -> float:
        """For fitting the filter to a group; 0 for a filter that is not fitted."""
        default = {"adapt": 10.0, "machines": 0.0}.get(self.filter)
        if default is None:
            return 0.0
        return default if self.adapt_seconds is None else self.adapt_seconds


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How to decode.

    purpose: which output of the stream. filter: whether filters activated in the stream are applied. coded:
    give the pictures as VVC holds them, at their coded depth and size, instead of in the source's format.
    verify: compare with the hashes in the stream. conceal: go on after damage, and report it. decoder: its
    name in `nnvvc.vvc.tools`. memory_bytes: limit on the memory of a VVC decoder's process.
    """

    purpose: Purpose = "people"
    filter: Literal["auto", "off"] = "auto"
    coded: bool = False
    verify: bool = True
    conceal: bool = False
    decoder: str = "ffmpeg"
    threads: int = 2
    memory_bytes: int = DECODER_MEMORY

    def __post_init__(self) -> None:
        """Raises ConfigError for values out of range."""
        _check("--for", self.purpose, PURPOSES)
        _check("--filter", self.filter, ("auto", "off"))
        if self.threads < 1:
            raise ConfigError("--threads must be 1 or more")
        if self.memory_bytes < 64 << 20:
            raise ConfigError("--memory-limit must be 64 MiB or more")

    @property
    def decoder_settings(self) -> DecoderSettings:
        return DecoderSettings(self.threads, self.memory_bytes, self.conceal)


def _check(option: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        names = ", ".join(str(a) for a in allowed if a is not None)
        raise ConfigError(f"{option} {value} is not one of {names}")
