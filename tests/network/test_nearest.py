"""Wrong names lead to right ones."""

from __future__ import annotations

import pytest

from kernelviz.network.nearest import nearest_names


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
