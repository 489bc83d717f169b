"""Names of repositories and directories: what is built when only a part of it is available, and how it is reported."""

from __future__ import annotations

import json
import os

import pytest
import torch
from hub_checks import same
from loopback_hub import COMMIT
from restraints import bounds

from kernelviz.errors import BadWeightsError, KernelvizError, NoWeightsError, UnknownModelError
from kernelviz.network.model import load_model

PUBLISHED = "hf-hub:timm/test_resnet.r160_in1k"
LITE = "hf-hub:timm/tf_efficientnet_lite0.in1k"


def test_a_published_repository_whose_config_is_not_to_be_had(hub):
    """The registry knows what lies there: random weights, a file or the architecture alone need no hub that answers."""
    hub.mode = "500"
    for weights in ("random", None):
        model = load_model(PUBLISHED, weights=weights)
        assert (model.source.model, model.input_size) == ("test_resnet", (3, 160, 160))
    hinted = "or give `--weights random` or `--weights FILE`"
    with pytest.raises(NoWeightsError, match="reported an internal error") as caught:
        load_model(PUBLISHED)
    assert hinted in caught.value.hint


def test_the_weights_of_a_repository_without_config(hub, published):
    """They are loaded as timm's registry says, and the names are the repository's."""
    model = load_model(PUBLISHED)
    assert same(model, published[0])
    assert (model.source.label, model.source.stem) == (
        "test_resnet, weights of timm/test_resnet.r160_in1k",
        "test_resnet.r160_in1k",
    )
    assert (model.source.tag, model.source.licence) == ("r160_in1k", "apache-2.0")
    assert ("HEAD", "/timm/test_resnet.r160_in1k/resolve/main/config.json") in hub.requests


@pytest.mark.parametrize("weights", ["auto", "bundled"])
def test_bundled_weights_by_the_name_of_their_repository(hub, weights):
    """What is hinted for the architecture's own repository is taken, and said to be the bundled ones."""
    hub.mode = "500"
    model = load_model(LITE, weights=weights)
    assert model.source.weights.source == "bundled"
    with pytest.raises(NoWeightsError) as caught:
        load_model(LITE, weights="hub")
    assert "`--weights bundled`" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["hf-hub:me/tf_efficientnet_lite0.in1k", "hf-hub:me/mine-tf_efficientnet_lite0", f"{LITE}@v2"],
)
def test_other_repositories_have_no_bundled_weights(hub, name):
    """A name that only sounds so gets no bundled weights, and no hint to take them for it."""
    hub.mode = "500"
    with pytest.raises(NoWeightsError) as caught:
        load_model(name)
    assert "give `--weights bundled`" not in caught.value.hint


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("me/test_resnet.mine", "type `kernelviz kernels test_resnet` with `--weights random` or `--weights FILE`"),
        ("me/mine", "name an architecture of timm with `--weights random` or `--weights FILE`"),
    ],
)
def test_a_hint_for_what_cannot_be_built(hub, name, way):
    """Without its config a repository of somebody's cannot be built at all, so what works is hinted."""
    hub.mode = "500"
    for weights in ("auto", "random", "bundled"):
        with pytest.raises(NoWeightsError) as caught:
            load_model(f"hf-hub:{name}", weights=weights)
        assert way in caught.value.hint


def test_the_cached_config_alone_is_no_cached_model(hub, published):
    """The way back to the cache is hinted where all of it is there."""
    hub.add("me/mine", "config.json", b'{"architecture": "test_resnet"}')
    with pytest.raises(NoWeightsError):
        load_model("hf-hub:me/mine")
    hub.mode = "500"
    with pytest.raises(NoWeightsError) as caught:
        load_model("hf-hub:me/mine", weights="hub")
    assert "--weights auto" not in caught.value.hint
    hub.mode = "well"
    hub.add("me/mine", "model.safetensors", published[1])
    load_model("hf-hub:me/mine")
    hub.mode = "500"
    with pytest.raises(NoWeightsError) as caught:
        load_model("hf-hub:me/mine", weights="hub")
    assert caught.value.hint.endswith("use those in the cache with `--weights auto`.")


