"""Memory while maps are streamed: it does not grow with the number of layers."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import resource, sys
import timm
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from kernelviz.cli.main import main
code = main(["features", "resnet50", sys.argv[1], "-l", "*", "--weights", "random", "--input-size", "1024",
             "--style", sys.argv[2], "-o", sys.argv[3], "-q", "--no-classes"])
assert code == 0, code
print("GROWN", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("style", ["bare", "figure"])
def test_all_layers_of_resnet50_at_1024(style, tmp_path):
    """At most 700 MB above importing timm; hooks that keep everything take 3.6 GB."""
    arguments = [sys.executable, "-c", COMMAND, "sample:grace_hopper", style, str(tmp_path)]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    grown = int(finished.stdout.rpartition("GROWN")[2]) / 1024
    print(f"\nresnet50, 1024 x 1024, all layers, {style}: {grown:.0f} MB above importing timm")  # noqa: T201
    assert len(list(tmp_path.iterdir())) > 100
    assert grown <= 700
