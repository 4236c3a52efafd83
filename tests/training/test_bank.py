"""Kept training samples: the same from any number of processes."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nnvvc.training.bank import filled


def sample(rng: np.random.Generator) -> list[NDArray[np.generic]]:
    return [rng.normal(size=(2, 3)).astype(np.float16), np.array(rng.integers(1000))]


def test_samples_depend_on_the_seed_alone() -> None:
    one, three, other = filled(7, sample, 1, 1), filled(7, sample, 1, 3), filled(7, sample, 2, 3)
    assert one[0].shape == (7, 2, 3) and one[0].dtype == torch.float16 and one[1].shape == (7,)
    for a, b, c in zip(one, three, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert len(one[1].unique()) > 1


def test_a_process_that_fails_is_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    made = []

    def fails_later(rng: np.random.Generator) -> list[NDArray[np.generic]]:
        made.append(1)
        if len(made) > 2:
            raise ValueError("no more")
        return sample(rng)

    with pytest.raises(RuntimeError, match="training samples"):
        filled(9, fails_later, workers=2)
    assert "no more" in capfd.readouterr().err
