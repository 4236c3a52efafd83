"""Encoding and decoding from Python: on files, and as iterators of pictures and bytes."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import Pipeline
from nnvvc.codecs import Codec, DecodedVideo, codec, codec_of
from nnvvc.files import atomic_output, open_input, read_chunks
from nnvvc.media import open_sink, open_source
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, VideoFormat
from nnvvc.progress import Progress

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was done. bytes: size of the stream. notes: conversions, concealment."""

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
    return codec(options.codec, video).encode(frames, video, options)


def decode_chunks(chunks: Iterable[bytes], options: DecodeOptions | None = None) -> DecodedVideo:
    """Decode a stream given in pieces. Raises StreamError and ToolError, while iterating too."""
    options = options or DecodeOptions()
    stream = Demuxer(chunks, tolerant=options.conceal)
    return codec_of_stream(stream).decode(stream, options)


def codec_of_stream(stream: Demuxer) -> Codec:
    """The codec for a stream; one without our header is plain VVC. Raises UnsupportedStream."""
    return codec_of(Pipeline.VVC if stream.header is None else stream.header.pipeline)


def encode(
    source: Path,
    target: Path,
    options: EncodeOptions | None = None,
    *,
    size: str | None = None,
    pix_fmt: str | None = None,
    fps: Fraction | None = None,
    quiet: bool = True,
    notify: Callable[[str], None] = lambda note: None,
) -> Report:
    """Encode a file (`-` is standard input) to a stream.

    size, pix_fmt: of raw video. fps: replaces the input's. notify is called with each note as it arises.
    Raises NnvvcError in its kinds; `target` is there only when all went well.
    """
    options = options or EncodeOptions()
    with open_source(source, size=size, pix_fmt=pix_fmt, fps=fps) as opened:
        video = opened.format
        for note in opened.notes:
            notify(note)
        with (
            Progress("encoding", video.frames, float(video.fps), quiet) as progress,
            atomic_output(target) as file,
        ):
            frames = progress.pictures_through(opened)
            for chunk in progress.chunks_through(codec(options.codec, video).encode(frames, video, options)):
                file.write(chunk)
            return Report(progress.pictures, progress.bytes, progress.seconds, video, opened.notes)


def decode(source: Path, target: Path, options: DecodeOptions | None = None, *, quiet: bool = True) -> Report:
    """Decode a stream (`-` is standard input) to a file; its ending says of which kind.

    Raises NnvvcError in its kinds; `target` is there only when all went well.
    """
    with opened_stream(source, options) as (video, progress_bytes):
        frames = video.format.frames
        with (
            Progress("decoding", frames, float(video.format.fps), quiet) as progress,
            open_sink(target, video.format) as sink,
        ):
            for picture in progress.pictures_through(video):
                sink.write(picture)
            return Report(
                progress.pictures, progress_bytes(), progress.seconds, video.format, tuple(video.notes)
            )


@contextmanager
def opened_stream(
    source: Path, options: DecodeOptions | None = None
) -> Iterator[tuple[DecodedVideo, Callable[[], int]]]:
    """A stream being decoded, and how many of its bytes were read so far."""
    count = 0

    def counted(chunks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal count
        for chunk in chunks:
            count += len(chunk)
            yield chunk

    with open_input(source) as file:
        yield decode_chunks(counted(read_chunks(file)), options), lambda: count
