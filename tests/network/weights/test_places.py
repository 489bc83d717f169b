"""Every tag of timm has its place, and it is the one where timm itself would look."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
from timm.models import get_pretrained_cfg
from timm.models._builder import _resolve_pretrained_source
from timm.models._hub import _get_safe_alternatives

from kernelviz.network.model import read_registry
from kernelviz.network.weights.names import WeightsLocation, hub_location

TIMMS_WORDS = {"hf-hub": "hub", "url": "url", "": "none"}


def all_entries():
    """Every entry of the registry, by its full name."""
    for architecture, entries in read_registry().architectures.items():
        for entry in entries:
            yield f"{architecture}.{entry.tag}" if entry.tag else architecture, entry


def test_every_tag_has_the_location_that_timm_means():
    """Hub, link or nowhere, as timm's own rule says, and nobody was asked."""
    for name, entry in all_entries():
        word, where = _resolve_pretrained_source(get_pretrained_cfg(name).to_dict())
        assert entry.location.kind == TIMMS_WORDS[word], name
        assert (where or "") == (entry.location.url or entry.location.name), name


def test_every_trained_tag_is_there():
    """What timm lists as pretrained is what has a place; most of it on the hub."""
    kinds = Counter(entry.location.kind for _, entry in all_entries())
    located = {name for name, entry in all_entries() if entry.location.kind != "none"}
    assert located == set(timm.list_models(pretrained=True))
    assert len(located) == kinds["hub"] + kinds["url"]
    assert kinds["hub"] > 1500
    assert 0 < kinds["url"] < 100


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "open_clip_pytorch_model.bin", "other.bin", "a.safetensors", "a.pth"]
)
def test_safe_files_come_first_as_in_timm(name):
    """The names that are tried before are timm's."""
    assert hub_location("a/b", name).files == (*_get_safe_alternatives(name), name)


def test_names_of_locations():
    """A revision is part of the name, a link is called by its file."""
    assert hub_location("a/b").name == "a/b"
    assert hub_location("a/b@v1").name == "a/b@v1"
    assert WeightsLocation(url="http://somewhere/x/net-0123.pth").name == "net-0123.pth"
