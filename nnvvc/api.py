"""Encoding and decoding from Python: on files, and as iterators of pictures and bytes."""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

from nnvvc.bitstream import groups as group_streams
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.groups import group_sizes
from nnvvc.bitstream.header import Pipeline
from nnvvc.codecs import Codec, DecodedVideo, codec, codec_of
from nnvvc.codecs.vvc import output_orders, plain_format
from nnvvc.errors import ConfigError, InputError
from nnvvc.files import STANDARD_STREAM, Counted, atomic_output, atomic_path, open_input, read_chunks
from nnvvc.media import mp4, open_sink, open_source
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, VideoFormat
from nnvvc.progress import Progress
from nnvvc.vvc.tools.base import spool, working_folder

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was done. target: the file written. bytes: of the stream. notes: conversions, concealment."""

    target: str
    pictures: int
    bytes: int
    seconds: float
    format: VideoFormat
    notes: tuple[str, ...] = ()

    @property
    def kilobits_per_second(self) -> float:
        """At the video's own rate."""
        return self.bytes * 8 / 1000 * float(self.format.fps) / max(self.pictures, 1)


def encode_frames(
    frames: Iterable[Picture], video: VideoFormat, options: EncodeOptions | None = None
) -> Iterator[bytes]:
    """Encode pictures, all of `video.picture`, to pieces of a stream. Raises NnvvcError in its kinds."""
    options = options or EncodeOptions()
    if options.background == "smooth":
        from nnvvc.adapt.regions import smooth_background

        period = 1 if options.vvc.gop == "ai" else options.vvc.intra_period
        frames = smooth_background(frames, period)
    return codec(options.codec, video).encode(frames, video, options)


def decode_chunks(chunks: Iterable[bytes], options: DecodeOptions | None = None) -> DecodedVideo:
    """Decode a stream given in pieces. Raises StreamError and ToolError, while iterating too."""
    options = options or DecodeOptions()
    stream = Demuxer(chunks, tolerant=options.conceal)
    return codec_of_stream(stream).decode(stream, options)


def codec_of_stream(stream: Demuxer) -> Codec:
    """The codec for a stream; one without our header is plain VVC. Raises UnsupportedStream."""
    return codec_of(Pipeline.VVC if stream.header is None else stream.header.pipeline)


def format_of_stream(stream: Demuxer) -> VideoFormat:
    """What the stream's pictures are, by our header or by its SPS. Raises StreamError."""
    return plain_format(stream) if stream.header is None else stream.header.source


def encode(
    source: Path,
    target: Path | None = None,
    options: EncodeOptions | None = None,
    *,
    size: str | None = None,
    pix_fmt: str | None = None,
    fps: Fraction | None = None,
    still: bool = False,
    quiet: bool = True,
    notify: Callable[[str], None] = lambda note: None,
) -> Report:
    """Encode a file (`-` is standard input) to a stream; without a target, to the input's name with .bin.

    size, pix_fmt: of raw video. fps: replaces the input's. still: the input is one picture, whatever kind of
    file it is in. notify is called with each note as it arises.
    Raises NnvvcError in its kinds; the target is there only when all went well.
    """
    options = options or EncodeOptions()
    target = _target(source, target, ".bin")
    with open_source(source, size=size, pix_fmt=pix_fmt, fps=fps) as opened:
        video = replace(opened.format, still=still or opened.format.still)
        for note in opened.notes:
            notify(note)
        with (
            Progress("encoding", video.frames, float(video.fps), quiet) as progress,
            atomic_output(target) as file,
        ):
            frames = progress.pictures_through(_single(opened) if still else opened)
            for chunk in progress.chunks_through(encode_frames(frames, video, options)):
                file.write(chunk)
        return Report(target, progress.pictures, progress.bytes, progress.seconds, video, opened.notes)


def decode(
    source: Path,
    target: Path | None = None,
    options: DecodeOptions | None = None,
    *,
    quiet: bool = True,
) -> Report:
    """Decode a stream (`-` is standard input) to a file whose ending says of which kind, or into a folder.

    Without a target, the stream's name with .png for a picture and .y4m for a video, unless that exists.
    Raises NnvvcError in its kinds; the target is there only when all went well.
    """
    with opened_stream(source, options) as (video, bytes_read):
        target = _target(source, target, ".png" if video.format.still else ".y4m")
        fps = float(video.format.fps)
        with (
            Progress("decoding", video.format.frames, fps, quiet) as progress,
            open_sink(target, video.format) as sink,
        ):
            for picture in progress.pictures_through(video):
                sink.write(picture)
        notes = tuple(video.notes)
        return Report(target, progress.pictures, bytes_read(), progress.seconds, video.format, notes)


