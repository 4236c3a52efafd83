"""Lists of small numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.entropy.small_numbers import LARGEST, decode_numbers, encode_numbers
from nnvvc.errors import DamagedStream, StreamError, TruncatedStream

VALUES = st.lists(st.integers(-LARGEST, LARGEST), max_size=200)


@given(VALUES)
def test_they_come_back(values: list[int]) -> None:
    assert decode_numbers(encode_numbers(values), len(values)) == values


def test_zeros_cost_little() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random(640) < 0.05).astype(int).tolist()
    assert len(encode_numbers([0] * 640)) <= 20
    assert len(encode_numbers(values)) < 50


@given(st.binary(max_size=60), st.integers(0, 50))
def test_any_bytes_give_numbers_or_a_typed_error(data: bytes, count: int) -> None:
    try:
        values = decode_numbers(data, count)
    except StreamError:
        return
    assert len(values) == count and all(abs(v) <= LARGEST for v in values)


def test_what_is_left_over_is_noticed() -> None:
    with pytest.raises((TruncatedStream, DamagedStream)):
        decode_numbers(encode_numbers([3, -2, 1] * 40) + b"\x05" * 9, 12)
