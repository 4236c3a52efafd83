import numpy as np
import pytest

from nnvvc.media.colour import picture_to_rgb, rgb_to_picture
from nnvvc.media.resample import resample
from nnvvc.picture import ChromaSiting, Matrix, PictureFormat
from tools.content import clip


@pytest.mark.parametrize("matrix", [Matrix.BT601, Matrix.BT709, Matrix.BT2020])
@pytest.mark.parametrize("full_range", [False, True])
def test_flat_colours_come_back(matrix: Matrix, full_range: bool) -> None:
    for colour in ([0, 0, 0], [255, 255, 255], [255, 0, 0], [12, 200, 99]):
        rgb = np.full((5, 7, 3), colour, np.uint8)
        picture = rgb_to_picture(rgb, 10, matrix, full_range)
        assert np.abs(picture_to_rgb(picture).astype(int) - rgb).max() <= 1


def test_levels_are_those_of_the_standard() -> None:
    """BT.709 limited range: white is 235, black 16, pure red 63/102/240 at 8 bits (BT.709-6, table 4)."""
    white = rgb_to_picture(np.full((2, 2, 3), 255, np.uint8), 8)
    black = rgb_to_picture(np.zeros((2, 2, 3), np.uint8), 8)
    red = rgb_to_picture(np.full((2, 2, 3), [255, 0, 0], np.uint8), 8)
    assert [int(p[0, 0]) for p in white.planes] == [235, 128, 128]
    assert [int(p[0, 0]) for p in black.planes] == [16, 128, 128]
    assert [int(p[0, 0]) for p in red.planes] == [63, 102, 240]


@pytest.mark.parametrize("siting", list(ChromaSiting))
def test_a_colour_ramp_keeps_its_place(siting: ChromaSiting) -> None:
    """Up after down is the identity on a ramp, away from the borders: the phases fit each other."""
    ramp = np.zeros((32, 64, 3), np.uint8)
    ramp[..., 0] = 40 + 2 * np.arange(64)[None, :]
    ramp[..., 2] = 200 - 3 * np.arange(32)[:, None]
    ramp[..., 1] = 100
    if siting is ChromaSiting.TOP_LEFT:
        pytest.skip("rows are averaged at the centre when going down")
    back = picture_to_rgb(rgb_to_picture(ramp, 12, siting=siting)).astype(int)
    assert np.abs(back - ramp)[4:-4, 4:-4].max() <= 1


def test_resampling_keeps_flat_and_smooth_pictures() -> None:
    picture = next(clip(PictureFormat(64, 48, 10), 1))
    flat = type(picture)(tuple(np.full_like(p, 321) for p in picture.planes), picture.format)
    for size in ((32, 24), (48, 36), (96, 72), (33, 25)):
        assert all(np.all(p == 321) for p in resample(flat, *size).planes)
    y, x = np.mgrid[0:48, 0:64]
    planes = (
        (500 + 200 * np.sin(x / 9) * np.cos(y / 11)).astype(np.uint16),
        *picture.planes[1:],
    )
    smooth = type(picture)(planes, picture.format)
    again = resample(resample(smooth, 32, 24), 64, 48)
    assert np.abs(again.planes[0].astype(int) - planes[0])[6:-6, 6:-6].max() < 8
    assert resample(smooth, 64, 48) is smooth
