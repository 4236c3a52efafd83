"""Block maps: round trips, their cost, damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnvvc.entropy.block_map import decode_blocks, encode_blocks
from nnvvc.errors import StreamError


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_round_trip(numbers: int, rows: int, columns: int, seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(0, numbers, (rows, columns)).astype(np.uint8)
    assert np.array_equal(decode_blocks(encode_blocks(blocks, numbers), blocks.shape, numbers), blocks)


def test_contexts_adapt() -> None:
    blocks = np.zeros((16, 16), np.uint8)
    blocks[:, 8:] = 3
    random = np.random.default_rng(0).integers(0, 4, (16, 16)).astype(np.uint8)
    assert len(encode_blocks(blocks, 4)) < 25 < 60 < len(encode_blocks(random, 4)) < 76


def test_damage_is_a_named_error_or_another_map() -> None:
    data = encode_blocks(np.random.default_rng(0).integers(0, 4, (5, 6)).astype(np.uint8), 4)
    with pytest.raises(StreamError):
        decode_blocks(data + bytes(range(1, 40)), (5, 6), 4)
    assert decode_blocks(b"", (5, 6), 4).max() < 4
