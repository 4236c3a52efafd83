"""`--effort full` for single pictures: the QP at which a picture's bits are worth it to machines.

With one QP for all, pictures that a detector has no difficulty with cost as many bits as those it needs them
for. Here the QP that was asked for stands for a price of bits, in feature loss of two detectors, and each
picture is coded at the QP where loss and bits together are least.
"""

from dataclasses import replace
from functools import cache

from nnvvc.adapt.block_choice import PictureLoss, available
from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.codecs.cost import price
from nnvvc.codecs.filter_choice import still_picture
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.scale import restored
from nnvvc.errors import ConfigError
from nnvvc.media.resample import resample
from nnvvc.models.tasknets import FOLDER_VARIABLE
from nnvvc.options import EncodeOptions
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.tools import coded_format, encoder, to_coded

FARTHEST = 12
"""How far from the QP that was asked for a picture's may be."""

STEPS = (4, 2)
"""Steps of the search, in QP."""

LOWEST, HIGHEST = 17, 57


def chosen_qp(picture: Picture, header: StreamHeader, scaled: PictureFormat, options: EncodeOptions) -> int:
    """The QP for a picture that machines will see.

    header: of its stream. scaled: its format at the coded size. Raises ConfigError where the loss networks
    are not there, and what the VVC tools raise.
    """
    if not available():
        raise ConfigError(f"--effort full for machines needs the loss networks: {FOLDER_VARIABLE} names them")
    asked = options.vvc.qp
    weight = price(asked) / (picture.format.width * picture.format.height)
    coded = coded_format(scaled)
    loss = PictureLoss(picture)
    small = to_coded(resample(picture, scaled.width, scaled.height), coded)

    @cache
    def cost(qp: int) -> float:
        settings = replace(options.vvc, qp=qp)
        chunks = list(encoder(options.encoder).encode([small], coded, header.source.fps, settings))
        shown = _shown(chunks, header, scaled, picture.format)
        return loss(shown) + weight * 8 * sum(map(len, chunks))

    best = asked
    for step in STEPS:
        while True:
            near = [qp for qp in (best, best + step, best - step) if _allowed(qp, asked)]
            nearest = min(near, key=cost)
            if nearest == best:
                break
            best = nearest
    return best


def _allowed(qp: int, asked: int) -> bool:
    return qp == asked or (abs(qp - asked) <= FARTHEST and LOWEST <= qp <= HIGHEST)


def _shown(
    chunks: list[bytes], header: StreamHeader, scaled: PictureFormat, target: PictureFormat
) -> Picture:
    """What machines see of a coded picture."""
    units = AccessUnits(split_annex_b(chunks))
    unit = next(iter(units))
    picture = still_picture(chunks, unit)
    used = filter_in(header, "machines")
    if used is None:
        return restored(picture, scaled, target)
    return NeuralFilter(used, scaled, target, header.scale, key_slice_qp(unit, units.sets))(picture)
