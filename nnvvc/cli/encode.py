"""`nnvvc encode`: pictures or video to a stream."""

import argparse

from nnvvc.codecs import CODECS
from nnvvc.options import (
    BACKGROUNDS,
    EFFORTS,
    FILTER_MODELS,
    FILTERS,
    KEY_QP_OFFSET,
    PICTURE_HASHES,
    PROFILES,
    PURPOSES,
    SCALES,
    EncodeOptions,
)
from nnvvc.vvc.tools import ENCODERS, GOPS, PRESETS, VvcSettings

from . import arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "encode",
        help="encode a picture, a video or a folder of them",
        description="Encode a picture, a video, a numbered sequence (frame_%%05d.png) or a folder of them.",
    )
    add = parser.add_argument
    add(
        "input",
        metavar="IN",
        help="y4m, yuv, mp4, mkv, png, jpeg, frame_%%05d.png, a folder, or - for y4m on stdin",
    )
    add("output", metavar="OUT", nargs="?", help="the stream, or - for stdout; default: IN with .bin")
    add("--codec", choices=CODECS, default="auto", help="auto: vvc for pictures, hybrid for video")
    add("--for", dest="purpose", choices=PURPOSES, help="what the encoder optimises for")
    add("--qp", type=int, default=32, help="quality, 0 (best) to 63 (default %(default)s)")
    add("--preset", choices=PRESETS, default="medium", help="of the VVC encoder (default %(default)s)")
    add(
        "--intra-period",
        type=int,
        default=32,
        metavar="N",
        help="pictures between key pictures (default %(default)s)",
    )
    add(
        "--gop", choices=GOPS, default="ra", help="random access, with closed groups, low delay, or all intra"
    )
    add(
        "--scale",
        choices=tuple(SCALES),
        default="1",
        help="coded size over source size (default %(default)s)",
    )
    add(
        "--key-qp-offset",
        type=int,
        default=KEY_QP_OFFSET,
        metavar="N",
        help="QP of the hybrid codec's key pictures less that of the video (default %(default)s)",
    )
    add(
        "--filter",
        choices=FILTERS,
        default="auto",
        help="neural filter announced in the stream (auto: the image codec's own, for people not with "
        "--profile fast, else none)",
    )
    add(
        "--filter-model",
        choices=FILTER_MODELS,
        default="quick",
        help="of video for people: full gains more, and takes several times as long to decode "
        "(default %(default)s)",
    )
    add(
        "--background",
        choices=BACKGROUNDS,
        default="keep",
        help="smooth: spend no bits on what detectors find nothing in; for machines (default %(default)s)",
    )
    add(
        "--adapt-seconds",
        type=float,
        metavar="SECONDS",
        help="time to fit the filter to each group of pictures for, with --filter adapt (default 10) or, "
        "by the loss networks that NNVVC_NETS names, with --filter machines (default 0)",
    )
    add(
        "--finetune",
        type=float,
        metavar="SECONDS",
        help="time to optimise each latent for (default: a few steps with --codec image; for machines if "
        "NNVVC_NETS is set)",
    )
    add("--profile", choices=PROFILES, default="base", help="of the learned codec (default %(default)s)")
    add(
        "--effort",
        choices=EFFORTS,
        default="normal",
        help="full: choose key pictures, and QPs of pictures for machines, by trial",
    )
    add("--workers", type=int, default=1, metavar="N", help="closed groups encoded at a time")
    add("--threads", type=int, default=2, metavar="N", help="of the VVC encoder (default %(default)s)")
    add("--encoder", choices=tuple(ENCODERS), default="ffmpeg", help="VVC encoder (default %(default)s)")
    add("--vvc-params", type=arguments.encoder_parameters, default={}, metavar="K=V:...", help="passed to it")
    add("--picture-hash", choices=PICTURE_HASHES, default="none", help="add the standard SEI to each picture")
    add("--size", metavar="WxH", help="of raw video")
    add("--pix-fmt", metavar="FMT", help="of raw video, such as yuv420p10le (default yuv420p)")
    add("--fps", type=arguments.fraction, help="pictures per second, instead of the input's")
    add("--still", action="store_true", help="the input is one picture, though in a video file")
    add("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    from nnvvc.api import encode
    from nnvvc.media.pictures import ENDINGS

    options = EncodeOptions(
        codec=args.codec,
        purpose=args.purpose,
        vvc=VvcSettings(args.qp, args.preset, args.intra_period, args.gop, args.threads, args.vvc_params),
        encoder=args.encoder,
        scale=SCALES[args.scale],
        key_qp_offset=args.key_qp_offset,
        filter=args.filter,
        filter_model=args.filter_model,
        background=args.background,
        finetune_seconds=args.finetune,
        adapt_seconds=args.adapt_seconds,
        profile=args.profile,
        effort=args.effort,
        workers=args.workers,
        picture_hash=args.picture_hash,
    )
    videos = {".y4m", ".mp4", ".mkv", ".mov", ".webm", ".avi"}
    reports = [
        encode(
            source,
            target,
            options,
            size=args.size,
            pix_fmt=args.pix_fmt,
            fps=args.fps,
            still=args.still,
            quiet=args.json,
            notify=arguments.warn,
        )
        for source, target in arguments.jobs(args.input, args.output, ENDINGS | videos)
    ]
    arguments.show_reports(
        reports,
        args.json,
        lambda r: (
            f"{r.target}: {r.pictures} pictures, {r.bytes} bytes, {r.kilobits_per_second:.1f} kbit/s, "
            f"{r.pictures / r.seconds:.1f} fps"
        ),
    )
    return 0
