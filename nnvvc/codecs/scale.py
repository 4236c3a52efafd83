"""The coded scale: fewer samples, brought back to full size after decoding."""

from dataclasses import replace
from fractions import Fraction

from nnvvc.bitstream.header import scaled_size
from nnvvc.media.resample import resample
from nnvvc.options import EncodeOptions, Purpose
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.tools import from_coded

AUTOMATIC_SCALES: dict[Purpose, tuple[tuple[Fraction, int], ...]] = {
    "people": ((Fraction(1, 2), 56), (Fraction(3, 4), 50)),
    "machines": ((Fraction(1, 2), 27), (Fraction(3, 4), 20)),
}
"""(scale, QP from which on it is taken), smallest scale first.

For machines: what lies on the front of rate and accuracy of VVC intra pictures on COCO val2017, two detectors
(`tools/anchors/vvenc-medium-intra-val_dev.json`).
"""


def coded_scale(options: EncodeOptions, purpose: Purpose) -> Fraction:
    """The scale asked for; where it is left open, the one that is best on average at this QP."""
    if options.scale is not None:
        return options.scale
    for scale, from_qp in AUTOMATIC_SCALES[purpose]:
        if options.vvc.qp >= from_qp:
            return scale
    return Fraction(1)


def scaled_format(source: PictureFormat, scale: Fraction) -> PictureFormat:
    """The format of source pictures at their coded scale."""
    width, height = scaled_size(source.width, source.height, scale)
    return replace(source, width=width, height=height)


def restored(picture: Picture, scaled: PictureFormat, source: PictureFormat) -> Picture:
    """A decoded picture in the source's format."""
    small = from_coded(picture, scaled)
    return Picture(resample(small, source.width, source.height).planes, source)
