"""A hybrid video codec for machines and people: learned key pictures, real VVC in between, one stream.

`encode` and `decode` work on files; `encode_frames` and `decode_chunks` on iterators of pictures and bytes.
"""

from nnvvc.version import __version__  # isort: skip (the modules below read it)
from nnvvc.api import Report, decode, decode_chunks, encode, encode_frames, export
from nnvvc.errors import NnvvcError
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings

__all__ = [
    "DecodeOptions",
    "EncodeOptions",
    "NnvvcError",
    "Picture",
    "PictureFormat",
    "Report",
    "VideoFormat",
    "VvcSettings",
    "__version__",
    "decode",
    "decode_chunks",
    "encode",
    "encode_frames",
    "export",
]
