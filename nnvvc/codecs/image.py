"""The learned image codec as a pipeline: each picture by itself, at a coded scale of the encoder's choice."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from nnvvc.adapt.filtered_distortion import FilteredDistortion
from nnvvc.adapt.latents import PEOPLE, Aim
from nnvvc.adapt.loss_networks import available
from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import ModelReference, Pipeline, StreamHeader
from nnvvc.bitstream.muxer import Muxer, PeriodVerifier
from nnvvc.bitstream.payload import PayloadKind, write_payload
from nnvvc.codecs import filtering
from nnvvc.codecs.base import DecodedVideo
from nnvvc.codecs.learned_filter import LearnedFilter, enhancement
from nnvvc.codecs.people_filter import StillFilter, still_filter
from nnvvc.codecs.picture_coder import CodedPicture, decode_picture, encode_picture, image_model, qp_of
from nnvvc.codecs.quality_choice import EQUAL_RATE, Trial, chosen_coding, chosen_qp
from nnvvc.codecs.scale import coded_scale, scaled_format
from nnvvc.codecs.vvc import not_empty
from nnvvc.errors import ConfigError, DamagedStream, StreamError
from nnvvc.media.resample import resample
from nnvvc.models import registry
from nnvvc.models.image import ImageModel
from nnvvc.options import DecodeOptions, EncodeOptions, Purpose
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.irap.still import write_still
from nnvvc.vvc.tools.base import pad

CODED_BIT_DEPTH = 10


def coded_picture_format(source: PictureFormat, scale: Fraction) -> PictureFormat:
    """The format of the pictures that the networks see."""
    return replace(scaled_format(source, scale), bit_depth=CODED_BIT_DEPTH)


class ImageCodec:
    """Pipeline 2."""

    name = "image"

    def encode(
        self, frames: Iterable[Picture], video: VideoFormat, options: EncodeOptions
    ) -> Iterator[bytes]:
        purpose: Purpose = options.purpose or "people"
        used = registry.reference(registry.IMAGE_MODELS[purpose])
        model = image_model(used)
        filters = _filters(options, purpose)
        scale = coded_scale(options, purpose)
        searched = purpose == "machines" and options.effort == "full"
        if searched and video.still and options.scale is None:
            frames = list(not_empty(frames))
            trials = {s: _trial(model, frames[0], video.picture, s, options, filters) for s in EQUAL_RATE}
            scale, qp = chosen_coding(frames[0], options.vvc.qp, scale, trials)
            options, searched = replace(options, vvc=replace(options.vvc, qp=qp)), False
        coded = coded_picture_format(video.picture, scale)
        ready: deque[bytes] = deque()
        header = StreamHeader(Pipeline.IMAGE, video, scale, (used, *filters))
        muxer: Muxer | None = None
        for frame in frames:
            qp = options.vvc.qp
            if searched:
                qp = chosen_qp(frame, qp, _trial(model, frame, video.picture, scale, options, filters))
            result = _encode(model, frame, coded, scale, purpose, qp, options, filters)
            if muxer is None:
                if video.still and purpose == "machines":
                    header = replace(header, block_map=_block_map(frame, result, coded, qp, header))
                muxer = Muxer(header, ready.append)
            for unit in AccessUnits([write_payload(PayloadKind.KEY_PICTURE, result.body)]):
                muxer.add(unit)
            muxer.add_picture(result.picture)
            while ready:
                yield ready.popleft()
        (muxer or Muxer(header, ready.append)).close()
        yield from ready

    def decode(self, stream: Demuxer, options: DecodeOptions) -> DecodedVideo:
        header = stream.header
        assert header is not None  # else the stream would not be one of this pipeline
        model = image_model(registry.image_model_in(header))
        source = header.source
        coded = coded_picture_format(source.picture, header.scale)
        notes: list[str] = []
        apply: StillFilter | LearnedFilter | None = None
        used = filtering.learned_filter_in(header, options.purpose)
        if used is not None and options.filter == "auto" and not options.coded:
            if options.purpose == "people":
                apply = still_filter(used)
            else:
                apply = LearnedFilter(used, coded, source.picture, header.scale, header.block_map)

        def pictures() -> Iterator[Picture]:
            verifier = PeriodVerifier() if options.verify else None
            previous: Picture | None = None
            for number, unit in enumerate(stream):
                try:
                    if unit.error is not None:
                        raise unit.error
                    body = unit.payload(PayloadKind.KEY_PICTURE)
                    if body is None:
                        raise DamagedStream(f"picture {number} is not one of the image codec")
                    if verifier is not None:
                        verifier.add_unit(unit)
                    picture = decode_picture(model, body, coded)
                    if verifier is not None:
                        verifier.add_picture(picture)
                    if apply is not None:
                        picture = apply(picture, qp_of(body))
                except StreamError as error:
                    if not options.conceal or previous is None:
                        raise
                    notes.append(f"picture {number}: {error}; the one before it is repeated")
                    picture, verifier = previous, None
                previous = picture
                yield picture
            if verifier is not None:
                verifier.close()

        if options.coded:
            return DecodedVideo(replace(source, picture=coded), pictures(), notes)
        return DecodedVideo(source, (restore(p, source.picture) for p in pictures()), notes)

    def export(self, stream: Demuxer) -> Iterator[bytes]:
        """A lossless VVC still for each picture; odd sides get another row or column."""
        for picture in self.decode(stream, DecodeOptions(coded=True)):
            fmt = picture.format
            even = pad(
                picture.with_chroma(Chroma.C420), fmt.width + fmt.width % 2, fmt.height + fmt.height % 2
            )
            yield write_still(even)


def _filters(options: EncodeOptions, purpose: Purpose) -> tuple[ModelReference, ...]:
    """The models behind an encoder's `--filter`. Raises ConfigError, UnknownModel."""
    name = options.filter
    if name == "adapt":
        raise ConfigError("--filter adapt follows video; --filter base is there for --codec image")
    if name not in ("none", "auto", "machines" if purpose == "machines" else "base"):
        raise ConfigError(f"--filter {name} is not there for --codec image --for {purpose}")
    if name == "auto" and purpose == "people" and options.profile == "fast":
        return ()  # half of the time that decoding takes would be the filter's
    return () if name == "none" else (registry.reference(filtering.LEARNED_FILTERS[purpose]),)


