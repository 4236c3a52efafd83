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
from nnvvc.codecs.scale import restored
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
    if filter_in(header, "machines") is None or not available():
        return b""
    picture, apply = decoded_still(chunks, header, scaled, original.format)
    if apply is None:
        return b""
    return block_map_of(apply, picture, original, 8 * sum(map(len, chunks)))


def block_map_of(apply: NeuralFilter, picture: Picture, original: Picture, stream_bits: int) -> bytes:
    """The best choice of filters for a decoded picture of so many bits, as a header takes it; empty where
    there is none, or it is not worth its bits. Raises ConfigError where the loss networks are not there.
    """
    if apply.filters == 1:
        return b""
    losses = BlockLosses(original)(apply.candidates(picture, tuple(range(apply.filters))))
    choice = worthwhile_choice(losses, stream_bits)
    return b"" if choice is None else encode_blocks(choice, apply.filters)


def best_shown(
    chunks: Sequence[bytes],
    header: StreamHeader,
    scaled: PictureFormat,
    shown: PictureFormat,
    block_losses: BlockLosses,
) -> Picture:
    """What machines see of a coded picture, of the format `shown`, with the best choice of filters.

    Otherwise as `choice_for`; block_losses: those of the original. Raises ConfigError where there is a
    choice, and the loss networks are not there.
    """
    picture, apply = decoded_still(chunks, header, scaled, shown)
    if apply is None:
        return restored(picture, scaled, shown)
    return choose_filters(apply, picture, block_losses, 8 * sum(map(len, chunks)))


def decoded_still(
    chunks: Sequence[bytes], header: StreamHeader, scaled: PictureFormat, shown: PictureFormat
) -> tuple[Picture, NeuralFilter | None]:
    """The picture of a stream just encoded, and the machines' filter for it, where the header has one.

    Raises ToolFailed where there is no picture.
    """
    units = AccessUnits(split_annex_b(chunks))
    unit = next(iter(units))
    picture = _picture_of(chunks, unit)
    used = filter_in(header, "machines")
    if used is None:
        return picture, None
    qp = key_slice_qp(unit, units.sets)
    return picture, NeuralFilter(installed_filter(used), scaled, shown, header.scale, qp)


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


def _picture_of(chunks: Sequence[bytes], unit: AccessUnit) -> Picture:
    if unit.size is not None:
        for picture in decoder().decode(chunks, coded_format_of(unit.size), DecoderSettings()):
            return picture
    raise ToolFailed("the VVC decoder gave no picture of a stream just encoded")
