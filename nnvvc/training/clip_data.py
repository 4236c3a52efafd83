"""Training data of the filter for people: patches of video as VVC decodes it, and their originals.

Four real clips are few: most of the video is made of photos that move, on top of each other too, with noise
and change of light. It is coded as mosaics, since encoders have a large cost per picture. Photos that do not
move, coded all intra, cost least and show most. A folder holds a
file `NAME_qQ.npz` per clip and QP: `decoded` and `original`, (n, samples) uint16, 10 bits, limited range,
luma, then Cb and Cr of PATCH x PATCH; `beside`, (n, samples) uint16, the luma of the decoded pictures before
and after, motion compensated, and `beside_layers`, (n, neighbours), theirs, -1 where there is none, in files
of clips; `layer`, (n,), 0 for key pictures, else one more than the temporal layer; and `key_qp`, the key
pictures' slice QP.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.codecs.filtering import key_slice_qp
from nnvvc.codecs.neighbours import Placed, Sights, beside, placed
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.files import atomic_path
from nnvvc.media import open_source
from nnvvc.media.colour import rgb_to_picture
from nnvvc.media.resample import resample
from nnvvc.picture import Chroma, Matrix, Picture, PictureFormat
from nnvvc.training.filter_data import code_patches, vvc_coder
from nnvvc.training.moving_photos import PATCH, moving_patch
from nnvvc.training.photos import ENDINGS, read_rgb
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder

ACROSS = 5
"""Patches in a row and in a column of a mosaic."""

FRAMES = 33
"""Of a clip: one group of random access, and the key picture after it."""

QPS = (22, 27, 32, 37, 42)

PRESET = "fast"

PHOTO_ROUNDS = 3
"""Patches that are cut from every photo where it does not move."""

PHOTO_QPS = 2
"""Of QPS, that each of these is coded with."""

WIDEST = 854
"""Luma samples in a row of a real clip that is coded."""

MOSAICS = 14
"""Clips made of photos, as a rule; the first is for validation."""

MANY_MOSAICS = 60
"""Clips made of photos where each is coded at few QPs."""

MOSAIC_QPS = 2
"""Of QPS, that each of many mosaics is coded with; the one for validation is coded with all."""

CODER_THREADS = 2
"""Of each VVC encoder: several code side by side where there are more cores."""

HOLD_OUT = 20
"""Every so many photos one is for validation."""

KEPT = (1, 1, 1, 1, 1, 1, 2)
"""Frames that are kept of each layer, at most: there are many of the last ones, and they are alike."""


def _reduced(photos: Sequence[Path], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo, smaller than it was: that hides its own compression."""
    rgb = read_rgb(photos[int(rng.integers(len(photos)))])
    height, width = rgb.shape[:2]
    scale = max(rng.uniform(0.6, 0.9), (PATCH + 20) / min(height, width))
    size = round(width * scale), round(height * scale)
    result: NDArray[np.uint8] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return result


def mosaic(photos: Sequence[Path], rng: np.random.Generator) -> list[Picture]:
    """A clip of moving photos side by side."""
    tiles = [moving_patch(photos, rng, FRAMES) for _ in range(ACROSS**2)]
    clip = []
    for patches in zip(*tiles, strict=True):
        rows = [np.hstack(patches[i : i + ACROSS]) for i in range(0, ACROSS**2, ACROSS)]
        clip.append(rgb_to_picture(np.vstack(rows), 10, Matrix.BT709))
    return clip


