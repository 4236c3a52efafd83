"""Every error that input, a stream or the machine can cause: one family, each message says what to do.

The command line ends with `exit_status` of the error raised: 2 for what the user can mend; an exception that
is not in this family is a fault of this program and ends with 1.
"""

from typing import ClassVar


class NnvvcError(Exception):
    """Base of all errors raised on purpose. The message is one line, without a trace."""

    exit_status: ClassVar[int] = 2


class ConfigError(NnvvcError):
    """An option, recipe or experiment file asks for something that does not exist or does not go together."""


class InputError(NnvvcError):
    """An input file is missing, empty, of the wrong type, or of a format that is not read."""


class OutputError(NnvvcError):
    """An output file cannot be written: no room, no permission, unknown ending."""


class StreamError(NnvvcError):
    """Base of what can be wrong with a stream of ours."""


class TruncatedStream(StreamError):
    """The stream ends inside a unit or before what its header announces."""


class DamagedStream(StreamError):
    """A checksum, a range or the syntax does not hold."""


class UnsupportedStream(StreamError):
    """A sound stream that needs a newer version, a tool or a feature that is not here."""


class UnknownModel(UnsupportedStream):
    """The stream names a model that this installation does not have, or has with other weights."""


class LimitExceeded(StreamError):
    """A size, count or dimension is over the limits set for decoding."""


class PictureMismatch(StreamError):
    """Decoded pictures differ from the hash that the encoder sent."""


class InexactArithmetic(NnvvcError):
    """This machine does not compute a model's known answer, so it could not decode what others encode."""


class ToolError(NnvvcError):
    """Base of what can go wrong with a VVC encoder or decoder run as a child process."""


class ToolMissing(ToolError):
    """The tool is not installed or not found; `nnvvc doctor` lists what is there."""


class ToolFailed(ToolError):
    """The tool ended with an error or died."""


class ToolTimeout(ToolError):
    """The tool made no progress within its time limit and was stopped."""
