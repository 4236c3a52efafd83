"""Damaged streams give typed errors or reported concealment, for two minutes."""

import pytest

from tools.fuzz import fuzz, seed_streams


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_damaged_streams_give_typed_errors() -> None:
    outcomes, failures = fuzz(seed_streams(), count=100_000, seconds=110, seed=3)
    assert failures == []
    assert sum(outcomes.values()) > 100
    assert len(outcomes) > 5
