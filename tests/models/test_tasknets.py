"""The ONNX interpreter: equal to onnxruntime on a network made here, differentiable, and the feature loss."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.errors import ConfigError
from nnvvc.models import tasknets
from nnvvc.models.tasknets import OnnxNetwork, TaskNetwork, feature_loss

onnx = pytest.importorskip("onnx")


OUTPUTS = ("feat8", "average", "pred", "unused")


@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(6, 13),
    st.integers(6, 13),
    st.booleans(),
)
def test_maxima_of_views_are_max_pooling(
    side: int, stride: int, pad: int, height: int, width: int, ceil: bool
) -> None:
    pad = min(pad, side // 2)
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height * width))
    attributes = {
        "kernel_shape": [side, side],
        "strides": [stride, stride],
        "pads": [pad] * 4,
        "ceil_mode": int(ceil),
    }
    expected = torch.nn.functional.max_pool2d(x, side, stride, pad, ceil_mode=ceil)
    assert torch.equal(tasknets._max_pool(attributes, x), expected)
    learning = x.clone().requires_grad_(True)
    assert torch.equal(tasknets._max_pool(attributes, learning), expected)


def make_network(path: Path) -> None:
    """Convolution with uneven padding, pooling, resize, split, slice, reshape, hard swish, softmax."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=8).astype(np.float32),
        "three": np.float32(3),
        "zero": np.float32(0),
        "six": np.float32(6),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "starts": np.array([0], np.int64),
        "ends": np.array([-2], np.int64),
        "axes": np.array([3], np.int64),
        "order": np.array([3, 1, 2, 0], np.int64),
        "shape": np.array([0, 4, -1], np.int64),
        "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Pad", ["c", "pads", "three"], ["wide"]),
        node("AveragePool", ["wide"], ["average"], kernel_shape=[3, 3], strides=[2, 2]),
        node("Add", ["c", "three"], ["c3"]),
        node("Clip", ["c3", "zero", "six"], ["c6"]),
        node("Mul", ["c", "c6"], ["feat8"]),
        node("MaxPool", ["feat8"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Split", ["p"], ["left", "right"], axis=1),
        node(
            "Resize",
            ["left", "", "scales"],
            ["r"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        node("Slice", ["r", "starts", "ends", "axes"], ["s"]),
        node("Gather", ["s", "order"], ["g"], axis=1),
        node("Reshape", ["g", "shape"], ["flat"]),
        node("Softmax", ["flat"], ["pred"], axis=1),
        node("Sigmoid", ["right"], ["unused"]),
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in OUTPUTS]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        outputs,
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def test_equals_onnxruntime_with_gradients(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    make_network(tmp_path / "net.onnx")
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wanted = runtime.InferenceSession(tmp_path / "net.onnx").run(OUTPUTS[:3], {"x": x.detach().numpy()})
    found = OnnxNetwork(tmp_path / "net.onnx")(x, OUTPUTS[:3])
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-5, atol=1e-5)
    found[2][:, 0].sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0


def test_ghosts_are_like_the_network_and_go_away(tmp_path: Path) -> None:
    make_network(tmp_path / "net.onnx")
    network = OnnxNetwork(tmp_path / "net.onnx")
    x = torch.rand(1, 3, 16, 16)
    (own,) = network(x, ["feat8"])
    network.disturb(0.1)
    (ghost,) = network(x, ["feat8"])
    difference = float((ghost - own).square().mean() / own.square().mean())
    assert 0 < difference < 0.2
    assert torch.equal(network(x, ["feat8"])[0], ghost)
    network.disturb(0.0)
    assert torch.equal(network(x, ["feat8"])[0], own)


def test_only_what_an_output_needs_is_run(tmp_path: Path) -> None:
    make_network(tmp_path / "net.onnx")
    network = OnnxNetwork(tmp_path / "net.onnx")
    assert len(network._plan(("feat8",))) < len(network._plan(("pred",))) < len(network._nodes)
    with pytest.raises(ConfigError, match="feat99"):
        network(torch.zeros(1, 3, 16, 16), ["feat99"])


def test_judges_are_refused_and_preparation_follows_the_sidecar(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="yolox_nano is not a loss network"):
        TaskNetwork("yolox_nano", tmp_path)
    with pytest.raises(ConfigError, match="NNVVC_NETS"):
        TaskNetwork("picodet_s", tmp_path)
    make_network(tmp_path / "picodet_s.onnx")
    given = {"order": "BGR", "mean": [1.0, 2.0, 3.0], "scale": [0.1, 0.2, 0.3]}
    (tmp_path / "picodet_s.json").write_text(json.dumps({"input": given}))
    rgb = torch.rand(1, 3, 16, 16)
    network = TaskNetwork("picodet_s", tmp_path)
    prepared = (255 * rgb[:, [2, 1, 0]] - torch.tensor(given["mean"]).view(1, 3, 1, 1)) * torch.tensor(
        given["scale"]
    ).view(1, 3, 1, 1)
    wanted = network.network(prepared, ["feat8"])[0]
    assert torch.allclose(network(rgb, ["feat8"])[0], wanted, rtol=1e-4, atol=1e-3)


def test_feature_loss_is_relative_and_splits_into_blocks() -> None:
    original = torch.ones(2, 4, 8, 8)
    changed = original.clone()
    changed[1, :, :4, :4] = 3.0
    loss = feature_loss([changed], [original], grid=2)
    assert loss.tolist() == [[[0, 0], [0, 0]], [[4, 0], [0, 0]]]
    assert feature_loss([changed], [original])[1].item() == pytest.approx(1.0)