def export(source: Path, target: Path) -> Report:
    """Write a stream as plain VVC (.266), or that in a container (.mp4, .mkv), for any VVC decoder.

    Raises NnvvcError in its kinds; the target is there only when all went well.
    """
    target = os.fspath(target)
    with open_input(source) as file, Progress("exporting", quiet=True) as progress:
        stream = Demuxer(read_chunks(file))
        video = format_of_stream(stream)
        pieces = progress.chunks_through(codec_of_stream(stream).export(stream))
        if pathlib.Path(target).suffix.lower() in mp4.ENDINGS:
            progress.pictures = _export_container(pieces, pathlib.Path(target), video.fps)
        else:
            with atomic_output(target) as output:
                for piece in pieces:
                    output.write(piece)
                    progress.pictures += 1
        return Report(target, progress.pictures, progress.bytes, progress.seconds, video)


def cut(source: Path, target: Path, first: int = 0, end: int | None = None) -> Report:
    """Write groups `first` to `end` (not included; None is all) of a stream as a stream, nothing coded anew.

    Raises ConfigError where there are no such groups, StreamError, InputError, OutputError.
    """
    target = os.fspath(target)
    with open_input(source) as file:
        sizes = group_sizes(Demuxer(read_chunks(file)))
    groups = range(first, len(sizes) if end is None else end)
    if not 0 <= groups.start < groups.stop:
        raise ConfigError(f"groups {first}:{end} are none of the {len(sizes)} that the stream has")
    with open_input(source) as file:
        stream = Demuxer(read_chunks(file))
        frames = sum(sizes[groups.start : groups.stop])
        return _write(group_streams.cut(stream, groups, frames), target, frames, format_of_stream(stream))


def join(sources: Sequence[Path], target: Path) -> Report:
    """Write streams of one kind one after the other as one stream, nothing coded anew.

    Raises ConfigError where they are of different kinds, StreamError, InputError, OutputError.
    """
    if not sources:
        raise ConfigError("nothing to join: name two streams or more")
    frames = 0
    for source in sources:
        with open_input(source) as file:
            frames += sum(group_sizes(Demuxer(read_chunks(file))))
    with ExitStack() as stack:
        files = [stack.enter_context(open_input(source)) for source in sources]
        streams = [Demuxer(read_chunks(file)) for file in files]
        pieces = group_streams.join(streams, frames)
        return _write(pieces, os.fspath(target), frames, format_of_stream(streams[0]))


def _single(frames: Iterable[Picture]) -> Iterator[Picture]:
    for count, picture in enumerate(frames):
        if count:
            raise InputError("the input has more than one picture: leave --still away")
        yield picture


def _write(pieces: Iterable[bytes], target: str, pictures: int, video: VideoFormat) -> Report:
    with Progress("writing", quiet=True) as progress, atomic_output(target) as output:
        for piece in progress.chunks_through(pieces):
            output.write(piece)
    return Report(target, pictures, progress.bytes, progress.seconds, replace(video, frames=pictures))


@contextmanager
def opened_stream(
    source: Path, options: DecodeOptions | None = None
) -> Iterator[tuple[DecodedVideo, Callable[[], int]]]:
    """A stream being decoded, and how many of its bytes were read so far."""
    with open_input(source) as file:
        chunks = Counted(read_chunks(file))
        yield decode_chunks(chunks, options), lambda: chunks.bytes


def _export_container(pieces: Iterable[bytes], target: pathlib.Path, fps: Fraction) -> int:
    with working_folder() as folder, atomic_path(target) as temporary:
        plain = folder / "out.266"
        spool(pieces, plain)
        with plain.open("rb") as file:
            ranks = mp4.output_ranks(output_orders(Demuxer(read_chunks(file))))
        mp4.write_container(plain, temporary, ranks, fps)
    return len(ranks)


def _target(source: Path, target: Path | None, ending: str) -> str:
    """The output's name; where none or a folder is given, the source's with another ending.

    Raises ConfigError where there is no name to take, or a file nobody named would be written over.
    """
    name = pathlib.Path(source).with_suffix(ending)
    if target is not None and pathlib.Path(target).is_dir():
        return str(pathlib.Path(target) / name.name)
    if target is not None:
        return os.fspath(target)
    if os.fspath(source) == STANDARD_STREAM:
        raise ConfigError("standard input has no name to make the output's of: name the output")
    if name.exists():
        raise ConfigError(f"{name} exists: name the output to write over it")
    return str(name)
