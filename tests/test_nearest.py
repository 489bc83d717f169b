"""Wrong names lead to right ones."""

from __future__ import annotations

import pytest
import timm

from kernelviz.wording import NEAR, nearest_names


@pytest.mark.parametrize("spelling", ["RESNET18D", "resnet-18d", "ResNet.18D", "resnet18d"])
def test_case_and_joints_do_not_count(spelling):
    """Another case, a dash or a dot leads to the same name first."""
    assert nearest_names(["resnet18", "resnetv2_18d", "resnet18d", "resnet34d"], spelling)[0] == "resnet18d"


def test_the_best_spelling_counts():
    """Of several spellings of one wish, the likest one decides."""
    assert nearest_names(["abcdef", "xyz"], "xyz_and_a_long_tail", "xyz", count=1) == ["xyz"]


def test_nothing_is_near_to_nothing():
    """An empty name has no neighbours, and a very long one takes no time."""
    assert nearest_names(["a", "b"], "", "") == []
    assert nearest_names(["ab", "xx"], "a" * 1_000_000)[0] == "ab"


MISSPELT = {
    "resnt50": "resnet50",
    "ResNet-50": "resnet50",
    "resnet_18": "resnet18",
    "efficentnet_b0": "efficientnet_b0",
    "EfficientNetB0": "efficientnet_b0",
    "mobilenet_v3_large_100": "mobilenetv3_large_100",
    "vit_base_16_224": "vit_base_patch16_224",
    "vitbase_patch16_224": "vit_base_patch16_224",
    "convnext-tiny": "convnext_tiny",
    "convnxt_tiny": "convnext_tiny",
    "densnet121": "densenet121",
    "densenet-121": "densenet121",
    "inceptionv3": "inception_v3",
    "vgg-16": "vgg16",
    "VGG16BN": "vgg16_bn",
    "swin_tiny_patch4_window7_244": "swin_tiny_patch4_window7_224",
    "regnet_y_008": "regnety_008",
    "xceptoin41": "xception41",
    "resnext50": "resnext50_32x4d",
    "wide_resnet50": "wide_resnet50_2",
}


@pytest.mark.parametrize("spelling", MISSPELT)
def test_twenty_misspellings_of_models(spelling):
    """Of timm's names the one that was meant comes first."""
    assert nearest_names(timm.list_models(), spelling, least=NEAR)[0] == MISSPELT[spelling]


@pytest.mark.parametrize("word", ["nosuch", "banana", "bert", "gpt2", "unet", "yolov5", "xyz", "nosuch_model_x"])
def test_what_is_no_models_name_has_no_neighbours(word):
    """A far-fetched suggestion is worse than none."""
    assert nearest_names(timm.list_models(), word, least=NEAR) == []


def test_a_name_half_typed():
    """What begins so comes before what differs in a letter, the shortest first."""
    names = ["resnet50", "resnext50_32x4d", "resnext50d_32x4d_long"]
    assert nearest_names(names, "resnext50") == ["resnext50_32x4d", "resnext50d_32x4d_long", "resnet50"]
