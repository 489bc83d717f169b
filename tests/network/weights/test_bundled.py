"""pip's EfficientNet-Lite0 is the model it is said to be."""

from __future__ import annotations

from importlib import metadata

import pytest
import torch
from torch import nn

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import bundled_checkpoint
from kernelviz.network.weights.names import BUNDLED_PACKAGE, bundled_path


def test_every_bundled_tensor_has_its_name(bundled):
    """296 of 296 names and shapes are those of timm's network, and the loaded numbers are the file's."""
    tensors = bundled_checkpoint(bundled.module).tensors
    state = bundled.module.state_dict()
    assert len(state) == 296
    assert {name: value.shape for name, value in tensors.items()} == {
        name: value.shape for name, value in state.items()
    }
    assert all(torch.equal(tensors[name], state[name]) for name in state)


def test_the_bundled_weights_see(bundled):
    """Grace Hopper is in academic gown, mortarboard and military uniform, as the published network says."""
    from matplotlib.cbook import get_sample_data
    from PIL import Image
    from timm.data import create_transform

    with get_sample_data("grace_hopper.jpg") as stream:
        image = Image.open(stream).convert("RGB")
    transform = create_transform(**bundled.source.preprocessing)
    with torch.no_grad():
        best = bundled.module(transform(image)[None]).topk(5).indices[0].tolist()
    assert {400, 667, 652} <= set(best)


def test_bundled_weights_name_the_installed_package(bundled):
    """Name and version are the installed package's own."""
    weights = bundled_checkpoint(bundled.module).weights
    assert weights.source == "bundled"
    assert weights.name == f"{BUNDLED_PACKAGE} {metadata.version(BUNDLED_PACKAGE)}"
    assert weights.sha256.startswith("57934424")  # its maker put the digest into the file's name


def test_no_package_no_bundled_weights(monkeypatch):
    """Without the package there is nothing, and no error."""

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert bundled_path() is None
    assert bundled_checkpoint(nn.Identity()) is None


def test_a_damaged_package_is_reported(monkeypatch, tmp_path):
    """A package without its file, or with other names in it, is a clear error."""
    monkeypatch.setattr("kernelviz.network.weights.checkpoints.bundled_path", lambda: tmp_path / "gone.pth")
    blocks = nn.Module()
    blocks.blocks = nn.Sequential(nn.Sequential(nn.Identity()))
    with pytest.raises(BadWeightsError, match=r"gone\.pth"):
        bundled_checkpoint(blocks)
    torch.save({"_blocks.7._unknown.weight": torch.ones(1)}, tmp_path / "gone.pth")
    with pytest.raises(BadWeightsError, match="unknown names"):
        bundled_checkpoint(blocks)
