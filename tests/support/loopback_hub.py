"""A model hub on loopback that the real client speaks to, and that can misbehave in every way a network knows."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

COMMIT = "c0ffee" + "0" * 34
PORTAL = b"<html><title>Welcome to the hotel</title>Sign in to go on.</html>"


def git_hash(content):
    """What git calls a small file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """Files by (repository, name), how the hub behaves, and what it was asked.

    ``mode`` is ``well``, a status with the error code that the hub gives with it (``"404 RepoNotFound"``), or one of
    ``silent``, ``retry``, ``portal``, ``cut``, ``stall``, ``wrong``, ``slow``, ``loop`` (redirects), ``sizeless`` (the
    body's length is not told), ``odd`` (an ETag that is no hash), ``garbage`` (no HTTP), ``hangup`` (no answer), or
    ``away URL`` (what is to be downloaded is there). Files named in ``absent`` get a bare 404, as from a plain mirror.
    """

    files: dict = field(default_factory=dict)
    absent: set = field(default_factory=set)
    mode: str = "well"
    requests: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    endpoint: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    body_requested: threading.Event = field(default_factory=threading.Event)

    def add(self, repo, name, content):
        """Serve these bytes."""
        self.files[repo, name] = content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        """Say nothing."""

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        hub = self.server.hub
        hub.requests.append((self.command, self.path))
        hub.tokens.append(self.headers.get("Authorization"))
        word, _, code = hub.mode.partition(" ")
        if word == "silent":
            hub.stopped.wait(60)
            self.close_connection = True
        elif word == "retry":
            self._send(503, {"Retry-After": "86400"})
        elif word in {"garbage", "hangup"}:
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n" if word == "garbage" else b"")
            self.close_connection = True
        elif word == "away" and self.command == "GET":
            self._send(302, {"Location": code})
        elif self.path.rpartition("/")[2] in hub.absent:
            self._send(404, {})
        elif word == "loop":
            self._send(302, {"Location": self.path})
        elif word == "portal":
            self._send(200, {"Content-Type": "text/html"}, PORTAL)
        elif word.isdecimal():
            self._send(int(word), {"X-Error-Code": code} if code else {})
        else:
            self._file(hub)

    def _file(self, hub):
        repo, _, rest = self.path.lstrip("/").partition("/resolve/")
        name = rest.partition("/")[2]
        content = hub.files.get((repo, name))
        if content is None:
            known = any(there == repo for there, _ in hub.files)
            self._send(404, {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound", "X-Repo-Commit": COMMIT})
            return
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_hash(content)}"'}
        if not name.endswith(".json"):
            digest = hashlib.sha256(content).hexdigest()
            etag = "odd-1" if hub.mode == "odd" else digest
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        self._send(200, headers, content, mode=hub.mode if name != "config.json" else "well")

    def _send(self, status, headers, content=b"", mode="well"):
        self.send_response(status)
        length = {} if mode == "sizeless" else {"Content-Length": str(len(content))}
        for key, value in (headers | length).items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection |= mode == "sizeless"
        if self.command == "HEAD":
            return
        if content and status == 200:
            self.server.hub.body_requested.set()
        half = len(content) // 2
        if mode == "cut":
            self.wfile.write(content[:half])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "stall":
            self.wfile.write(content[:half])
            self.wfile.flush()
            self.server.hub.stopped.wait(60)
        elif mode == "wrong":
            self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
        elif mode == "slow":
            piece = len(content) // 8 + 1
            for start in range(0, len(content), piece):
                self.wfile.write(content[start : start + piece])
                self.wfile.flush()
                time.sleep(0.25)
        else:
            self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_args):
        """A client that hangs up is no news."""


@contextmanager
def serving():
    """A hub that answers until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = hub = Hub(endpoint=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def pointed_at(endpoint, cache):
    """This process' hub client asks there and keeps its files here, without a token."""
    from huggingface_hub import close_session, constants

    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    changes = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_TOKEN_PATH": str(cache.parent / "no-token"),
    }
    close_session()
    with mock.patch.multiple(constants, **changes), mock.patch.dict("os.environ", {"HF_TOKEN": "", "NO_PROXY": "*"}):
        yield
    close_session()


def environment(endpoint, home):
    """What another process needs in order to ask there and to keep its files in ``home``."""
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*", "HF_TOKEN": ""}


def files_in(directory):
    """Every file below, links included, by its relative name."""
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*") if not each.is_dir())
