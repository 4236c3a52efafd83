"""Data sets: what is coded (pictures or clips, as 10-bit 4:2:0 y4m) and what there is to find in it."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.errors import ConfigError, InputError
from nnvvc.evaluation.average_precision import GroundTruth
from nnvvc.evaluation.commands import FFMPEG, run, tool_version
from nnvvc.files import atomic_path
from nnvvc.media import open_sink, open_source
from nnvvc.media.colour import picture_to_rgb
from nnvvc.media.pictures import ENDINGS
from nnvvc.picture import ChromaSiting, Matrix, Picture

BIT_DEPTH = 10
_ACCURATE = "accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
PICTURE_CONVERSION = (
    f"scale=flags={_ACCURATE},format=rgb24,"
    f"scale=out_color_matrix=bt709:out_range=limited:flags={_ACCURATE}+area,format=yuv420p10le"
)
"""FFmpeg filter from a picture file to BT.709 limited-range 10-bit 4:2:0, chroma the mean of 2x2 samples.

For an odd side FFmpeg spreads the chroma samples evenly; every codec is given the same file."""

IMAGES_PER_CLIP = 100_000
"""Image ids of a clip's frames: the clip's number times this, plus the frame's number from 1."""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture or clip, ready to code.

    source: y4m, 10-bit 4:2:0. sha256: of that file. image_ids: one per frame, those of the ground truth.
    original: the picture file for RGB fidelity, None for clips.
    """

    name: str
    source: Path
    sha256: str
    width: int
    height: int
    fps: Fraction
    matrix: Matrix
    siting: ChromaSiting
    image_ids: tuple[int, ...]
    conversion: str
    original: Path | None = None

    @property
    def frames(self) -> int:
        return len(self.image_ids)

    @property
    def pixels(self) -> int:
        """Luma samples of all frames."""
        return self.width * self.height * self.frames

    def pictures(self, path: Path) -> Iterator[Picture]:
        """The frames of the source or of a decoded version of it, with what is known about their colour."""
        with open_source(path) as source:
            for picture in source:
                fmt = replace(picture.format, matrix=self.matrix, siting=self.siting)
                yield Picture(picture.planes, fmt)

    def rgb(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        """The same frames as (height, width, 3) uint8."""
        for picture in self.pictures(path):
            yield np.asarray(picture_to_rgb(picture), np.uint8)


@dataclass(frozen=True)
class DataSet:
    """Items, and the ground truth where there is one."""

    items: tuple[Item, ...]
    truth: GroundTruth | None = None


def load_data(spec: dict[str, Any], cache: Path) -> DataSet:
    """Prepare the data set that an experiment names; sources are made once, below `cache`.

    spec: `kind` (pictures, coco, clips) and `path` below NNVVC_DATA; `limit` to the first items or `names` of
    items; for clips `use` (train or dev), `frames` (shorter clips are played forth and back to this length,
    longer ones cut), `min_frames` (as `frames`, never cut). Raises ConfigError, InputError.
    """
    if "NNVVC_DATA" not in os.environ:
        raise ConfigError("set NNVVC_DATA to the folder that holds the data sets")
    kind, path = spec.get("kind"), Path(os.environ["NNVVC_DATA"], str(spec.get("path", "")))
    loaders = {"pictures": _pictures, "coco": _coco, "clips": _clips}
    if kind not in loaders:
        raise ConfigError(f"data kind {kind!r} is none of {', '.join(loaders)}")
    if not path.exists():
        raise InputError(f"{path} does not exist: NNVVC_DATA and the experiment's path name the data")
    cache.mkdir(parents=True, exist_ok=True)
    data = loaders[kind](path, spec, cache)
    if not data.items:
        raise InputError(f"{path}: no item is left to measure")
    return data


def _chosen(names: list[str], spec: dict[str, Any]) -> list[str]:
    if "names" in spec:
        missing = sorted(set(spec["names"]) - set(names))
        if missing:
            raise ConfigError(f"data set has no item {', '.join(missing)}")
        names = [n for n in names if n in spec["names"]]
    return names[: int(spec["limit"])] if "limit" in spec else names


def _pictures(folder: Path, spec: dict[str, Any], cache: Path) -> DataSet:
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS}
    names = _chosen(list(files), spec)
    return DataSet(tuple(_picture(files[name], name, n, cache) for n, name in enumerate(names, 1)))


def _coco(path: Path, spec: dict[str, Any], cache: Path) -> DataSet:
    truth = GroundTruth.from_coco(path)
    images = {Path(i["file_name"]).stem: i for i in truth.images}
    names = _chosen(list(images), spec)
    items = tuple(_picture(path.parent / images[n]["file_name"], n, images[n]["id"], cache) for n in names)
    return DataSet(items, truth.only([images[n]["id"] for n in names]))


def _picture(path: Path, name: str, image_id: int, cache: Path) -> Item:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path} is not a picture that can be read")
    height, width = pixels.shape[:2]
    tool = tool_version(FFMPEG)["sha256"]
    source = cache / f"{_digest(data, PICTURE_CONVERSION, tool)}.y4m"
    if not source.exists():
        with atomic_path(source) as temporary:
            argv = [FFMPEG, "-v", "error", "-y", "-i", str(path.resolve()), "-vf", PICTURE_CONVERSION]
            run([*argv, "-strict", "-1", "-frames:v", "1", temporary.name], cache)
    conversion = f"ffmpeg -i {path.name} -vf {PICTURE_CONVERSION} -strict -1 source.y4m"
    return Item(
        name,
        source,
        file_sha256(source),
        width,
        height,
        Fraction(25),
        Matrix.BT709,
        ChromaSiting.CENTER,
        (image_id,),
        conversion,
        path,
    )


def _clips(path: Path, spec: dict[str, Any], cache: Path) -> DataSet:
    try:
        entries = {e["name"]: e for e in json.loads(path.read_text())}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a list of clips: {error}") from error
    names = [n for n, e in entries.items() if e.get("use") == spec.get("use", "dev")]
    items: list[Item] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name in enumerate(_chosen(names, spec), 1):
        item, order = _clip(path.parent, entries[name], number, spec, cache)
        items.append(item)
        if entries[name].get("gt"):
            part = _played(GroundTruth.from_coco(path.parent / entries[name]["gt"]), item, order)
            images += part.images
            annotations += part.annotations
    return DataSet(tuple(items), GroundTruth(tuple(images), tuple(annotations)) if images else None)


def _clip(
    folder: Path, entry: dict[str, Any], number: int, spec: dict[str, Any], cache: Path
) -> tuple[Item, list[int]]:
    name = entry["name"]
    path = folder / entry.get("path", f"{name}.mkv")
    raw = path.suffix == ".yuv"
    size = f"{entry['width']}x{entry['height']}" if raw else None
    fps = Fraction(str(entry["fps"])).limit_denominator(1001)
    files = sorted(path.parent.glob(f"*{path.suffix}")) if "%" in path.name else [path]
    order = forth_and_back(int(entry["frames"]), spec)
    digest = hashlib.sha256(repr((name, size, str(fps), order)).encode())
    for file in files:
        digest.update(file.read_bytes())
    target = cache / f"{digest.hexdigest()}.y4m"
    with open_source(path, size=size, pix_fmt="yuv420p" if raw else None, fps=fps) as source:
        fmt = source.format
        if not target.exists():
            # Short clips: all frames are held, so that they can be played backwards.
            frames = [p.with_bit_depth(BIT_DEPTH) for p in source][: int(entry["frames"])]
            if len(frames) != int(entry["frames"]):
                raise InputError(f"{path} has {len(frames)} frames, {entry['frames']} were announced")
            picture_format = replace(fmt.picture, bit_depth=BIT_DEPTH)
            with open_sink(target, replace(fmt, picture=picture_format, frames=len(order))) as sink:
                for index in order:
                    sink.write(frames[index])
    conversion = f"{path.name}, frames {order[0]} to {max(order)} forth and back, {len(order)} in all"
    item = Item(
        name,
        target,
        file_sha256(target),
        fmt.picture.width,
        fmt.picture.height,
        fmt.fps,
        fmt.picture.effective_matrix,
        fmt.picture.siting,
        tuple(number * IMAGES_PER_CLIP + n for n in range(1, len(order) + 1)),
        conversion,
    )
    return item, order


def forth_and_back(frames: int, spec: dict[str, Any]) -> list[int]:
    """Order of play for the length asked for: 0 1 2 1 0 1 ..., never with a cut."""
    length = int(spec.get("frames", max(frames, int(spec.get("min_frames", 0)))))
    if frames == 1:
        return [0] * length
    period = 2 * (frames - 1)
    return [min(n % period, period - n % period) for n in range(length)]


def _played(truth: GroundTruth, item: Item, order: list[int]) -> GroundTruth:
    """Ground truth of a clip, frame by frame as it is played, in the data set's numbering."""
    by_frame: dict[int, list[dict[str, Any]]] = {}
    image_of = {i["id"]: int(i.get("frame", n)) for n, i in enumerate(truth.images)}
    for annotation in truth.annotations:
        by_frame.setdefault(image_of[annotation["image_id"]], []).append(annotation)
    images = tuple({"id": i, "width": item.width, "height": item.height} for i in item.image_ids)
    annotations = tuple(
        a | {"image_id": i}
        for i, frame in zip(item.image_ids, order, strict=True)
        for a in by_frame.get(frame, [])
    )
    return GroundTruth(images, annotations)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(data: bytes, *words: str) -> str:
    digest = hashlib.sha256(data)
    for word in words:
        digest.update(b"\0" + word.encode())
    return digest.hexdigest()
