"""What a download leaves in the cache: without links, when it fails or is killed, when nothing vouches for it."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from hub_checks import failure, same
from huggingface_hub import constants, hf_hub_download, scan_cache_dir
from loopback_hub import COMMIT, environment, files_in, pointed_at
from processes import started_processes
from restraints import file_limit, permissions_that_bind

from kernelviz.errors import BadWeightsError, NoWeightsError
from kernelviz.network import model
from kernelviz.network.model import load_model
from kernelviz.network.weights import hub_cache

REPO = "timm/test_resnet.r160_in1k"
FOLDER = "models--timm--test_resnet.r160_in1k"

pytestmark = pytest.mark.usefixtures("hub")


@pytest.fixture
def no_links(monkeypatch):
    """The user has forbidden links, or the system has none: then the file lies under its own name."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)


@pytest.fixture
def snapshot(tmp_path):
    """Where the file lies, by its name."""
    return tmp_path / "cache" / FOLDER / "snapshots" / COMMIT / "model.safetensors"


def the_client_finds(snapshot, tmp_path):
    """Whether the hub's own client finds the file there, and nothing wrong in the cache."""
    home = tmp_path / "cache"
    assert hf_hub_download(REPO, "model.safetensors", cache_dir=home, local_files_only=True) == str(snapshot)
    found = scan_cache_dir(home)
    return [each.repo_id for each in found.repos] == [REPO] and not found.warnings


@pytest.mark.usefixtures("no_links")
def test_without_links_damage_is_found_and_mended(hub, published, snapshot, tmp_path):
    """The hash is kept beside, so a cached file is checked, and asking the hub again downloads nothing."""
    assert same(load_model("test_resnet"), published[0])
    assert not snapshot.is_symlink()
    assert not (tmp_path / "cache" / FOLDER / "blobs").exists()
    assert the_client_finds(snapshot, tmp_path)
    assert load_model("test_resnet").source.notes == ()
    hub.requests.clear()
    load_model("test_resnet", weights="hub")
    assert [method for method, _ in hub.requests] == ["HEAD"]
    content = bytearray(published[1])
    content[-1] ^= 1
    snapshot.write_bytes(content)
    assert "damaged" in failure()[0].what
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert same(load_model("test_resnet"), published[0])


@pytest.mark.usefixtures("no_links")
def test_what_the_client_kept_without_links(hub, published, snapshot, tmp_path):
    """Its file has no hash: that is said, until the hub was asked, which vouches for it without a download."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf_hub_download(REPO, "model.safetensors", cache_dir=tmp_path / "cache", endpoint=hub.endpoint)
    assert not snapshot.is_symlink()
    assert load_model("test_resnet").source.notes == (
        "the weights were not checked against a hash: none is known for their file",
    )
    hub.requests.clear()
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert "GET" not in [method for method, _ in hub.requests]
    assert load_model("test_resnet").source.notes == ()
    assert the_client_finds(snapshot, tmp_path)


def test_a_blob_with_other_names_stays(monkeypatch, published, snapshot, tmp_path):
    """Where links were allowed before, what they lead to is copied, not moved away."""
    load_model("test_resnet")
    blob = snapshot.resolve()
    snapshot.unlink()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert blob.read_bytes() == snapshot.read_bytes() == published[1]
    assert not snapshot.is_symlink()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", False)
    blob.unlink()
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert snapshot.resolve() == blob
    assert the_client_finds(snapshot, tmp_path)


@pytest.mark.usefixtures("no_links")
def test_two_at_once_without_links(hub, published):
    """Neither takes the other's file away."""
    hub.mode = "slow"
    check_two(published)


def check_two(published):
    """Two loads at the same time both get the weights."""
    models = {}
    threads = [threading.Thread(target=lambda i=i: models.update({i: load_model("test_resnet")})) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(models[i], published[0]) for i in range(2))


def test_directories_that_were_there_stay(hub, tmp_path):
    """Only what was made for a failed download goes again."""
    (tmp_path / "cache" / "mine").mkdir(parents=True)
    hub.mode = "cut"
    failure()
    assert list((tmp_path / "cache").iterdir()) == [tmp_path / "cache" / "mine"]


def test_what_a_killed_download_left_is_removed(tmp_path, published):
    """A partial file that has long stood still goes with the next download; others' and growing ones stay."""
    blobs = tmp_path / "cache" / FOLDER / "blobs"
    blobs.mkdir(parents=True)
    names = ["0123456789abcdef.incomplete", "fedcba9876543210.incomplete", "other.incomplete"]
    for name in names:
        (blobs / name).write_bytes(b"partial")
    for name in (names[0], names[2]):
        os.utime(blobs / name, (1, 1))
    load_model("test_resnet")
    digest = hashlib.sha256(published[1]).hexdigest()
    assert sorted(each.name for each in blobs.iterdir()) == sorted([digest, *names[1:]])


