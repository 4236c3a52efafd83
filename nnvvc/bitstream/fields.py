"""Syntax declared once, as data; reading, writing, listing and the format's documentation all come from it.

A `Structure` is a tuple of items in stream order. Conditions, widths and counts are written as expressions
over the names of fields read before, or of the context given (the parameter sets, for a slice header), so
that the documentation shows the very text that is executed. They stand in this package's source only, never
in a stream.

One walk over the items serves all uses; they differ in what happens at a field (`_Reader`, `_Writer`,
`_Lister`). A field that is absent still gets a value, its `absent` expression, as H.266 infers values.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any, Protocol

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.errors import DamagedStream, LimitExceeded, UnsupportedStream

Values = dict[str, Any]
"""Field values by name: int, str or bytes; a list for repeated fields; a list of Values for `Repeat`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One syntax element.

    code: `u(WIDTH)`, `ue`, `se`, `st`, `leb128`, `bytes(COUNT)`, `rest` (all bytes left), or `align` (zero
    bits to the next byte, no value). low, high: the range allowed. count: makes it a list, of at most `most`
    elements.
    """

    name: str
    code: str
    when: str = ""
    low: int | None = None
    high: int | None = None
    count: str = ""
    most: int = 64
    absent: str = "0"
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class When:
    """Items that are present under one condition."""

    condition: str
    items: tuple["Item", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Items repeated `count` times, at most `most`; `index` names the running number in expressions."""

    name: str
    count: str
    most: int
    items: tuple["Item", ...]
    index: str = "i"


