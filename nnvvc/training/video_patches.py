"""Training data of the filter for machines on video: clips coded by random access at several scales and QPs.

The folder has the layout of `filter_data`, a part per clip; the files also hold `layer`, (len(idx),), 0 for
patches of key pictures, else one more than the temporal layer. A clip's rows go patch by patch, and through
the frames that were kept of each, so that the first rows of part 0 are patches that no other rows show.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnvvc.files import atomic_path
from nnvvc.media.colour import KR_KB, picture_to_rgb
from nnvvc.media.resample import resample
from nnvvc.picture import Picture
from nnvvc.training.clip_data import PRESET, kept_frames, layers_of, patches_of, training_clips
from nnvvc.training.filter_data import CodedFile
from nnvvc.training.moving_photos import PATCH
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder
from nnvvc.vvc.tools.base import crop

CODED: Mapping[str, Sequence[int]] = {"1/2": (27, 32, 37, 42, 47, 52), "1": (27, 32, 37, 42)}
"""Coded scales, and the QPs of each: where video for machines is coded at full size, its QP is low."""


def make_video_patches(photos: Path, video: Path | None, folder: Path) -> None:
    """Code all of the training clips; files that are there already are left alone.

    photos, video: as for `training_clips`. Raises what the VVC tools raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part, clip in enumerate(training_clips(photos, video)):
        missing = [
            (scale, qp)
            for scale, qps in ((Fraction(text), qps) for text, qps in CODED.items())
            for qp in qps
            if not CodedFile.path(folder, part, scale, qp).exists()
        ]
        if missing:
            _code_clip(clip.make(), folder, part, missing)


def _code_clip(
    clip: Sequence[Picture], folder: Path, part: int, wanted: Sequence[tuple[Fraction, int]]
) -> None:
    fmt = clip[0].format
    # Whole patches only: so they lie in the same places at every scale.
    width, height = fmt.width // PATCH * PATCH, fmt.height // PATCH * PATCH
    clip = [crop(picture, width, height) for picture in clip]
    for scale, qp in wanted:
        small = [resample(p, int(width * scale), int(height * scale)) for p in clip]
        settings = VvcSettings(qp=qp, preset=PRESET, intra_period=32)
        stream = b"".join(encoder().encode(small, small[0].format, Fraction(30), settings))
        layers, _ = layers_of(stream)
        kept = sorted(kept_frames(layers, np.random.default_rng(part)))
        decoded = decoder().decode([stream], CodedFormat(small[0].format), DecoderSettings())
        frames = [patches_of(p, int(PATCH * scale)) for n, p in enumerate(decoded) if n in kept]
        planes = _by_patch(frames)
        originals = folder / f"rgb{part}.npy"
        if not originals.exists():
            with atomic_path(originals) as path:
                np.save(path, _by_patch([_rgb_patches(clip[n]) for n in kept]))
        with atomic_path(CodedFile.path(folder, part, scale, qp)) as path:
            np.savez(
                path,
                idx=np.arange(len(planes)),
                planes=planes,
                matrix=np.array(KR_KB[fmt.effective_matrix]),
                layer=np.tile([layers[n] for n in kept], len(frames[0])),
            )


def _by_patch(frames: Sequence[Sequence[NDArray[np.generic]]]) -> NDArray[np.generic]:
    """(patches * frames, ...): the frames of the first patch, of the second, ..."""
    return np.stack([patch for patches in zip(*frames, strict=True) for patch in patches])


def _rgb_patches(picture: Picture) -> list[NDArray[np.generic]]:
    """(PATCH, PATCH, 3), uint8, each."""
    rgb = picture_to_rgb(picture)
    rows, columns = rgb.shape[0] // PATCH, rgb.shape[1] // PATCH
    return [
        rgb[y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH]
        for y in range(rows)
        for x in range(columns)
    ]
