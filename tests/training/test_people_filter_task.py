"""Training of the filter for people."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nnvvc.media.colour import rgb_to_picture
from nnvvc.picture import Matrix
from nnvvc.training.filter_data import BT709, make_patches
from nnvvc.training.people_filter_task import PeopleFilterTask, log_error, to_planes


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    noise = np.random.default_rng(0).integers(0, 255, (14, 15, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), cv2.resize(noise, (300, 280), interpolation=cv2.INTER_NEAREST))
    make_patches([folder / "a.png"], folder, part=1, shares={"1": 1}, qps=(42,))
    return folder


def test_planes_are_those_of_the_colour_module() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    picture = rgb_to_picture(rgb, 10, Matrix.BT709)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    luma, chroma = to_planes(tensor, torch.tensor([BT709]))
    np.testing.assert_allclose(64 + 876 * luma[0, 0], picture.planes[0], atol=0.51)
    np.testing.assert_allclose(512 + 896 * chroma[0, 1], picture.planes[2], atol=0.51)


def test_log_error_is_relative() -> None:
    wanted = torch.zeros(2, 1, 4, 4)
    loss = log_error(wanted + 0.1, wanted, wanted + 0.2)
    assert loss.tolist() == pytest.approx([np.log(0.25)] * 2, abs=1e-4)


def test_a_few_steps_gain_decibels(coded: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = PeopleFilterTask(str(coded), config={"widths": [8, 8, 8], "blocks": [0, 1]}, batch=2)
    assert task.model.config.ups == (1,)
    optimizer = torch.optim.Adam(task.model.parameters(), 1e-3)
    gains = []
    for _, batch in zip(range(40), task.batches(0), strict=False):
        loss, facts = task.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        gains.append(facts["dB"])
    assert gains[-1] > 0.05 > gains[0]
    task.export(tmp_path, {})
    assert (tmp_path / "filter.json").exists()
