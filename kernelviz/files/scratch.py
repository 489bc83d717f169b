"""A temporary folder for the files of other programs."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Scratch:
    """A folder for the files of other programs, which only this user can enter and which is deleted afterwards."""

    path: Path

    def secret(self, name: str, text: str) -> Path:
        """A file with a text that nobody else can read."""
        path = self.path / name
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        return path


_SHORT = 28  # characters of a folder in which programs may put sockets, whose paths are limited to 107 bytes
_VANISHING = 5.0  # seconds until processes that write into a folder have ended


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Scratch]:
    """A temporary folder with a short path, deleted with all of its files afterwards."""
    base = tempfile.gettempdir()
    if len(base) > _SHORT and os.access("/tmp", os.W_OK):  # noqa: S108  (the name is made by mkdtemp)
        base = "/tmp"  # noqa: S108
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield Scratch(path)
    finally:
        end = time.monotonic() + _VANISHING
        while path.exists():
            shutil.rmtree(path, ignore_errors=True)
            if time.monotonic() > end:
                break
            time.sleep(0.02)
