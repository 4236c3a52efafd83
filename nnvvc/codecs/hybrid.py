"""Learned key pictures as the references of stock VVC: nothing in between knows about them.

The encoder gives a stock VVenC the video with its key pictures replaced by what the learned codec makes of
them, and has it code these without loss; then it drops their slices, and the learned pictures travel instead.
The decoder writes lossless slices of the learned pictures itself and gives the whole to a stock VVC decoder.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.groups import complete
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.bitstream.intra_sets import with_parameter_sets
from nnvvc.bitstream.key_slice import KeySlice, PictureCodec
from nnvvc.bitstream.learned_picture import read_learned_picture
from nnvvc.bitstream.muxer import PeriodVerifier
from nnvvc.bitstream.nal import NalUnitType, join_annex_b
from nnvvc.bitstream.parameter_sets import ParameterSets
from nnvvc.bitstream.payload import PayloadKind
from nnvvc.codecs import filtering
from nnvvc.codecs.base import DecodedVideo
from nnvvc.codecs.hybrid_encoder import HybridEncoder, key_planes
from nnvvc.codecs.key_pictures import KeyPictureCoder, coder_for, coder_of
from nnvvc.codecs.output_order import OutputOrder
from nnvvc.codecs.scale import coded_scale, scaled_format
from nnvvc.codecs.vvc import (
    adaptation_for,
    check_size,
    for_machines,
    for_people,
    not_empty,
    unfiltered,
)
from nnvvc.codecs.vvc_pictures import coded_format_of, decoded, vvc_bytes
from nnvvc.errors import ConfigError, DamagedStream, StreamError
from nnvvc.models.registry import PEOPLE_FILTERS
from nnvvc.options import DecodeOptions, EncodeOptions, Purpose
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.irap import write_key_slice
from nnvvc.vvc.irap.patch import apply_patch
from nnvvc.vvc.lossless import stepped
from nnvvc.vvc.tools import CODED_BIT_DEPTH, coded_format, decoder, to_coded

_ENCODERS = ("ffmpeg", "vvencapp")
"""Those that are a VVenC; lossless key pictures are its settings."""


class HybridCodec:
    """Pipeline 1. The coders of key pictures can be others than the packaged ones, for tests."""

    name = "hybrid"

    def __init__(
        self,
        encoding: Callable[[EncodeOptions, StreamHeader, Purpose], KeyPictureCoder] = coder_for,
        decoding: Callable[[StreamHeader], KeyPictureCoder] = coder_of,
    ) -> None:
        self._encoding = encoding
        self._decoding = decoding

    def encode(
        self, frames: Iterable[Picture], video: VideoFormat, options: EncodeOptions
    ) -> Iterator[bytes]:
        if options.encoder not in _ENCODERS:
            raise ConfigError(f"--codec hybrid needs VVenC: --encoder {' or '.join(_ENCODERS)}")
        purpose = options.purpose or "machines"
        options = replace(options, purpose=purpose)
        scale = coded_scale(options, purpose)
        header = StreamHeader(Pipeline.HYBRID, video, scale)
        keys = self._encoding(options, header, purpose)
        filters = filtering.filters_for(options, scale, video.still)
        header = replace(header, models=(*keys.models, *filters))
        frames = not_empty(frames)
        adaptation = adaptation_for(options, video)
        if adaptation is not None:
            frames = adaptation.originals.watch(frames)
        scaled = scaled_format(video.picture, scale)
        yield from HybridEncoder(header, scaled, keys, options, adaptation).encode(frames)

    def decode(self, stream: Demuxer, options: DecodeOptions) -> DecodedVideo:
        header, size = stream.header, stream.first.size
        assert header is not None  # else the stream would not be one of this pipeline
        if size is None:
            raise DamagedStream("the stream does not begin with a key picture")
        source = header.source.picture
        scaled = scaled_format(source, header.scale)
        check_size(size, scaled)
        coded = coded_format_of(size, source.matrix, source.full_range)
        used = filtering.filter_in(header, options.purpose) if options.filter == "auto" else None
        qp = _key_qp(stream.first, stream.sets) if used is not None else 0
        verifier = PeriodVerifier() if options.verify else None
        order = OutputOrder()
        units = with_key_pictures(stream, self._decoding(header), scaled, order, conceal=options.conceal)
        pictures = decoded(
            decoder(options.decoder),
            vvc_bytes(units, size, verifier),
            coded,
            options.decoder_settings,
            verifier,
            stream.notes.append,
        )
        if used is None:

            def seen(picture: Picture) -> Picture:
                # What is known of a picture goes with it, or memory would grow with the video.
                learned = order.next().learned
                return learned if learned is not None and options.purpose == "machines" else picture

            return unfiltered(map(seen, pictures), header, coded, options, stream.notes)
        if used.number in PEOPLE_FILTERS:
            return for_people(pictures, order, used, header, options, qp, stream.notes)
        return for_machines(pictures, order, used, header, coded, options, qp, stream.notes)

    def export(self, stream: Demuxer) -> Iterator[bytes]:
        header = stream.header
        assert header is not None
        scaled = scaled_format(header.source.picture, header.scale)
        for unit in with_key_pictures(stream, self._decoding(header), scaled):
            # Each key picture can be tuned into, as in other streams.
            if unit.irap:
                complete(unit, stream.sets.nal_units())
            yield join_annex_b(unit.vvc_nals())


CODEC = HybridCodec()


def with_key_pictures(
    stream: Demuxer,
    keys: KeyPictureCoder,
    scaled: PictureFormat,
    order: OutputOrder | None = None,
    *,
    conceal: bool = False,
) -> Iterator[AccessUnit]:
    """The access units of a hybrid stream, with a lossless VVC slice where a key picture is.

    scaled: the format of the pictures that were coded, of any depth. order: takes note of what passes. Raises
    StreamError in its kinds; with `conceal` a group whose key picture is damaged is left out and noted
    instead.
    """
    lost = False
    for unit in stream:
        learned = None
        try:
            if unit.error is not None:
                raise unit.error
            body = unit.payload(PayloadKind.KEY_SLICE)
            if body is not None:
                learned = _place_slice(unit, KeySlice.frombytes(body, stream.sets), stream, keys, scaled)
        except StreamError as error:
            if not conceal:
                raise
            stream.notes.append(
                f"picture {unit.poc}: {error}; pictures up to the next key picture are left out"
            )
            lost = True
            continue
        if lost and not unit.irap:
            continue
        if lost:
            # The pictures before this key picture are not there for the leading ones to refer to.
            unit.begin_sequence()
            stream.skip_leading()
            lost = False
        if order is not None:
            order.add(unit, learned)
        yield unit


def _place_slice(
    unit: AccessUnit, key: KeySlice, stream: Demuxer, keys: KeyPictureCoder, scaled: PictureFormat
) -> Picture | None:
    """Put the slice that a payload stands for in its place; the picture for machines, where it is another."""
    fmt = replace(scaled, bit_depth=CODED_BIT_DEPTH, chroma=Chroma.C420)
    if unit.size is None or (unit.size.width, unit.size.height) != _coded_size(fmt):
        raise DamagedStream(f"a key picture is not of the {fmt.width}x{fmt.height} samples that were coded")
    data = key.picture
    if key.codec is PictureCodec.VVC_INTRA:
        data = with_parameter_sets(data, stream.sets.nal_units())
    found = keys.decode(key.codec, data, fmt)
    picture = stepped(to_coded(found.picture, coded_format(fmt)), key.log2_step)
    padded = key_planes(picture, unit.size)
    planes = apply_patch(padded.planes, key.patch, CODED_BIT_DEPTH)
    context = stream.sets.context(key.pps_id)
    nal = write_key_slice(Picture(planes, padded.format), key.nal_unit_type, key.header, context)
    at = next(i for i, n in enumerate(unit.nals) if _is_key_slice(n))
    unit.nals[at] = nal
    return to_coded(found.learned, coded_format(fmt)) if found.learned is not None else None


def _key_qp(unit: AccessUnit, sets: ParameterSets) -> int:
    """QP that a key picture was coded with, by whichever codec. Raises StreamError in its kinds."""
    body = unit.payload(PayloadKind.KEY_SLICE)
    if body is None:
        raise DamagedStream("the stream does not begin with a key picture")
    key = KeySlice.frombytes(body, sets)
    if key.codec is PictureCodec.LEARNED:
        return read_learned_picture(key.picture)[0]
    intra = Demuxer([with_parameter_sets(key.picture, sets.nal_units())])
    return filtering.key_slice_qp(intra.first, intra.sets)


def _is_key_slice(nal: bytes) -> bool:
    return nal[1] >> 3 == NalUnitType.PAYLOAD and nal[2] == PayloadKind.KEY_SLICE


def _coded_size(fmt: PictureFormat) -> tuple[int, int]:
    coded = coded_format(fmt)
    return coded.width, coded.height
