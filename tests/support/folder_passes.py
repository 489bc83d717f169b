"""How long a folder takes: ``folder_passes.py ours|peer whole|stopped FOLDER OUTPUT`` prints seconds.

Before it, some images of the folder warm up what is imported and built once.

``stopped`` passes end behind layer1 on both sides (``--no-classes``), ``whole`` ones give the classes too.

Each side is a process of its own, since torch's threads wait as they were told to when torch was imported.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

WARMING = 10


def ours(output: Path, *, whole: bool) -> Callable[[Path], object]:
    """layer1 of every image as bare picture, by the command; the network is built once."""
    from kernelviz.cli import loading
    from kernelviz.cli.main import main

    load, built = loading.load, []

    def load_once(*arguments):
        built[:] = built or [load(*arguments)]
        return replace(built[0])

    loading.load = load_once
    arguments = ["features", "resnet18d", "--weights", "random", "-r", "-l", "layer1", "--style", "bare", "-q"]
    arguments += [] if whole else ["--no-classes"]

    def run(folder: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*arguments, str(folder), "--force", "-o", str(output)]) == 0

    return run


class EnoughError(BaseException):
    """Ends a pass."""


def peer(_output: Path, *, whole: bool) -> Callable[[Path], object]:
    """A plain loop that only loads, preprocesses and runs the pass."""
    import timm
    import torch
    from PIL import Image

    module = timm.create_model("resnet18d").eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module))

    def enough(*_: object) -> None:
        raise EnoughError

    if not whole:
        module.layer1.register_forward_hook(enough)

    def run(folder: Path) -> None:
        with torch.no_grad():
            for path in sorted(folder.iterdir()):
                batch = transform(Image.open(path).convert("RGB"))[None]
                with contextlib.suppress(EnoughError):
                    module(batch)

    return run


if __name__ == "__main__":
    side, length, folder, output = sys.argv[1:]
    work = {"ours": ours, "peer": peer}[side](Path(output), whole=length == "whole")
    with tempfile.TemporaryDirectory() as some:
        for path in sorted(Path(folder).iterdir())[:WARMING]:
            shutil.copy(path, some)
        work(Path(some))
    sys.stdout.write(f"{seconds(partial(work, Path(folder)))}\n")
