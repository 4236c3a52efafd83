"""Shares of symbols, against whole counts of tables: to the last bit, since decoders depend on it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnvvc.entropy.share_loops import fill_shares
from nnvvc.entropy.tables import PRECISION, whole_counts

counts = hnp.arrays(np.float64, st.integers(1, 127), elements=st.floats(1e-6, 1e6))


@given(counts)
def test_shares_are_whole_counts(given_counts: np.ndarray) -> None:
    found = np.full(len(given_counts), np.nan)
    fill_shares(given_counts, found)
    assert np.array_equal(found * (1 << PRECISION), whole_counts(given_counts))


def test_priors_with_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    own = 12.0 * 0.45 ** np.abs(np.arange(-31, 32)) + 0.01
    found = np.empty(63)
    for _ in range(2000):
        own[rng.integers(0, 63)] += 2
        fill_shares(own, found)
        assert np.array_equal(found * (1 << PRECISION), whole_counts(own))