CHILD = "from kernelviz.network.model import load_model; load_model('test_resnet', timeout=3)"


@pytest.fixture
def child(hub, tmp_path):
    """A function that loads the model in another process."""
    with started_processes() as start_process:

        def start():
            variables = os.environ | environment(hub.endpoint, tmp_path / "hf")
            variables["PYTHONPATH"] = str(Path(__file__).parents[3])
            return start_process([sys.executable, "-c", CHILD], env=variables, stderr=subprocess.PIPE, text=True)

        yield start


def test_killed_during_the_download(child, hub, tmp_path, published):
    """What kill -9 leaves is no weights to anybody, and the next start fetches them."""
    hub.mode = "stall"
    process = child()
    assert hub.body_requested.wait(60)
    partial = tmp_path / "hf" / "hub" / FOLDER / "blobs"
    end = time.monotonic() + 10
    while not any(each.stat().st_size for each in partial.glob("*")):
        assert time.monotonic() < end
    process.kill()
    process.communicate()
    assert [Path(each).suffix for each in files_in(tmp_path / "hf")] == [".incomplete"]
    hub.mode = "well"
    (tmp_path / "hf" / "hub").rename(tmp_path / "cache")
    model = load_model("test_resnet")
    assert model.source.weights.source == "hub"
    assert same(model, published[0])


def test_a_limit_on_the_size_of_files(tmp_path):
    """The system refuses to write on: the cache's fault, and nothing is left."""
    with file_limit(100_000):
        error, _ = failure()
    assert "The cache cannot be written" in error.what
    assert os.strerror(errno.EFBIG) in str(error)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_again(monkeypatch, published):
    """Asking the hub for what the cache has in full changes nothing in it."""
    load_model("test_resnet")
    monkeypatch.setattr(hub_cache, "_linked", lambda *_: pytest.fail("a link was made"))
    assert same(load_model("test_resnet", weights="hub"), published[0])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read(hub, tmp_path, published):
    """What is in it is taken; what is not cannot be kept, and that is said."""
    load_model("test_resnet")
    for each in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        if each.is_dir():
            each.chmod(0o555)
    try:
        assert same(load_model("test_resnet"), published[0])
        assert same(load_model("test_resnet", weights="hub"), published[0])
        hub.files[REPO, "model.safetensors"] += b" "
        assert "cannot be written" in failure(weights="hub")[0].what
    finally:
        for each in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
            if each.is_dir():
                each.chmod(0o755)


def test_redirects_without_end(hub, tmp_path):
    """A server that sends the client in circles is given up within the deadline."""
    hub.mode = "loop"
    error, seconds = failure(timeout=2)
    assert "redirects endlessly" in error.what
    assert seconds < 4
    assert list(tmp_path.iterdir()) == []


def test_an_etag_that_is_no_hash(hub, published):
    """Such a file is checked for its size alone, and that is said, from the hub and from the cache."""
    hub.mode = "odd"
    for source in ("hub", "cache"):
        model = load_model("test_resnet")
        assert same(model, published[0])
        assert model.source.weights.source == source
        assert ["not checked against a hash" in note for note in model.source.notes] == [True]


@pytest.fixture
def linked(monkeypatch, tmp_path, hub, published):
    """test_resnet as if its weights lay behind a link only, whose name promises no hash."""
    import dataclasses

    from kernelviz.network import model
    from kernelviz.network.weights.names import WeightsLocation

    path = tmp_path / "state.pth"
    torch.save(published[0].state_dict(), path)
    hub.files["links", "weights.pth"] = path.read_bytes()
    location = WeightsLocation(url=f"{hub.endpoint}/links/resolve/x/weights.pth")
    registry = model.read_registry()
    entry = dataclasses.replace(registry.architectures["test_resnet"][0], location=location)
    changed = dataclasses.replace(registry, architectures={"test_resnet": (entry,)})
    monkeypatch.setattr(model, "read_registry", lambda: changed)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tmp_path / "torch" / "checkpoints" / "weights.pth"


def test_a_link_that_promises_no_hash(linked, published):
    """The weights come, and it is said that nothing vouches for them."""
    for _ in range(2):
        model = load_model("test_resnet")
        assert same(model, published[0])
        assert ["not checked against a hash" in note for note in model.source.notes] == [True]
    assert linked.is_file()


