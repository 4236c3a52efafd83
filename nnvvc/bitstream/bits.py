"""Bits in and out, as in H.266 clause 9.2 and 7.2: u(n), ue(v), se(v), st(v), and bytes and LEB128 of our
own.

Every read is bounded by the data given: past its end is `TruncatedStream`, an impossible code
`DamagedStream`.
"""

from nnvvc.errors import DamagedStream, TruncatedStream

MAX_EXP_GOLOMB_BITS = 32
"""Longest prefix of ue(v) and se(v): values up to 2**32 - 2, as in H.266."""

MAX_STRING_BYTES = 4096
"""Longest st(v) that is read, without its terminating zero."""


class BitReader:
    """Reads bits, most significant first, from `data` (emulation prevention already removed)."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = 8 * len(data)
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bits not read yet."""
        return self._end - self.position

    def u(self, bits: int) -> int:
        """An unsigned number of `bits` bits; 0 bits give 0."""
        start, stop = self.position, self.position + bits
        if stop > self._end:
            raise TruncatedStream(f"{bits} bits wanted, {self.remaining} left")
        self.position = stop
        window = int.from_bytes(self._data[start >> 3 : (stop + 7) >> 3])
        return (window >> (-stop & 7)) & ((1 << bits) - 1)

    def ue(self) -> int:
        """An unsigned Exp-Golomb number, 0 to 2**32 - 2."""
        start = self.position
        window = self._data[start >> 3 : (start >> 3) + 5]
        value = int.from_bytes(window) & ((1 << (8 * len(window) - (start & 7))) - 1)
        zeros = 8 * len(window) - (start & 7) - value.bit_length()
        if not value and self.remaining <= MAX_EXP_GOLOMB_BITS:
            raise TruncatedStream("the data ends inside an Exp-Golomb code")
        if zeros >= MAX_EXP_GOLOMB_BITS:
            raise DamagedStream(f"an Exp-Golomb code has more than {MAX_EXP_GOLOMB_BITS - 1} leading zeros")
        self.position = start + zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        k = self.ue()
        return (k + 1) >> 1 if k & 1 else -(k >> 1)

    def raw(self, count: int) -> bytes:
        """`count` whole bytes; the position must be at a byte boundary."""
        start = self._byte_position()
        if count > len(self._data) - start:
            raise TruncatedStream(f"{count} bytes wanted, {len(self._data) - start} left")
        self.position += 8 * count
        return self._data[start : start + count]

    def st(self) -> str:
        """A zero-terminated UTF-8 string at a byte boundary."""
        start = self._byte_position()
        end = self._data.find(0, start, start + MAX_STRING_BYTES + 1)
        if end < 0:
            raise TruncatedStream(f"a string has no end within {MAX_STRING_BYTES} bytes")
        self.position = 8 * (end + 1)
        try:
            return self._data[start:end].decode()
        except UnicodeDecodeError as error:
            raise DamagedStream("a string is not UTF-8") from error

    def leb128(self) -> int:
        """An unsigned number in groups of 7 bits, least significant first; at most 5 bytes, below 2**32."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.u(8)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 32 or (byte == 0 and shift):
                    raise DamagedStream("a length is over 32 bits or not in its shortest form")
                return value
        raise DamagedStream("a length has more than 5 bytes")

    def align(self) -> None:
        """Skip to a byte boundary; the bits skipped must be zero."""
        if self.u(-self.position & 7):
            raise DamagedStream("alignment bits are not zero")

    def trailing_bits(self) -> None:
        """`rbsp_trailing_bits()`: a one, then zeros to a byte boundary."""
        if not self.u(1):
            raise DamagedStream("the stop bit is missing")
        self.align()

    def more_data(self) -> bool:
        """`more_rbsp_data()`: whether something precedes the last one bit of the data."""
        if self.remaining <= 0:
            return False
        rest = self._data[self.position >> 3 :].rstrip(b"\0")
        if not rest:
            return False
        stop = 8 * ((self.position >> 3) + len(rest)) - (rest[-1] & -rest[-1]).bit_length()
        return stop > self.position

    def _byte_position(self) -> int:
        if self.position & 7:
            raise DamagedStream("bytes wanted inside a byte")
        return self.position >> 3


class BitWriter:
    """The inverse of `BitReader`. Values that do not fit are the caller's fault: ValueError."""

    __slots__ = ("_bits", "_count", "_out")

    def __init__(self) -> None:
        self._out = bytearray()
        self._bits = 0
        self._count = 0

    @property
    def position(self) -> int:
        """Bits written so far."""
        return 8 * len(self._out) + self._count

    def u(self, value: int, bits: int) -> None:
        if value < 0 or value >> bits:
            raise ValueError(f"{value} does not fit {bits} bits")
        self._bits = (self._bits << bits) | value
        self._count += bits
        if self._count >= 64:
            self._spill()

    def ue(self, value: int) -> None:
        if not 0 <= value <= (1 << MAX_EXP_GOLOMB_BITS) - 2:
            raise ValueError(f"{value} does not fit ue(v)")
        self.u(value + 1, 2 * (value + 1).bit_length() - 1)

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def raw(self, data: bytes) -> None:
        """Whole bytes, at a byte boundary."""
        self._spill()
        if self._count:
            raise ValueError("bytes written inside a byte")
        self._out += data

    def st(self, text: str) -> None:
        data = text.encode()
        if 0 in data or len(data) > MAX_STRING_BYTES:
            raise ValueError("a string has a zero inside or is too long")
        self.raw(data + b"\0")

    def leb128(self, value: int) -> None:
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{value} does not fit 32 bits")
        while value >= 0x80:
            self.u(value & 0x7F | 0x80, 8)
            value >>= 7
        self.u(value, 8)

    def align(self) -> None:
        self.u(0, -self._count & 7)

    def trailing_bits(self) -> None:
        self.u(1, 1)
        self.align()

    def getvalue(self) -> bytes:
        """All that was written; the last byte must be complete."""
        self._spill()
        if self._count:
            raise ValueError("the last byte is not complete")
        return bytes(self._out)

    def _spill(self) -> None:
        rest = self._count & 7
        self._out += (self._bits >> rest).to_bytes(self._count >> 3)
        self._bits &= (1 << rest) - 1
        self._count = rest
