"""Lossless key pictures inside real streams: decoders must give exactly the picture that was written."""

import time
from pathlib import Path

import numpy as np
import pytest

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.nal import IRAP, NalHeader
from nnvvc.bitstream.slice_header import read_key_slice
from nnvvc.errors import UnsupportedStream
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.irap import check_parameter_sets, warm_up, write_key_slice
from tests.bitstream.conftest import decode, encode, moving_picture


def replace_key_pictures(stream: bytes, pictures: list[Picture]) -> tuple[bytes, list[AccessUnit]]:
    """The stream with its key pictures, in order, replaced by `pictures`, again and again."""
    demuxer = Demuxer([stream])
    units, count = [], 0
    for unit in demuxer:
        for i, nal in enumerate(unit.nals):
            kind = NalHeader.read(nal).type
            if kind in IRAP:
                header = read_key_slice(nal, demuxer.sets)
                context = demuxer.sets.context(header["ph_pic_parameter_set_id"])
                unit.nals[i] = write_key_slice(pictures[count % len(pictures)], kind, header, context)
                count += 1
        units.append(unit)
    return b"".join(u.tobytes() for u in units), units


def noise(fmt: PictureFormat, seed: int, *, binary: bool = False) -> Picture:
    """White noise over the whole range, or of its two ends."""
    rng = np.random.default_rng(seed)
    planes = (rng.integers(0, 2, s) * 1023 if binary else rng.integers(0, 1024, s) for s in fmt.plane_shapes)
    return Picture(tuple(p.astype(np.uint16) for p in planes), fmt)


def photo(fmt: PictureFormat, seed: int) -> Picture:
    """Smooth, with some noise, as a decoded photo has it; flat in places."""
    rng = np.random.default_rng(seed)
    planes = [p + rng.integers(0, 9, p.shape) for p in moving_picture(seed, fmt).planes]
    for plane in planes:
        plane[: plane.shape[0] // 3] = 600
    return Picture(tuple(p.astype(np.uint16) for p in planes), fmt)


def assert_exact(stream: bytes, fmt: PictureFormat, written: list[Picture], folder: Path) -> None:
    new, units = replace_key_pictures(stream, written)
    decoded = decode(new, fmt, folder)
    assert len(decoded) == len(units)
    keys = [u for u in units if u.irap]
    for i, unit in enumerate(keys):
        shown = decoded[unit.poc]
        for plane, expected in zip(shown.planes, written[i % len(written)].planes, strict=True):
            np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize(
    ("size", "params"),
    [
        ((64, 64), "CTUSize=32"),
        ((128, 72), "CTUSize=64"),
        ((250, 130), "CTUSize=128"),
        ((250, 130), "CTUSize=128:DualITree=0"),
        ((250, 130), "CTUSize=128:DualITree=1"),
        ((130, 94), "CTUSize=64:DualITree=1"),
        ((98, 66), "CTUSize=32:DualITree=1"),
        ((264, 200), "CTUSize=64:WaveFrontSynchro=1"),
        ((264, 200), "CTUSize=32:WaveFrontSynchro=1:IBC=0"),
        ((178, 146), "TransformSkipLog2MaxSize=3"),
        ((178, 146), "TransformSkipLog2MaxSize=4:JointCbCr=0:SAO=0:ALF=0"),
    ],
)
def test_written_pictures_are_decoded_exactly(size: tuple[int, int], params: str, tmp_path: Path) -> None:
    fmt = PictureFormat(*size, 10)
    tools = "TransformSkip=1:BDPCM=1:ChromaTS=1"
    stream = encode(3, f"IntraPeriod=1:GOPSize=1:DecodingRefreshType=idr:{tools}:{params}", fmt)
    written = [photo(fmt, 1), noise(fmt, 2), noise(fmt, 3, binary=True)]
    assert_exact(stream, fmt, written, tmp_path)


@pytest.mark.parametrize("refresh", ["cra", "idr", "idr_no_radl"])
def test_key_pictures_of_every_kind_among_inter_pictures(refresh: str, tmp_path: Path) -> None:
    fmt = PictureFormat(200, 104, 10)
    stream = encode(36, f"IntraPeriod=16:GOPSize=16:DecodingRefreshType={refresh}", fmt)
    assert_exact(stream, fmt, [photo(fmt, 4), noise(fmt, 5)], tmp_path)


def test_pictures_that_fit_replaced_ones_change_nothing(tmp_path: Path) -> None:
    """With the encoder's own key pictures written anew, all other pictures stay as they were."""
    fmt = PictureFormat(200, 104, 10)
    stream = encode(36, "IntraPeriod=16:GOPSize=16:DecodingRefreshType=cra", fmt)
    before = decode(stream, fmt, tmp_path)
    new, _ = replace_key_pictures(stream, [before[i] for i in (0, 16, 32)])
    assert new != stream
    for old, again in zip(before, decode(new, fmt, tmp_path), strict=True):
        for a, b in zip(old.planes, again.planes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_cannot_be_written_is_named() -> None:
    fmt = PictureFormat(64, 64, 10)
    stream = encode(1, "TransformSkip=0:BDPCM=0", fmt)
    demuxer = Demuxer([stream])
    with pytest.raises(UnsupportedStream, match="BDPCM"):
        check_parameter_sets(demuxer.sets.context(0))
    demuxer = Demuxer([encode(1, "TransformSkip=1:BDPCM=1", fmt)])
    good = demuxer.sets.context(0)
    check_parameter_sets(good)
    for change in (
        {"sps_palette_enabled_flag": 1},
        {"sps_min_qp_prime_ts": 2},
        {"sps_chroma_format_idc": 0},
        {"sps_partition_constraints_override_enabled_flag": 0},
    ):
        with pytest.raises(UnsupportedStream, match="does not fit"):
            check_parameter_sets({**good, **change})


def test_a_picture_of_the_wrong_size_or_depth_is_refused() -> None:
    demuxer = Demuxer([encode(1, "TransformSkip=1:BDPCM=1", PictureFormat(64, 64, 10))])
    nal = demuxer.first.vvc_nals()[-1]
    header = read_key_slice(nal, demuxer.sets)
    kind, context = NalHeader.read(nal).type, demuxer.sets.context(0)
    for fmt in (PictureFormat(72, 64, 10), PictureFormat(64, 64, 8)):
        with pytest.raises(ValueError, match=r"fit|wanted"):
            write_key_slice(moving_picture(0, fmt), kind, header, context)


def test_writing_is_fast() -> None:
    warm_up()
    fmt = PictureFormat(960, 544, 10)
    demuxer = Demuxer([encode(1, "TransformSkip=1:BDPCM=1", fmt)])
    nal = demuxer.first.vvc_nals()[-1]
    header = read_key_slice(nal, demuxer.sets)
    start = time.process_time()
    write_key_slice(photo(fmt, 1), NalHeader.read(nal).type, header, demuxer.sets.context(0))
    assert fmt.width * fmt.height / (time.process_time() - start) > 3e6
