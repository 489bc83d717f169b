"""Fixtures that more than one test module takes."""

from __future__ import annotations

import atexit
import gc
import math
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from kernelviz.records import ConvLayer, FeatureMaps, Image, KernelBank, SeenImage, Source

# Read when torch is imported. Its threads spin while they wait, much longer than a layer of a small network takes:
# workers, which share the processors, would spend most of their time on that. Benchmarks run in no worker.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

os.environ.pop("COLUMNS", None)  # workers have one: tables are as wide as in a pipe

# Read when the hub's client is imported: no test finds what this machine has in its cache, or asks a real hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = os.environ["TORCH_HOME"] = tempfile.mkdtemp(prefix="kernelviz-tests-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

# A file instead of the directory: nothing of a network is remembered, except by tests with a cache of their own.
CACHE = Path(os.environ["HF_HOME"], "cache")
os.environ["XDG_CACHE_HOME"] = str(CACHE)
(CACHE / "kernelviz").mkdir(parents=True)
(CACHE / "kernelviz" / "networks").touch()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of tests marked ``sampled``, about two of three combinations of parameters are slow, always the same ones."""
    for item in items:
        if item.get_closest_marker("sampled") and zlib.crc32(item.name.encode()) % 3:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Keep what was imported out of the garbage collector's rounds, which take a sixth of the time otherwise."""
    gc.collect()
    gc.freeze()


def make_bank(shape=(32, 3, 3, 3), *, name="conv1", label="resnet18, random weights (seed 0)", groups=1, weight=None):
    """A bank of seeded weights, or of the given ones, with a layer and a source that have these names."""
    if weight is None:
        weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    outputs, inputs, *kernel = weight.shape
    rank = len(kernel)
    layer = ConvLayer(
        name=name,
        kind=f"Conv{rank}d",
        in_channels=inputs * groups,
        out_channels=outputs,
        kernel_size=tuple(kernel),
        stride=(1,) * rank,
        padding=(0,) * rank,
        dilation=(1,) * rank,
        groups=groups,
        bias=False,
        transposed=False,
        weight_shape=weight.shape,
        params=math.prod(weight.shape),
    )
    return KernelBank(weight, layer, Source("resnet18", label, "resnet18.random", 1), groups)


def make_odd_weight():
    """Sixteen kernels of 5 × 5 within ±1: 3 as good as zero, 5, 9 and 12 broken, 6 constant, 11 faint, 14 too large."""
    weight = np.random.default_rng(3).uniform(-0.8, 0.8, (16, 1, 5, 5))
    weight[3] = 0.004
    weight[5, 0, 1, 3] = np.nan
    weight[6] = 0.35
    weight[9] = np.nan
    weight[11] *= 0.04
    weight[12, 0, 2, 2] = -np.inf
    weight[14] *= 6
    return weight


def make_maps(
    shape=(8, 14, 14), *, name="layer1", label="resnet18, random weights (seed 0)", values=None, seen=(96, 96), **more
):
    """Seeded feature maps, or the given ones, of a layer and an image that have these names."""
    if values is None:
        values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pixels = np.random.default_rng(1).integers(0, 255, (*seen, 3)).astype(np.uint8)
    image = Image(
        pixels, more.pop("image", "photo.jpg"), "photo", None, "0" * 64, "JPEG", "RGB", ("alpha put on white",)
    )
    return FeatureMaps(
        values,
        layer=name,
        kind="Conv2d",
        shape=values.shape,
        source=Source("resnet18", label, "resnet18.random", 1),
        image=image,
        seen=SeenImage(pixels, (0.0, 0.0), (1.0, 1.0), ("cropped: the network sees the middle",)),
        input_size=(3, *seen),
        **more,
    )


@pytest.fixture
def new_maps():
    """The function that makes feature maps."""
    return make_maps


@pytest.fixture
def new_bank():
    """The function that makes banks."""
    return make_bank


@pytest.fixture
def odd_weight():
    """A weight with every oddity that pictures mark."""
    return make_odd_weight()


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
