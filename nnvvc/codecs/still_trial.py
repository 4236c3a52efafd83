"""A single picture coded by VVC at one scale and QP after the other: what `quality_choice` tries."""

from dataclasses import replace
from fractions import Fraction

from nnvvc.adapt.block_choice import BlockLosses
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.codecs.filter_choice import best_shown
from nnvvc.codecs.filtering import filters_for
from nnvvc.codecs.quality_choice import EQUAL_RATE, Trial, chosen_coding
from nnvvc.codecs.scale import scaled_format
from nnvvc.media.resample import resample
from nnvvc.options import EncodeOptions
from nnvvc.picture import Picture, VideoFormat
from nnvvc.vvc.tools import coded_format, encoder, to_coded


def best_coding(
    picture: Picture, video: VideoFormat, usual: Fraction, options: EncodeOptions
) -> tuple[Fraction, int]:
    """Scale and QP for a picture that machines will see; usual: the scale where none was asked for.

    Raises ConfigError where the loss networks are not there, and what the VVC tools raise.
    """
    scales = EQUAL_RATE if options.scale is None else [usual]
    losses = BlockLosses(picture)
    trials = {scale: vvc_trial(picture, video, scale, options, losses) for scale in scales}
    return chosen_coding(picture, options.vvc.qp, usual, trials)


def vvc_trial(
    picture: Picture, video: VideoFormat, scale: Fraction, options: EncodeOptions, losses: BlockLosses
) -> Trial:
    """The trial of a picture coded at `scale`; it raises what the VVC tools raise. losses: the picture's."""
    models = filters_for(options, scale, still=True)
    header = StreamHeader(Pipeline.VVC, video, scale, models)
    scaled = scaled_format(video.picture, scale)
    coded = coded_format(scaled)
    small = to_coded(resample(picture, scaled.width, scaled.height), coded)

    def trial(qp: int) -> tuple[Picture, int]:
        settings = replace(options.vvc, qp=qp)
        chunks = list(encoder(options.encoder).encode([small], coded, header.source.fps, settings))
        return best_shown(chunks, header, scaled, picture.format, losses), sum(map(len, chunks))

    return trial
