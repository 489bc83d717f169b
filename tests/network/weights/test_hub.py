"""Weights from a hub on loopback, asked by the real client: what arrives, what is kept, and every way to fail."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from hub_checks import failure, same
from loopback_hub import COMMIT, files_in, pointed_at

from kernelviz.errors import NoWeightsError, UsageError
from kernelviz.network.model import load_model
from kernelviz.network.weights import hub as hub_module
from kernelviz.network.weights import hub_cache
from kernelviz.network.weights.names import WeightsLocation

REPO = "timm/test_resnet.r160_in1k"
FOLDER = "models--timm--test_resnet.r160_in1k"

pytestmark = pytest.mark.usefixtures("hub")


def test_the_hubs_weights_arrive(published):
    """Every number is the hub's, and the model says tag, licence, repository and hash."""
    model = load_model("test_resnet")
    assert same(model, published[0])
    source = model.source
    assert (source.label, source.stem) == ("test_resnet.r160_in1k",) * 2
    assert (source.tag, source.licence) == ("r160_in1k", "apache-2.0")
    assert (source.weights.source, source.weights.name) == ("hub", REPO)
    assert source.weights.sha256 == hashlib.sha256(published[1]).hexdigest()


def test_the_cache_is_as_the_client_keeps_it(published, tmp_path):
    """The hub's own client finds the file, and nothing else is left; the blob has the permissions of a new file."""
    from huggingface_hub import hf_hub_download

    load_model("test_resnet")
    digest = hashlib.sha256(published[1]).hexdigest()
    assert files_in(tmp_path / "cache") == [
        f"{FOLDER}/blobs/{digest}",
        f"{FOLDER}/refs/main",
        f"{FOLDER}/snapshots/{COMMIT}/model.safetensors",
    ]
    found = hf_hub_download(REPO, "model.safetensors", cache_dir=tmp_path / "cache", local_files_only=True)
    assert os.path.realpath(found).endswith(digest)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(Path(found).stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_cached_start_makes_no_request(hub, published):
    """From the second time on nobody is asked, and the same numbers come."""
    load_model("test_resnet")
    hub.requests.clear()
    model = load_model("test_resnet.r160_in1k")
    assert hub.requests == []
    assert model.source.weights.source == "cache"
    assert same(model, published[0])


def test_the_same_picture_from_hub_and_cache():
    """A recipe does not tell the cache's copy from the hub's file, but the JSON does."""
    first, second = load_model("test_resnet").source, load_model("test_resnet").source
    assert first.as_recipe() == second.as_recipe()
    assert (first.label, first.stem) == (second.label, second.stem)
    assert second.as_document()["weights"]["source"] == "cache"
    assert second.provenance.endswith("from the cache")


def test_the_word_hub_asks_the_hub(hub):
    """With the file in the cache, one request about it and no download."""
    load_model("test_resnet")
    hub.requests.clear()
    assert load_model("test_resnet", weights="hub").source.weights.source == "hub"
    assert [method for method, _ in hub.requests] == ["HEAD"]


def test_one_request_and_one_download(hub):
    """Nothing else is asked, no telemetry either."""
    load_model("test_resnet")
    assert hub.requests == [
        ("HEAD", f"/{REPO}/resolve/main/model.safetensors"),
        ("GET", f"/{REPO}/resolve/{COMMIT}/model.safetensors"),
    ]


def test_bundled_weights_come_before_the_hub(hub):
    """What pip has brought is taken without a request, unless the hub is requested."""
    assert load_model("tf_efficientnet_lite0").source.weights.source == "bundled"
    assert hub.requests == []
    with pytest.raises(NoWeightsError, match="no repository timm/tf_efficientnet_lite0"):
        load_model("tf_efficientnet_lite0", weights="hub")


def test_progress_reports_bytes_and_size(published):
    """The bytes only grow, up to the size of the file."""
    expected = []
    load_model("test_resnet", progress=lambda *words: expected.append(words))
    size = len(published[1])
    done = [each for label, each, total in expected if total == size]
    assert done == sorted(done)
    assert done[-1] == size
    assert expected[-1][0] == f"downloading {REPO}"


FAILURES = {
    "404 RepoNotFound": "The hub has no repository timm/test_resnet.r160_in1k.",
    "404 RevisionNotFound": "has no revision main",
    "404 EntryNotFound": "holds no file model.safetensors or pytorch_model.bin",
    "404": "(404)",
    "401 RepoNotFound": "without a login",
    "401 GatedRepo": "is gated: it requires a login",
    "403 GatedRepo": "is gated",
    "403": "forbids access",
    "429": "too many requests",
    "500": "reported an internal error (500)",
    "retry": "reported an internal error (503)",
    "portal": "is not a model hub",
    "cut": "cut short",
    "wrong": "wrong hash",
    "stall": "No data came from 127.0.0.1 for 1 s.",
    "silent": "No data came from 127.0.0.1 for 1 s.",
}


@pytest.mark.parametrize("mode", FAILURES)
def test_every_failure_has_its_sentence_in_time(hub, tmp_path, mode):
    """What happened, where it was asked and kept, what to type next; within the timeout, and nothing is left."""
    hub.mode = mode
    error, seconds = failure(timeout=1)
    assert FAILURES[mode] in error.what
    assert hub.endpoint in error.why
    assert str(tmp_path / "cache") in error.why
    for way in ("--weights random", "--weights FILE", "--weights bundled"):
        assert way in error.hint
    assert list(tmp_path.iterdir()) == []
    assert seconds < (3 if mode in {"silent", "stall"} else 2)


def test_sentences_differ():
    """No such repository, not logged in, gated and forbidden are four things."""
    some = [FAILURES[mode] for mode in ("404 RepoNotFound", "401 RepoNotFound", "403 GatedRepo", "403")]
    assert len(set(some)) == 4


@pytest.mark.parametrize("mode", ["401 RepoNotFound", "403 GatedRepo", "403"])
def test_refused_access_leads_to_the_login(hub, mode):
    """The command that logs in is named."""
    hub.mode = mode
    assert "`hf auth login`" in failure()[0].hint


def test_a_refused_connection(tmp_path):
    """Nobody listens there: said at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pointed_at(endpoint, tmp_path):
            error, seconds = failure()
    assert error.what == "127.0.0.1 refused the connection."
    assert seconds < 5


@pytest.fixture
def resolving(monkeypatch):
    """Replace the resolution of names."""

    def use(resolve):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return use


def test_an_unknown_host(tmp_path, resolving):
    """A name that nobody knows is said at once."""

    def fails(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolving(fails)
    with pointed_at("http://hub.invalid", tmp_path):
        error, seconds = failure()
    assert error.what == "The host name hub.invalid cannot be resolved: no network, or a misspelt endpoint."
    assert seconds < 5


def test_a_resolution_that_hangs(tmp_path, resolving):
    """Resolving a name obeys no timeout of its own, but ours."""
    released = threading.Event()

    def hangs(*_args, **_kwargs):
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    resolving(hangs)
    try:
        with pointed_at("http://hub.invalid", tmp_path):
            error, seconds = failure(timeout=0.5)
    finally:
        released.set()
    assert "No data came from hub.invalid" in error.what
    assert seconds < 2.5


def test_a_slow_download_is_not_cut(hub, published):
    """Two seconds of small steps pass under a timeout of one."""
    hub.mode = "slow"
    assert same(load_model("test_resnet", timeout=1), published[0])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_timeouts_that_are_none(seconds):
    """A deadline is a positive number."""
    with pytest.raises(UsageError, match="positive number of seconds"):
        load_model("test_resnet", weights="random", timeout=seconds)


def test_the_endpoints_password_is_not_printed(hub, tmp_path):
    """User and password in HF_ENDPOINT stay there."""
    hub.mode = "500"
    with pointed_at(hub.endpoint.replace("//", "//me:secret@"), tmp_path):
        error, _ = failure()
    assert "secret" not in str(error)
    assert hub.endpoint in error.why


def test_a_damaged_file_in_the_cache(tmp_path, published):
    """It is found by its hash, named, and fetched anew when the hub is asked."""
    load_model("test_resnet")
    blob = next((tmp_path / "cache" / FOLDER / "blobs").iterdir())
    for content in (published[1][:-1] + b"\xff", published[1][:1000], b""):
        blob.write_bytes(content)
        error, _ = failure()
        assert "damaged" in error.what
        assert "model.safetensors" in error.what
        assert "`--weights hub`" in error.hint
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert same(load_model("test_resnet"), published[0])


def test_a_full_disk_before_the_download(monkeypatch, tmp_path):
    """What has no room is not begun."""
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    error, _ = failure()
    assert "not enough disk space" in error.what
    assert "HF_HOME" in error.hint
    assert files_in(tmp_path) == []


def test_a_disk_that_fills_up(monkeypatch, tmp_path):
    """An error while writing is the disk's, not the hub's."""

    def full(_stream, _chunk):
        raise hub_cache.StoreError(OSError(28, "No space left on device"))

    monkeypatch.setattr(hub_module, "_write", full)
    error, _ = failure()
    assert "not enough disk space" in error.what
    assert files_in(tmp_path) == []


def test_a_cache_that_cannot_be_written(tmp_path):
    """A file where the cache should be: said, with the variable that moves it."""
    (tmp_path / "cache").write_text("in the way")
    error, _ = failure()
    assert "cannot be written" in error.what
    assert "HF_HOME" in error.hint


def test_an_interrupted_download_leaves_nothing(tmp_path):
    """Whatever stops the caller, the file is gone and the download ends."""

    def stops(_label, done, _total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_model("test_resnet", progress=stops)
    assert files_in(tmp_path) == []
    _wait_until(lambda: not any(each.name == "kernelviz-hub" for each in threading.enumerate()))


def _wait_until(true):
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_at_once(hub, published):
    """Both get the weights, whichever is first."""
    hub.mode = "slow"
    models = {}
    threads = [threading.Thread(target=lambda i=i: models.update({i: load_model("test_resnet")})) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(models[i], published[0]) for i in range(2))


def test_a_pickle_where_there_is_no_safetensors(hub, published, tmp_path):
    """The hub's other file is taken, and its absence costs no second deadline."""
    path = tmp_path / "weights.bin"
    torch.save(published[0].state_dict(), path)
    hub.files = {(REPO, "pytorch_model.bin"): path.read_bytes()}
    assert same(load_model("test_resnet"), published[0])
    hub.requests.clear()
    assert load_model("test_resnet").source.weights.source == "cache"
    assert hub.requests == []


def config(**more):
    """A config.json as timm writes it, with other classes than the architecture's own."""
    facts = {"num_classes": 7, "tag": "mine", "license": "mit", "input_size": [3, 96, 96], "classifier": "fc"}
    facts |= {"first_conv": "conv1.0"}
    return json.dumps({"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": facts | more}).encode()


@pytest.fixture(scope="session")
def tuned():
    """A network of seven classes and its file."""
    from safetensors.torch import save

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        network = timm.create_model("test_resnet", num_classes=7)
    return network, save(network.state_dict())


def test_a_repository_of_somebody(hub, tuned):
    """hf-hub:org/name is built as its config says, and once fetched it needs no request."""
    hub.add("me/tuned", "config.json", config())
    hub.add("me/tuned", "model.safetensors", tuned[1])
    model = load_model("hf-hub:me/tuned")
    assert same(model, tuned[0])
    assert (model.source.model, model.source.tag, model.source.licence) == ("test_resnet", "mine", "mit")
    assert model.source.weights.name == "me/tuned"
    assert model.source.stem == "test_resnet.me-tuned"
    assert model.input_size == (3, 96, 96)
    hub.requests.clear()
    assert load_model("hf-hub:me/tuned").source.weights.source == "cache"
    assert hub.requests == []


def test_a_revision_of_a_repository(hub, tuned, tmp_path):
    """The revision is requested, kept under its name, and named."""
    hub.add("me/tuned", "config.json", config())
    hub.add("me/tuned", "model.safetensors", tuned[1])
    model = load_model("hf-hub:me/tuned@v2.0")
    assert model.source.weights.name == "me/tuned@v2.0"
    assert model.source.stem == "test_resnet.me-tuned-v2.0"
    assert ("HEAD", "/me/tuned/resolve/v2.0/model.safetensors") in hub.requests
    assert "cache/models--me--tuned/refs/v2.0" in files_in(tmp_path)


def test_a_directory_of_ones_own(tmp_path, tuned):
    """local-dir:PATH is a config and its weights, with no hub at all."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_bytes(config())
    (tmp_path / "mine" / "model.safetensors").write_bytes(tuned[1])
    model = load_model(f"local-dir:{tmp_path / 'mine'}")
    assert same(model, tuned[0])
    assert model.source.label == "test_resnet, weights of mine/model.safetensors"
    assert model.source.weights.source == "file"


@pytest.fixture
def linked(monkeypatch, tmp_path, hub, published):
    """test_resnet as if its weights lay behind a link only."""
    import dataclasses

    from kernelviz.network import model

    path = tmp_path / "state.pth"
    torch.save(published[0].state_dict(), path)
    content = path.read_bytes()
    name = f"test_resnet-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    hub.files["links", name] = content
    location = WeightsLocation(url=f"{hub.endpoint}/links/resolve/x/{name}")
    registry = model.read_registry()
    entry = dataclasses.replace(registry.architectures["test_resnet"][0], location=location)
    changed = dataclasses.replace(registry, architectures={"test_resnet": (entry,)})
    monkeypatch.setattr(model, "read_registry", lambda: changed)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tmp_path / "torch" / "checkpoints" / name


def test_weights_behind_a_link(linked, hub, published):
    """They come where torch and timm look for them, without the hub's token, and then need no request."""
    model = load_model("test_resnet")
    assert same(model, published[0])
    assert (model.source.weights.source, model.source.weights.name) == ("url", linked.name)
    assert linked.is_file()
    hub.requests.clear()
    assert same(load_model("test_resnet"), published[0])
    assert hub.requests == []


@pytest.mark.parametrize("mode", ["wrong", "cut", "stall", "portal", "404"])
def test_a_link_that_fails(linked, hub, mode):
    """The same sentences, and nothing is left; the hash is the one in the name."""
    hub.mode = mode
    error, _ = failure(timeout=1)
    assert hub.endpoint in error.why
    assert str(linked.parent) in error.why
    assert not linked.parent.is_dir() or files_in(linked.parent) == []


@pytest.mark.parametrize(("mode", "message"), [("401", "(401)"), ("403", "(403)"), ("429", "(429)")])
def test_a_links_server_is_no_hub_to_log_in_to(linked, hub, mode, message):
    """Behind a link no token is requested, so nobody is sent to log in."""
    hub.mode = mode
    error, _ = failure()
    assert message in error.what
    assert "hf auth login" not in str(error)
    assert not linked.parent.exists()


def test_a_damaged_file_of_a_link(linked, published):
    """It is found by the digits in its name, and fetched anew when the hub is asked."""
    load_model("test_resnet")
    linked.write_bytes(b"x" * 100)
    assert "damaged" in failure()[0].what
    assert same(load_model("test_resnet", weights="hub"), published[0])
