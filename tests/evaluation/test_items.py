from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnvvc.errors import ConfigError, InputError
from nnvvc.evaluation.coders import coded_size, read_curves
from nnvvc.evaluation.items import forth_and_back, load_data
from nnvvc.media.colour import rgb_to_picture
from nnvvc.picture import ChromaSiting
from tests.evaluation.conftest import red_squares, write_picture


def test_forth_and_back_has_no_cut() -> None:
    assert forth_and_back(4, {"frames": 9}) == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert forth_and_back(4, {"min_frames": 3}) == [0, 1, 2, 3]
    assert forth_and_back(1, {"frames": 3}) == [0, 0, 0]


def test_picture_is_converted_accurately(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, _ = red_squares(1, height=92, width=78)
    write_picture(tmp_path / "even.png", rgb)
    write_picture(tmp_path / "odd.png", rgb[:91, :77])
    monkeypatch.setenv("NNVVC_DATA", str(tmp_path))
    item, odd = load_data({"kind": "pictures"}, tmp_path / "cache").items
    assert (odd.width, odd.height, odd.frames) == (77, 91, 1)
    assert next(odd.rgb(odd.source)).shape == (91, 77, 3)
    (picture,) = item.pictures(item.source)
    expected = rgb_to_picture(rgb, 10, siting=ChromaSiting.CENTER)
    for plane, other in zip(picture.planes, expected.planes, strict=True):
        assert np.abs(plane.astype(int) - other.astype(int)).max() <= 1


def test_coco_items_carry_their_truth(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNVVC_DATA", str(data))
    loaded = load_data({"kind": "coco", "path": "squares.json", "limit": 2}, tmp_path)
    assert [i.image_ids for i in loaded.items] == [(1,), (2,)]
    assert loaded.truth is not None and {a["image_id"] for a in loaded.truth.annotations} == {1, 2}


def test_clip_is_played_forth_and_back_with_its_tracks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNVVC_DATA", str(data))
    loaded = load_data({"kind": "clips", "path": "clips.json", "frames": 7}, tmp_path)
    (item,) = loaded.items
    frames = list(item.rgb(item.source))
    assert len(frames) == item.frames == 7
    assert np.array_equal(frames[1], frames[5]) and not np.array_equal(frames[0], frames[1])
    assert loaded.truth is not None
    lefts = {a["image_id"]: a["bbox"][0] for a in loaded.truth.annotations}
    assert [lefts[i] for i in item.image_ids] == [0, 32, 64, 96, 64, 32, 0]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"kind": "other"}, ConfigError),
        ({"kind": "coco", "path": "absent.json"}, InputError),
        ({"kind": "coco", "path": "squares.json", "names": ["9"]}, ConfigError),
        ({"kind": "coco", "path": "squares.json", "limit": 0}, InputError),
        ({"kind": "coco", "path": "clips.json"}, InputError),
    ],
)
def test_wrong_data_is_named(
    spec: dict[str, object],
    error: type[Exception],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NNVVC_DATA", str(data))
    with pytest.raises(error):
        load_data(spec, tmp_path)


def test_coded_sizes_are_even(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "odd.png", red_squares(1, height=91, width=77)[0])
    monkeypatch.setenv("NNVVC_DATA", str(tmp_path))
    (item,) = load_data({"kind": "pictures"}, tmp_path / "cache").items
    assert coded_size(item, Fraction(1)) == (78, 92)
    assert coded_size(item, Fraction(1, 2)) == (38, 46)


@pytest.mark.parametrize(
    "entry", [{"coder": "other", "points": {"qp": [1]}}, {"coder": "x265", "points": {}}]
)
def test_wrong_codecs_are_named(entry: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="mine"):
        read_curves({"mine": entry})
