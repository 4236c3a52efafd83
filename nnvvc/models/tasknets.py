"""Task networks for losses: an interpreter of ONNX graphs in torch, with gradients, and the feature loss.

Training and an encoder's choices for machines use them. The networks (ONNX, opset 13, float32, NCHW) are
not part of the project: their folder is named by the recipe or by the environment variable `NNVVC_NETS`.
Beside each `NAME.onnx` lies a `NAME.json` whose `input` gives channel order, mean and scale. Only
`LOSS_NETWORKS` may be used here; the others are the judges.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvvc.errors import ConfigError

FOLDER_VARIABLE = "NNVVC_NETS"

LOSS_NETWORKS = ("nanodet_plus_m", "picodet_s", "fastestdet", "squeezenet_v1.1")
"""Networks that training may see; a gain that is to count has to show on networks outside this list."""


@dataclass(frozen=True)
class _Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


def _spatial_pads(attributes: dict[str, Any]) -> tuple[list[int], bool]:
    """(pads as ONNX has them: begins, then ends; whether both sides are equal)."""
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    return pads, pads[:2] == pads[2:]


def _conv(a: dict[str, Any], x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    pads, even = _spatial_pads(a)
    if not even:
        x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    padding = pads[:2] if even else 0
    return F.conv2d(x, w, b, a.get("strides", 1), padding, a.get("dilations", 1), a.get("group", 1))


def _average_pool(a: dict[str, Any], x: Tensor) -> Tensor:
    pads, even = _spatial_pads(a)
    if any(pads) or not even:
        raise ConfigError("padded averages in an ONNX graph are not supported")
    return F.avg_pool2d(x, a["kernel_shape"], a["strides"], ceil_mode=bool(a.get("ceil_mode", 0)))


def _max_pool(a: dict[str, Any], x: Tensor) -> Tensor:
    pads, even = _spatial_pads(a)
    kernel, strides, ceil_mode = a["kernel_shape"], a["strides"], bool(a.get("ceil_mode", 0))
    if x.device.type == "cpu" and not (x.requires_grad and torch.is_grad_enabled()):
        return _max_of_views(x, kernel, strides, pads, ceil_mode)
    if not even:
        x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]), value=float("-inf"))
    return F.max_pool2d(x, kernel, strides, pads[:2] if even else 0, ceil_mode=ceil_mode)


def _max_of_views(x: Tensor, kernel: list[int], strides: list[int], pads: list[int], ceil: bool) -> Tensor:
    """The same by rows, then by columns: PyTorch's own takes seven times as long on a CPU."""
    for axis, (side, stride) in enumerate(zip(kernel, strides, strict=True)):
        before, after, length = pads[axis], pads[axis + 2], x.shape[2 + axis]
        span = before + length + after - side
        count = (-(-span // stride) if ceil else span // stride) + 1
        if (count - 1) * stride >= before + length:  # no window begins behind the picture
            count -= 1
        after = max(0, (count - 1) * stride + side - before - length)
        x = F.pad(x, (0, 0, before, after) if axis == 0 else (before, after), value=float("-inf"))
        ranges = (slice(first, first + (count - 1) * stride + 1, stride) for first in range(side))
        x = reduce(torch.maximum, [x[:, :, r] if axis == 0 else x[..., r] for r in ranges])
    return x


def _pad(_: dict[str, Any], x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
    before, after = pads.tolist()[: x.dim()], pads.tolist()[x.dim() :]
    sides = [s for pair in zip(reversed(before), reversed(after), strict=True) for s in pair]
    return F.pad(x, sides, value=0.0 if value is None else float(value))


def _slice(_: dict[str, Any], x: Tensor, *ranges: Tensor) -> Tensor:
    starts, ends, axes, *steps = (r.tolist() for r in ranges)
    strides = steps[0] if steps else [1] * len(axes)
    for start, stop, axis, step in zip(starts, ends, axes, strides, strict=True):
        size = x.shape[axis]
        start, stop = (max(0, min(v + size if v < 0 else v, size)) for v in (start, stop))
        x = x.narrow(axis, start, stop - start)
        if step != 1:
            x = x.index_select(axis, torch.arange(0, stop - start, step, device=x.device))
    return x


def _reshape(_: dict[str, Any], x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[i] if s == 0 else int(s) for i, s in enumerate(shape.tolist())])


def _resize(a: dict[str, Any], x: Tensor, _roi: Tensor, scales: Tensor) -> Tensor:
    factor = scales.tolist()[2:]
    if a["mode"] == b"linear":
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return F.interpolate(x, scale_factor=factor, mode="nearest")


def _split(a: dict[str, Any], x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    return x.chunk(2, axis) if sizes is None else torch.split(x, sizes.tolist(), axis)


_SHAPE_OPERATORS = ("Pad", "Reshape", "Resize", "Slice", "Split")
"""All their inputs but the first are numbers for the host: reading them from a device would stall it."""

_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "Clip": lambda a, x, low, high: x.clamp(low, high),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": lambda a, x, index: x.index_select(a.get("axis", 0), index),
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda a, x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "Identity": lambda a, x: x,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "Pad": _pad,
    "Relu": lambda a, x: F.relu(x),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Split": _split,
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


class OnnxNetwork(nn.Module):
    """An ONNX graph run by torch, with gradients to its input; its weights are buffers and never trained.

    Only the operators that the task networks use are known; ConfigError names one that is not.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnx
            from onnx import numpy_helper
        except ImportError as error:
            raise ConfigError("loss networks need the package onnx: pip install 'nnvvc[train]'") from error
        if not path.is_file():
            raise ConfigError(f"{path} is missing; NNVVC_NETS must name the folder of the task networks")
        graph = onnx.load(path).graph
        numbers = {name for node in graph.node if node.op_type in _SHAPE_OPERATORS for name in node.input[1:]}
        self._buffer_names: dict[str, str] = {}
        self._numbers: dict[str, Tensor] = {}
        for i, constant in enumerate(graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(constant).copy())
            if constant.name in numbers:
                self._numbers[constant.name] = value
            else:
                self.register_buffer(f"c{i}", value, persistent=False)
                self._buffer_names[constant.name] = f"c{i}"
        self._nodes: list[_Node] = []
        for node in graph.node:
            if node.op_type not in _OPERATORS:
                raise ConfigError(f"{path.name}: the ONNX operator {node.op_type} is not supported")
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            self._nodes.append(_Node(node.op_type, tuple(node.input), tuple(node.output), attributes))
        self._input: str = graph.input[0].name
        self._plans: dict[tuple[str, ...], list[tuple[_Node, tuple[str, ...]]]] = {}
        self._disturbed: dict[str, Tensor] = {}

    def disturb(self, deviation: float) -> None:
        """From now on kernels are those of the file times 1 + noise of this deviation; 0 for the file's own.

        One of endlessly many similar networks: what pleases only this one by chance pleases no other (ghost
        networks: Li et al., arXiv 1812.03413).
        """
        self._disturbed = {}
        for name, key in self._buffer_names.items():
            value = getattr(self, key)
            if deviation and value.dim() == 4:
                self._disturbed[name] = value * (1 + deviation * torch.randn_like(value))

    def _plan(self, wanted: tuple[str, ...]) -> list[tuple[_Node, tuple[str, ...]]]:
        """The nodes that `wanted` needs, each with the values that can be dropped after it."""
        needed, steps = set(wanted), []
        constants = self._buffer_names.keys() | self._numbers.keys()
        for node in reversed(self._nodes):
            if needed.intersection(node.outputs):
                last = tuple(n for n in dict.fromkeys(node.inputs) if n and n not in needed | constants)
                needed.update(node.inputs)
                steps.append((node, last))
        missing = set(wanted).difference(*(node.outputs for node, _ in steps))
        if missing:
            raise ConfigError(f"the network has no output {', '.join(sorted(missing))}")
        return steps[::-1]

    def forward(self, x: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        """Values of the named graph outputs for x (N, 3, H, W); nodes that they do not need are not run."""
        wanted = tuple(outputs)
        if wanted not in self._plans:
            self._plans[wanted] = self._plan(wanted)
        values = {name: getattr(self, key) for name, key in self._buffer_names.items()}
        values |= self._disturbed | self._numbers | {self._input: x}
        for node, last in self._plans[wanted]:
            arguments = [values[name] if name else None for name in node.inputs]
            result = _OPERATORS[node.op](node.attributes, *arguments)
            values.update(zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=True))
            for name in last:
                del values[name]
        return [values[name] for name in wanted]


class TaskNetwork(nn.Module):
    """A loss network on RGB pictures in 0..1, with the input preparation that its `NAME.json` asks for."""

    mean: Tensor
    scale: Tensor

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """Raises ConfigError for a name outside `LOSS_NETWORKS` and where the files are not found."""
        super().__init__()
        if name not in LOSS_NETWORKS:
            raise ConfigError(f"{name} is not a loss network: training may use {', '.join(LOSS_NETWORKS)}")
        folder = folder or Path(os.environ.get(FOLDER_VARIABLE, "nets"))
        self.network = OnnxNetwork(folder / f"{name}.onnx")
        given = json.loads((folder / f"{name}.json").read_text())["input"]
        self.bgr: bool = given["order"] == "BGR"
        self.register_buffer("mean", torch.tensor(given["mean"]).view(1, 3, 1, 1) / 255, persistent=False)
        self.register_buffer("scale", torch.tensor(given["scale"]).view(1, 3, 1, 1) * 255, persistent=False)

    def disturb(self, deviation: float) -> None:
        """As `OnnxNetwork.disturb`."""
        self.network.disturb(deviation)

    def forward(self, rgb: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        """Features of rgb (N, 3, H, W); where `feat32` is asked for, H and W must be multiples of 32."""
        x = rgb.flip(1) if self.bgr else rgb
        features: list[Tensor] = self.network((x - self.mean) * self.scale, outputs)
        return features


def feature_loss(
    features: Sequence[Tensor],
    originals: Sequence[Tensor],
    grid: int | tuple[int, int] = 1,
    weight: Tensor | None = None,
) -> Tensor:
    """Squared difference / mean square of the original's features, averaged over the tensors.

    weight: (N, 1, h, w), what differences count there; brought to the tensors' sizes.

    Returns (N, grid, grid), or (N, *grid): one value for each of that many equal blocks of every picture; the
    mean square is the whole picture's, so that the mean over the blocks is the picture's loss.
    """
    losses = []
    for feature, original in zip(features, originals, strict=True):
        power = original.float().square().mean((1, 2, 3)).clamp_min(1e-6)
        error = (feature.float() - original.float()).square().mean(1, keepdim=True)
        if weight is not None:
            error = error * F.interpolate(weight, error.shape[2:], mode="bilinear", antialias=True)
        losses.append(F.adaptive_avg_pool2d(error, grid)[:, 0] / power[:, None, None])
    return torch.stack(losses).mean(0)
