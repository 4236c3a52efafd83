"""Loss networks for tests of what encoders choose for machines."""

import json
from pathlib import Path

import pytest

from nnvvc.adapt import block_choice, loss_networks
from tests.models.test_tasknets import make_network


def use_loss_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, made here."""
    pytest.importorskip("onnx")
    for name in block_choice.FEATURES:
        make_network(folder / f"{name}.onnx")
        given = {"order": "RGB", "mean": [0, 0, 0], "scale": [0.01, 0.01, 0.01]}
        (folder / f"{name}.json").write_text(json.dumps({"input": given}))
    monkeypatch.setenv("NNVVC_NETS", str(folder))
    for module, features in ((block_choice, "FEATURES"), (loss_networks, "DETECTORS")):
        names = getattr(module, features)
        monkeypatch.setattr(module, features, dict.fromkeys(names, ("feat8",)))
    loss_networks.loss_network.cache_clear()
