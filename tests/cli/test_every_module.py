"""``kernels``, ``layers``, ``features`` and ``report`` end in pictures, or in one clear line, for every family."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from timm_modules import one_of_each
from torch import nn

SAMPLE = [
    "test_resnet", "test_vit", "test_nfnet", "test_mambaout", "test_coatnet", "test_efficientnet", "dla34",
    "levit_128s", "pit_s_224", "nest_small", "volo_d1_224", "resnetv2_18", "skresnet18", "ese_vovnet19b_slim",
    "xcit_nano_12_p8_224", "cpubone_nano", "pvt_v2_b0", "coat_lite_small", "hiera_small_224",
    "mobilenetv3_small_050", "edgenext_small", "selecsls42",
]  # fmt: skip


def check_every_picture(run, name):
    """As many pictures as torch counts convolutions, each whole, one an expert more; or what there is instead."""
    with torch.device("meta"):
        network = timm.create_model(name)
    convolutions = sum(isinstance(part, (nn.modules.conv._ConvNd)) for part in network.modules())
    convolutions += sum(getattr(part, "num_experts", 0) for part in network.modules() if "weight_shape" in vars(part))
    result = run("kernels", name, "-l", "*", "--weights", "random", "--style", "bare", "--json")
    document = result.document
    assert len(document["outputs"]) == convolutions
    assert document["warnings"] == []
    if convolutions:
        assert (result.code, document["errors"]) == (0, [])
    else:
        (error,) = document["errors"]
        assert result.code == 1
        assert error["message"].startswith(f"{name} has no convolution. Its patch embedding, ")
    for output in document["outputs"]:
        with Image.open(output["path"]) as image:
            image.verify()
    shutil.rmtree(Path("kernelviz-out"), ignore_errors=True)


@pytest.mark.sampled
@pytest.mark.parametrize("name", SAMPLE)
def test_a_picture_a_layer(run, name):
    """For twenty-two families."""
    check_every_picture(run, name)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), one_of_each())
def test_a_picture_a_layer_for_every_module_of_timm(run, module, name):
    """For a small network of each of timm's modules, and for one whose experts are mixed."""
    del module
    check_every_picture(run, name)


@pytest.mark.slow
def test_a_picture_an_expert(run):
    """For a network whose kernels are mixed for each image."""
    check_every_picture(run, "tf_efficientnet_cc_b0_4e")


def check_every_command(run, name):
    """``layers`` has a reason for each unknown field; maps and a page are whole, or one error states what there is not."""
    layers = run("layers", name, "--json")
    assert (layers.code, layers.document["errors"]) == (0, [])
    assert layers.document["layers"]
    for command, more in (("features", ["--style", "bare"]), ("report", [])):
        result = run(command, name, "sample:grace_hopper", "--weights", "random", "--json", *more)
        outputs, errors = result.document["outputs"], result.document["errors"]
        if result.code:
            assert (result.code, len(errors)) == (1, 1)
            assert name in errors[0]["message"]
            assert not outputs
        else:
            assert outputs
            assert not errors
        for output in outputs:
            path = Path(output["path"])
            if path.suffix == ".html":
                assert path.stat().st_size <= 8_000_000
                assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
            else:
                with Image.open(path) as image:
                    image.verify()
        shutil.rmtree(Path("kernelviz-out"), ignore_errors=True)


def test_every_command_with_a_small_network(run):
    """As for every module of timm below."""
    check_every_command(run, "test_resnet")


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), one_of_each())
def test_every_command_for_every_module_of_timm(run, module, name):
    """For a small network of each of timm's modules."""
    del module
    check_every_command(run, name)
