"""What is said when something odd answers, or somebody else than the user knows; and that the token stays at home."""

from __future__ import annotations

import socket
import ssl

import pytest
import torch
from hub_checks import failure, same
from huggingface_hub import constants
from loopback_hub import files_in, pointed_at, serving

from kernelviz.errors import UsageError
from kernelviz.network.model import load_model
from kernelviz.network.weights.hub_errors import sentence
from kernelviz.network.weights.names import WeightsLocation
from kernelviz.network.weights.request import Request, StallTimeout

REPO = "timm/test_resnet.r160_in1k"
TOKEN = "hf_thisIsNobodysBusiness"

pytestmark = pytest.mark.usefixtures("hub")


def test_a_bare_404_of_one_file(hub, published, tmp_path):
    """A mirror that only knows the status is requested the other file; if there is none, both are named."""
    path = tmp_path / "weights.bin"
    torch.save(published[0].state_dict(), path)
    hub.absent = {"model.safetensors"}
    hub.add(REPO, "pytorch_model.bin", path.read_bytes())
    assert same(load_model("test_resnet"), published[0])
    hub.absent = {"model.safetensors", "pytorch_model.bin"}
    hub.requests.clear()
    error, _ = failure(weights="hub")
    assert error.what == f"The server has no model.safetensors or pytorch_model.bin of {REPO} (404)."
    assert [path.rpartition("/")[2] for _, path in hub.requests] == ["model.safetensors", "pytorch_model.bin"]


@pytest.mark.parametrize("code", ["RepoNotFound", "RevisionNotFound"])
def test_a_missing_repository_is_requested_once(hub, code):
    """No other file is tried where the hub says that there is nothing at all."""
    hub.mode = f"404 {code}"
    failure()
    assert len(hub.requests) == 1


@pytest.fixture
def elsewhere(hub):
    """Another server on this machine, by another name, to which the hub sends for the file itself."""
    with serving() as other:
        hub.mode = (
            f"away {other.endpoint.replace('127.0.0.1', 'localhost')}/{REPO}/resolve/x/model.safetensors?key=secret"
        )
        yield other


def test_a_file_that_lies_elsewhere(hub, elsewhere, published, monkeypatch):
    """The client follows, and only the hub gets the token."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    elsewhere.add(REPO, "model.safetensors?key=secret", published[1])
    assert same(load_model("test_resnet"), published[0])
    assert elsewhere.tokens == [None]
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}


AWAY = "localhost, to which 127.0.0.1 sends,"
ELSEWHERE = {
    "500": f"The server {AWAY} reported an internal error (500).",
    "403": f"The server {AWAY} forbids access to {REPO} (403).",
    "401": f"The server {AWAY} did not send model.safetensors of {REPO} (401).",
    "404": f"The server {AWAY} has no model.safetensors of {REPO} (404).",
    "portal": f"The server at {AWAY} is not a model hub, but perhaps the sign-in page of a network.",
    "silent": f"No data came from {AWAY} for 1 s.",
    "stall": f"No data came from {AWAY} for 1 s.",
    "hangup": f"{AWAY} closed the connection, or does not speak HTTP.",
}


@pytest.mark.parametrize("mode", ELSEWHERE)
def test_who_really_failed_is_named(elsewhere, published, tmp_path, mode):
    """The server to which the hub sent is named with the one that sent there, and nothing more of its address."""
    elsewhere.add(REPO, "model.safetensors?key=secret", published[1])
    elsewhere.mode = mode
    error, seconds = failure(timeout=1)
    assert error.what == ELSEWHERE[mode]
    assert "secret" not in str(error)
    assert "hf auth login" not in error.hint
    assert seconds < 3
    assert files_in(tmp_path) == []


def test_an_unknown_host_elsewhere(hub, monkeypatch):
    """A portal's name that nobody knows is not called a misspelt endpoint."""
    hub.mode = "away http://login.portal.invalid/?key=secret"
    known = socket.getaddrinfo

    def resolve(host, *more, **choices):
        if host in ("login.portal.invalid", b"login.portal.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *more, **choices)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error, _ = failure()
    assert error.what == "The host name login.portal.invalid, to which 127.0.0.1 sends, cannot be resolved: no network."
    assert "secret" not in str(error)


def test_a_download_sent_in_circles(hub, tmp_path):
    """Redirects of the file itself end too."""
    hub.mode = f"away {hub.endpoint}/round"
    error, _ = failure()
    assert "redirects endlessly" in error.what
    assert len(hub.requests) < 30
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("mode", ["garbage", "hangup"])
def test_a_server_of_another_kind(hub, mode):
    """What speaks no HTTP, or hangs up, is not called unreachable."""
    hub.mode = mode
    assert failure()[0].what == "127.0.0.1 closed the connection, or does not speak HTTP."


def test_a_server_without_tls(hub, tmp_path):
    """https:// to a server that speaks http:// is no matter of certificates."""
    with pointed_at(hub.endpoint.replace("http://", "https://"), tmp_path / "cache"):
        error, _ = failure()
    assert error.what == "127.0.0.1 does not speak TLS."
    assert "http://" in error.hint


def test_a_certificate_that_is_not_trusted():
    """That is another sentence than no TLS at all."""
    error = ConnectionError("x")
    error.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    what, _ = sentence(error, Request(WeightsLocation("a/b"), "model.safetensors", 1))
    assert what == "The certificate of 127.0.0.1 is not trusted here."


def test_a_home_that_is_no_directory(hub, monkeypatch, published, tmp_path):
    """Where no token can lie there is none; nobody is told of a bad one."""
    (tmp_path / "home").write_text("a file")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    assert same(load_model("test_resnet"), published[0])
    assert set(hub.tokens) == {None}


def test_a_token_file_that_cannot_be_opened(hub, monkeypatch, tmp_path):
    """The system's reason is said, and no sign of the token is blamed."""
    (tmp_path / "token").mkdir()
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    error, _ = failure()
    assert error.what == "The token file cannot be read: Is a directory."
    assert hub.requests == []


@pytest.mark.parametrize("seconds", [1e10, 2_000_001, 1e308])
def test_a_timeout_that_no_socket_can_keep(seconds):
    """It is rejected as such, and not the hub's fault."""
    with pytest.raises(UsageError, match="up to 2,000,000"):
        StallTimeout(seconds)


def test_the_longest_timeout(published):
    """What is allowed works."""
    assert same(load_model("test_resnet", timeout=2_000_000), published[0])


def test_a_links_server_has_no_endpoint():
    """Where the hub is not asked, nobody is sent to look at its address."""
    request = Request(WeightsLocation(url="https://links.invalid/a/weights.pth"), "weights.pth", 1)
    expected = sentence(socket.gaierror(socket.EAI_NONAME, "x"), request)
    assert expected == ("The host name links.invalid cannot be resolved: no network.", "Check the connection")


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "http://me:secret@a..b:1"), ("SSL_CERT_FILE", "missing"), ("HF_OIDC_RESOURCE", "x")],
)
def test_a_variable_for_connections_is_named_where_it_may_be_the_cause(monkeypatch, tmp_path, name, value):
    """A proxy, other certificates or another login are among what to check; the values may be secret."""
    for each in ("SSL_CERT_FILE", "SSL_CERT_DIR", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    with pointed_at("http://127.0.0.1:9", tmp_path / "cache"):
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv(name, value)
        error, _ = failure()
    assert error.hint.startswith(f"Check the connection, HF_ENDPOINT, {name}; or give")
    assert "secret" not in str(error)
