"""Symbols with a scale index each, through constriction's range coder.

Symbols that share an index are coded one after the other with one table, which is what makes it fast: the
order within a call is that of the index, then of position. Symbols beyond a table's reach follow their
group as sign and Exp-Golomb code.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from nnvvc.entropy.tables import PRECISION, Tables
from nnvvc.errors import DamagedStream, TruncatedStream

Symbols = NDArray[np.int32]
Indices = NDArray[np.uint8]

_EXCESS_BITS = 20
"""Symbols may lie up to 2**_EXCESS_BITS beyond their table."""


def _uniform(bits: int) -> Any:
    return constriction.stream.model.Uniform(1 << bits)


class Models:
    """constriction's models of a set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.reach = [int(r) for r in tables.reach]
        # The counts are whole multiples of constriction's own resolution, so nothing is left for it to round.
        self.models = [
            constriction.stream.model.Categorical(counts / float(1 << PRECISION), perfect=False)
            for counts in tables.split()
        ]
        self.sign = _uniform(1)
        self.length = constriction.stream.model.Uniform(_EXCESS_BITS + 1)


def _groups(indices: Indices) -> list[tuple[int, NDArray[np.int64]]]:
    """(index, positions) of every index that occurs, in rising order."""
    order = np.argsort(indices, kind="stable")
    counts = np.bincount(indices, minlength=256)
    stops = np.cumsum(counts)
    return [(int(i), order[stops[i] - counts[i] : stops[i]]) for i in np.flatnonzero(counts)]


class SymbolEncoder:
    """Writes symbols; `finish` gives the bytes."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Symbols, indices: Indices) -> None:
        """symbols and their scale indices, both flat."""
        for index, places in _groups(indices):
            reach = self._models.reach[index]
            values = symbols[places]
            beyond = np.abs(values) > reach
            entries = np.where(beyond, 2 * reach + 1, values + reach).astype(np.int32)
            self._coder.encode(entries, self._models.models[index])
            for value in values[beyond]:
                self._escape(int(value), reach)

    def _escape(self, value: int, reach: int) -> None:
        excess = min(abs(value) - reach, 1 << _EXCESS_BITS)
        bits = excess.bit_length() - 1
        self._coder.encode(int(value < 0), self._models.sign)
        self._coder.encode(bits, self._models.length)
        if bits:
            self._coder.encode(excess - (1 << bits), _uniform(bits))

    def finish(self) -> bytes:
        """All that was coded; trailing zero bytes are left out, the decoder puts them back."""
        data: bytes = self._coder.get_compressed().astype("<u4").tobytes()
        return data.rstrip(b"\0")


class SymbolDecoder:
    """Reads what a SymbolEncoder wrote, with the same indices in the same calls."""

    def __init__(self, models: Models, data: bytes) -> None:
        self._models = models
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, indices: Indices) -> Symbols:
        """The symbols of these scale indices. Raises DamagedStream where the data cannot be right."""
        result = np.empty(len(indices), np.int32)
        try:
            for index, places in _groups(indices):
                reach = self._models.reach[index]
                entries = self._coder.decode(self._models.models[index], len(places))
                values = entries.astype(np.int32) - reach
                for at in np.flatnonzero(values > reach):
                    values[at] = self._escape(reach)
                result[places] = values
        except (AssertionError, ValueError) as error:
            raise DamagedStream(f"the coded symbols are damaged: {error}") from error
        return result

    def _escape(self, reach: int) -> int:
        negative = self._coder.decode(self._models.sign)
        bits = int(self._coder.decode(self._models.length))
        excess = 1 << bits
        if bits:
            excess += int(self._coder.decode(_uniform(bits)))
        magnitude = reach + excess
        return -magnitude if negative else magnitude

    def finish(self) -> None:
        """Raises TruncatedStream where data is left that the symbols do not account for."""
        if not self._coder.maybe_exhausted():
            raise TruncatedStream("coded symbols are left over after the picture")
