"""The command and a hub: the first start, in a process of its own, the cached one, Ctrl-C, and two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from loopback_hub import environment, files_in, pointed_at, serving
from processes import started_processes
from safetensors.torch import save

from kernelviz.cli.main import main

HERE = Path(__file__).parents[3]
MODEL = "test_resnet"
REPO = "timm/test_resnet.r160_in1k"
LAYER = "layer1.0.conv1"
IMPORTS = 60  # seconds that the imports may take on a busy machine


@pytest.fixture(scope="module")
def published():
    """The weights that stand for the model's published ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model(MODEL).state_dict()


@pytest.fixture
def hub(published):
    """A hub that serves the model."""
    with serving() as hub:
        hub.add(REPO, "model.safetensors", save(published))
        yield hub


@pytest.fixture
def begin():
    """A function that starts the command."""
    with started_processes() as start_process:

        def start(endpoint, home, *words):
            command = [sys.executable, "-m", "kernelviz", "kernels", MODEL, "--layer", LAYER, "--view", "sum", *words]
            variables = {**os.environ, **environment(endpoint, home / "hf")}
            variables["PYTHONPATH"] = str(HERE)
            pipe = subprocess.PIPE
            return start_process(command, stdout=pipe, stderr=pipe, text=True, cwd=home, env=variables)

        yield start


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """A function that runs the command in this process; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def finish(endpoint, *words, token=""):
        with pointed_at(endpoint, tmp_path / "hf/hub"):
            monkeypatch.setenv("HF_TOKEN", token)
            code = main(["kernels", MODEL, "--layer", LAYER, "--view", "sum", *words])
        return code, *capsys.readouterr()

    return finish


def ended(process):
    """Wait for the command, and give its exit code and what it said."""
    out, err = process.communicate(timeout=IMPORTS)
    return process.returncode, out, err


def test_from_the_hub_then_from_the_cache(begin, run, hub, published, tmp_path):
    """The numbers are the sum over the input channels; then nothing is asked of the hub, and no byte is another."""
    code, out, err = ended(begin(hub.endpoint, tmp_path, "--arrays"))
    assert (code, "test_resnet.r160_in1k, from the hub" in err) == (0, True)
    picture, arrays = (tmp_path / line for line in out.split())
    assert picture.name == "test_resnet.r160_in1k-layer1.0.conv1-kernels-sum.png"
    with np.load(arrays, allow_pickle=False) as drawn:
        assert np.array_equal(drawn[LAYER], published[f"{LAYER}.weight"].double().sum(1).numpy())
    first = picture.read_bytes(), arrays.read_bytes()
    hub.requests.clear()
    code, out, err = run(hub.endpoint, "--arrays", "--json")
    assert (code, "from the cache" in err, hub.requests) == (0, True, [])
    assert json.loads(out)["model"]["weights"]["source"] == "cache"
    assert (picture.read_bytes(), arrays.read_bytes()) == first


@pytest.mark.slow
def test_ctrl_c_while_downloading(begin, hub, tmp_path):
    """130 within a second, no traceback, and nothing of the file is left."""
    hub.mode = "stall"
    process = begin(hub.endpoint, tmp_path)
    assert hub.body_requested.wait(IMPORTS)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out, "Traceback" in err) == (130, "", False), err
    assert time.monotonic() - start < 1, err
    assert files_in(tmp_path / "hf") == []


@pytest.mark.slow
def test_two_commands_at_once(begin, hub, published, tmp_path):
    """Both draw, and one whole file is in the cache."""
    hub.mode = "slow"
    processes = [begin(hub.endpoint, tmp_path, "-o", name) for name in "ab"]
    assert [ended(process)[0] for process in processes] == [0, 0]
    blobs = list((tmp_path / "hf/hub/models--timm--test_resnet.r160_in1k/blobs").iterdir())
    assert [blob.read_bytes() for blob in blobs] == [save(published)]


def test_no_hub_is_exit_four(run):
    """Nobody there: exit 4, and the document for programs says it too."""
    code, out, err = run("http://127.0.0.1:9", "--json")
    assert code == 4
    error = json.loads(out)["errors"][0]
    assert error["code"] == "no-weights"
    assert "refused the connection" in error["message"]
    assert "http://127.0.0.1:9" in err
    assert "Traceback" not in err


def test_the_debugging_output_holds_no_token(run, hub):
    """Not even a traceback shows it."""
    hub.mode = "401"
    code, out, err = run(hub.endpoint, "--debug", token="hf_secret\u20ac")
    assert code == 4
    assert "Traceback" in err
    assert "hf_secret" not in out + err