@dataclass(frozen=True, slots=True)
class Derived:
    """A variable computed from fields; not in the stream."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """A sound stream with a feature that is not supported here."""

    condition: str
    what: str


Item = Field | When | Repeat | Derived | Refuse


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing: the name with its index, and the value."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Structure:
    """A named sequence of items; `source` names the clause followed, or says that it is our own."""

    name: str
    items: tuple[Item, ...]
    source: str = ""

    def read(self, reader: BitReader, context: Mapping[str, Any] | None = None) -> Values:
        """Read all fields; raises TruncatedStream, DamagedStream, UnsupportedStream or LimitExceeded."""
        values: Values = {}
        _walk(self.items, dict(context or ()), values, _Reader(self.name, reader))
        return values

    def write(
        self, writer: BitWriter, values: Mapping[str, Any], context: Mapping[str, Any] | None = None
    ) -> None:
        """Write all fields that are present; a value not given counts as zero or empty. Raises ValueError."""
        _walk(self.items, dict(context or ()), dict(values), _Writer(self.name, writer))

    def list(self, values: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> list[Listed]:
        """The fields that are present, in stream order."""
        lister = _Lister([], "")
        _walk(self.items, dict(context or ()), dict(values), lister)
        return lister.lines


class _Visitor(Protocol):
    def field(self, field: Field, size: int, value: Any) -> Any:
        """Take or give the value of one field, and return it."""

    def count(self, name: str, count: int, most: int) -> None:
        """Check the length of a list before anything of it is made."""

    def nested(self, name: str) -> "_Visitor":
        """The visitor of the items of one repetition."""


class _Reader:
    def __init__(self, structure: str, reader: BitReader) -> None:
        self._structure = structure
        self._reader = reader

    def field(self, field: Field, size: int, value: Any) -> Any:
        value = _READ[_kind(field.code)](self._reader, size)
        if isinstance(value, int) and not _in_range(field, value):
            raise DamagedStream(f"{self._structure}: {_violation(field, value)}")
        return value

    def count(self, name: str, count: int, most: int) -> None:
        if not 0 <= count <= most:
            raise LimitExceeded(f"{self._structure}: {count} times {name}, allowed are {most}")

    def nested(self, name: str) -> "_Reader":
        return self


class _Writer:
    def __init__(self, structure: str, writer: BitWriter) -> None:
        self._structure = structure
        self._writer = writer

    def field(self, field: Field, size: int, value: Any) -> Any:
        kind = _kind(field.code)
        if value is None:
            value = _EMPTY.get(kind, 0)
        if isinstance(value, int) and not _in_range(field, value):
            raise ValueError(f"{self._structure}: {_violation(field, value)}")
        if kind == "bytes" and len(value) != size:
            raise ValueError(f"{self._structure}: {field.name} has {len(value)} bytes, not {size}")
        _WRITE[kind](self._writer, value, size)
        return value

    def count(self, name: str, count: int, most: int) -> None:
        if not 0 <= count <= most:
            raise ValueError(f"{self._structure}: {count} times {name}, allowed are {most}")

    def nested(self, name: str) -> "_Writer":
        return self


class _Lister:
    def __init__(self, lines: list[Listed], prefix: str) -> None:
        self.lines = lines
        self._prefix = prefix

    def field(self, field: Field, size: int, value: Any) -> Any:
        value = _EMPTY.get(_kind(field.code), 0) if value is None else value
        if field.code != "align":
            self.lines.append(Listed(self._prefix + field.name, value))
        return value

    def count(self, name: str, count: int, most: int) -> None:
        pass

    def nested(self, name: str) -> "_Lister":
        return _Lister(self.lines, f"{self._prefix}{name}.")


def _walk(items: tuple[Item, ...], scope: Values, values: Values, visitor: _Visitor) -> None:
    """Visit what is present. `values` is filled or consumed; `scope` holds it and everything around it."""
    for item in items:
        match item:
            case Field():
                values[item.name] = scope[item.name] = _visit(item, scope, values, visitor)
            case When():
                if _evaluate(item.condition, scope):
                    _walk(item.items, scope, values, visitor)
                else:
                    _infer(item.items, scope, values)
            case Repeat():
                count = int(_evaluate(item.count, scope))
                visitor.count(item.name, count, item.most)
                given = values.get(item.name) or ()
                result: list[Values] = []
                for i in range(count):
                    inner = dict(given[i]) if i < len(given) else {}
                    nested = visitor.nested(f"{item.name}[{i}]")
                    _walk(item.items, {**scope, item.index: i, item.name: result}, inner, nested)
                    result.append(inner)
                values[item.name] = scope[item.name] = result
            case Derived():
                values[item.name] = scope[item.name] = _evaluate(item.value, scope)
            case Refuse():
                if _evaluate(item.condition, scope):
                    raise UnsupportedStream(f"{item.what} is not supported")


def _visit(field: Field, scope: Values, values: Values, visitor: _Visitor) -> Any:
    if field.when and not _evaluate(field.when, scope):
        return [] if field.count else _evaluate(field.absent, scope)
    size = _size(field.code)
    if not field.count:
        return visitor.field(field, int(_evaluate(size, scope)) if size else 0, values.get(field.name))
    count = int(_evaluate(field.count, scope))
    visitor.count(field.name, count, field.most)
    given = values.get(field.name) or ()
    return [
        visitor.field(
            field,
            int(_evaluate(size, {**scope, "i": i})) if size else 0,
            given[i] if i < len(given) else None,
        )
        for i in range(count)
    ]


def _infer(items: tuple[Item, ...], scope: Values, values: Values) -> None:
    for item in items:
        match item:
            case Field():
                value = [] if item.count else _evaluate(item.absent, scope)
                values[item.name] = scope[item.name] = value
            case When():
                _infer(item.items, scope, values)
            case Repeat():
                values[item.name] = scope[item.name] = []
            case Derived():
                values[item.name] = scope[item.name] = 0
            case Refuse():
                pass


def _ceil_log2(value: int) -> int:
    return max(value - 1, 0).bit_length()


def _sum_of(values: list[Values], name: str) -> int:
    return sum(v[name] for v in values)


_FUNCTIONS: dict[str, Any] = {
    "__builtins__": {},
    "bool": bool,
    "len": len,
    "max": max,
    "min": min,
    "sum": sum,
    "ceil_log2": _ceil_log2,
    "int": int,
    "sum_of": _sum_of,
}


@cache
def _compiled(expression: str) -> CodeType:
    return compile(expression, "<syntax>", "eval")


def _evaluate(expression: str, scope: Values) -> Any:
    return eval(_compiled(expression), _FUNCTIONS, scope)


@cache
def _kind(code: str) -> str:
    return code.partition("(")[0]


@cache
def _size(code: str) -> str:
    return code.partition("(")[2].removesuffix(")") if code.endswith(")") else ""


def _in_range(field: Field, value: int) -> bool:
    return (field.low is None or field.low <= value) and (field.high is None or value <= field.high)


def _violation(field: Field, value: int) -> str:
    return f"{field.name} is {value}, allowed is {_range_text(field)}"


def _range_text(field: Field) -> str:
    if field.high is None:
        return "any" if field.low is None else f"{field.low} or more"
    return f"{field.low or 0} to {field.high}"


def _read_rest(reader: BitReader, _: int) -> bytes:
    return reader.raw(reader.remaining >> 3)


_READ: dict[str, Callable[[BitReader, int], Any]] = {
    "u": BitReader.u,
    "ue": lambda reader, _: reader.ue(),
    "se": lambda reader, _: reader.se(),
    "st": lambda reader, _: reader.st(),
    "leb128": lambda reader, _: reader.leb128(),
    "bytes": BitReader.raw,
    "rest": _read_rest,
    "align": lambda reader, _: reader.align(),
}

_WRITE: dict[str, Callable[[BitWriter, Any, int], None]] = {
    "u": BitWriter.u,
    "ue": lambda writer, value, _: writer.ue(value),
    "se": lambda writer, value, _: writer.se(value),
    "st": lambda writer, value, _: writer.st(value),
    "leb128": lambda writer, value, _: writer.leb128(value),
    "bytes": lambda writer, value, _: writer.raw(value),
    "rest": lambda writer, value, _: writer.raw(value),
    "align": lambda writer, _, __: writer.align(),
}

_EMPTY: dict[str, Any] = {"st": "", "bytes": b"", "rest": b""}


def table(structure: Structure) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of the format's documentation: name, code, range, condition, meaning; indented by nesting."""
    yield from _rows(structure.items, "", "")


def _rows(items: tuple[Item, ...], indent: str, condition: str) -> Iterator[tuple[str, str, str, str, str]]:
    for item in items:
        match item:
            case Field():
                code = item.code if not item.count else f"{item.code} × ({item.count})"
                when = " and ".join(filter(None, (condition, item.when)))
                numeric = _kind(item.code) in ("u", "ue", "se", "leb128")
                limited = numeric and (item.low is not None or item.high is not None)
                yield indent + item.name, code, _range_text(item) if limited else "", when, item.meaning
            case When():
                yield from _rows(item.items, indent, " and ".join(filter(None, (condition, item.condition))))
            case Repeat():
                name = f"{indent}{item.name}[{item.index}]"
                yield name, f"× ({item.count})", f"up to {item.most}", condition, ""
                yield from _rows(item.items, indent + "· ", "")
            case Derived():
                yield indent + item.name, "derived", "", condition, f"= {item.value}"
            case Refuse():
                yield indent + item.what, "not supported", "", item.condition, ""
