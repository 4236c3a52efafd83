from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from nnvvc.errors import ConfigError
from nnvvc.evaluation import detection
from nnvvc.evaluation.detection import Detections, Detector, box_iou, suppress
from nnvvc.evaluation.networks import Placement, TaskNetwork, load_network
from nnvvc.models import detection_heads
from tests.evaluation.conftest import red_squares


def test_finds_red_squares_where_they_are(networks: Path) -> None:
    picture, boxes = red_squares(1)
    found = Detector(load_network("red", networks)).detect(picture).at_least(0.5)
    corners = sorted([x, y, x + w, y + h] for x, y, w, h in boxes)
    assert sorted(found.boxes.round().tolist()) == corners
    assert set(found.categories) == {1}


def test_json_keeps_detections(networks: Path) -> None:
    found = Detector(load_network("red", networks)).detect(red_squares(2)[0])
    again = Detections.from_json(found.to_json())
    np.testing.assert_allclose(again.boxes, found.boxes, atol=0.006)
    assert np.array_equal(again.categories, found.categories)


def test_missing_network_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        load_network("absent", tmp_path)


def test_unknown_head_is_refused(networks: Path, tmp_path: Path) -> None:
    (tmp_path / "red.onnx").write_bytes((networks / "red.onnx").read_bytes())
    text = (networks / "red.json").read_text().replace("decode('yolox', ...)", "decode('other', ...)")
    (tmp_path / "red.json").write_text(text)
    with pytest.raises(ConfigError, match="other"):
        Detector(TaskNetwork(tmp_path / "red.json"))


def test_suppression_is_within_a_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40]], np.float32)
    scores = np.array([0.5, 0.9, 0.6, 0.1], np.float32)
    assert suppress(boxes, scores, np.array([0, 0, 1, 0])).tolist() == [1, 2, 3]


def test_box_iou() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[1, 1 / 3, 0]], atol=1e-6)


def test_distance_heads_differ_in_their_centre() -> None:
    cells = 64 + 16 + 4 + 1
    pred = np.zeros((cells, 112), np.float32)
    # All weight on a distance of 2 strides on each side.
    pred[:, 80:112] = np.where(np.arange(8) == 2, 50, 0).repeat(4).reshape(8, 4).T.ravel()
    nano = detection_heads._nanodet(pred, 64, 64).boxes
    pico = detection_heads._picodet(pred, 64, 64).boxes
    np.testing.assert_allclose(nano[9], [8 - 16, 8 - 16, 8 + 16, 8 + 16], atol=1e-3)
    np.testing.assert_allclose(pico[9] - nano[9], 4, atol=1e-3)


def test_yolov5_head_centre_and_anchor() -> None:
    cells = 3 * (16 + 4 + 1)
    pred = np.full((cells, 85 + 32), -20, np.float32)
    # Second anchor (16, 30) of stride 8, cell (1, 2): all logits 0 are the middle of the cell and the anchor.
    pred[16 + 6, :6] = [0, 0, 0, 0, 20, 20]
    found = detection_heads._yolov5(pred, 32, 32)
    assert len(found.boxes) == 1
    np.testing.assert_allclose(found.boxes[0], [20 - 8, 12 - 15, 20 + 8, 12 + 15], atol=1e-4)
    assert found.scores[0, 0] == pytest.approx(1)


def test_fastestdet_head() -> None:
    pred = np.full((85, 2, 2), 1e-6, np.float32)
    pred[1:5] = 0
    pred[0, 1, 0], pred[5 + 7, 1, 0] = 0.5, 1.0
    found = detection_heads._fastestdet(pred, 32, 32)
    np.testing.assert_allclose(found.boxes[2], [0 - 8, 16 - 8, 0 + 8, 16 + 8], atol=1e-5)
    assert found.scores[2].argmax() == 7 and found.scores[2].max() == pytest.approx(0.5**0.6)


def test_masks_are_cropped_and_placed() -> None:
    prototypes = np.full((1, 8, 8), -1, np.float32)
    prototypes[0, :, :4] = 1
    # A picture of 64x64 that the network saw at half size, 32x32: its left half is the object.
    placement = Placement(64, 64, 0.5, 0.5)
    boxes = np.array([[0, 16, 64, 48]], np.float32)
    (code,) = detection._masks(np.ones((1, 1), np.float32), prototypes, boxes, placement)
    mask = coco_mask.decode(code)
    expected = np.zeros((64, 64))
    expected[16:48, :32] = 1
    assert mask.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert (mask != expected).sum() <= 32
