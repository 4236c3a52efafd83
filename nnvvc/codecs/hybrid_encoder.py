"""The encoder of the hybrid pipeline: segments of video through VVenC, key pictures replaced on both ends.

A segment is one run of VVenC. Open groups are one segment, cut only where a key picture needs a coarser step
than the ones before it; closed groups and low delay are a segment each, which can be encoded side by side.

VVenC's stream is decoded as it comes, key pictures and all. That gives the hashes of all pictures, and shows
where VVenC's key picture differs from the one it was given: there the stream carries a patch. So the
decoder's references are VVenC's, sample for sample, and a hash of every period that proves it.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import TYPE_CHECKING

from nnvvc.bitstream.access_unit import AccessUnit, AccessUnits
from nnvvc.bitstream.bits import BitReader
from nnvvc.bitstream.fields import Values
from nnvvc.bitstream.header import StreamHeader
from nnvvc.bitstream.intra_sets import SETS, without_parameter_sets
from nnvvc.bitstream.key_slice import KeySlice, PictureCodec
from nnvvc.bitstream.muxer import Muxer
from nnvvc.bitstream.nal import NalHeader, NalUnitType, join_annex_b, rbsp, split_annex_b
from nnvvc.bitstream.parameter_sets import SPS_WHOLE, CodedSize, ParameterSets, write_sps
from nnvvc.bitstream.slice_header import read_key_slice
from nnvvc.codecs import filtering
from nnvvc.codecs.group_trial import LONGEST, GroupTrial
from nnvvc.codecs.key_pictures import CodedKey, KeyPictureCoder
from nnvvc.codecs.vvc_pictures import Reconstruction
from nnvvc.errors import ToolFailed
from nnvvc.media.resample import resample
from nnvvc.options import EncodeOptions
from nnvvc.picture import Chroma, Picture, PictureFormat
from nnvvc.vvc.irap import check_parameter_sets
from nnvvc.vvc.irap.patch import make_patch
from nnvvc.vvc.lossless import lossless_settings, smallest_step, stepped
from nnvvc.vvc.tools import (
    CODED_BIT_DEPTH,
    CodedFormat,
    DecoderSettings,
    coded_format,
    decoder,
    encoder,
    to_coded,
)
from nnvvc.vvc.tools.base import crop, pad

if TYPE_CHECKING:
    from nnvvc.codecs.adapted import Adaptation, AdaptedMuxer

_AFTER_SLICES = frozenset(
    {
        NalUnitType.SUFFIX_APS,
        NalUnitType.SUFFIX_SEI,
        NalUnitType.FILLER_DATA,
        NalUnitType.EOS,
        NalUnitType.EOB,
    }
)


@dataclass(frozen=True)
class _Key:
    """A key picture: as coded, and at the coded size. log2_step: the smallest step to give it with."""

    coded: CodedKey
    picture: Picture
    log2_step: int


@dataclass(frozen=True)
class _Frame:
    index: int
    picture: Picture
    key: _Key | None


@dataclass
class _Segment:
    """Frames for one run of VVenC. first: number of the first one. frames: to be taken once."""

    first: int
    log2_step: int
    frames: Iterable[Picture]


@dataclass(frozen=True)
class _Dropped:
    """An access unit whose slices were dropped, until its key picture is known to the last sample."""

    unit: AccessUnit
    nal_unit_type: NalUnitType
    header: Values
    context: Values
    sets: list[bytes]


class HybridEncoder:
    """Encodes one video. scaled: the format of the frames at their coded scale. adaptation: of the filter for
    people.
    """

    def __init__(
        self,
        header: StreamHeader,
        scaled: PictureFormat,
        keys: KeyPictureCoder,
        options: EncodeOptions,
        adaptation: "Adaptation | None" = None,
    ) -> None:
        self._fps = header.source.fps
        self._scaled = replace(scaled, bit_depth=CODED_BIT_DEPTH, chroma=Chroma.C420)
        self._format = coded_format(self._scaled)
        self._coder = keys
        self._options = options
        self._settings = options.vvc
        self._trial = GroupTrial(
            options.vvc, self._fps, options.encoder, options.purpose or "machines", header.scale
        )
        self._closed = options.vvc.gop in ("ra-closed", "ld")
        self._ready: deque[bytes] = deque()
        self._muxer: Muxer | AdaptedMuxer = Muxer(header, self._ready.append)
        if adaptation is not None:
            self._muxer = adaptation.muxer(header, self._ready.append, self._key_qp)
        self._messages = filtering.messages_for(header, updated=adaptation is not None)
        self._announced = False
        self._keys: dict[int, tuple[_Key, int]] = {}
        self._dropped: dict[int, _Dropped] = {}
        self._lock = threading.Lock()
        self._shown = 0
        self._sent: dict[int, bytes] = {}

    def encode(self, frames: Iterable[Picture]) -> Iterator[bytes]:
        """The stream, in pieces. Raises ToolError, UnsupportedStream, and what `frames` raises."""
        if self._settings.gop == "ai":
            yield from self._encode_all_intra(frames)
            return
        with Reconstruction(decoder(), DecoderSettings(), self._take) as reconstruction:
            for segment, chunks in self._runs(self._segments(self._prepared(frames))):
                units = AccessUnits(split_annex_b(chunks))
                for unit in units:
                    if unit.size is None:
                        raise ToolFailed("VVenC gave an access unit without a picture")
                    data = join_annex_b(_without_window(nal) for nal in unit.nals)
                    self._announce(unit)
                    if unit.irap:
                        self._drop_slices(unit, segment.first + unit.poc, units.sets)
                    unit.nals = self._needed(unit.nals)
                    self._muxer.add(unit, complete=not unit.irap)
                    reconstruction.add(data, _padded_format(unit.size))
                    yield from self._written()
            reconstruction.finish()
        self._muxer.close()
        yield from self._written()

    @property
    def _key_qp(self) -> int:
        return min(63, max(0, self._options.vvc.qp + self._options.key_qp_offset))

    def _announce(self, unit: AccessUnit) -> None:
        filtering.announce(unit, self._messages, first=not self._announced)
        self._announced = True

    def _written(self) -> Iterator[bytes]:
        while self._ready:
            yield self._ready.popleft()

    def _prepared(self, frames: Iterable[Picture]) -> Iterator[_Frame]:
        """Frames at their coded size and depth, key pictures coded."""
        period = self._settings.intra_period
        ahead = 1
        if self._options.effort == "full":
            ahead = min(period or LONGEST, LONGEST)
        rest = map(self._scaled_down, frames)
        held: deque[Picture] = deque()
        for index in count():
            is_key = index % period == 0 if period else index == 0
            held.extend(islice(rest, max(0, (ahead if is_key else 1) - len(held))))
            if not held:
                return
            key = self._code_key(list(held)) if is_key else None
            yield _Frame(index, to_coded(held.popleft(), self._format), key)

    def _scaled_down(self, frame: Picture) -> Picture:
        small = resample(frame.with_chroma(Chroma.C420), self._scaled.width, self._scaled.height)
        return small.with_bit_depth(CODED_BIT_DEPTH)

    def _code_key(self, group: Sequence[Picture]) -> _Key:
        """The first picture of a group, coded; the others are looked at where there is effort for it."""
        if self._options.effort == "full":
            coded = self._trial.best(group, self._coder.candidates(group[0], self._key_qp))
        else:
            coded = self._coder.encode(group[0], self._key_qp)
        placed = to_coded(coded.picture, self._format)
        return _Key(coded, placed, smallest_step(placed))

    def _segments(self, frames: Iterator[_Frame]) -> Iterator[_Segment]:
        """Each begins with a key picture and must be used up before the next one is asked for."""
        begins = deque(frame for frame in [next(frames, None)] if frame is not None)

        def rest(frame: _Frame, log2_step: int) -> Iterator[Picture]:
            yield self._given(frame, log2_step)
            for following in frames:
                if following.key and (self._closed or following.key.log2_step > log2_step):
                    begins.append(following)
                    return
                yield self._given(following, log2_step)

        while begins:
            frame = begins.popleft()
            assert frame.key is not None
            yield _Segment(frame.index, frame.key.log2_step, rest(frame, frame.key.log2_step))

    def _given(self, frame: _Frame, log2_step: int) -> Picture:
        """What VVenC gets for a frame."""
        if frame.key is None:
            return frame.picture
        with self._lock:
            self._keys[frame.index] = (frame.key, log2_step)
        return stepped(frame.key.picture, log2_step)

    def _runs(self, segments: Iterator[_Segment]) -> Iterator[tuple[_Segment, Iterable[bytes]]]:
        """Each segment with VVenC's stream of it, in order; several at a time where that is asked for."""
        if not self._closed or self._options.workers == 1:
            for segment in segments:
                yield segment, self._run(segment)
            return
        with ThreadPoolExecutor(self._options.workers) as pool:
            running: deque[tuple[_Segment, Future[list[bytes]]]] = deque()
            for segment in segments:
                segment.frames = list(segment.frames)
                running.append((segment, pool.submit(lambda s: list(self._run(s)), segment)))
                if len(running) > self._options.workers:
                    oldest, chunks = running.popleft()
                    yield oldest, chunks.result()
            for segment, chunks in running:
                yield segment, chunks.result()

    def _run(self, segment: _Segment) -> Iterator[bytes]:
        settings = lossless_settings(self._settings, segment.log2_step)
        tool = encoder(self._options.encoder)
        return tool.encode(segment.frames, self._format, self._fps, settings)

    def _drop_slices(self, unit: AccessUnit, index: int, sets: ParameterSets) -> None:
        """Take the slices out of a key picture's unit. Raises UnsupportedStream for one that cannot be
        replaced.
        """
        dropped, kept = _split_slices(unit, sets)
        with self._lock:
            if index not in self._keys:
                raise ToolFailed(f"VVenC made a key picture of picture {index}, which is not to be one")
            self._dropped[index] = dropped
        unit.nals = kept

    def _needed(self, nals: list[bytes]) -> list[bytes]:
        """Without delimiters, and without parameter sets that were sent before where groups are open.

        Closed groups keep theirs: they can be cut out.
        """
        needed = []
        for nal in nals:
            kind = nal[1] >> 3
            if kind == NalUnitType.AUD:
                continue
            if kind in SETS and not self._closed:
                # One of each kind: VVenC numbers them all 0.
                if self._sent.get(kind) == nal:
                    continue
                self._sent[kind] = nal
            needed.append(nal)
        return needed

    def _take(self, picture: Picture) -> None:
        """Of each picture that VVenC's stream decodes to, uncropped: called in a thread of the decoder."""
        index = self._shown
        self._shown += 1
        with self._lock:
            dropped = self._dropped.pop(index, None)
            key, log2_step = self._keys.pop(index) if dropped else (None, 0)
        if dropped and key:
            size = dropped.unit.size
            assert size is not None
            expected = key_planes(stepped(key.picture, log2_step), size)
            patch = make_patch(expected.planes, picture.planes)
            _insert_payload(dropped, key.coded, log2_step, patch)
            self._muxer.complete(dropped.unit)
        self._muxer.add_picture(crop(picture, self._format.width, self._format.height))

    def _encode_all_intra(self, frames: Iterable[Picture]) -> Iterator[bytes]:
        """Key pictures only: VVenC makes the parameter sets, of the first one, and no more."""
        template: tuple[AccessUnit, _Dropped] | None = None
        for index, frame in enumerate(frames):
            key = self._code_key([self._scaled_down(frame)])
            if template is None:
                segment = _Segment(index, 3, [stepped(key.picture, 3)])
                units = AccessUnits(split_annex_b(self._run(segment)))
                first = next(iter(units))
                dropped, first.nals = _split_slices(first, units.sets)
                template = first, dropped
            first, dropped = template
            nals = self._needed(first.nals) if index == 0 else []
            unit = replace(first, nals=nals, payloads=[])
            _insert_payload(replace(dropped, unit=unit), key.coded, 0, b"")
            self._announce(unit)
            self._muxer.add(unit)
            self._muxer.add_picture(key.picture)
            yield from self._written()
        self._muxer.close()
        yield from self._written()


