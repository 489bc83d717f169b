from __future__ import annotations

import pytest
import timm
import torch
from bench import cpu_ratio, cpu_seconds
from safetensors.torch import save_file

pytestmark = pytest.mark.benchmark

IMPORTS = "import typer, rich.console, numpy, safetensors.numpy, matplotlib.figure"
TABLE = """
import json, sys, typer
def show(path: str):
    from rich.console import Console
    from rich.table import Table
    rows = json.load(open(path))["layers"]
    table = Table()
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=400).print(table)
app = typer.Typer()
app.command()(show)
app([sys.argv[1]])
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def command(*words):
    """The arguments of Python that run the command."""
    return ["-m", "kernelviz", *words]


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "resnet18d"])
def test_the_second_run_of_kernels(model, tmp_path):
    """At most 1.6 times what its imports take, and at least 4 times below importing timm."""
    words = ["kernels", model, "-q", "--force"]
    if model == "resnet18d":
        save_file(timm.create_model(model).state_dict(), tmp_path / "w.safetensors")
        words += ["--weights", "w.safetensors"]
    share = cpu_ratio(command(*words), ["-c", IMPORTS])
    times = cpu_ratio(["-c", "import timm"], command(*words))
    print(f"\nkernels {model}: {share:.2f} × its imports, {times:.1f} times below importing timm")
    assert share <= 1.6
    assert times >= 4


def test_the_second_run_of_layers(tmp_path):
    """At most 1.4 times a command that prints the same rows from JSON, and at least 10 times below importing timm."""
    import subprocess
    import sys

    document = subprocess.run(
        [sys.executable, *command("layers", "resnet18d", "--json", "-q")], check=True, capture_output=True
    ).stdout
    (tmp_path / "rows.json").write_bytes(document)
    share = cpu_ratio(command("layers", "resnet18d"), ["-c", TABLE, "rows.json"], pairs=11)
    times = cpu_ratio(["-c", "import timm"], command("layers", "resnet18d"))
    print(f"\nlayers: {share:.2f} × a table from JSON, {times:.1f} times below importing timm")
    assert share <= 1.4
    assert times >= 10


def test_all_layers_of_resnet50_as_bare_tiles(tmp_path):
    """The second run takes at most half of the time of a run without the cache."""
    torch.manual_seed(0)
    save_file(timm.create_model("resnet50").state_dict(), tmp_path / "w.safetensors")
    words = command("kernels", "resnet50", "-l", "*", "--style", "bare", "-q", "--force", "--weights", "w.safetensors")
    share = cpu_ratio(words, [*words, "--no-cache"], pairs=3)
    print(f"\nresnet50, 53 layers: {share:.2f} of the time without the cache")
    assert share <= 0.5


def test_the_first_run_takes_a_tenth_longer_at_most(tmp_path):
    """What is remembered costs little to find out."""
    import shutil

    for words in (["layers", "resnet18d"], ["kernels", "tf_efficientnet_lite0", "-q", "--force"]):
        cpu_seconds(command(*words, "--no-cache"))
        shares = []
        for _ in range(5):
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            shares.append(cpu_seconds(command(*words)) / cpu_seconds(command(*words, "--no-cache")))
        share = sorted(shares)[2]
        print(f"\n{' '.join(words)}: the first run takes {share:.2f} × a run without the cache")
        assert share <= 1.1
