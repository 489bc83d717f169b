"""Workers on a CUDA device: one on each GPU, with the numbers of one process on it.

Run ``pytest -n 0 -m gpu``. Ray must be installed.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from kernelviz.cli.main import main

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_worker_on_each_gpu_has_the_statistics_of_one_process(tmp_path, monkeypatch, capsys):
    """Means and deviations are those of one process there, and near those of the CPU; a worker too many is refused."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(70):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"images/{number:02d}.png")

    def run(*options):
        capsys.readouterr()
        words = [
            "features",
            "test_resnet",
            "images",
            "-r",
            "--weights",
            "random",
            "-l",
            "layer1",
            "--statistics",
            "--json",
        ]
        code = main([*words, "--threads", "1", "--force", *options])
        return code, json.loads(capsys.readouterr().out)

    gpus = torch.cuda.device_count()
    _, cpu = run("--device", "cpu")
    _, one = run("--device", "cuda")
    code, several = run("--device", "cuda", "--workers", str(gpus))
    assert code == 0, several["errors"]
    assert several["environment"]["device"] == "cuda"
    for name in ("mean", "deviation"):
        theirs, ours, here = (np.array(each["statistics"][0][name]) for each in (cpu, several, one))
        np.testing.assert_array_equal(ours, here)
        np.testing.assert_allclose(ours, theirs, atol=5e-4 * np.abs(theirs).max())
    code, refused = run("--device", "cuda", "--workers", str(gpus + 1))
    assert code == 2
    assert refused["errors"][0]["hint"] == f"Type --workers {gpus}."
    assert "ray" in sys.modules
