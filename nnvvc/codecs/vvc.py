"""Plain VVC: a stock encoder's stream with our header in front and a hash after each intra period."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from nnvvc.bitstream.access_unit import AccessUnit, AccessUnits
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import ModelReference, Pipeline, StreamHeader
from nnvvc.bitstream.lean import lean_still
from nnvvc.bitstream.muxer import Muxer, PeriodVerifier
from nnvvc.bitstream.nal import IDR, NalHeader, NalUnitType, join_annex_b, split_annex_b
from nnvvc.bitstream.parameter_sets import CodedSize, read_vui
from nnvvc.codecs import filtering
from nnvvc.codecs.base import DecodedVideo
from nnvvc.codecs.output_order import OutputOrder
from nnvvc.codecs.scale import coded_scale, restored, scaled_format
from nnvvc.codecs.vvc_pictures import Reconstruction, coded_format_of, decoded, vvc_bytes
from nnvvc.errors import DamagedStream, InputError
from nnvvc.media.resample import resample
from nnvvc.models.registry import PEOPLE_FILTERS
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Matrix, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import (
    CODED_BIT_DEPTH,
    CodedFormat,
    DecoderSettings,
    coded_format,
    decoder,
    encoder,
    to_coded,
)

if TYPE_CHECKING:
    from nnvvc.codecs.adapted import Adaptation, AdaptedMuxer
    from nnvvc.codecs.neural_filter import NeuralFilter

_USUAL_FPS = Fraction(30)
_HASH_TYPES = {"md5": "1", "crc": "2"}


class VvcCodec:
    """Pipeline 0."""

    name = "vvc"

    def encode(
        self, frames: Iterable[Picture], video: VideoFormat, options: EncodeOptions
    ) -> Iterator[bytes]:
        purpose = options.purpose or ("machines" if options.filter == "machines" else "people")
        taken = list(not_empty(frames)) if video.still else not_empty(frames)
        scale, settings = coded_scale(options, purpose), options.vvc
        if isinstance(taken, list) and purpose == "machines" and options.effort == "full":
            from nnvvc.codecs.still_trial import best_coding

            scale, qp = best_coding(taken[0], video, scale, options)
            settings = replace(settings, qp=qp)
        source = scaled_format(video.picture, scale)
        coded = coded_format(source)
        models = filtering.filters_for(options, scale, video.still)
        header = StreamHeader(Pipeline.VVC, video, scale, models)
        if options.picture_hash != "none":
            hash_type = {"SEIDecodedPictureHash": _HASH_TYPES[options.picture_hash]}
            settings = replace(settings, params=hash_type | dict(settings.params))
        adaptation = adaptation_for(options, video)
        if adaptation is not None:
            taken = adaptation.originals.watch(taken)
        prepared = (to_coded(resample(f, source.width, source.height), coded) for f in taken)
        chunks = encoder(options.encoder).encode(prepared, coded, video.fps, settings)
        if video.still:
            chunks = iter([join_annex_b(lean_still(split_annex_b(chunks)))])
        if isinstance(taken, list) and models:
            from nnvvc.codecs.filter_choice import choice_for

            whole = list(chunks)
            header = replace(header, block_map=choice_for(whole, taken[0], header, source))
            chunks = iter(whole)
        yield from mux(chunks, header, adaptation)

    def decode(self, stream: Demuxer, options: DecodeOptions) -> DecodedVideo:
        size = _size(stream.first)
        header = stream.header
        if header is None:
            return _decode_plain(stream, size, options)
        source = header.source
        check_size(size, scaled_format(source.picture, header.scale))
        coded = coded_format_of(size, source.picture.matrix, source.picture.full_range)
        used = filtering.filter_in(header, options.purpose) if options.filter == "auto" else None
        if used is None:
            pictures = _decode(stream, size, coded, options, stream.notes)
            return unfiltered(pictures, header, coded, options, stream.notes)
        qp = filtering.key_slice_qp(stream.first, stream.sets)
        order = OutputOrder()
        pictures = _decode(order.watch(stream), size, coded, options, stream.notes)
        if used.number in PEOPLE_FILTERS:
            return for_people(pictures, order, used, header, options, qp, stream.notes)
        return for_machines(pictures, order, used, header, coded, options, qp, stream.notes)

    def export(self, stream: Demuxer) -> Iterator[bytes]:
        for unit in stream:
            yield join_annex_b(unit.vvc_nals())


CODEC = VvcCodec()


def not_empty(frames: Iterable[Picture]) -> Iterator[Picture]:
    """The same pictures. Raises InputError where there is none."""
    count = 0
    for picture in frames:
        yield picture
        count += 1
    if not count:
        raise InputError("the input has no pictures")


def adaptation_for(options: EncodeOptions, video: VideoFormat) -> "Adaptation | None":
    """How the filter follows the content, where that is asked for and there are groups. Raises ConfigError
    where the loss networks that it takes are not there.
    """
    seconds = options.seconds_to_adapt
    if (not seconds and options.filter not in ("base", "adapt")) or video.still or options.vvc.gop == "ai":
        return None
    if options.filter == "machines":
        from nnvvc.adapt.loss_networks import require_networks

        require_networks("--adapt-seconds with --filter machines")
    from nnvvc.codecs.adapted import Adaptation

    size = video.picture.width * video.picture.height
    return Adaptation(options.vvc.intra_period, size, seconds)


def mux(
    chunks: Iterable[bytes],
    header: StreamHeader,
    adaptation: "Adaptation | None" = None,
) -> Iterator[bytes]:
    """An encoder's stream as one of ours: decoded on the way, for the hashes of its pictures.

    adaptation: of the filter for people.
    """
    messages = filtering.messages_for(header, updated=adaptation is not None)
    ready: deque[bytes] = deque()
    units = AccessUnits(split_annex_b(chunks))
    muxer: Muxer | AdaptedMuxer = Muxer(header, ready.append)
    if adaptation is not None:
        muxer = adaptation.muxer(header, ready.append, units.sets)
    coded: CodedFormat | None = None
    with Reconstruction(decoder(), DecoderSettings(), muxer.add_picture) as reconstruction:
        for unit in units:
            data = unit.tobytes()
            if messages:
                filtering.announce(unit, messages, first=coded is None)
            if coded is None:
                coded = coded_format_of(_size(unit))
            muxer.add(unit)
            reconstruction.add(data, coded)
            while ready:
                yield ready.popleft()
        reconstruction.finish()
        muxer.close()
    yield from ready


def check_size(size: CodedSize, source: PictureFormat) -> None:
    """Raises DamagedStream where the SPS and the stream header do not mean the same pictures."""
    expected = coded_format(source)
    if (size.width, size.height) != (expected.width, expected.height):
        raise DamagedStream(
            f"the stream header is for {source.width}x{source.height}, "
            f"its pictures are {size.width}x{size.height}"
        )


def _decode(
    units: Iterable[AccessUnit], size: CodedSize, coded: CodedFormat, options: DecodeOptions, notes: list[str]
) -> Iterator[Picture]:
    verifier = PeriodVerifier() if options.verify else None
    chunks = vvc_bytes(units, size, verifier)
    tool, settings = decoder(options.decoder), options.decoder_settings
    return decoded(tool, chunks, coded, settings, verifier, notes.append)


def _decode_plain(stream: Demuxer, size: CodedSize, options: DecodeOptions) -> DecodedVideo:
    """A stream of another maker: its pictures are the source, as far as anybody can tell."""
    video = plain_format(stream)
    coded = CodedFormat(video.picture, size.ctu_size)
    return DecodedVideo(video, _decode(stream, size, coded, options, stream.notes), stream.notes)


def plain_format(stream: Demuxer) -> VideoFormat:
    """The format of a stream without our header: matrix, range and rate as its SPS says, or what is usual."""
    unit = stream.first
    sps = next((nal for nal in unit.nals if NalHeader.read(nal).type is NalUnitType.SPS), None)
    vui = (read_vui(sps) if sps is not None else None) or {}
    ticks, scale = vui.get("num_units_in_tick", 0), vui.get("time_scale", 0)
    fps = Fraction(scale, ticks) if ticks and scale else _USUAL_FPS
    code = vui.get("vui_matrix_coeffs", Matrix.UNSPECIFIED)
    matrix = Matrix(code) if code in Matrix.__members__.values() else Matrix.UNSPECIFIED
    full_range = bool(vui.get("vui_full_range_flag", 0))
    return VideoFormat(coded_format_of(_size(unit), matrix, full_range).picture, fps)


def output_orders(units: Iterable[AccessUnit]) -> list[tuple[int, int]]:
    """(coded video sequence, order count) of each picture, in decoding order."""
    orders: list[tuple[int, int]] = []
    sequence = -1
    for unit in units:
        sequence += unit.type in IDR or not orders
        orders.append((sequence, unit.poc))
    return orders


def unfiltered(
    pictures: Iterator[Picture],
    header: StreamHeader,
    coded: CodedFormat,
    options: DecodeOptions,
    notes: list[str],
) -> DecodedVideo:
    """Decoded pictures as they are, or in the source's format."""
    source = header.source
    if options.coded:
        return DecodedVideo(replace(source, picture=coded.picture), pictures, notes)
    scaled = scaled_format(source.picture, header.scale)
    return DecodedVideo(source, (restored(p, scaled, source.picture) for p in pictures), notes)


