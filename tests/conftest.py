"""Fixtures that more than one test module takes."""

from __future__ import annotations

import os
import tempfile

import pytest

# Read when the hub's client is imported: no test finds what this machine has in its cache, or asks a real hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = os.environ["TORCH_HOME"] = tempfile.mkdtemp(prefix="kernelviz-tests-")


@pytest.fixture(scope="session")
def bundled():
    """EfficientNet-Lite0 with the weights of its pip package; tests only read it."""
    from kernelviz.network.model import load_model

    return load_model("tf_efficientnet_lite0")


@pytest.fixture(scope="session")
def tiny():
    """A small residual network with random weights; tests only read it."""
    from kernelviz.network.model import load_model

    return load_model("test_resnet", weights="random")
