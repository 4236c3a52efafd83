"""Made content: pictures with red squares, and a network that finds red squares."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SQUARE = 32


def red_squares(seed: int, height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """A textured picture and the boxes (left, top, width, height) of its red squares."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (height // 8, width // 8), np.uint8)
    grey = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    boxes = []
    for column in rng.permutation(width // SQUARE)[:2]:
        x, y = int(column) * SQUARE, SQUARE * int(rng.integers(0, height // SQUARE))
        picture[y : y + SQUARE, x : x + SQUARE] = (230, 20, 20)
        boxes.append([x, y, SQUARE, SQUARE])
    return picture, boxes


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `red`, a detector in YOLOX's form: a square at each cell of stride 32 that is red."""
    folder = tmp_path_factory.mktemp("networks")
    nodes, parts, weights = [], [], []
    for stride in (8, 16, 32):
        # x, y: the cell's middle. w, h: log of size over stride. Then objectness and two classes.
        kernel = np.zeros((7, 3, 1, 1), np.float32)
        bias = np.array([0.5, 0.5, np.log(SQUARE / stride), np.log(SQUARE / stride), -9, 9, -9], np.float32)
        if stride == 32:
            kernel[4, :, 0, 0] = (20, -20, 0)
        else:
            bias[4] = -20
        square = [stride, stride]
        weights += [
            numpy_helper.from_array(kernel, f"k{stride}"),
            numpy_helper.from_array(bias, f"b{stride}"),
        ]
        nodes += [
            helper.make_node("AveragePool", ["input"], [f"p{stride}"], kernel_shape=square, strides=square),
            helper.make_node("Conv", [f"p{stride}", f"k{stride}", f"b{stride}"], [f"c{stride}"]),
            helper.make_node("Reshape", [f"c{stride}", "flat"], [f"r{stride}"]),
        ]
        parts.append(f"r{stride}")
    weights += [
        numpy_helper.from_array(np.array([0, 7, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array([4, 3], np.int64), "split"),
    ]
    nodes += [
        helper.make_node("Concat", parts, ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Split", ["rows", "split"], ["box", "logits"], axis=2),
        helper.make_node("Sigmoid", ["logits"], ["sure"]),
        helper.make_node("Concat", ["box", "sure"], ["pred"], axis=2),
        helper.make_node("Identity", ["p8"], ["feat8"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "red",
        [value("input", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("pred", TensorProto.FLOAT, None), value("feat8", TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "red.onnx"))
    sidecar = {
        "file": "red.onnx",
        "input": {"order": "RGB", "mean": [0, 0, 0], "scale": [1 / 255] * 3, "resize": "keep aspect"},
        "decode_reference": "decode('yolox', ...)",
        "classes": ["red", "other"],
    }
    (folder / "red.json").write_text(json.dumps(sidecar))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: `squares.json` over four pictures with boxes, a clip of a moving square with tracks."""
    folder = tmp_path_factory.mktemp("data")
    images, annotations = [], []
    for number in range(1, 5):
        picture, boxes = red_squares(number)
        write_picture(folder / f"{number}.png", picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 128})
        annotations += [
            {"image_id": number, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for b in boxes
        ]
    for n, annotation in enumerate(annotations, 1):
        annotation["id"] = n
    categories = [{"id": 1, "name": "red"}]
    (folder / "squares.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    (folder / "clip").mkdir()
    frames, tracks = [], []
    for n in range(4):
        picture = np.full((64, 128, 3), 120, np.uint8)
        picture[:SQUARE, n * SQUARE : (n + 1) * SQUARE] = (230, 20, 20)
        write_picture(folder / "clip" / f"{n:05d}.png", picture)
        frames.append({"id": n, "frame": n, "width": 128, "height": 64})
        box = {"image_id": n, "category_id": 1, "bbox": [n * SQUARE, 0, SQUARE, SQUARE], "area": SQUARE**2}
        tracks.append(box | {"id": n + 1, "track_id": 7, "iscrowd": 0})
    (folder / "gt.json").write_text(
        json.dumps({"images": frames, "annotations": tracks, "categories": categories})
    )
    clip = {"name": "moving", "path": "clip/%05d.png", "frames": 4, "width": 128, "height": 64, "fps": 25}
    (folder / "clips.json").write_text(json.dumps([clip | {"use": "dev", "gt": "gt.json"}]))
    return folder