def key_planes(picture: Picture, size: CodedSize) -> Picture:
    """A key picture with the samples outside the conformance window, as VVenC repeats them from the edge."""
    return pad(picture, size.padded_width, size.padded_height)


def _split_slices(unit: AccessUnit, sets: ParameterSets) -> tuple[_Dropped, list[bytes]]:
    """What is needed of a key picture's slices, and the NAL units without them."""
    kept, picture_header, dropped = [], None, None
    for nal in unit.nals:
        header = NalHeader.read(nal)
        if header.type is NalUnitType.PICTURE_HEADER:
            picture_header = nal
        elif header.is_slice:
            fields = read_key_slice(nal, sets, picture_header)
            context = sets.context(fields["ph_pic_parameter_set_id"])
            check_parameter_sets(context)
            dropped = _Dropped(unit, header.type, fields, context, sets.nal_units())
        else:
            kept.append(nal)
    if dropped is None:
        raise ToolFailed("VVenC gave a key picture without slices")
    return dropped, kept


def _insert_payload(dropped: _Dropped, coded: CodedKey, log2_step: int, patch: bytes) -> None:
    """Put the payload of a key picture where its slices were."""
    nals = dropped.unit.nals
    data = coded.data
    if coded.codec is PictureCodec.VVC_INTRA:
        data = without_parameter_sets(data, dropped.sets)
    key = KeySlice(dropped.nal_unit_type, dropped.header, coded.codec, data, log2_step, patch)
    at = next((i for i, nal in enumerate(nals) if nal[1] >> 3 in _AFTER_SLICES), len(nals))
    nals.insert(at, key.write(dropped.context))


def _without_window(nal: bytes) -> bytes:
    """An SPS that shows the whole coded picture; other NAL units as they are."""
    if NalHeader.read(nal).type is not NalUnitType.SPS:
        return nal
    sps = SPS_WHOLE.read(BitReader(rbsp(nal)))
    return write_sps({**sps, "sps_conformance_window_flag": 0})


def _padded_format(size: CodedSize) -> CodedFormat:
    fmt = PictureFormat(size.padded_width, size.padded_height, size.bit_depth, size.chroma)
    return CodedFormat(fmt, size.ctu_size)
