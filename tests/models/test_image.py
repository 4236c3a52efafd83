"""The image codec is exact: whatever computes it, the same bits give the same pictures."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nnvvc.errors import InexactArithmetic, InputError, StreamError
from nnvvc.models import exact, image
from nnvvc.models.context import PROFILES
from nnvvc.models.exact import INT8, REFERENCE, ExactConv, InexactModel, exact_conv, use_path
from nnvvc.models.image import ImageModel, RateTables, save_model
from nnvvc.models.layers import FINE, RATES, Conv
from nnvvc.models.simulate import simulate
from tests.models.tiny_image import GOLDEN, MODEL, fixed_latents, golden_cases, tiny_network

GOLDEN_CASES = json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny() -> ImageModel:
    return ImageModel.load(MODEL)


def planes(height: int = 128, width: int = 192) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    small = torch.randn(1, 6, height // 16, width // 16, generator=generator)
    return torch.nn.functional.interpolate(small, scale_factor=8, mode="bilinear") * 0.7


@pytest.mark.parametrize("path", [INT8, REFERENCE])
def test_golden_streams_decode_to_the_same_pictures(path: str) -> None:
    model = ImageModel.load(MODEL, path=path)
    for case, expected in GOLDEN_CASES.items():
        profile, qp = case.split()
        decoded = model.decompress(bytes.fromhex(expected["data"]), 128, 64, int(qp), profile)
        samples = model.synthesise(decoded, int(qp)).numpy().tobytes()
        assert hashlib.sha256(samples).hexdigest() == expected["samples"], case


def test_golden_latents_give_the_same_bytes(tiny: ImageModel) -> None:
    assert golden_cases(tiny) == GOLDEN_CASES


@pytest.mark.parametrize(
    "settings",
    [
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
    ],
)
def test_other_instruction_sets_give_the_same(settings: dict[str, str]) -> None:
    code = (
        "import json; from tests.models.tiny_image import *; "
        "print(json.dumps([golden_cases(ImageModel.load(MODEL, path=p)) for p in ('int8', 'reference')]))"
    )
    environment = {**os.environ, **settings}
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [GOLDEN_CASES, GOLDEN_CASES]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(tiny: ImageModel, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert golden_cases(tiny) == GOLDEN_CASES
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("path", [INT8, REFERENCE])
def test_bands_of_rows_change_nothing(tiny: ImageModel, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "BAND_VALUES", 100)
    monkeypatch.setattr(exact, "BAND_LATENTS", 1)
    chosen = tiny.path
    tiny.choose_path(path)
    try:
        assert golden_cases(tiny) == GOLDEN_CASES
    finally:
        tiny.choose_path(chosen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same() -> None:
    model = ImageModel.load(MODEL, "cuda")
    data, decoded = model.compress(*(t.cuda() for t in fixed_latents(model)), 30, "high")
    samples = model.synthesise(decoded, 30).cpu().numpy().tobytes()
    assert data.hex() == GOLDEN_CASES["high 30"]["data"]
    assert hashlib.sha256(samples).hexdigest() == GOLDEN_CASES["high 30"]["samples"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("qp", [0, 31, 63])
def test_decoder_follows_the_encoder(tiny: ImageModel, profile: str, qp: int) -> None:
    data, decoded = tiny.compress(*tiny.analyse(planes(), qp), qp, profile)
    assert torch.equal(decoded, tiny.decompress(data, 192, 128, qp, profile))


@pytest.mark.parametrize("profile", PROFILES)
def test_bytes_are_near_the_models_own_entropy(tiny: ImageModel, profile: str) -> None:
    latents = tiny.analyse(planes(256, 256), 20)
    bits, decoded = tiny.forward(*latents, 20, profile)
    data, coded = tiny.compress(*latents, 20, profile)
    assert torch.equal(decoded, coded)
    assert bits / 8 > 200
    assert abs(len(data) - bits / 8) <= 0.01 * bits / 8 + 64


def test_integer_form_is_near_the_floating_point_network() -> None:
    network = tiny_network().eval()
    x = planes(256, 256)
    with torch.no_grad():
        expected = simulate(network, x, torch.tensor([25.0]), "high", noise=False)
    model = ImageModel.load(MODEL)
    bits, decoded = model.forward(*model.analyse(x, 25), 25, "high")
    got = (model.synthesise(decoded, 25).float() - 512) / 256
    clipped = expected.planes.clamp(-2, 511 / 256)
    error, own = (got - x).square().mean(), (clipped - x).square().mean()
    assert abs(float(error / own) - 1) < 0.05
    assert abs(bits / float(expected.bits + expected.hyper_bits) - 1) < 0.05


def test_strips_join_without_a_seam(tiny: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    x = planes(768, 64)
    _, decoded = tiny.compress(*tiny.analyse(x, 20), 20, "fast")
    whole = tiny.synthesise(decoded, 20)
    monkeypatch.setattr(image, "STRIP_SAMPLES", 1)
    assert torch.equal(whole, tiny.synthesise(decoded, 20))
    latents = tiny.analyse(x, 20)[0]
    monkeypatch.undo()
    assert torch.allclose(latents, tiny.analyse(x, 20)[0], atol=1e-4)


def test_every_sum_is_proved(tiny: ImageModel) -> None:
    layers = [m for m in tiny.networks.modules() if isinstance(m, ExactConv)]
    assert layers
    assert all(0 < layer.bound() < 2**24 for layer in layers)
    weight, zero = torch.full((1, 600, 3, 3), 63, dtype=torch.int8), torch.zeros(1, dtype=torch.int8)
    bad = ExactConv(weight, zero, torch.zeros(1, 1, dtype=torch.int32), 1, 1, None)
    with pytest.raises(InexactModel):
        bad.bound()


def test_weights_of_wide_layers_are_fine_and_both_paths_exact() -> None:
    generator = torch.Generator().manual_seed(5)
    layer = Conv(24, 8, 3, wide=True)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.bias.copy_(torch.randn(8, generator=generator))
    whole = exact_conv(layer, 12, None)
    assert whole.weight.abs().max() > FINE * 16
    assert 0 < whole.bound() < 2**24
    x = torch.randint(0, 256, (1, 24, 9, 7), generator=generator, dtype=torch.uint8)
    x[:, :, :4] = 255
    sums = torch.nn.functional.conv2d(x.double(), whole.weight.double(), None, 1, 1)
    unit = torch.exp2(7.0 - whole.exponent.double())[:, None, None]
    expected = torch.floor((sums + whole.bias.double()[0, :, None, None]) * unit + 0.5).to(torch.int32)
    for path in (INT8, REFERENCE):
        whole.use(path)
        assert torch.equal(whole(x if path == INT8 else x.float()), expected)
    assert torch.allclose(expected * 2.0**-12, layer(x / 32), atol=0.1)


def test_both_paths_agree_at_the_extremes(tiny: ImageModel) -> None:
    latents = torch.where(torch.arange(12 * 16).reshape(1, 12, 4, 4) % 3 == 0, 1 << 20, -(1 << 20))
    results = []
    for path in (INT8, REFERENCE):
        use_path(tiny.networks, path)
        results.append(tiny.synthesise(latents, 10))
    tiny.choose_path()
    assert torch.equal(*results)


def test_inexact_machines_are_refused(tiny: ImageModel, tmp_path: Path) -> None:
    model = ImageModel.load(MODEL)
    model.answer = "0" * 64
    with pytest.raises(InexactArithmetic, match="does not compute"):
        model.choose_path()


def test_tables_of_rates_are_monotonic() -> None:
    tables = RateTables.of(tiny_network(), torch.arange(RATES, dtype=torch.float32))
    assert bool((tables.step.diff(dim=0) > 0).all())
    assert bool((tables.inverse.diff(dim=0) < 0).all())


def test_files_that_are_no_models(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    with pytest.raises(InputError):
        ImageModel.load(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError):
        ImageModel.load(file)


def test_saving_and_loading_keeps_everything(tmp_path: Path) -> None:
    model = save_model(tiny_network(1), tmp_path / "a.safetensors", q=torch.linspace(5, 60, RATES))
    again = save_model(tiny_network(1), tmp_path / "b.safetensors", q=torch.linspace(5, 60, RATES))
    assert model.digest == again.digest
    assert model.digest != ImageModel.load(MODEL).digest


@pytest.mark.parametrize("seed", range(12))
def test_damaged_symbols_end_in_an_error_or_a_picture(tiny: ImageModel, seed: int) -> None:
    data = bytearray(bytes.fromhex(GOLDEN_CASES["base 30"]["data"]))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        data[int(torch.randint(len(data), (1,), generator=generator))] ^= 1 << seed % 8
    del data[len(data) - seed :]
    try:
        decoded = tiny.decompress(bytes(data), 128, 64, 30, "base")
    except StreamError:
        return
    assert tiny.synthesise(decoded, 30).shape == (1, 6, 32, 64)
