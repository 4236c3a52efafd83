from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnvvc.evaluation.fidelity import feature_distance, ms_ssim, picture_psnr, psnr, vmaf
from nnvvc.evaluation.networks import load_network
from nnvvc.media import open_sink
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from tests.evaluation.conftest import red_squares


def _picture(height: int, width: int, seed: int = 0, noise: int = 0) -> Picture:
    fmt = PictureFormat(width, height, 10)
    rng = np.random.default_rng(seed)
    planes = []
    for h, w in fmt.plane_shapes:
        y, x = np.mgrid[:h, :w]
        base = 500 + 200 * np.sin(x / 9) + 100 * np.cos(y / 7) + rng.normal(0, max(noise, 1e-9), (h, w))
        planes.append(np.clip(base, 0, 1023).astype(np.uint16))
    return Picture(tuple(planes), fmt)


def test_psnr_of_a_constant_error() -> None:
    a = np.full((8, 8), 100, np.uint16)
    assert psnr(a, a + 4, 1023) == pytest.approx(20 * np.log10(1023 / 4))
    assert psnr(a, a, 1023) == 100


def test_picture_psnr_weighs_planes() -> None:
    a, b = _picture(32, 48), _picture(32, 48)
    b.planes[1][...] += 2
    values = picture_psnr(a, b)
    assert values["psnr_y"] == 100 and values["psnr_u"] == pytest.approx(20 * np.log10(1023 / 2))
    assert values["psnr_yuv"] == pytest.approx((600 + values["psnr_u"] + 100) / 8)


def test_ms_ssim() -> None:
    a = _picture(200, 240).planes[0]
    little, much = (_picture(200, 240, noise=n).planes[0] for n in (10, 60))
    same, near, far = (ms_ssim(a, b, 1023) for b in (a, little, much))
    assert same == pytest.approx(1)
    assert near is not None and far is not None and 1 > near > far > 0
    assert ms_ssim(a[:100], a[:100], 1023) is None


def test_vmaf_is_high_for_the_same_and_falls(tmp_path: Path) -> None:
    for name, noise, fps in (("a", 0, 30), ("b", 60, 50)):
        picture = _picture(144, 176, noise=noise)
        with open_sink(tmp_path / f"{name}.y4m", VideoFormat(picture.format, Fraction(fps))) as sink:
            sink.write(picture)
            sink.write(picture)
    same = vmaf(tmp_path / "a.y4m", tmp_path / "a.y4m")
    noisy = vmaf(tmp_path / "a.y4m", tmp_path / "b.y4m")
    assert len(same) == len(noisy) == 2
    assert min(same) > 90 and max(noisy) < min(same) - 5


def test_feature_distance(networks: Path) -> None:
    network = load_network("red", networks)
    picture, _ = red_squares(1)
    dark = (picture // 2).astype(np.uint8)
    assert feature_distance(network, ["feat8"], [picture], [picture]) == 0
    assert feature_distance(network, ["feat8"], [picture], [dark]) == pytest.approx(0.25, rel=0.02)
