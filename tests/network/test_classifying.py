"""Classes in the library: those of the network's own pass, and none that mean nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import kernelviz
from kernelviz.network.preprocessing import prepare


def test_the_first_classes_are_torchs(bundled):
    """Indices and shares of an image and of a ready tensor are those of softmax over the model's own output."""
    image = kernelviz.read_image("sample:grace_hopper")
    batch, _ = prepare(bundled, image)
    with torch.no_grad():
        expected = torch.softmax(bundled.module(batch)[0].double(), 0).topk(5)
    for given in (image, batch, batch[0]):
        found = kernelviz.classify(bundled, given)
        assert [score.index for score in found] == expected.indices.tolist()
        assert [score.probability for score in found] == expected.values.tolist()
    assert found[0] == kernelviz.ClassScore(found[0].index, "academic gown", found[0].probability)


def test_no_classes_where_none_mean_anything(tiny):
    """Random weights have none; a plain module's are not known."""
    size = (1, *tiny.input_size)
    assert kernelviz.classify(tiny, torch.zeros(size)) == ()
    with pytest.raises(kernelviz.KernelvizError, match="Only a Model has known classes"):
        kernelviz.classify(nn.Conv2d(3, 4, 1), torch.zeros(size))