def _trial(
    model: ImageModel,
    frame: Picture,
    source: PictureFormat,
    scale: Fraction,
    options: EncodeOptions,
    filters: Sequence[ModelReference],
) -> Trial:
    """What machines see of a picture coded at this scale."""
    from nnvvc.adapt.block_choice import BlockLosses
    from nnvvc.codecs.filter_choice import choose_filters

    coded = coded_picture_format(source, scale)
    small = _small(frame, coded)
    losses = BlockLosses(frame)
    learned = LearnedFilter(filters[0], coded, source, scale) if filters else None

    def trial(qp: int) -> tuple[Picture, int]:
        result = encode_picture(model, small, qp, options.profile)
        shown = result.picture
        if learned is not None:
            bits = 8 * len(result.body)
            shown = choose_filters(learned.network(qp), shown.with_chroma(Chroma.C420), losses, bits)
        return restore(shown.with_chroma(source.chroma), frame.format), len(result.body)

    return trial


def _block_map(
    frame: Picture, result: CodedPicture, coded: PictureFormat, qp: int, header: StreamHeader
) -> bytes:
    """Which filter is for which block of a single picture for machines; empty where nothing says so."""
    from nnvvc.codecs.filter_choice import block_map_of

    used = filtering.learned_filter_in(header, "machines")
    if used is None or not available():
        return b""
    apply = LearnedFilter(used, coded, header.source.picture, header.scale).network(qp)
    return block_map_of(apply, result.picture.with_chroma(Chroma.C420), frame, 8 * len(result.body))


def _small(frame: Picture, coded: PictureFormat) -> Picture:
    return resample(frame.with_bit_depth(CODED_BIT_DEPTH), coded.width, coded.height)


def _encode(
    model: ImageModel,
    frame: Picture,
    coded: PictureFormat,
    scale: Fraction,
    purpose: Purpose,
    qp: int,
    options: EncodeOptions,
    filters: Sequence[ModelReference],
) -> CodedPicture:
    """A picture of the source, coded. filters: what decoders will use."""
    small = _small(frame, coded)
    seconds = options.finetune_seconds
    if purpose == "people":
        aim = _aim_for_people(coded, qp, filters)
    elif seconds != 0 and available():
        aim = _aim_for_machines(frame, coded, qp, scale, filters)
    else:
        aim, seconds = PEOPLE, seconds or 0.0  # only what was asked for
    return encode_picture(model, small, qp, options.profile, seconds, aim)


def _aim_for_people(coded: PictureFormat, qp: int, filters: Sequence[ModelReference]) -> Aim:
    if not filters:
        return PEOPLE
    return Aim(FilteredDistortion(still_filter(filters[0]).exact.model, qp, coded.full_range))


def _aim_for_machines(
    frame: Picture, coded: PictureFormat, qp: int, scale: Fraction, filters: Sequence[ModelReference]
) -> Aim:
    """Raises ConfigError where the loss networks are not there."""
    from nnvvc.adapt.feature_distortion import FeatureDistortion

    enhance = enhancement(filters[0], scale, qp) if filters else None
    # What machines are to see is what they saw before a background was smoothed.
    distortion = FeatureDistortion(frame.original or frame, coded, enhance)
    return Aim(distortion, whole=True, patient=True, steps=16, largest=1 << 20)


CODEC = ImageCodec()


def restore(picture: Picture, source: PictureFormat) -> Picture:
    """A decoded picture at the size and depth of the source."""
    return Picture(
        resample(picture, source.width, source.height).with_bit_depth(source.bit_depth).planes, source
    )
