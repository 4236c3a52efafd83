"""Task networks: ONNX files with a sidecar json that says how a picture goes in, run by onnxruntime.

Sidecar fields read here: `file`, `input` (`order`, `mean`, `scale`, `resize`, `size_trained`), `inputs` (for
a fixed input size), `classes`, and `decode_reference` or `head` for the form of the output.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.errors import ConfigError

Rgb = NDArray[np.uint8]
"""(height, width, 3), red first, 0 to 255."""
Tensor = NDArray[np.float32]

SIZE_MULTIPLE = 32
"""Networks without a trained size take any multiple of their coarsest stride."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture of (height, width) lies in the network's input: scaled, at the top left."""

    height: int
    width: int
    scale_y: float
    scale_x: float


class TaskNetwork:
    """One network. Threads default to one, so that a score never depends on how busy the machine is."""

    def __init__(self, sidecar: Path, threads: int = 1) -> None:
        """Raises ConfigError where the sidecar or the network is missing or not understood."""
        import onnxruntime

        try:
            self.description: dict[str, Any] = json.loads(sidecar.read_text())
            weights = (sidecar.parent / self.description["file"]).read_bytes()
            how = self.description["input"]
            self._mean = np.array(how["mean"], np.float32)
            self._scale = np.array(how["scale"], np.float32)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{sidecar}: not a readable task network: {error}") from error
        self.name = sidecar.stem
        self.sha256 = hashlib.sha256(weights).hexdigest()
        self.classes: list[str] = self.description.get("classes", [])
        self._bgr = how.get("order", "RGB") == "BGR"
        self._letterbox, self._pad = _resize_rule(how.get("resize", ""))
        self._size = self._input_size(how)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.outputs: list[str] = [o.name for o in self._session.get_outputs()]

    @property
    def head(self) -> str:
        """The form of the output: `yolox`, `yolov5`, `nanodetplus`, `picodet`, `fastestdet`, or ''."""
        found = re.search(r"decode\('(\w+)'", self.description.get("decode_reference", ""))
        return str(self.description.get("head", found.group(1) if found else ""))

    def prepare(self, rgb: Rgb) -> tuple[Tensor, Placement]:
        """A picture as the network's input (1, 3, H, W), and where in it the picture lies."""
        height, width = rgb.shape[:2]
        if self._size is None:
            pad_y, pad_x = -height % SIZE_MULTIPLE, -width % SIZE_MULTIPLE
            image = cv2.copyMakeBorder(rgb, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE)
            return self._normalise(image), Placement(height, width, 1.0, 1.0)
        size_y, size_x = self._size
        if not self._letterbox:
            image = cv2.resize(rgb, (size_x, size_y), interpolation=cv2.INTER_LINEAR)
            return self._normalise(image), Placement(height, width, size_y / height, size_x / width)
        ratio = min(size_y / height, size_x / width)
        inner_y, inner_x = max(1, round(height * ratio)), max(1, round(width * ratio))
        image = np.full((size_y, size_x, 3), self._pad, np.uint8)
        image[:inner_y, :inner_x] = cv2.resize(rgb, (inner_x, inner_y), interpolation=cv2.INTER_LINEAR)
        return self._normalise(image), Placement(height, width, inner_y / height, inner_x / width)

    def run(self, tensor: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        """The named outputs for one prepared input."""
        result: list[Tensor] = self._session.run(list(outputs), {self._input: tensor})
        return result

    def _normalise(self, image: NDArray[Any]) -> Tensor:
        ordered = image[..., ::-1] if self._bgr else image
        planes = (ordered.astype(np.float32) - self._mean) * self._scale
        return np.ascontiguousarray(planes.transpose(2, 0, 1)[None])

    def _input_size(self, how: dict[str, Any]) -> tuple[int, int] | None:
        if "size_trained" in how:
            return int(how["size_trained"]), int(how["size_trained"])
        shape: list[Any] = next(iter(self.description.get("inputs", {}).values()), [])[-2:]
        if len(shape) == 2 and all(isinstance(v, int) for v in shape):
            return shape[0], shape[1]
        return None


def load_network(name: str, folder: Path | None = None, threads: int = 1) -> TaskNetwork:
    """The network `name`.json in `folder`, by default the folder that NNVVC_NETS names."""
    if folder is None:
        if "NNVVC_NETS" not in os.environ:
            raise ConfigError("set NNVVC_NETS to the folder of task networks (ONNX files with sidecar json)")
        folder = Path(os.environ["NNVVC_NETS"])
    return TaskNetwork(folder / f"{name}.json", threads)


def _resize_rule(text: str) -> tuple[bool, int]:
    pad = re.search(r"pad value (\d+)", text)
    return "keep aspect" in text, int(pad.group(1)) if pad else 0
