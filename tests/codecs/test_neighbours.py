"""Pictures among those before and after them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnvvc.codecs.filter_planes import to_tensors
from nnvvc.codecs.neighbours import Placed, placed, planes_among
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import compensated
from nnvvc.picture import Picture, PictureFormat
from tools.content import clip

FORMAT = PictureFormat(96, 80, 10)


def pictures(count: int) -> list[Picture]:
    return list(clip(FORMAT, count))


def order(layers: Sequence[int]) -> list[tuple[int | None, int | None]]:
    """What is before and after each picture, as numbers."""
    shown = pictures(len(layers))
    number = {id(p): n for n, p in enumerate(shown)}
    found = placed((p, PictureFacts(layer)) for p, layer in zip(shown, layers, strict=True))
    return [
        tuple(None if p is None else number[id(p)] for p in (f.before, f.after))  # type: ignore[misc]
        for f in found
    ]


def test_key_pictures_begin_anew() -> None:
    assert order([0, 2, 1, 0, 1]) == [(None, 1), (0, 2), (1, None), (None, 4), (3, None)]
    assert order([0, 0]) == [(None, None), (None, None)]
    assert order([1, 1]) == [(None, 1), (0, None)]
    assert order([]) == []


@pytest.mark.parametrize("size", [(96, 80), (31, 17)])
def test_motion_is_followed(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(100, 900, (size[1] // 8 + 3, size[0] // 8 + 3)), np.ones((8, 8)))
    scene = (wide + np.roll(wide, 3, 0) + np.roll(wide, 5, 1)).astype(np.uint16) // 3
    own, other = scene[4 : 4 + size[1], 4 : 4 + size[0]], scene[4 : 4 + size[1], 6 : 6 + size[0]]
    moved = compensated(np.ascontiguousarray(own), np.ascontiguousarray(other), 10)
    assert moved.shape == own.shape and moved.dtype == np.uint16 and moved.max() <= 1023
    if min(size) > 48:
        before, after = (np.abs(p.astype(int) - own)[8:-8, 8:-8].mean() for p in (other, moved))
        assert after < 0.5 * before
    else:
        assert np.array_equal(moved, other)


def test_planes_hold_the_neighbours_or_the_picture_itself() -> None:
    first, second = pictures(2)
    cropped = replace(FORMAT, width=90, height=70)
    luma, chroma = planes_among(Placed(first, PictureFacts(1), None, second), cropped)
    own, own_chroma = to_tensors(first, cropped)
    assert luma.shape == (1, 3, 70, 90) and torch.equal(chroma, own_chroma)
    assert torch.equal(luma[:, :1], own) and torch.equal(luma[:, 1:2], own)
    assert not torch.equal(luma[:, 2:], own)
