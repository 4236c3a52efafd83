"""The choice among filters, block by block: what it gains against what it costs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnvvc.adapt.block_choice import CHANGE_BITS, choose, gain, price_of_bits

LOSSES = arrays(np.float32, (3, 2, 4), elements=st.floats(0.125, 1.0, width=32))


@given(LOSSES)
def test_where_bits_are_free_the_best_wins(losses: np.ndarray) -> None:
    blocks = choose(losses, 0.0)
    assert np.array_equal(np.take_along_axis(losses, blocks[None].astype(int), 0)[0], losses.min(0))
    assert gain(losses, blocks) >= 0


@given(LOSSES)
def test_where_bits_are_dear_nothing_changes(losses: np.ndarray) -> None:
    assert len(np.unique(choose(losses, 1.0))) == 1


@given(LOSSES, st.floats(0, 0.01))
def test_a_choice_gains_more_than_its_changes_cost(losses: np.ndarray, price: float) -> None:
    blocks = choose(losses, price)
    before = np.concatenate([np.array([0]), blocks.ravel()[:-1]]).reshape(blocks.shape)
    before[1:, 0] = blocks[:-1, 0]
    changes = int((blocks != before).sum())
    # Each block alone is better off than with the filter of the one before.
    kept = np.take_along_axis(losses, before[None].astype(int), 0)[0].mean()
    chosen = np.take_along_axis(losses, blocks[None].astype(int), 0)[0].mean()
    assert kept - chosen >= changes * CHANGE_BITS * price - 1e-6


def test_bits_are_worth_less_in_larger_streams() -> None:
    losses = np.full((2, 1, 1), 0.5, np.float32)
    assert price_of_bits(losses, 2000) == 0.5 * price_of_bits(losses, 1000) > 0
