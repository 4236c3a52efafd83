"""What every codec is: a way to make a stream of pictures, and pictures of a stream."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, VideoFormat


class DecodedVideo:
    """The result of decoding: iterate once for the pictures, all of `format.picture`, in output order.

    notes: what was concealed or could not be checked; complete when iteration has ended.
    """

    def __init__(self, video: VideoFormat, pictures: Iterator[Picture], notes: list[str]) -> None:
        self.format = video
        self.notes = notes
        self._pictures = pictures

    def __iter__(self) -> Iterator[Picture]:
        return self._pictures


class Codec(Protocol):
    """One pipeline."""

    name: str

    def encode(
        self, frames: Iterable[Picture], video: VideoFormat, options: EncodeOptions
    ) -> Iterator[bytes]:
        """The stream, in pieces as they get ready. Raises NnvvcError in its kinds."""

    def decode(self, stream: Demuxer, options: DecodeOptions) -> DecodedVideo:
        """The pictures of a stream. Raises StreamError and ToolError, while iterating too."""

    def export(self, stream: Demuxer) -> Iterator[bytes]:
        """The stream as plain VVC, one access unit a piece: what any VVC decoder plays."""
