"""Pictures and video in and out."""

from nnvvc.media.sink import Sink, open_sink
from nnvvc.media.source import Source, open_source

__all__ = ["Sink", "Source", "open_sink", "open_source"]
