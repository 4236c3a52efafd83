"""A single picture coded by VVC at one QP after the other: what `quality_choice` tries."""

from dataclasses import replace

from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.codecs.filter_choice import still_picture
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.neural_filter import NeuralFilter, installed_filter
from nnvvc.codecs.quality_choice import Trial
from nnvvc.codecs.scale import restored
from nnvvc.media.resample import resample
from nnvvc.options import EncodeOptions
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.tools import coded_format, encoder, to_coded


def vvc_trial(picture: Picture, header: StreamHeader, scaled: PictureFormat, options: EncodeOptions) -> Trial:
    """header: of its stream. scaled: its format at the coded size. The trial raises what the VVC tools
    raise.
    """
    coded = coded_format(scaled)
    small = to_coded(resample(picture, scaled.width, scaled.height), coded)

    def trial(qp: int) -> tuple[Picture, int]:
        settings = replace(options.vvc, qp=qp)
        chunks = list(encoder(options.encoder).encode([small], coded, header.source.fps, settings))
        return _shown(chunks, header, scaled, picture.format), sum(map(len, chunks))

    return trial


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
    qp = key_slice_qp(unit, units.sets)
    return NeuralFilter(installed_filter(used), scaled, target, header.scale, qp)(picture)
