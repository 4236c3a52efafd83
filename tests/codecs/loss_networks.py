"""Loss networks for tests of what encoders choose for machines."""

import json
from pathlib import Path

import pytest

from nnvvc.adapt import block_choice
from tests.models.test_tasknets import make_network


def use_loss_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, made here."""
    pytest.importorskip("onnx")
    for name in block_choice.FEATURES:
        make_network(folder / f"{name}.onnx")
        given = {"order": "RGB", "mean": [0, 0, 0], "scale": [0.01, 0.01, 0.01]}
        (folder / f"{name}.json").write_text(json.dumps({"input": given}))
    monkeypatch.setenv("NNVVC_NETS", str(folder))
    for features in ("FEATURES", "DETECTORS"):
        names = getattr(block_choice, features)
        monkeypatch.setattr(block_choice, features, dict.fromkeys(names, ("feat8",)))
    block_choice.loss_network.cache_clear()
