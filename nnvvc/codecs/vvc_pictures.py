"""From access units to pictures, through a stock VVC decoder: checked, and while still being made."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.muxer import PeriodVerifier
from nnvvc.bitstream.nal import join_annex_b
from nnvvc.bitstream.parameter_sets import CodedSize
from nnvvc.errors import StreamError, UnsupportedStream
from nnvvc.picture import Matrix, Picture, PictureFormat
from nnvvc.vvc.tools import CodedFormat, DecoderSettings, VvcDecoder

_QUEUE_UNITS = 256


def coded_format_of(
    size: CodedSize, matrix: Matrix = Matrix.UNSPECIFIED, full_range: bool = False
) -> CodedFormat:
    """What a decoder gives for pictures of this size; matrix and range are the stream header's."""
    fmt = PictureFormat(size.width, size.height, size.bit_depth, size.chroma, matrix, full_range)
    return CodedFormat(fmt, size.ctu_size)


def vvc_bytes(
    units: Iterable[AccessUnit], size: CodedSize, verifier: PeriodVerifier | None
) -> Iterator[bytes]:
    """The VVC part of access units, for a decoder. Raises UnsupportedStream where the format changes."""
    for unit in units:
        if unit.size is not None and unit.size != size:
            raise UnsupportedStream(
                f"the picture format changes from {size.width}x{size.height} at {size.bit_depth} bits "
                f"to {unit.size.width}x{unit.size.height} at {unit.size.bit_depth}"
            )
        if verifier is not None:
            verifier.add_unit(unit)
        yield join_annex_b(unit.vvc_nals())


def decoded(
    decoder: VvcDecoder,
    chunks: Iterable[bytes],
    coded: CodedFormat,
    settings: DecoderSettings,
    verifier: PeriodVerifier | None,
    report: Callable[[str], None],
) -> Iterator[Picture]:
    """The pictures of a VVC stream in output order, compared with the stream's hashes.

    Raises PictureMismatch or TruncatedStream, or, where `settings.conceal`, reports it and goes on unchecked.
    """
    for picture in decoder.decode(chunks, coded, settings):
        if verifier is not None:
            try:
                verifier.add_picture(picture)
            except StreamError as error:
                if not settings.conceal:
                    raise
                report(f"{error}; the rest is not checked")
                verifier = None
        yield picture
    if verifier is not None:
        try:
            verifier.close()
        except StreamError as error:
            if not settings.conceal:
                raise
            report(str(error))


class Reconstruction:
    """Decodes a stream while it is written: access units go in, each decoded picture goes to `take`.

    Runs the decoder in a thread. Use as a context manager; `finish` waits for the last picture.
    """

    def __init__(
        self, decoder: VvcDecoder, settings: DecoderSettings, take: Callable[[Picture], object]
    ) -> None:
        self._decoder = decoder
        self._settings = settings
        self._take = take
        self._chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=_QUEUE_UNITS)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stopped = False

    def add(self, chunk: bytes, coded: CodedFormat) -> None:
        """Give the decoder more of the stream. Raises what went wrong in the decoder so far."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(coded,), daemon=True)
            self._thread.start()
        self._put(chunk)

    def finish(self) -> None:
        """Wait until all pictures are decoded. Raises what went wrong in the decoder."""
        if self._thread is not None:
            self._put(None)
            self._thread.join()
        self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(10.0)

    def _put(self, chunk: bytes | None) -> None:
        while True:
            self._raise()
            try:
                self._chunks.put(chunk, timeout=0.5)
                return
            except queue.Full:
                continue

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _given(self) -> Iterator[bytes]:
        while not self._stopped:
            try:
                chunk = self._chunks.get(timeout=0.5)
            except queue.Empty:
                continue
            if chunk is None:
                return
            yield chunk

    def _run(self, coded: CodedFormat) -> None:
        try:
            for picture in self._decoder.decode(self._given(), coded, self._settings):
                if self._stopped:
                    return
                self._take(picture)
        except BaseException as error:
            self._error = error