@pytest.mark.parametrize(
    ("mode", "message"), [("sizeless", "neither its size nor a hash"), ("cut", "cut short"), ("wrong", None)]
)
def test_what_nothing_vouches_for_is_not_kept_unread(linked, hub, mode, message):
    """Without size and hash nothing is fetched, and what holds no weights does not stay."""
    hub.mode = mode
    if message is None:
        hub.mode, hub.files["links", "weights.pth"], message = "well", b"x" * 5000, "holds no weights that can be read"
    assert message in failure()[0].what
    assert not linked.parent.exists()


def test_directories_that_others_remove(tmp_path):
    """Commands that fail remove the directory that they made; no other that is about to use it is disturbed."""
    home, problems = tmp_path / "cache" / "models--a--b" / "blobs", []

    def work():
        try:
            for _ in range(100):
                with hub_cache.new_file(home) as (path, stream):
                    stream.close()
                    assert path.is_file()
        except Exception as error:  # noqa: BLE001  (threads keep theirs to themselves)
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert not home.parent.exists()


def test_a_name_of_a_revision_of_any_bytes(hub, published, tmp_path):
    """One odd file of the cache is as good as none: the model is fetched, and the list of models is whole."""
    (tmp_path / "cache" / FOLDER / "refs").mkdir(parents=True)
    (tmp_path / "cache" / FOLDER / "refs" / "main").write_bytes(b"\xff\xfe")
    location = model.read_registry().architectures["test_resnet"][0].location
    assert hub_cache.cached_locations([location]) == set()
    assert same(load_model("test_resnet"), published[0])
    assert len(hub.requests) == 2
    assert hub_cache.cached_locations([location]) == {location}


def test_a_cache_that_is_no_directory(tmp_path):
    """Nothing is in it, and looking is no crash."""
    (tmp_path / "cache").write_text("a file")
    assert (
        hub_cache.cached_locations(entry.location for entry in model.read_registry().architectures["test_resnet"])
        == set()
    )


def test_a_cached_file_that_nothing_vouches_for(hub, published, snapshot):
    """Where no checksum tells damage apart it is still the cache's, and mended as such; exit 4, not the user's file."""
    snapshot.parent.mkdir(parents=True)
    snapshot.write_bytes(published[1][:1000])
    refs = snapshot.parents[2] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    error, _ = failure()
    assert error.what == f"The cached weights of {REPO} cannot be read."
    assert f"{snapshot} is cut short or damaged." in error.why
    assert hub.endpoint in error.why
    assert error.hint.startswith("Fetch them again with `--weights hub`; or give `--weights random`")
    assert same(load_model("test_resnet", weights="hub"), published[0])
    assert same(load_model("test_resnet"), published[0])


def test_links_are_kept_where_torch_keeps_them(monkeypatch):
    """The directory of linked weights is the same whether torch is imported or not."""
    with_torch = hub_cache.link_directory()
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert hub_cache.link_directory() == with_torch


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_cached_file_that_may_not_be_read_is_reported(hub, tmp_path, file):
    """Another user's file in the cache is an error that gives the reason."""
    hub.add(REPO, "config.json", b'{"architecture": "test_resnet"}')
    load_model(f"hf-hub:{REPO}")
    path = next((tmp_path / "cache").rglob(f"snapshots/*/{file}")).resolve()
    path.chmod(0)
    with permissions_that_bind(), pytest.raises(BadWeightsError) as caught:
        load_model(f"hf-hub:{REPO}")
    assert "Permission denied" in str(caught.value)


def test_a_cache_that_may_not_be_entered_is_reported(hub, tmp_path, monkeypatch):
    """A cache in a private directory cannot be written, which is not blamed on the connection."""
    private = tmp_path / "private"
    private.mkdir(mode=0)
    with pointed_at(hub.endpoint, tmp_path / "cache"), monkeypatch.context() as patch, permissions_that_bind():
        patch.setattr(constants, "HF_HUB_CACHE", str(private / "cache"))
        with pytest.raises(NoWeightsError, match="cache cannot be written"):
            load_model("test_resnet")
    private.chmod(0o700)


def test_a_part_of_the_cache_that_may_not_be_entered_is_reported(hub, snapshot):
    """The same for the directory of one revision, when the hub is asked again."""
    load_model("test_resnet")
    snapshot.parent.chmod(0)
    try:
        with permissions_that_bind():
            assert "cache cannot be written" in failure(weights="hub")[0].what
    finally:
        snapshot.parent.chmod(0o700)
    assert hub.requests
