"""The sparse basis: orthonormal whatever the vectors, and found where there is one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnvvc.training.sparse_basis import lost_and_paid, sparse_rotation
from tests.models.tiny_image import tiny_network


@given(st.integers(2, 12), st.integers(1, 40), st.integers(0, 1000), st.floats(0.0, 100.0))
@settings(max_examples=25)
def test_any_vectors_give_an_orthonormal_matrix(width: int, count: int, seed: int, size: float) -> None:
    vectors = size * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rotation = sparse_rotation(vectors, [1.0, 3.0], rounds=4)
    assert torch.allclose(rotation @ rotation.T, torch.eye(width), atol=1e-4)


def test_vectors_with_few_components_each_in_a_hidden_basis() -> None:
    generator = torch.Generator().manual_seed(4)
    sparse = torch.randn(4000, 16, generator=generator) * (torch.rand(4000, 16, generator=generator) < 0.1)
    hidden = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    given_vectors = 10 * sparse @ hidden
    rotation = sparse_rotation(given_vectors, [1.0, 4.0], rounds=60)
    before, after = (lost_and_paid(v, 1.0) for v in (given_vectors, given_vectors @ rotation))
    assert after < 0.4 * before
    assert after < 1.3 * lost_and_paid(10 * sparse, 1.0)


def test_rotated_transforms_are_the_same_transforms() -> None:
    network = tiny_network()
    generator = torch.Generator().manual_seed(2)
    planes = torch.randn(1, 6, 32, 32, generator=generator)
    count = network.config.latents
    rotation = torch.linalg.qr(torch.randn(count, count, generator=generator))[0]
    levels = torch.exp2(network.log_deviation)[:, None, None]
    with torch.no_grad():
        old = network.analysis.linear_path(planes)
        shown = network.synthesis.linear_path(old)
        network.rotate(rotation, torch.linspace(3.0, 0.5, count))
        new = network.analysis.linear_path(planes)
        assert torch.allclose(network.synthesis.linear_path(new), shown, atol=1e-4)
        turned = torch.einsum("bchw,cd->bdhw", old * levels, rotation)
        assert torch.allclose(new * torch.exp2(network.log_deviation)[:, None, None], turned, atol=1e-3)
        assert torch.equal(network.analysis(planes, torch.tensor([30.0])), new)
