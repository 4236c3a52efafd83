"""A hybrid video codec for machines and people: learned key pictures, real VVC in between, one stream.

`encode` and `decode` work on files; `encode_frames` and `decode_chunks` on iterators of pictures and bytes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnvvc.version import __version__

if TYPE_CHECKING:
    from nnvvc.api import Report, cut, decode, decode_chunks, encode, encode_frames, export, join
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
    "cut",
    "decode",
    "decode_chunks",
    "encode",
    "encode_frames",
    "export",
    "join",
]

_HOMES = {
    "nnvvc.api": ("Report", "cut", "decode", "decode_chunks", "encode", "encode_frames", "export", "join"),
    "nnvvc.errors": ("NnvvcError",),
    "nnvvc.options": ("DecodeOptions", "EncodeOptions"),
    "nnvvc.picture": ("Picture", "PictureFormat", "VideoFormat"),
    "nnvvc.vvc.tools": ("VvcSettings",),
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: the command line sets its process up before NumPy is loaded.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
