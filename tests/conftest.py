"""Fixtures that more than one test module takes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def bundled():
    """EfficientNet-Lite0 with the weights of its pip package; tests only read it."""
    from kernelviz.network.models import load_model

    return load_model("tf_efficientnet_lite0")


@pytest.fixture(scope="session")
def tiny():
    """A small residual network with random weights; tests only read it."""
    from kernelviz.network.models import load_model

    return load_model("test_resnet", weights="random")
