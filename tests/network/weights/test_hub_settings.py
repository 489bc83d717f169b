"""What the user has set for the hub: offline, and tokens that are missing, wrong, or cannot be sent."""

from __future__ import annotations

import time

import pytest
from hub_checks import failure, same
from huggingface_hub import constants
from loopback_hub import files_in

from kernelviz.errors import NoWeightsError
from kernelviz.network.model import load_model

TOKEN = "hf_thisIsNobodysBusiness"

pytestmark = pytest.mark.usefixtures("hub")


@pytest.fixture
def offline(monkeypatch):
    """A function that sets the user's own switch."""
    return lambda *, on=True: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", on)


def test_offline_asks_nobody(hub, offline):
    """The user's own switch is obeyed, named, and the cache still works."""
    offline()
    error, _ = failure()
    assert "is not in the cache, and HF_HUB_OFFLINE forbids" in error.what
    assert hub.requests == []
    offline(on=False)
    load_model("test_resnet")
    offline()
    assert load_model("test_resnet").source.weights.source == "cache"


def test_asking_the_hub_while_offline(hub, offline):
    """What is in the cache is said to be there, and how it is taken."""
    load_model("test_resnet")
    hub.requests.clear()
    offline()
    error, _ = failure(weights="hub")
    assert "HF_HUB_OFFLINE forbids requests to the hub" in error.what
    assert "which is in the cache" in error.what
    assert error.hint == "Unset HF_HUB_OFFLINE; or use those in the cache with `--weights auto`."
    assert hub.requests == []


def test_a_damaged_file_while_offline(offline, tmp_path):
    """What would mend it is forbidden, so that is said first."""
    load_model("test_resnet")
    blob = next((tmp_path / "cache").glob("*/blobs/*"))
    blob.write_bytes(b"x")
    offline()
    error, _ = failure()
    assert "damaged" in error.what
    assert error.hint.startswith("Unset HF_HUB_OFFLINE and fetch them again with `--weights hub`")
    assert "`--weights auto`" not in error.hint


def test_a_hub_that_fails_while_the_cache_has_the_file(hub):
    """The way back to the cached file is named."""
    load_model("test_resnet")
    hub.mode = "500"
    assert failure(weights="hub")[0].hint.endswith("use those in the cache with `--weights auto`.")


def test_a_token_goes_to_the_hub_and_nowhere_else(hub, monkeypatch):
    """The hub gets the user's token; no message does."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    load_model("test_resnet")
    assert hub.tokens == [f"Bearer {TOKEN}"] * 2
    for mode in ("401", "401 GatedRepo", "403", "404 RepoNotFound", "500", "portal"):
        hub.mode = mode
        assert TOKEN not in str(failure(weights="hub")[0])


REFUSALS = {
    "401 RepoNotFound": ("does not show", "does not accept the stored token"),
    "401": ("does not show", "does not accept the stored token"),
    "401 GatedRepo": ("requires a login", "the stored token has no access"),
    "403 GatedRepo": ("requires a login", "the stored token has no access"),
    "403": ("forbids access", "stored token gives no access"),
    "404 RepoNotFound": ("has no repository timm/test_resnet.r160_in1k.", "or your token may not see it"),
}


@pytest.mark.parametrize("mode", REFUSALS)
def test_who_is_not_let_in_with_and_without_a_token(hub, monkeypatch, tmp_path, mode):
    """Without a token one logs in; with one it is the token that is wrong, wherever it came from."""
    hub.mode = mode
    without, within = REFUSALS[mode]
    error, _ = failure()
    assert without in error.what
    assert within not in error.what
    if not mode.startswith("404"):
        assert "`hf auth login`" in error.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    error, _ = failure()
    assert within in error.what
    if not mode.startswith("404"):
        assert "orrect or unset HF_TOKEN" in error.hint
    monkeypatch.setenv("HF_TOKEN", "")
    (tmp_path / "no-token").write_text(TOKEN)
    error, _ = failure()
    assert within in error.what
    if not mode.startswith("404"):
        assert "ype `hf auth login`" in error.hint


@pytest.mark.parametrize("token", [f"{TOKEN}\u20ac", f"{TOKEN}\x01", f"{TOKEN} {TOKEN}", f"{TOKEN}\udcff"])
def test_a_token_that_cannot_be_sent(hub, monkeypatch, token, tmp_path):
    """It is the token that is blamed, not the connection; nobody is asked, and nothing of it is printed."""
    monkeypatch.setenv("HF_TOKEN", token)
    error, _ = failure()
    assert error.what.startswith("The stored hub token cannot be sent")
    assert "Correct or unset HF_TOKEN" in error.hint
    assert TOKEN not in str(error)
    assert error.__suppress_context__
    assert hub.requests == []
    assert files_in(tmp_path) == []


def test_a_token_file_that_cannot_be_read(hub, tmp_path):
    """A file of other bytes is no token either."""
    (tmp_path / "no-token").write_bytes(b"\xff\xfe\x80")
    error, _ = failure()
    assert error.what.startswith("The stored hub token cannot be sent")
    assert hub.requests == []


def test_a_token_broken_over_two_lines(hub, monkeypatch, published):
    """The client takes line ends out, and so the hub gets it whole."""
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN[:9]}\n{TOKEN[9:]}\n")
    assert same(load_model("test_resnet"), published[0])
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}


def test_a_weights_file_on_a_hub_that_does_not_answer_is_given_up(hub):
    """For ``hf://`` the timeout is that of the caller, and the error that the weights are not available."""
    pytest.importorskip("fsspec")
    hub.mode = "silent"
    began = time.monotonic()
    with pytest.raises(NoWeightsError, match=r"No data came from the hub for 0\.3 s") as caught:
        load_model("test_resnet", weights="hf://some/repo/x.pt", timeout=0.3)
    assert time.monotonic() - began < 3
    assert "--timeout" in caught.value.hint
    assert hub.requests
