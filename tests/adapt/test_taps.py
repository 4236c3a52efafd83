"""Taps are solved for."""

import numpy as np
import pytest
import torch

from nnvvc.adapt.samples import Sample, decibels
from nnvvc.adapt.taps import solved
from nnvvc.models.adaptable import GRID_TAPS, TAPS, Adaptable
from nnvvc.models.restoration import RestorationConfig, RestorationFilter

QP = 37


def model() -> RestorationFilter:
    torch.manual_seed(0)
    config = RestorationConfig((4, 4, 4), (0, 0, 0), neighbours=6)
    found = RestorationFilter(config).eval().requires_grad_(False)
    found.taps.mix.mul_(0.1)
    return found


def samples(true: RestorationFilter) -> list[Sample]:
    """Pictures whose originals are what a filter makes of them, but for a little noise."""
    found = []
    for layer in (1, 2, 3):
        luma = torch.rand(1, 7, 96, 120) * 0.1 + 0.4 + 0.1 * torch.rand(1, 1, 12, 15).repeat(1, 1, 8, 8)
        chroma = torch.rand(1, 2, 48, 60) - 0.5
        wanted, wanted_chroma = true(
            luma, chroma, torch.tensor([float(QP)]), torch.tensor([[float(layer)] * 7])
        )
        wanted += 0.01 * torch.randn_like(wanted)
        found.append(Sample(luma, chroma, wanted, wanted_chroma, (layer,) * 7))
    return found


@pytest.mark.parametrize("alike", [True, False])
def test_weights_are_found_again(alike: bool) -> None:
    base = model()
    adaptable = Adaptable(base)
    values = np.zeros(adaptable.count, np.float32)
    rng = np.random.default_rng(0)
    for name in (TAPS, GRID_TAPS):
        places = adaptable.places[name]
        values[places] = 0.3 * rng.standard_normal(places.stop - places.start)
    if alike:
        own = adaptable.places[TAPS]
        values[own.start + base.taps.weight.shape[1] : own.stop] = 0
    pictures = samples(adaptable.applied(torch.from_numpy(values)))
    start = np.zeros(adaptable.count, np.float32)
    found = solved(adaptable, pictures, QP, start)
    fitted = adaptable.applied(torch.from_numpy(found.values))
    given = [(s.luma, s.chroma, torch.tensor([float(QP)]), torch.tensor([s.layers])) for s in pictures]
    gain = decibels(pictures, [fitted(*planes) for planes in given])
    assert gain > 3
    # What is expected without filtering is what filtering gives.
    assert found.decibels(found.values) == pytest.approx(gain, rel=0.15)
    assert abs(found.decibels(start)) < gain
