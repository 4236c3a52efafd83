"""The exact form of the filter for people: the same picture on every machine.

Activations are whole numbers of LIMIT at most, each tensor's in units of its own power of two, and so are the
weights of each output channel: as fine as they can be while no sum of products, partial or whole, can reach
2**24. Held in float32 such sums are exact in any order. All else works on each value alone, in float32, one
rounding an operation (IEEE 754), which is the same everywhere too.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nnvvc.errors import InexactArithmetic, UnknownModel
from nnvvc.models.exact import exact_arithmetic
from nnvvc.models.filters import ConditionalConv, ResidualBlock, aligned
from nnvvc.models.restoration import (
    OUTPUT_UNIT,
    SURROUNDINGS,
    RestorationConfig,
    RestorationFilter,
    card_of,
    condition,
    quantiser_step,
)
from nnvvc.models.saved import config_of, write_card

LIMIT = 4095
"""Largest magnitude of an activation."""

MEAN_GAIN = 32.0
"""Surroundings, -0.5..0.5, are given to the first layer as this much more, whose weights for them are as much
less: so they have the range of the differences.
"""

SPARE = 1.1
"""Range of activations over the largest that was seen when it was measured."""

FORMAT = "nnvvc exact filter 1"
"""Name of the metadata entry of a weights file."""

Shifts = dict[str, int]
"""By layer: the activations that it takes count in 2**-shift."""


def _layers(model: RestorationFilter) -> Iterator[tuple[str, nn.Module, nn.Conv2d]]:
    """Name, layer, and the convolution in it or that it is."""
    for name, module in model.named_modules():
        if isinstance(module, ConditionalConv):
            yield name, module, module.conv
        elif isinstance(module, nn.Conv2d) and not name.endswith(".conv"):
            yield name, module, module


class Measured:
    """Measures a floating-point filter's activations while it runs."""

    def __init__(self, model: RestorationFilter) -> None:
        self.largest: dict[str, float] = {}
        self._hooks = []
        for name, module, _ in _layers(model):
            self._hooks.append(module.register_forward_pre_hook(self._hook(name)))

    def _hook(self, name: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest = float(inputs[0].detach().abs().max())
            self.largest[name] = max(self.largest.get(name, 0.0), largest)

        return see

    def shifts(self) -> Shifts:
        """By the layer that takes the activations."""
        for hook in self._hooks:
            hook.remove()
        return {
            name: int(np.floor(np.log2(LIMIT / (SPARE * max(largest, 1e-6)))))
            for name, largest in self.largest.items()
        }


class ExactRestoration:
    """A filter as it is used. Make it with `load_exact`. shifts: as `Measured` gives them."""

    def __init__(self, model: RestorationFilter, shifts: Shifts) -> None:
        self.model = model.eval().requires_grad_(False)
        self.shifts = shifts
        self._weights: dict[str, tuple[Tensor, Tensor]] = {}
        for name, _, conv in _layers(model):
            weight = conv.weight.detach().double()
            if name == "enter":
                weight[:, 6:] /= MEAN_GAIN
            self._weights[name] = _whole(weight, shifts[name])
        self._biases: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def samples(
        self, luma: Tensor, chroma: Tensor, qp: int, offset: float, gains: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Filtered 10-bit samples of a part of a picture.

        luma (1, 1, H, W), chroma (1, 2, (H + 1) // 2, (W + 1) // 2): whole 10-bit samples, float32. qp: that
        the picture was coded with. offset: of luma; gains: samples in a unit swing of luma and of chroma.
        """
        height, width = luma.shape[2:]
        rows, columns = chroma.shape[2:]
        padded, padded_chroma = aligned(luma, chroma)
        planes = torch.cat((F.pixel_unshuffle(padded, 2), padded_chroma), 1)
        step = float(quantiser_step(torch.tensor(float(qp)).double()))
        # One number a plane, rounded once to float32.
        gain = torch.tensor([gains[0]] * 4 + [gains[1]] * 2).view(1, 6, 1, 1)
        unit = torch.tensor([np.float32(g * step) for g in [gains[0]] * 4 + [gains[1]] * 2]).view(1, 6, 1, 1)
        middle = torch.tensor([offset + gains[0] / 2, 512.0, 512.0]).view(1, 3, 1, 1)
        with exact_arithmetic():
            mean = _surroundings(torch.cat((planes[:, :4].sum(1, keepdim=True), planes[:, 4:]), 1))
            mean[:, :1] *= 0.25
            detail = planes - torch.cat((mean[:, :1].expand(-1, 4, -1, -1), mean[:, 1:]), 1)
            seen = torch.cat((detail / unit, (mean - middle) / (gain[:, 3:] / MEAN_GAIN)), 1)
            residual = self._residual(seen, qp)
            result = torch.floor(planes + residual * (unit * OUTPUT_UNIT) + 0.5).clamp(0, 1023)
        return F.pixel_shuffle(result[:, :4], 2)[..., :height, :width], result[:, 4:, :rows, :columns]

    def _residual(self, seen: Tensor, qp: int) -> Tensor:
        model, bias = self.model, self._bias_of(qp)
        x0 = self._active(self._conv("enter", seen, bias))
        x1 = self._blocks("blocks1", self._active(self._conv("down1", x0, bias, 2)), bias)
        x2 = self._blocks("blocks2", self._active(self._conv("down2", x1, bias, 2)), bias)
        up = F.pixel_shuffle(self._conv("up1", x2, bias), 2)
        y1 = self._blocks("blocks3", self._active(x1 + up), bias)
        up = F.pixel_shuffle(self._conv("up0", y1, bias), 2)
        y0 = self._blocks("blocks4", self._active(x0 + up), bias)
        assert isinstance(model.head, nn.Conv2d)
        return self._conv("head", y0, bias)

    def _conv(self, name: str, x: Tensor, bias: dict[str, Tensor], stride: int = 1) -> Tensor:
        weight, scale = self._weights[name]
        unit = 2.0 ** self.shifts[name]
        # In place: large temporaries are memory that the system has to clear first.
        whole = (x * unit).add_(0.5).floor_().clamp_(-LIMIT, LIMIT)
        whole = whole.contiguous(memory_format=torch.channels_last)
        total = F.conv2d(whole, weight, None, stride, weight.shape[2] // 2)
        return total.mul_(scale).add_(bias[name])

    def _blocks(self, name: str, x: Tensor, bias: dict[str, Tensor]) -> Tensor:
        blocks = getattr(self.model, name)
        for number, block in enumerate(blocks):
            assert isinstance(block, ResidualBlock)
            hidden = self._active(self._conv(f"{name}.{number}.first", x, bias))
            x = self._active(x + self._conv(f"{name}.{number}.second", hidden, bias))
        return x

    def _active(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(x, self.model.config.leak)

    def _bias_of(self, qp: int) -> dict[str, Tensor]:
        """Of every layer, for pictures of this QP."""
        if qp not in self._biases:
            given = condition(torch.tensor([float(qp)]), torch.zeros(1))[0].double().tolist()
            self._biases[qp] = {}
            for name, module, conv in _layers(self.model):
                assert conv.bias is not None
                total = conv.bias.double()
                if isinstance(module, ConditionalConv):
                    # Term by term: a library's sum of products may take any order.
                    for column, value in zip(module.bias.weight.double().T, given, strict=True):
                        total = total + column * value
                self._biases[qp][name] = total.float()[None, :, None, None]
        return self._biases[qp]

    def known_answer(self) -> str:
        """Digest of what it makes of fixed samples, at several QPs."""
        numbers = np.arange(96 * 64, dtype=np.uint64) * np.uint64(2654435761)
        noise: NDArray[np.float32] = ((numbers >> np.uint64(13)) % np.uint64(300) + 400).astype(np.float32)
        planes = torch.from_numpy(noise).reshape(1, 1, 96, 64)
        digest = hashlib.sha256()
        for qp in (17, 33, 49):
            found = self.samples(
                planes[..., :64, :], planes[..., 64:, :].reshape(1, 2, 32, 32), qp, 64.0, (876, 896)
            )
            for part in found:
                digest.update(part.numpy().astype(np.int64).tobytes())
        return digest.hexdigest()


def _whole(weight: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Whole weights, and what sums of their products with activations in 2**-shift are to be scaled by."""
    exponent = torch.full((len(weight), 1, 1, 1), 14.0, dtype=torch.float64)
    while True:
        whole = torch.floor(weight * torch.exp2(exponent) + 0.5)
        over = whole.abs().sum((1, 2, 3), keepdim=True) * LIMIT >= 2**24
        if not bool(over.any()):
            break
        exponent = exponent - over.double()
    scale = torch.exp2(-exponent - shift).float().view(1, -1, 1, 1)
    return whole.float().contiguous(memory_format=torch.channels_last), scale


def _surroundings(planes: Tensor) -> Tensor:
    """Means of whole numbers over SURROUNDINGS x SURROUNDINGS samples, of those that the picture has.

    Sums are exact: of four luma phases they reach 49 * 4 * 1023 at most.
    """
    side, reach = SURROUNDINGS, SURROUNDINGS // 2

    def sums(x: Tensor) -> Tensor:
        across = torch.ones(x.shape[1], 1, 1, side)
        x = F.conv2d(x, across, None, 1, (0, reach), groups=x.shape[1])
        return F.conv2d(x, across.transpose(2, 3), None, 1, (reach, 0), groups=x.shape[1])

    return sums(planes) / sums(torch.ones_like(planes[:1, :1]))


def save_exact(model: RestorationFilter, shifts: Shifts, path: Path, facts: dict[str, Any]) -> None:
    """Write float16 weights with what makes them exact to `path` (.safetensors), and the model card."""
    tensors = {k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}
    rounded = RestorationFilter(model.config)
    rounded.load_state_dict({k: v.float() for k, v in tensors.items()})
    about = {"shifts": shifts, "answer": ExactRestoration(rounded, shifts).known_answer()}
    save_file(tensors, path, {FORMAT: json.dumps(about)})
    write_card(path, card_of(model.config) | facts)


def load_exact(path: Path) -> ExactRestoration:
    """The filter that `save_exact` wrote. Raises UnknownModel for a file that is not sound,
    InexactArithmetic where this machine does not give the known answer.
    """
    try:
        config = config_of(RestorationConfig, json.loads(path.with_suffix(".json").read_text())["config"])
        with safe_open(path, "pt") as opened:
            about = json.loads((opened.metadata() or {})[FORMAT])
            tensors = {key: opened.get_tensor(key).float() for key in opened.keys()}  # noqa: SIM118
        model = RestorationFilter(config)
        model.load_state_dict(tensors)
        result = ExactRestoration(model, about["shifts"])
        answer = result.known_answer()
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnknownModel(f"the filter weights {path.name} cannot be loaded: {error}") from error
    if answer != about["answer"]:
        raise InexactArithmetic(
            "this machine does not compute the filter exactly: pictures would come out different"
        )
    return result
