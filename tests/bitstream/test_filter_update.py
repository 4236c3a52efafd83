"""Updates of the filter for people."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.errors import StreamError

UPDATES = st.builds(
    FilterUpdate,
    st.integers(0, 24),
    st.binary(max_size=300),
    st.booleans(),
    st.none() | st.binary(max_size=200),
)


@given(UPDATES)
def test_they_come_back(update: FilterUpdate) -> None:
    assert FilterUpdate.frombytes(update.tobytes()) == update


@given(UPDATES, st.data())
def test_a_flipped_bit_is_noticed(update: FilterUpdate, data: st.DataObject) -> None:
    body = bytearray(update.tobytes())
    at = data.draw(st.integers(0, 8 * len(body) - 1))
    body[at // 8] ^= 1 << at % 8
    with pytest.raises(StreamError):
        FilterUpdate.frombytes(bytes(body))


@given(st.binary(max_size=80))
def test_any_bytes_give_an_update_or_a_typed_error(data: bytes) -> None:
    with contextlib.suppress(StreamError):
        assert FilterUpdate.frombytes(data).tobytes() == data
