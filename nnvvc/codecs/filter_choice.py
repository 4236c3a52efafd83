"""The encoder's side of several filters for machines: which is for which block of a single picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnvvc.adapt.block_choice import BlockLosses, choose, gain, price_of_bits
from nnvvc.adapt.loss_networks import available
from nnvvc.bitstream.access_unit import AccessUnit, AccessUnits
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.nal import split_annex_b
from nnvvc.codecs.filtering import filter_in, key_slice_qp
from nnvvc.codecs.neural_filter import NeuralFilter, installed_filter
from nnvvc.codecs.vvc_pictures import coded_format_of
from nnvvc.entropy.block_map import BlockMap, encode_blocks
from nnvvc.errors import ToolFailed
from nnvvc.picture import Picture, PictureFormat
from nnvvc.vvc.tools import DecoderSettings, decoder


def choice_for(
    chunks: Sequence[bytes], original: Picture, header: StreamHeader, scaled: PictureFormat
) -> bytes:
    """The choice for a coded picture, by the loss networks, as its header takes it.

    chunks: its VVC stream. scaled: the original's format at its coded size. Empty where there is nothing to
    choose, where the choice is worth less than its bits, and where the networks are not there (`NNVVC_NETS`).
    """
    used = filter_in(header, "machines")
    if used is None or not available():
        return b""
    units = AccessUnits(split_annex_b(chunks))
    unit = next(iter(units))
    qp = key_slice_qp(unit, units.sets)
    apply = NeuralFilter(installed_filter(used), scaled, original.format, header.scale, qp)
    if apply.filters == 1 or unit.size is None:
        return b""
    choose_filters(apply, still_picture(chunks, unit), BlockLosses(original), 8 * sum(map(len, chunks)))
    return b"" if apply.choice is None else encode_blocks(apply.choice, apply.filters)


def choose_filters(
    apply: NeuralFilter, picture: Picture, block_losses: BlockLosses, stream_bits: int
) -> Picture:
    """What machines see of a decoded picture of so many bits with the best choice of filters, which `apply`
    keeps. block_losses: those of the original. Raises ConfigError where there is a choice, and the loss
    networks are not there.
    """
    candidates = apply.candidates(picture, tuple(range(apply.filters)))
    if apply.filters > 1:
        apply.choice = worthwhile_choice(block_losses(candidates), stream_bits)
    return apply.composed(dict(enumerate(candidates)))


def worthwhile_choice(losses: NDArray[np.float32], stream_bits: int) -> BlockMap | None:
    """The best candidate of every block of a picture of so many bits; None where saying so is worth less
    than it costs. losses: of `BlockLosses`.
    """
    price = price_of_bits(losses, stream_bits)
    blocks = choose(losses, price)
    cost = 8 * len(encode_blocks(blocks, len(losses)))
    return blocks if gain(losses, blocks) > price * cost else None


def still_picture(chunks: Sequence[bytes], unit: AccessUnit) -> Picture:
    """The picture of a stream just encoded. unit: its access unit. Raises ToolFailed where there is none."""
    if unit.size is not None:
        for picture in decoder().decode(chunks, coded_format_of(unit.size), DecoderSettings()):
            return picture
    raise ToolFailed("the VVC decoder gave no picture of a stream just encoded")
