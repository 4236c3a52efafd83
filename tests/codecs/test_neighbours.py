"""Pictures among those before and after them."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from nnvvc.codecs.filter_planes import to_tensors
from nnvvc.codecs.neighbours import NEIGHBOURS, Placed, Sights, placed, planes_among
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.media.motion import Sight, Vectors
from nnvvc.picture import Picture, PictureFormat, Plane
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
            None if f.before[at] is None else number[id(f.before[at])],
            None if f.after[at] is None else number[id(f.after[at])],
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


def test_the_farthest_are_key_pictures_that_are_near_enough() -> None:
    far = order([0] + 31 * [3] + [0, 2], 2)
    assert far[0] == (None, 16) and far[1] == (0, 32) and far[31] == (0, 32)
    assert far[32:] == [(0, 33), (32, None)]
    # One that ends without a key picture, and one that is too long for its middle.
    assert order([0] + 19 * [3], 2)[1:4] == [(0, 17), (0, 18), (0, 19)]
    far = order([0] + 49 * [3] + [0], 2)
    assert far[17:21] == [(0, 33), (0, 34), (0, 50), (0, 50)]
    assert far[31:34] == [(0, 50), (16, 50), (17, 50)]
    assert order([0] + 70 * [3], 2)[40] == (24, 56)


def test_key_pictures_look_back_at_those_before_that_are_near_enough() -> None:
    assert order([0, 1, 0, 1, 0], 2)[::2] == [(None, 2), (0, 4), (2, None)]
    assert order([0] + 31 * [3] + [0], 2)[32] == (0, None)
    assert order([0] + 32 * [3] + [0], 2)[33] == (None, None)
    assert order([1, 1, 0, 1], 2)[2] == (None, 3)
    begun = [PictureFacts(0, begins=n == 2) for n in range(3)]
    found = list(placed(zip(pictures(3), begun, strict=True)))
    assert found[1].before[-1] is found[0].picture and found[2].before[-1] is None


def test_motion_to_a_neighbour_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    motion = Sight.motion

    def counted(own: Sight, other: Sight) -> Vectors:
        asked.append(None)
        return motion(own, other)

    monkeypatch.setattr(Sight, "motion", counted)
    shown = pictures(9)
    found = list(placed(zip(shown, map(PictureFacts, [0] + 7 * [3] + [0]), strict=True)))
    planes_among(found[2], Sights(FORMAT), NEIGHBOURS)
    # Both next to it; the first one, which five off is too; seven, and the last one.
    assert len(asked) == 2 + 1 + 2


def test_key_pictures_are_looked_at_anew_for_no_picture_of_their_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    begin = Sight.__init__

    def counted(sight: Sight, luma: Plane, bit_depth: int, chroma: Sequence[Plane] = ()) -> None:
        made.append(None)
        begin(sight, luma, bit_depth, chroma)

    monkeypatch.setattr(Sight, "__init__", counted)
    facts = map(PictureFacts, [0, 3, 3, 3, 0, 3, 3, 0])
    found, sights = list(placed(zip(pictures(8), facts, strict=True))), Sights(FORMAT)
    for number in (1, 2, 3, 5, 6):
        luma, chroma = planes_among(found[number], sights, 2)
        assert luma.shape[1] == 3 and chroma.shape[1] == 6
    assert len(made) == 5 + 3


def test_their_layers_are_known() -> None:
    layers = [0, 3, 2, 3, 1, 0, 2]
    found = list(placed((p, PictureFacts(n)) for p, n in zip(pictures(7), layers, strict=True)))
    assert found[2].layers_of(6) == (2, 3, 3, 0, 0, 0, 0)
    assert found[0].layers_of(6) == (0, -1, 3, -1, 0, -1, 0)
    assert found[5].layers_of(6) == (0, -1, 2, -1, 2, 0, 2)


def test_planes_hold_the_neighbours_or_the_picture_itself() -> None:
    first, second = pictures(2)
    cropped = replace(FORMAT, width=90, height=70)
    found = Placed(first, PictureFacts(1), (None,) * 3, (second, None, None))
    luma, chroma = planes_among(found, Sights(cropped), NEIGHBOURS)
    own, own_chroma = to_tensors(first, cropped)
    assert luma.shape == (1, 7, 70, 90) and chroma.shape == (1, 14, 35, 45)
    assert torch.equal(chroma[:, :4], own_chroma.tile(1, 2, 1, 1))
    assert not torch.equal(chroma[:, 4:6], own_chroma) and torch.equal(chroma[:, 12:], own_chroma)
    assert torch.equal(luma[:, :1], own) and torch.equal(luma[:, 1:2], own)
    assert not torch.equal(luma[:, 2:3], own) and torch.equal(luma[:, 6:], own)
