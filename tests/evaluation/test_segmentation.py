import numpy as np
import pytest

from nnvvc.evaluation.segmentation import confusion, mean_iou


def test_mean_iou() -> None:
    reference = np.array([[0, 0, 1, 1]], np.uint8)
    assert mean_iou(confusion(reference, reference, 3)) == 1
    half = np.array([[0, 1, 1, 1]], np.uint8)
    assert mean_iou(confusion(reference, half, 3)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(mean_iou(np.zeros((3, 3), np.int64)))
