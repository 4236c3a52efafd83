from pathlib import Path

import numpy as np
import pytest

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.parameter_sets import read_vui
from nnvvc.picture import Matrix, Picture, PictureFormat
from nnvvc.vvc.irap.still import write_still
from tests.bitstream.conftest import decode, moving_picture


@pytest.mark.parametrize("size", [(64, 48), (130, 66), (8, 8), (2, 34), (300, 200)])
def test_a_still_decodes_exactly(size: tuple[int, int], tmp_path: Path) -> None:
    fmt = PictureFormat(*size, 10, matrix=Matrix.BT709, full_range=True)
    picture = Picture(moving_picture(1, fmt).planes, fmt)
    stream = write_still(picture)
    (decoded,) = decode(stream, fmt, tmp_path)
    for plane, expected in zip(decoded.planes, picture.planes, strict=True):
        np.testing.assert_array_equal(plane, expected)
    unit = Demuxer([stream]).first
    vui = read_vui(unit.nals[0])
    assert unit.size is not None
    assert (unit.size.width, unit.size.height) == size
    assert vui is not None
    assert (vui["vui_matrix_coeffs"], vui["vui_full_range_flag"]) == (1, 1)


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        write_still(moving_picture(0, PictureFormat(9, 8, 10)))
