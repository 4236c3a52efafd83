"""Codecs to measure: each is a recipe of command lines from coded.y4m to a stream and back to decoded.y4m.

Anchors run in the FFmpeg binary (or VTM's), coded at any scale by plain Lanczos resampling before and after;
the pipelines of nnvvc run by their own command line and choose their scale themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from nnvvc.errors import ConfigError
from nnvvc.evaluation.commands import FFMPEG, NNVVC
from nnvvc.evaluation.items import Item

Command = list[str]
Options = Mapping[str, Any]

SOURCE, CODED, RAW, DECODED = "source.y4m", "coded.y4m", "raw.y4m", "decoded.y4m"
_QUIET = [FFMPEG, "-v", "error", "-y"]
_RESAMPLE = "flags=lanczos+accurate_rnd+bitexact"
_Y4M = ["-pix_fmt", "yuv420p10le", "-strict", "-1"]


@dataclass(frozen=True, slots=True)
class Plan:
    """All commands of one cell. prepare and restore change the size only and are timed apart. for_people: how
    the stream is decoded for people, where `decode` is for machines.
    """

    stream: str
    encode: Command
    decode: Command
    prepare: Command | None = None
    restore: Command | None = None
    for_people: Command | None = None

    @property
    def commands(self) -> list[Command]:
        steps = (self.prepare, self.encode, self.decode, self.restore)
        return [step for step in steps if step is not None]

    @property
    def tools(self) -> list[str]:
        return sorted({step[0] for step in self.commands})


@dataclass(frozen=True, slots=True)
class Curve:
    """One rate curve: a coder with its options, at one coded scale, over rate points.

    name: unique in the experiment. codec: what curves of several scales share. parameter: the option that the
    points set, such as `qp`. optional: left out where its tool is not there.
    """

    name: str
    codec: str
    coder: str
    scale: str
    parameter: str
    points: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False

    def plan(self, item: Item, point: float) -> Plan:
        """The commands for an item at one rate point."""
        options = dict(self.options) | {self.parameter: point}
        if self.coder == "nnvvc":
            return _nnvvc(options, self.scale, item)
        stream, encode, decode = _ANCHORS[self.coder](options, item)
        prepare, restore = _resampling(item, Fraction(self.scale))
        coded, raw = CODED if prepare else SOURCE, RAW if restore else DECODED
        replaced = {CODED: coded, RAW: raw}
        encode = [replaced.get(word, word) for word in encode]
        decode = [replaced.get(word, word) for word in decode]
        return Plan(stream, encode, decode, prepare, restore)


def read_curves(spec: Mapping[str, Any]) -> list[Curve]:
    """The curves of an experiment's `codecs`: one per codec and scale. Raises ConfigError.

    `points` names the parameter and its values; a mapping of `scales` gives each scale values of its own.
    """
    curves = []
    for name, entry in spec.items():
        coder = entry.get("coder", "nnvvc")
        if coder != "nnvvc" and coder not in _ANCHORS:
            raise ConfigError(f"codec {name}: coder {coder!r} is none of nnvvc, {', '.join(_ANCHORS)}")
        if len(entry.get("points", {})) != 1:
            raise ConfigError(f"codec {name}: points name one parameter and its values, such as qp: [22, 27]")
        ((parameter, points),) = entry["points"].items()
        scales = entry.get("scales", ["1"])
        for scale in scales:
            at_scale = scales[scale] if isinstance(scales, Mapping) else points
            title = name if str(scale) == "1" else f"{name} @{scale}"
            options, optional = entry.get("options", {}), bool(entry.get("optional", False))
            curves.append(
                Curve(title, name, coder, str(scale), parameter, tuple(at_scale), options, optional)
            )
    return curves


def coded_size(item: Item, scale: Fraction) -> tuple[int, int]:
    """(width, height) that is coded: even, since 4:2:0 codecs of two-dimensional blocks take nothing else."""
    if scale == 1:
        return item.width + item.width % 2, item.height + item.height % 2
    return max(2, 2 * round(item.width * scale / 2)), max(2, 2 * round(item.height * scale / 2))


def _resampling(item: Item, scale: Fraction) -> tuple[Command | None, Command | None]:
    width, height = coded_size(item, scale)
    if (width, height) == (item.width, item.height):
        return None, None
    if scale == 1:
        right, bottom = width - item.width, height - item.height
        before = f"pad={width}:{height},fillborders=right={right}:bottom={bottom}:mode=smear"
        after = f"crop={item.width}:{item.height}:0:0:exact=1"
    else:
        before = f"scale={width}:{height}:{_RESAMPLE}"
        after = f"scale={item.width}:{item.height}:{_RESAMPLE}"
    return (
        [*_QUIET, "-i", SOURCE, "-vf", before, *_Y4M, CODED],
        [*_QUIET, "-i", RAW, "-vf", after, *_Y4M, DECODED],
    )


def _nnvvc(options: Options, scale: str, item: Item) -> Plan:
    words: Command = []
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", _text(value)]
    # The source is a y4m file even where the item is a picture.
    still = ["--still"] if item.frames == 1 else []
    purpose = options.get("for")

    def decode(*words: str) -> Command:
        return [NNVVC, "decode", "stream.bin", DECODED, *words, "--threads", "1"]

    return Plan(
        "stream.bin",
        [NNVVC, "encode", SOURCE, "stream.bin", *words, "--scale", scale, "--threads", "1", *still],
        decode("--for", purpose) if purpose else decode(),
        for_people=decode() if purpose == "machines" else None,
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _decode(stream: str) -> Command:
    return [*_QUIET, "-threads", "1", "-i", stream, "-fps_mode", "passthrough", *_Y4M, RAW]


def _ffmpeg(stream: str, *words: str) -> tuple[str, Command, Command]:
    return stream, [*_QUIET, "-i", CODED, *words, "-threads", "1", stream], _decode(stream)


def _vvenc(options: Options, item: Item) -> tuple[str, Command, Command]:
    """VVenC by FFmpeg. FFmpeg turns perceptual adaptation on unless told; refresh type is VVenC's default."""
    params = ["POC0IDR=1", "MTProfile=0"]
    if options.get("gop", "ra") == "intra" or item.frames == 1:
        params += ["IntraPeriod=1", "GOPSize=1"]
    else:
        params += [f"IntraPeriod={options.get('intra_period', 32)}"]
    params += [str(p) for p in options.get("params", [])]
    return _ffmpeg(
        "stream.266",
        *("-c:v", "libvvenc", "-preset", str(options.get("preset", "medium")), "-qp", _text(options["qp"])),
        *("-qpa", "0", "-vvenc-params", ":".join(params)),
    )


