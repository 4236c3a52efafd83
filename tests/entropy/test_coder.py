"""Symbols come back as they went in, at the cost that the tables say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnvvc.entropy.coder import Models, SymbolDecoder, SymbolEncoder
from nnvvc.entropy.tables import (
    INDICES,
    LOW,
    PRECISION,
    STEP,
    Tables,
    index_of,
    log_scale_of,
    logistic_tables,
    whole_counts,
)
from nnvvc.errors import StreamError, TruncatedStream

TABLES = logistic_tables()
MODELS = Models(TABLES)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-70000, 70000), st.integers(0, INDICES - 1)), max_size=60))
def test_any_symbols_come_back(pairs: list[tuple[int, int]]) -> None:
    symbols = np.array([s for s, _ in pairs], np.int32)
    indices = np.array([i for _, i in pairs], np.uint8)
    encoder = SymbolEncoder(MODELS)
    encoder.encode(symbols, indices)
    encoder.encode(symbols[::-1].copy(), indices[::-1].copy())
    decoder = SymbolDecoder(MODELS, encoder.finish())
    assert np.array_equal(decoder.decode(indices), symbols)
    assert np.array_equal(decoder.decode(indices[::-1].copy()), symbols[::-1])
    decoder.finish()


def test_cost_is_that_of_the_tables() -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, INDICES, 50000).astype(np.uint8)
    deviation = 2.0 ** ((LOW + STEP * indices.astype(float)) / 16)
    symbols = np.rint(rng.logistic(0, deviation * np.sqrt(3) / np.pi)).astype(np.int32)
    tables = TABLES.split()
    bits = sum(
        float(-np.log2(tables[i][min(abs(s), TABLES.reach[i]) + TABLES.reach[i]] / 2**PRECISION))
        for s, i in zip(symbols, indices, strict=True)
    )
    encoder = SymbolEncoder(MODELS)
    encoder.encode(symbols, indices)
    assert abs(len(encoder.finish()) - bits / 8) < 0.002 * bits / 8


def test_tables_hold_together() -> None:
    assert all(int(t.sum()) == 1 << PRECISION for t in TABLES.split())
    with pytest.raises(ValueError, match="add up"):
        Tables(np.where(np.arange(len(TABLES.counts)) == 0, 2, TABLES.counts).astype(np.int32), TABLES.reach)
    with pytest.raises(ValueError, match="reaches"):
        Tables(TABLES.counts[1:], TABLES.reach)


def test_small_probabilities_keep_a_count() -> None:
    counts = whole_counts(np.array([1.0, 1e-30, 0.0]))
    assert counts.min() == 1
    assert counts.sum() == 1 << PRECISION


def test_index_is_the_nearest_scale() -> None:
    for index in range(INDICES):
        scale = round(16 * log_scale_of(float(index)))
        assert index_of(np.array([scale - 1, scale, scale + 1])).tolist() == [index] * 3
    assert index_of(np.array([-(10**6), 10**6])).tolist() == [0, INDICES - 1]


def test_cut_off_and_left_over_data() -> None:
    indices = np.full(2000, 40, np.uint8)
    encoder = SymbolEncoder(MODELS)
    encoder.encode(np.arange(2000, dtype=np.int32) % 7, indices)
    data = encoder.finish()
    decoder = SymbolDecoder(MODELS, data)
    decoder.decode(indices[:100])
    with pytest.raises(TruncatedStream):
        decoder.finish()
    try:
        values = SymbolDecoder(MODELS, data[: len(data) // 2]).decode(indices)
    except StreamError:
        return
    assert not np.array_equal(values, np.arange(2000) % 7)
