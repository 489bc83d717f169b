"""Memory while a report is made: the layers are kept one at a time, as levels."""

from __future__ import annotations

import subprocess
import sys

import pytest
from peak_memory import PEAK

MAKE = f"""
{PEAK}
import sys
import timm
before = peak()
import kernelviz
model = kernelviz.load_model(sys.argv[1], weights="random")
kernelviz.save_report(kernelviz.make_report(model, "sample:grace_hopper"), sys.argv[2])
print("GROWN", peak() - before)
"""


@pytest.mark.slow
def test_the_report_of_resnet50(tmp_path):
    """At most 500 MB above importing timm, of which the weights take 100."""
    arguments = [sys.executable, "-c", MAKE, "resnet50", str(tmp_path / "page.html")]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout.rpartition("GROWN")[2]) / 1000 <= 500
