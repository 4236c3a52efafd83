"""Leaner streams of single pictures."""

from fractions import Fraction

import numpy as np

from nnvvc.bitstream.lean import lean_still
from nnvvc.bitstream.nal import NalHeader, NalUnitType, join_annex_b, split_annex_b
from nnvvc.picture import PictureFormat
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcSettings, decoder, encoder
from tools.content import clip


def test_a_still_decodes_to_the_same_from_much_less() -> None:
    fmt = PictureFormat(96, 72, 10)
    (picture,) = clip(fmt, 1)
    nals = list(split_annex_b(encoder().encode([picture], fmt, Fraction(30), VvcSettings(42, "faster"))))
    leaner = lean_still(nals)
    given, left = (join_annex_b(n) for n in (nals, leaner))
    assert len(left) < len(given) - 180
    assert NalUnitType.AUD not in {NalHeader.read(n).type for n in leaner}
    (a,), (b,) = (
        list(decoder().decode([data], CodedFormat(fmt), DecoderSettings())) for data in (given, left)
    )
    assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))
    assert lean_still(leaner) == leaner
