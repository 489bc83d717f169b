"""The address of the hub: which are none, and what is shown of one."""

from __future__ import annotations

import json
import subprocess
import sys
from os import environ
from pathlib import Path

import pytest
from hub_checks import failure
from loopback_hub import pointed_at

from kernelviz.network.weights.endpoint import STAND_IN, endpoint_fault, set_endpoint, shown_endpoint

WRONG = {
    "http://127.0.0.1:99999": "its host or port cannot be",
    "http://127.0.0.1:x": "its host or port cannot be",
    "http://127.0.0.1:0": "its host or port cannot be",
    "http://me:secret@[::1": "its host or port cannot be",
    "notaurl": "it does not begin with http:// or https://",
    "ftp://x": "it does not begin with http:// or https://",
    "me:secret@hub": "it does not begin with http:// or https://",
    "": "it does not begin with http:// or https://",
    "http://": "it names no host",
    "http://a b": "it names no host",
}


@pytest.mark.parametrize("address", WRONG)
def test_addresses_that_are_none(address, tmp_path):
    """Each is rejected with what is wrong with it, before any request, without the password in it."""
    assert endpoint_fault(address) == WRONG[address]
    with pointed_at(address, tmp_path):
        error, seconds = failure()
    assert error.what.startswith("HF_ENDPOINT, ")
    assert WRONG[address] in error.what
    assert "Correct HF_ENDPOINT or unset it" in error.hint
    assert "secret" not in str(error)
    assert seconds < 5


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("http://me:secret@hub:8080/mirror/", "http://hub:8080/mirror"),
        ("http://hub/?token=secret", "http://hub"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_what_is_shown_of_an_address(address, shown):
    """Host, port and path, IPv6 in its brackets; no user, no password, no query."""
    assert endpoint_fault(address) == ""
    assert shown_endpoint(address) == shown


def test_the_address_that_the_user_has_set(monkeypatch):
    """Where the client was given another one in place of a wrong one, messages are about the wrong one."""
    monkeypatch.setenv("HF_ENDPOINT", "ftp://x")
    assert set_endpoint(STAND_IN) == "ftp://x"
    assert set_endpoint("http://hub") == "http://hub"


@pytest.mark.slow
def test_a_port_that_the_client_cannot_be_imported_with(tmp_path):
    """What needs no hub works all the same, what needs it is exit 4, and stdout holds one document alone."""
    code = (
        "import os, sys; from kernelviz.cli.main import main\n"
        "print(main(['kernels', 'test_resnet', '--weights', 'random', '-q', '--style', 'bare']))\n"
        "print(os.environ['HF_ENDPOINT'])\n"
        "sys.exit(main(['kernels', 'test_resnet', '--json']))"
    )
    variables = environ | {"HF_ENDPOINT": "http://me:secret@127.0.0.1:99999", "HF_HUB_OFFLINE": "0"}
    variables["PYTHONPATH"] = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    path, zero, address, document = done.stdout.split("\n", maxsplit=3)
    assert (tmp_path / path).is_file()
    assert (zero, address) == ("0", variables["HF_ENDPOINT"])
    assert done.returncode == 4
    error = json.loads(document)["errors"][0]
    assert error["code"] == "no-weights"
    assert "HF_ENDPOINT, http://127.0.0.1:99999, is not a valid hub address" in error["message"]
    assert "secret" not in document + done.stderr
