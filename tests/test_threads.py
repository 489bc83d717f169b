"""When reading and writing must not overlap with the forward pass."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from kernelviz.network.model import uses_all_processors
from kernelviz.threads import processors


@pytest.fixture
def threads():
    """Set torch's threads; afterwards as they were."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_pass_may_use_all_processors(threads):
    """With as many threads as there are processors; also a module without parameters."""
    threads(processors())
    assert uses_all_processors(nn.Conv2d(1, 1, 1))
    assert uses_all_processors(nn.ReLU())


@pytest.mark.skipif(processors() < 2, reason="one processor is all there is")
def test_a_pass_that_leaves_a_processor_does_not(threads):
    """Reading and writing go on beside it."""
    threads(processors() - 1)
    assert not uses_all_processors(nn.Conv2d(1, 1, 1))


def test_a_pass_elsewhere_does_not(threads):
    """A forward pass on another device leaves all processors."""
    threads(processors())
    assert not uses_all_processors(nn.Conv2d(1, 1, 1, device="meta"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "None 30000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"), ({"GOMP_SPINCOUNT": "7"}, "None 7")],
)
def test_how_torch_waits_is_the_users_choice(given, expected):
    """The command shortens how long torch's threads spin, before torch is there, unless it was told."""
    script = """
import os, sys
sys.modules["kernelviz.network.model"] = None
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.loading import load
from kernelviz.cli.session import Report
try:
    load(ModelChoices("resnet18", "random", 0, 1.0), Report("kernels"), lambda *_, **__: None)
except ImportError:
    print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
"""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)} | given
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == expected
