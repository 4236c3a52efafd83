"""Pictures among those before and after them."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from nnvvc.codecs.filter_planes import to_tensors
from nnvvc.codecs.neighbours import Pair, Placed, placed, planes_among
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.picture import Picture, PictureFormat
from tools.content import clip

FORMAT = PictureFormat(96, 80, 10)


def pictures(count: int) -> list[Picture]:
    return list(clip(FORMAT, count))


def order(layers: Sequence[int], at: int = 0) -> list[tuple[int | None, int | None]]:
    """What is before and after each picture at one of DISTANCES, as numbers."""
    shown = pictures(len(layers))
    number = {id(p): n for n, p in enumerate(shown)}
    found = placed((p, PictureFacts(layer)) for p, layer in zip(shown, layers, strict=True))
    return [
        (
            None if f.before[at] is None else number[id(f.before[at].first)],  # type: ignore[union-attr]
            None if f.after[at] is None else number[id(f.after[at].second)],  # type: ignore[union-attr]
        )
        for f in found
    ]


def test_key_pictures_begin_anew() -> None:
    assert order([0, 2, 1, 0, 1]) == [(None, 1), (0, 2), (1, 3), (None, 4), (3, None)]
    assert order([0, 0]) == [(None, 1), (None, None)]
    assert order([1, 1]) == [(None, 1), (0, None)]
    assert order([]) == []


def test_far_ones_end_where_the_group_does() -> None:
    assert order([0] + 12 * [3] + [0, 2], 1) == [
        *[(None, 5), (0, 6), (0, 7), (0, 8), (0, 9), (0, 10), (1, 11), (2, 12), (3, 13)],
        *[(4, 13), (5, 13), (6, 13), (7, 13), (None, 14), (13, None)],
    ]


def test_their_layers_are_known() -> None:
    layers = [0, 3, 2, 3, 1, 0, 2]
    found = list(placed((p, PictureFacts(n)) for p, n in zip(pictures(7), layers, strict=True)))
    assert found[2].all_layers == (2, 3, 3, 0, 0, 0, 0)
    assert found[0].all_layers == (0, -1, 3, -1, 0, -1, 0)
    assert found[5].all_layers == (0, -1, 2, -1, 2, -1, 2)


def test_planes_hold_the_neighbours_or_the_picture_itself() -> None:
    first, second = pictures(2)
    cropped = replace(FORMAT, width=90, height=70)
    luma, chroma = planes_among(
        Placed(first, PictureFacts(1), (None,) * 3, (Pair(first, second), None, None)), cropped
    )
    own, own_chroma = to_tensors(first, cropped)
    assert luma.shape == (1, 7, 70, 90) and torch.equal(chroma, own_chroma)
    assert torch.equal(luma[:, :1], own) and torch.equal(luma[:, 1:2], own)
    assert not torch.equal(luma[:, 2:3], own) and torch.equal(luma[:, 6:], own)
