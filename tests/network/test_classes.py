"""The five likeliest classes: numbers are torch's, names are ImageNet's, and none are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from timm.data import ImageNetInfo

from kernelviz.network.classes import class_names, first_classes
from kernelviz.network.preprocessing import prepare


@pytest.fixture(scope="module")
def scores(bundled):
    """The logits of Grace Hopper's photograph."""
    from kernelviz import read_image

    batch, _ = prepare(bundled, read_image("sample:grace_hopper"))
    with torch.no_grad():
        return bundled.module(batch)


def test_grace_hopper(bundled, scores):
    """The published first three: academic gown 0.24, mortarboard 0.21, military uniform 0.18."""
    first = first_classes(bundled, scores)
    assert [score.label for score in first[:3]] == ["academic gown", "mortarboard", "military uniform"]
    assert [round(score.probability, 2) for score in first[:3]] == [0.24, 0.21, 0.18]
    expected = torch.softmax(scores[0].double(), 0).topk(5)
    assert [score.index for score in first] == expected.indices.tolist()
    assert [score.probability for score in first] == expected.values.tolist()


def test_the_first_name_of_each_class(bundled):
    """A thousand names, each the first of timm's description."""
    names, info = class_names(bundled), ImageNetInfo("imagenet-1k")
    assert len(names) == 1000
    assert all(info.index_to_description(index).startswith(name) for index, name in enumerate(names))
    assert not any("," in name for name in names)


def test_no_names_where_none_are_known(bundled, tiny, scores):
    """Random weights have no classes; those of a file no names; broken and foreign outputs none."""
    assert first_classes(tiny, torch.zeros(1, 1000)) == ()
    own = replace(bundled.source.weights, source="file")
    file = replace(bundled, source=replace(bundled.source, weights=own))
    assert {score.label for score in first_classes(file, scores)} == {None}
    assert [score.index for score in first_classes(file, scores)] == [
        score.index for score in first_classes(bundled, scores)
    ]
    for output in (scores[:, :999], scores[0], torch.full_like(scores, torch.nan), None, {"logits": scores}):
        assert first_classes(bundled, output) == ()
    assert len(first_classes(bundled, (scores, None))) == 5