def _x265(options: Options, item: Item) -> tuple[str, Command, Command]:
    params = ["pools=none", "frame-threads=1", "log-level=error", "aq-mode=0", "no-info=1"]
    if options.get("gop", "ra") == "intra" or item.frames == 1:
        params += ["keyint=1"]
    else:
        params += [
            f"keyint={options.get('intra_period', 32)}",
            f"min-keyint={options.get('intra_period', 32)}",
        ]
    return _ffmpeg(
        "stream.265",
        *("-c:v", "libx265", "-preset", str(options.get("preset", "medium")), "-tune", "psnr"),
        *("-x265-params", ":".join([*params, f"qp={_text(options['qp'])}"])),
    )


def _svtav1(options: Options, item: Item) -> tuple[str, Command, Command]:
    keyint = 1 if options.get("gop", "ra") == "intra" or item.frames == 1 else options.get("intra_period", 32)
    params = f"tune=1:lp=1:keyint={keyint}:aq-mode=0:enable-variance-boost=0"
    return _ffmpeg(
        "stream.obu",
        *("-c:v", "libsvtav1", "-preset", str(options.get("preset", 6)), "-qp", _text(options["qp"])),
        *("-svtav1-params", params),
    )


def _jpeg(options: Options, item: Item) -> tuple[str, Command, Command]:
    return _ffmpeg(
        "stream.jpg",
        *("-pix_fmt", "yuv420p", "-color_range", "tv", "-strict", "unofficial"),
        *("-c:v", "mjpeg", "-huffman", "optimal", "-q:v", _text(options["q"]), "-frames:v", "1"),
    )


def _webp(options: Options, item: Item) -> tuple[str, Command, Command]:
    return _ffmpeg(
        "stream.webp",
        *("-pix_fmt", "yuv420p", "-c:v", "libwebp", "-compression_level", "6"),
        *("-quality", _text(options["quality"]), "-frames:v", "1"),
    )


def _avif(options: Options, item: Item) -> tuple[str, Command, Command]:
    return _ffmpeg(
        "stream.avif",
        *("-c:v", "libaom-av1", "-still-picture", "1", "-tune", "psnr", "-b:v", "0"),
        *("-cpu-used", str(options.get("speed", 4)), "-crf", _text(options["crf"]), "-frames:v", "1"),
    )


def _jpegxl(options: Options, item: Item) -> tuple[str, Command, Command]:
    """JPEG XL codes RGB: 16 bits a component, so that the conversion costs it nothing."""
    rgb = "scale=in_color_matrix=bt709:in_range=limited:flags=accurate_rnd+full_chroma_int,format=rgb48le"
    back = "scale=out_color_matrix=bt709:out_range=limited:flags=accurate_rnd+full_chroma_inp+area"
    stream, encode, decode = _ffmpeg(
        "stream.jxl",
        *("-vf", rgb, "-c:v", "libjxl", "-effort", str(options.get("effort", 7))),
        *("-distance", _text(options["distance"]), "-frames:v", "1"),
    )
    at = decode.index("-fps_mode")
    return stream, encode, [*decode[:at], "-vf", back, *decode[at:]]


def _vtm(options: Options, item: Item) -> tuple[str, Command, Command]:
    intra = options.get("gop", "ra") == "intra" or item.frames == 1
    encode = ["EncoderApp", "-c", f"cfg/encoder_{'intra' if intra else 'randomaccess'}_vtm.cfg"]
    encode += [
        "-i",
        CODED,
        f"--FramesToBeEncoded={item.frames}",
        f"--FrameRate={round(item.fps)}",
        "--InputBitDepth=10",
    ]
    encode += ["--InputChromaFormat=420", "--InternalBitDepth=10", f"--QP={_text(options['qp'])}"]
    if not intra:
        encode += [f"--IntraPeriod={options.get('intra_period', 32)}"]
    # TemporalSubsampleRatio 1: every picture, where the intra configuration takes each eighth.
    encode += ["--TemporalSubsampleRatio=1", "--Verbosity=1", "-b", "stream.266"]
    return "stream.266", encode, _decode("stream.266")


_ANCHORS: dict[str, Callable[[Options, Item], tuple[str, Command, Command]]] = {
    "vvenc": _vvenc,
    "vtm": _vtm,
    "x265": _x265,
    "svtav1": _svtav1,
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "jpegxl": _jpegxl,
}
