"""Regions: what detectors find stays as it is, the rest is smoothed, in pictures and through time."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from nnvvc.adapt import regions
from nnvvc.api import decode_chunks, encode_frames
from nnvvc.errors import ConfigError
from nnvvc.options import EncodeOptions
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings


def noise(width: int, height: int, chroma: Chroma = Chroma.C420, depth: int = 10) -> Picture:
    fmt = PictureFormat(width, height, depth, chroma)
    rng = np.random.default_rng(width * height)
    return Picture(tuple(rng.integers(1 << depth, size=s, dtype=np.uint16) for s in fmt.plane_shapes), fmt)


SIDES = st.integers(1, 90)


@example(1, 3, Chroma.C420, 8)
@given(SIDES, SIDES, st.sampled_from([Chroma.C420, Chroma.C400]), st.sampled_from([8, 10]))
def test_only_what_the_mask_leaves_out_is_smoothed(
    width: int, height: int, chroma: Chroma, depth: int
) -> None:
    picture = noise(width, height, chroma, depth)
    kept = regions.smoothed(picture, np.ones((height, width), np.float32))
    assert kept.format == picture.format
    assert all(np.array_equal(a, b) for a, b in zip(kept.planes, picture.planes, strict=True))
    gone = regions.smoothed(picture, np.zeros((height, width), np.float32))
    for before, after in zip(picture.planes, gone.planes, strict=True):
        assert after.dtype == np.uint16
        assert before.min() <= after.min() and after.max() <= before.max()


def test_a_box_is_kept_with_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.array([[100, 80, 160, 120]], np.float32)
    monkeypatch.setattr(regions, "object_boxes", lambda picture: box)
    picture = noise(320, 240)
    mask = regions.object_mask(picture)
    assert mask[80:120, 100:160].all() and mask[70, 90] == 1 and mask[60, 90] == mask[70, 80] == 0
    done = regions.smoothed(picture, mask)
    assert np.array_equal(done.planes[0][90:110, 110:150], picture.planes[0][90:110, 110:150])
    assert done.planes[0][180:, 240:].std() < 0.3 * picture.planes[0].std()


class FakeDetector:
    """One box, in the network's samples, and otherwise nothing."""

    def __init__(self, cell: int, reach: int) -> None:
        self.cell, self.reach, self.seen = cell, reach, (0, 0)

    def __call__(self, rgb: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        assert outputs == ("pred",)
        height, width = rgb.shape[2:]
        assert height % regions.STRIDE == width % regions.STRIDE == 0
        self.seen = (height, width)
        cells = sum(-(-height // s) * -(-width // s) for s in (8, 16, 32, 64))
        pred = torch.zeros(1, cells, 112)
        pred[0, self.cell, 17] = 0.9
        pred[0, self.cell, 80:].view(4, 8)[:, self.reach] = 50.0
        return [pred]


def test_boxes_are_in_samples_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # Twice the detectors' size; the cell in row 2, column 3 of stride 8, and a box of two cells each way.
    fake = FakeDetector(cell=2 * 52 + 3, reach=2)
    monkeypatch.setattr(regions, "loss_network", lambda name: fake)
    boxes = regions.object_boxes(noise(832, 640))
    assert fake.seen == (320, 416)
    assert len(boxes) == 2
    np.testing.assert_allclose(boxes[0], [16, 0, 80, 64], atol=0.1)  # NanoDet-Plus: a cell's corner
    np.testing.assert_allclose(boxes[1], [24, 8, 88, 72], atol=0.1)  # PicoDet: its centre


@pytest.mark.parametrize(("count", "period"), [(1, 32), (5, 1), (9, 4), (30, 16), (130, 0), (130, 1000)])
def test_a_period_keeps_the_objects_of_all_its_pictures(
    count: int, period: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNVVC_NETS", "nowhere")
    pictures = [noise(8, 2 + 2 * i) for i in range(count)]
    number = {p.format.height: i for i, p in enumerate(pictures)}
    monkeypatch.setattr(
        regions, "object_mask", lambda p: (np.arange(1300) == 10 * number[p.format.height])[None] * 1.0
    )
    monkeypatch.setattr(regions, "smoothed", lambda picture, mask: (picture, mask))
    found = list(regions.smooth_background(iter(pictures), period))
    assert [p for p, _ in found] == pictures
    length = min(period or regions.LONGEST, regions.LONGEST)
    for i, (_, mask) in enumerate(found):
        first = i // length * length
        group = range(first, min(first + length, count), regions.LOOKED_AT)
        assert [j for j in range(count) if mask[0, 10 * j] > 0.05] == list(group)


def test_without_detectors_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNVVC_NETS", raising=False)
    with pytest.raises(ConfigError, match="NNVVC_NETS"):
        next(regions.smooth_background([noise(16, 16)], 1))


def test_a_smoothed_background_saves_bytes_and_keeps_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.array([[16, 16, 64, 64]], np.float32)
    monkeypatch.setattr(regions, "object_boxes", lambda picture: box)
    monkeypatch.setenv("NNVVC_NETS", "nowhere")
    fmt = PictureFormat(256, 192, 8)
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(100, 150, s).astype(np.uint16) for s in fmt.plane_shapes)
    pictures = [Picture(planes, fmt)] * 3
    video = VideoFormat(fmt, Fraction(25), len(pictures))
    settings = VvcSettings(qp=27, preset="faster", threads=1)
    streams, errors = {}, {}
    for background in ("keep", "smooth"):
        options = EncodeOptions(codec="vvc", vvc=settings, background=background)
        streams[background] = b"".join(encode_frames(pictures, video, options))
        decoded = list(decode_chunks([streams[background]]))
        assert len(decoded) == len(pictures)
        errors[background] = [
            float(np.square(p.planes[0][20:60, 20:60].astype(int) - q.planes[0][20:60, 20:60]).mean())
            for p, q in zip(pictures, decoded, strict=True)
        ]
    assert len(streams["smooth"]) < 0.5 * len(streams["keep"])
    assert np.mean(errors["smooth"]) < 1.5 * np.mean(errors["keep"])