def test_what_was_typed_is_what_is_named(hub, tmp_path):
    """No message calls a repository by the directory of the cache from which timm builds it."""
    facts = {"architecture": "test_resnet", "pretrained_cfg": {"no_such_fact": 1}}
    hub.add("me/odd", "config.json", json.dumps(facts).encode())
    for weights in ("bundled", "random"):
        with pytest.raises(KernelvizError) as caught:
            load_model("hf-hub:me/odd", weights=weights)
        assert "hf-hub:me/odd" in caught.value.what
        assert str(tmp_path) not in caught.value.what


def test_a_config_of_a_repository_that_is_none(hub, published, tmp_path):
    """Where no checksum finds the damage, fetching it anew is hinted."""
    folder = tmp_path / "cache" / "models--me--mine"
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT / "config.json").write_text("{")
    with pytest.raises(BadWeightsError, match="not a model configuration") as caught:
        load_model("hf-hub:me/mine")
    assert "fetch it again with `--weights hub`" in caught.value.hint
    hub.add("me/mine", "config.json", b'{"architecture": "test_resnet"}')
    hub.add("me/mine", "model.safetensors", published[1])
    assert same(load_model("hf-hub:me/mine", weights="hub"), published[0])


@pytest.fixture
def directory(tmp_path):
    """A directory with a configuration alone."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "config.json").write_text('{"architecture": "test_resnet"}')
    return path


def test_a_directory_without_weights(directory, tmp_path, tiny):
    """Random weights, a file from elsewhere or none at all need no weights in it; its own are missed."""
    torch.save(tiny.module.state_dict(), tmp_path / "weights.pt")
    name = f"local-dir:{directory}"
    assert load_model(name, weights="random").source.label == "test_resnet, random weights (seed 0, built as mine)"
    assert load_model(name, weights=None).source.weights is None
    assert same(load_model(name, weights=tmp_path / "weights.pt"), tiny.module)
    with pytest.raises(BadWeightsError, match="holds no weights") as caught:
        load_model(name)
    assert "--weights random" in caught.value.hint


def test_the_home_directory_in_a_path(directory, monkeypatch, tmp_path):
    """A shell does not expand ``~`` behind a colon, so it is done here; a user who is none is no crash."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_model(f"local-dir:~/{directory.name}", weights="random").source.model == "test_resnet"
    with pytest.raises(BadWeightsError, match="cannot be read"):
        load_model("local-dir:~nobody-is-called-so/mine")


def test_directories_that_are_none(tmp_path):
    """An empty path is wrong usage; one that leads nowhere gets three lines, the last with what belongs there."""
    hint = "Give a directory with config.json and model.safetensors."
    with pytest.raises(UnknownModelError) as empty:
        load_model("local-dir:")
    assert empty.value.hint == hint
    with pytest.raises(BadWeightsError) as missing:
        load_model(f"local-dir:{tmp_path / 'x'}")
    assert str(missing.value).splitlines()[1:] == ["No such file or directory.", hint]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
@pytest.mark.parametrize("kind", ["pipe", "zeros"])
def test_a_configuration_that_never_ends_is_not_read(tmp_path, kind):
    """A pipe or a device as config.json is rejected at once, without filling the memory."""
    if kind == "pipe":
        os.mkfifo(tmp_path / "config.json")
    else:
        (tmp_path / "config.json").symlink_to("/dev/zero")
    with bounds(5), pytest.raises(BadWeightsError, match="cannot be read") as caught:
        load_model(f"local-dir:{tmp_path}")
    assert caught.value.why == "It is not a regular file."


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("foo:bar", ""),
        ("hfhub:a/b", "Try hf-hub:a/b. "),
        ("hub:a/b", "Try hf-hub:a/b. "),
        ("local_dir:x", "Try local-dir:x. "),
        ("localdir:./x", "Try local-dir:./x. "),
        ("https://example.com/a/b", ""),
    ],
)
def test_the_prefixes_that_exist_are_offered(name, nearest):
    """A name with an unknown prefix is refused with all forms of names, and with the nearest prefix in place of its own."""
    with pytest.raises(UnknownModelError) as caught:
        load_model(name, weights=None)
    forms = "hf-hub:org/name, local-dir:PATH, torchvision:NAME, my_net.py:Net or package.module:function"
    assert caught.value.hint == f"{nearest}Names are of timm, or {forms}."
