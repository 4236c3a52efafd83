"""Moving activations within their range changes nothing but what rounding does."""

import torch

from nnvvc.models.context import PROFILES
from nnvvc.models.layers import ACT_MAX, Conv, set_rounding
from nnvvc.models.lic import Lic
from nnvvc.models.simulate import simulate
from nnvvc.training.ranges import REACHED, hidden, spread
from tests.models.tiny_image import tiny_network


def crops() -> torch.Tensor:
    return torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.3


def run(model: Lic) -> list[torch.Tensor]:
    q = torch.tensor([20.0, 40.0])
    with torch.no_grad():
        results = [simulate(model, crops(), q, profile, noise=False) for profile in PROFILES]
    return [t for r in results for t in (r.rate, r.planes)]


def weak_network() -> Lic:
    """Its hidden activations take a small part of their range."""
    model = tiny_network().eval()
    with torch.no_grad():
        for tensor in hidden(model):
            for layer, _ in tensor.makers:
                layer.weight.mul_(0.05)
                layer.bias.mul_(0.05)
    return model


def largest(model: Lic) -> list[float]:
    """Of every hidden layer's outputs."""
    layers = [layer for tensor in hidden(model) for layer, _ in tensor.makers]
    seen = dict.fromkeys(layers, 0.0)
    handles = [
        layer.register_forward_hook(lambda m, _, y: seen.update({m: max(seen[m], float(y.max()))}))
        for layer in layers
    ]
    run(model)
    for handle in handles:
        handle.remove()
    return list(seen.values())


def test_the_function_stays_and_the_range_is_used() -> None:
    model = weak_network()
    results, ranges = run(model), largest(model)
    spread(model, lambda: run(model) and None)
    for before, after in zip(results, run(model), strict=True):
        assert torch.allclose(before, after, rtol=1e-4, atol=1e-5)
    for small, large in zip(ranges, largest(model), strict=True):
        assert large < ACT_MAX
        assert large >= small
        assert large > REACHED / 2 * ACT_MAX or large > 30 * small


def test_rounding_costs_less() -> None:
    def loss(model: Lic) -> float:
        set_rounding(model, False)
        exact = run(model)
        set_rounding(model, True)
        rounded = run(model)
        set_rounding(model, False)
        return sum(float((a - b).abs().mean()) for a, b in zip(exact, rounded, strict=True))

    model = weak_network()
    before = loss(model)
    spread(model, lambda: run(model) and None)
    assert loss(model) < before


def test_every_hidden_layer_has_its_place() -> None:
    model = tiny_network()
    makers = {layer for tensor in hidden(model) for layer, _ in tensor.makers}
    for part in (model.synthesis, model.hyper_synthesis, model.context):
        layers = {m for m in part.modules() if isinstance(m, Conv) and not m.wide}
        assert layers <= makers
