"""Training data of the filters: photos coded by VVC, or the learned image codec, at several scales and QPs.

VVC encoders have a large cost per picture, so the patches are coded as mosaics, all intra. A folder holds
`rgbP.npy`, the original patches of part P (n, 256, 256, 3), uint8, and for every scale and QP
`pP_sND_qQ.npz` (scale N/D) with `idx`, the patches that were coded so, `planes`, their decoded 10-bit samples
(len(idx), samples), limited range, luma, then Cb and Cr, and `matrix`, Kr and Kb of the conversion.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from nnvvc.codecs.picture_coder import encode_picture
from nnvvc.errors import InputError
from nnvvc.files import atomic_path
from nnvvc.media.colour import KR_KB, rgb_to_picture
from nnvvc.models.context import PROFILES
from nnvvc.models.image import ImageModel
from nnvvc.picture import Matrix, Picture, PictureFormat
from nnvvc.training.photos import read_rgb
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder

PATCH = 256
"""Side of the patches at full size, luma samples."""

QPS = (27, 32, 37, 42, 47, 52)

SHARES: Mapping[str, int] = {"1/2": 3, "1": 2, "3/4": 2, "1/4": 2}
"""The coded scales of the standard set, and at how many QPs each patch is coded there."""

MOSAIC = 1024
"""Largest side of a mosaic, luma samples."""


Coder = Callable[[Sequence[Picture], int], Iterable[Picture]]
"""Pictures of one format as they are decoded, coded by themselves with a QP."""


@dataclass(frozen=True)
class CodedFile:
    """One `pP_sND_qQ.npz`."""

    part: int
    scale: Fraction
    qp: int
    index: NDArray[np.int64]
    planes: NDArray[np.uint16]
    matrix: tuple[float, float]
    layer: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> "CodedFile":
        part, scale, qp = (word[1:] for word in path.stem.split("_"))
        with np.load(path) as stored:
            kr, kb = stored["matrix"].tolist()
            fraction = Fraction(int(scale[0]), int(scale[1:]))
            index = stored["idx"]
            layer = stored["layer"] if "layer" in stored else np.zeros(len(index), np.int64)
            return cls(int(part), fraction, int(qp), index, stored["planes"], (kr, kb), layer)

    @staticmethod
    def path(folder: Path, part: int, scale: Fraction, qp: int) -> Path:
        return folder / f"p{part}_s{scale.numerator}{scale.denominator}_q{qp}.npz"


def make_patches(
    photos: Sequence[Path],
    folder: Path,
    part: int = 0,
    coder: Coder | None = None,
    shares: Mapping[str, int] = SHARES,
    qps: Sequence[int] = QPS,
) -> None:
    """Code one patch of every photo of 256x256 or more; files that are there already are left alone.

    coder: VVC with preset `faster` by default. shares: coded scales, and at how many of `qps` each patch is
    coded there.

    Raises InputError where no photo is large enough, and what the VVC tools raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    originals = folder / f"rgb{part}.npy"
    if not originals.exists():
        with atomic_path(originals) as path:
            np.save(path, cut_patches(photos, np.random.default_rng(part)))
    patches = np.load(originals)
    for text, count in shares.items():
        scale = Fraction(text)
        rng = np.random.default_rng((part, scale.numerator, scale.denominator))
        chosen = np.argsort(rng.random((len(patches), len(qps))), axis=1)[:, :count]
        pictures: list[Picture] = []
        for number, qp in enumerate(qps):
            target = CodedFile.path(folder, part, scale, qp)
            if target.exists():
                continue
            pictures = pictures or [_picture(patch, scale) for patch in patches]
            index = np.flatnonzero((chosen == number).any(1))
            if not len(index):
                continue
            planes = code_patches([pictures[i] for i in index], qp, coder or vvc_coder("faster"))
            with atomic_path(target) as path:
                np.savez(path, idx=index, planes=planes, matrix=np.array(KR_KB[Matrix.BT709]))


def cut_patches(photos: Sequence[Path], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One random patch of every photo, resized by 0.6 to 1 as far as its size allows, in random order."""
    patches = []
    for file in photos:
        rgb = read_rgb(file)
        height, width = rgb.shape[:2]
        if min(height, width) < PATCH:
            continue
        scale = max(rng.uniform(0.6, 1.0), PATCH / min(height, width))
        size = max(PATCH, round(width * scale)), max(PATCH, round(height * scale))
        resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        y, x = rng.integers(size[1] - PATCH + 1), rng.integers(size[0] - PATCH + 1)
        patches.append(resized[y : y + PATCH, x : x + PATCH])
    if not patches:
        raise InputError(f"none of {len(photos)} photos has {PATCH}x{PATCH} samples or more")
    result: NDArray[np.uint8] = np.stack(patches).astype(np.uint8, copy=False)
    rng.shuffle(result)
    return result


def _picture(patch: NDArray[Any], scale: Fraction) -> Picture:
    """The patch as it is coded at `scale`."""
    side = int(PATCH * scale)
    if side != PATCH:
        rgb = torch.from_numpy(patch).permute(2, 0, 1)[None].float()
        small = F.interpolate(rgb, (side, side), mode="bicubic", antialias=True)
        patch = small.clamp(0, 255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
    return rgb_to_picture(patch, 10, Matrix.BT709)


def code_patches(patches: Sequence[Picture], qp: int, coder: Coder) -> NDArray[np.uint16]:
    """Decoded samples, (n, samples), of square patches of one size, coded as mosaics."""
    side = patches[0].format.width
    across = max(1, MOSAIC // side)
    filled = [*patches, *[patches[0]] * (-len(patches) % across**2)]
    fmt = PictureFormat(across * side, across * side, 10, matrix=Matrix.BT709)
    mosaics = [
        Picture(
            tuple(
                np.block(
                    [[p.planes[i] for p in filled[j : j + across]] for j in range(k, k + across**2, across)]
                )
                for i in range(3)
            ),
            fmt,
        )
        for k in range(0, len(filled), across**2)
    ]
    rows = []
    for picture in coder(mosaics, qp):
        for y in range(across):
            for x in range(across):
                parts = []
                for plane, step in zip(picture.planes, (side, side // 2, side // 2), strict=True):
                    parts.append(plane[y * step : (y + 1) * step, x * step : (x + 1) * step].ravel())
                rows.append(np.concatenate(parts))
    return np.stack(rows[: len(patches)])


def vvc_coder(preset: str) -> Coder:
    """VVC, all intra. What it gives raises what the VVC tools raise."""

    def code(pictures: Sequence[Picture], qp: int) -> Iterable[Picture]:
        fmt = pictures[0].format
        settings = VvcSettings(qp=qp, preset=preset, gop="ai", threads=1)
        stream = encoder().encode(pictures, fmt, Fraction(30), settings)
        return decoder().decode(stream, CodedFormat(fmt), DecoderSettings(threads=1))

    return code


def learned_coder(model: ImageModel) -> Coder:
    """The learned image codec, in its best profile."""

    def code(pictures: Sequence[Picture], qp: int) -> Iterable[Picture]:
        for picture in pictures:
            yield encode_picture(model, picture, qp, PROFILES[-1]).picture

    return code