def neural_filter(
    used: ModelReference, header: StreamHeader, coded: CodedFormat, options: DecodeOptions, qp: int
) -> "NeuralFilter":
    """The filter for a stream's decoded pictures. qp: of its first key picture. Raises UnknownModel or
    StreamError.
    """
    from nnvvc.codecs.neural_filter import NeuralFilter, installed_filter

    source = header.source.picture
    depth = coded.picture.bit_depth if options.coded else source.bit_depth
    target = replace(source, bit_depth=depth)
    decoded = scaled_format(source, header.scale)
    apply = NeuralFilter(installed_filter(used), decoded, target, header.scale, qp)
    apply.choose(header.block_map)
    return apply


def for_machines(
    pictures: Iterator[Picture],
    order: OutputOrder,
    used: ModelReference,
    header: StreamHeader,
    coded: CodedFormat,
    options: DecodeOptions,
    qp: int,
    notes: list[str],
) -> DecodedVideo:
    """Decoded pictures through the filter for machines, learned key pictures as they are. order: has seen
    their units. qp: of its first key picture. Raises UnknownModel.
    """
    from nnvvc.codecs.machine_filter import MachineFilter

    apply = neural_filter(used, header, coded, options, qp)
    follow = MachineFilter(used, apply, header, notes.append if options.conceal else None)
    shown = (follow(picture, order.next()) for picture in pictures)
    return DecodedVideo(replace(header.source, picture=apply.target), shown, notes)


def for_people(
    pictures: Iterator[Picture],
    order: OutputOrder,
    used: ModelReference,
    header: StreamHeader,
    options: DecodeOptions,
    key_qp: int,
    notes: list[str],
) -> DecodedVideo:
    """Decoded pictures through the filter for people. order: has seen their units. Raises UnknownModel."""
    from nnvvc.codecs.neighbours import placed
    from nnvvc.codecs.people_filter import PeopleFilter, filtered_pictures

    source = header.source.picture
    target = replace(source, bit_depth=CODED_BIT_DEPTH) if options.coded else source
    conceal = notes.append if options.conceal else None
    apply = PeopleFilter(used, source, target, key_qp, conceal)
    shown = placed((picture, order.next()) for picture in pictures)
    filtered = filtered_pictures(apply, shown, options.threads)
    return DecodedVideo(replace(header.source, picture=target), filtered, notes)


def _size(unit: AccessUnit) -> CodedSize:
    if unit.size is None:
        raise DamagedStream("the stream does not begin with a VVC picture")
    return unit.size