def reduced_clip(pictures: Sequence[Picture], scale: Fraction) -> list[Picture]:
    """A real clip's first FRAMES, forth and back where it is shorter, at `scale`, even sides, 10 bits."""
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    fmt = pictures[0].format
    width, height = (int(side * scale) // 2 * 2 for side in (fmt.width, fmt.height))
    return [
        resample(pictures[order[i % len(order)]].with_bit_depth(10), width, height) for i in range(FRAMES)
    ]


def code_clip(make: Callable[[], Sequence[Picture]], folder: Path, name: str, qps: Sequence[int]) -> None:
    """Code a clip (10 bits, 4:2:0) at some QPs and keep patches of some of its frames; files that are there
    already are left alone. Raises what the VVC tools raise.
    """
    missing = [qp for qp in qps if not _target(folder, name, qp).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    clip = make()
    fmt = clip[0].format
    for qp in missing:
        settings = VvcSettings(qp=qp, preset=PRESET, intra_period=32, threads=CODER_THREADS)
        stream = b"".join(encoder().encode(clip, fmt, Fraction(30), settings))
        layers, key_qp = layers_of(stream)
        kept = kept_frames(layers, np.random.default_rng(qp))
        decoded = list(decoder().decode([stream], CodedFormat(fmt), DecoderSettings()))
        rows: list[NDArray[np.uint16]] = []
        originals: list[NDArray[np.uint16]] = []
        planes: list[NDArray[np.uint16]] = []
        layer: list[int] = []
        beside_layers: list[tuple[int, ...]] = []
        shown, sights = placed(zip(decoded, map(PictureFacts, layers), strict=True)), Sights(fmt)
        for number, found in enumerate(shown):
            if number in kept:
                patches = patches_of(found.picture)
                rows += patches
                originals += patches_of(clip[number])
                planes += _beside(found, sights)
                layer += [found.facts.layer] * len(patches)
                beside_layers += [found.layers] * len(patches)
        pairs = Pairs(np.stack(rows), np.stack(originals), layer, key_qp, np.stack(planes), beside_layers)
        save_pairs(_target(folder, name, qp), pairs)


def _beside(found: Placed, sights: Sights) -> list[NDArray[np.uint16]]:
    """Of each patch of a picture, in the order of `patches_of`: samples of its neighbours, as `patches_of`
    has those of a picture, one neighbour after the other.
    """
    fmt = found.picture.format
    pictures = [
        found.picture if one is None else _rounded(one[0].moved(one[1]), fmt) for one in beside(found, sights)
    ]
    return [np.concatenate(rows) for rows in zip(*map(patches_of, pictures), strict=True)]


def _rounded(planes: Sequence[NDArray[np.float32]], fmt: PictureFormat) -> Picture:
    return Picture(tuple(p.round().clip(0, 1023).astype(np.uint16) for p in planes), fmt)


def _target(folder: Path, name: str, qp: int) -> Path:
    return folder / f"{name}_q{qp}.npz"


class TrainingClip(NamedTuple):
    """many: one of many mosaics, of which each shows little."""

    name: str
    make: Callable[[], list[Picture]]
    many: bool = False


def training_clips(photos: Path, video: Path | None, mosaics: int | None = None) -> Iterator[TrainingClip]:
    """The clips to train with: for validation, real ones, moving photos.

    photos: folder of pictures; every twentieth is kept for the validation clip. video: folder of training
    clips, with a `clips.json` whose entries have `name`, `path`, `width`, `frames` and `use`. mosaics: how
    many there are of moving photos, MOSAICS by default.
    """
    held_out, rest = divided(photos)
    yield TrainingClip("m0", partial(mosaic, held_out, np.random.default_rng(0)))
    entries = json.loads((video / "clips.json").read_text()) if video else []
    for entry in entries:
        if entry["use"] == "train":
            assert video is not None
            scale = min(Fraction(1), Fraction(WIDEST, entry["width"]))
            path = video / entry["path"]
            for first in range(0, max(1, entry["frames"] - FRAMES // 2), FRAMES):
                yield TrainingClip(f"{entry['name']}_{first}", partial(_read_reduced, path, scale, first))
            if entry["width"] * scale >= 2 * PATCH:
                smaller = partial(_read_reduced, path, scale * Fraction(3, 4), 0)
                yield TrainingClip(f"{entry['name']}_small", smaller)
    for number in range(1, mosaics or MOSAICS):
        yield TrainingClip(f"m{number}", partial(mosaic, rest, np.random.default_rng(number)), True)


def divided(photos: Path) -> tuple[list[Path], list[Path]]:
    """The photos of a folder: for validation, and for training."""
    files = sorted(f for f in photos.iterdir() if f.suffix.lower() in ENDINGS)
    return files[::HOLD_OUT], [f for i, f in enumerate(files) if i % HOLD_OUT]


def _read_reduced(path: Path, scale: Fraction, first: int) -> list[Picture]:
    with open_source(path) as source:
        section = itertools.islice(source, first, first + FRAMES)
        pictures = [p.with_chroma(Chroma.C420) for p in section]
    return reduced_clip(pictures, scale)


def code_photos(photos: Sequence[Path], folder: Path, number: int) -> None:
    """Code a patch of every photo all intra, at PHOTO_QPS of the QPs each, as `photosN_qQ.npz`; files that
    are there already are left alone. number: of the round, which says where patches are cut. Raises what the
    VVC tools raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, rng = f"photos{number}", np.random.default_rng(number)
    if all(_target(folder, name, qp).exists() for qp in QPS):
        return
    for qp, chosen in shared_out(photo_patches(photos, rng), QPS, rng):
        target = _target(folder, name, qp)
        if chosen and not target.exists():
            pictures = [rgb_to_picture(patch, 10, Matrix.BT709) for patch in chosen]
            originals = np.concatenate([patches_of(p) for p in pictures])
            coded = code_patches(pictures, qp, vvc_coder(PRESET))
            save_pairs(target, Pairs(coded, originals, [0] * len(chosen), qp))


def shared_out(
    patches: Sequence[NDArray[np.uint8]], qps: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
    """The QPs, and the patches that are coded with each: every patch with PHOTO_QPS of them."""
    order = np.argsort(rng.random((len(patches), len(qps))), axis=1)[:, :PHOTO_QPS]
    for number, qp in enumerate(qps):
        yield qp, [patch for patch, at in zip(patches, order, strict=True) if number in at]


class Pairs(NamedTuple):
    """What a file of the folder holds. beside, beside_layers: None for pictures without neighbours."""

    decoded: NDArray[np.uint16]
    original: NDArray[np.uint16]
    layer: Sequence[int]
    key_qp: int
    beside: NDArray[np.uint16] | None = None
    beside_layers: Sequence[Sequence[int]] | None = None


def save_pairs(target: Path, pairs: Pairs) -> None:
    """Write a file of the folder."""
    with atomic_path(target) as path, path.open("wb") as file:
        facts = {"layer": np.array(pairs.layer, np.int64), "key_qp": np.array(pairs.key_qp)}
        planes = {"decoded": pairs.decoded, "original": pairs.original}
        if pairs.beside is not None:
            planes["beside"] = pairs.beside
            facts["beside_layers"] = np.array(pairs.beside_layers, np.int64)
        np.savez(file, allow_pickle=False, **planes, **facts)


def photo_patches(photos: Sequence[Path], rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """A random patch of every photo, RGB (PATCH, PATCH, 3), uint8."""
    patches = []
    for photo in photos:
        rgb = _reduced([photo], rng)
        y, x = (int(rng.integers(side - PATCH + 1)) for side in rgb.shape[:2])
        patches.append(rgb[y : y + PATCH, x : x + PATCH])
    return patches


def make_clips(photos: Path, video: Path | None, folder: Path) -> None:
    """Code everything that training needs, several clips at a time; what is there already is left alone."""
    rest = divided(photos)[1]
    workers = max(1, len(os.sched_getaffinity(0)) // CODER_THREADS)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(code_photos, rest, folder, number) for number in range(PHOTO_ROUNDS)]
        for number, clip in enumerate(training_clips(photos, video, MANY_MOSAICS)):
            some = {QPS[(number * MOSAIC_QPS + i) % len(QPS)] for i in range(MOSAIC_QPS)}
            jobs.append(
                pool.submit(code_clip, clip.make, folder, clip.name, sorted(some) if clip.many else QPS)
            )
        for job in jobs:
            job.result()


def layers_of(stream: bytes) -> tuple[list[int], int]:
    """Layer of every picture in output order, as the files have it, and the first key picture's slice QP."""
    units = AccessUnits(split_annex_b([stream]))
    layers: dict[int, int] = {}
    key_qp = None
    for unit in units:
        if key_qp is None:
            key_qp = key_slice_qp(unit, units.sets)
        layers[unit.poc] = 0 if unit.irap else unit.temporal_id + 1
    assert key_qp is not None
    return [layers[poc] for poc in sorted(layers)], key_qp


def kept_frames(layers: Sequence[int], rng: np.random.Generator) -> set[int]:
    """Numbers of the frames that are kept."""
    kept: set[int] = set()
    for layer in set(layers):
        frames = [i for i, found in enumerate(layers) if found == layer]
        count = min(len(frames), KEPT[min(layer, len(KEPT) - 1)])
        kept.update(rng.choice(frames, count, replace=False).tolist())
    return kept


def patches_of(picture: Picture, side: int = PATCH) -> list[NDArray[np.uint16]]:
    """Side by side from the top left corner, each as one row of samples."""
    height, width = picture.planes[0].shape
    steps = (side, side // 2, side // 2)
    return [
        np.concatenate(
            [
                plane[y * s : (y + 1) * s, x * s : (x + 1) * s].ravel()
                for plane, s in zip(picture.planes, steps, strict=True)
            ]
        )
        for y in range(height // side)
        for x in range(width // side)
    ]
