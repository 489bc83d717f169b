"""A folder of small PNGs, one a channel, encoded and written by threads, with an index in JSON."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import FileInTheWayError
from kernelviz.files.png import png_series
from kernelviz.files.recipes import PNG_KEY, recipe_text
from kernelviz.files.writing import check_target, holds, make_directory, write_error, write_new, write_whole

if TYPE_CHECKING:
    from kernelviz.drawing.singles import Singles

INDEX = "index.json"
_PART = 64
_CHANNEL, _LIMITS = "<kernelviz channel>", "<kernelviz limits>"


def save_singles(singles: Singles, folder: Path | str, *, force: bool = False, threads: int | None = None) -> Path:
    """Write a PNG for each channel into a folder, named by its number, and ``index.json`` at last; return the index.

    The index tells each file's channel and the values at the ends of its colours, with the shape and the recipe of all.
    A new folder is there whole or not at all; in one that is there already each file is.

    Raises:
        FileInTheWayError: something else is there.
        WriteError: a file could not be written; the index is not there then.
    """
    folder = Path(folder)
    if os.path.lexists(folder):
        check_target(folder / INDEX, singles.recipe, force=force)
        make_directory(folder)
        _fill(_Writer(singles, folder, force=force), threads)
        return folder / INDEX
    make_directory(folder.parent)
    temporary = folder.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        make_directory(temporary)
        _fill(_Writer(singles, temporary, force=None), threads)
        _give_name(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # still there only if something went wrong
    return folder / INDEX


def _fill(writer: _Writer, threads: int | None) -> None:
    """Write all files of a folder, the index when the others are there."""
    count = min(4, os.cpu_count() or 1) if threads is None else threads
    with ThreadPoolExecutor(count, thread_name_prefix="kernelviz-single") as pool:
        try:
            for _ in pool.map(writer.write, _parts(len(writer.names))):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    index = writer.folder / INDEX
    write_whole(index, writer.index(), replace=bool(writer.force) or os.path.lexists(index))


def _give_name(temporary: Path, folder: Path) -> None:
    """Give a folder its name, in one step.

    Raises:
        FileInTheWayError: something has come there.
        WriteError: it cannot be done.
    """
    try:
        temporary.rename(folder)
    except OSError as error:
        if os.path.lexists(folder):
            raise FileInTheWayError(f"{folder} is in the way.", "It has just come there.", "Try again.") from error
        raise write_error(folder, f"{error.strerror or error}.") from error


def _parts(count: int) -> list[range]:
    return [range(start, min(count, start + _PART)) for start in range(0, count, _PART)]


class _Writer:
    """Writes the files of one folder; they need not be on the disk before the index is.

    ``force`` is None where the folder is new and nobody else's.
    """

    def __init__(self, singles: Singles, folder: Path, *, force: bool | None) -> None:
        self.singles, self.folder, self.force = singles, folder, force
        digits = max(4, len(str(max(singles.numbers))))
        self.names = [f"{number:0{digits}d}.png" for number in singles.numbers]
        self.limits = singles.limits.tolist()
        text = recipe_text({**singles.recipe, "shown": 1, "channels": _CHANNEL, "limits": _LIMITS})
        front, _, rest = text.partition(f'"{_CHANNEL}"')
        middle, _, end = rest.partition(f'"{_LIMITS}"')
        self.parts = front, middle, end

    def write(self, part: range) -> None:
        """Encode and write some of the files."""
        zoom = self.singles.zoom
        pixels = self.singles.levels[part.start : part.stop]
        if zoom > 1:
            pixels = np.repeat(np.repeat(pixels, zoom, 1), zoom, 2)
        texts = map(self._recipe, part)
        for at, data in zip(part, png_series(pixels, self.singles.palette, PNG_KEY, texts), strict=True):
            self._write(self.names[at], data)

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self.folder}{os.sep}{name}"
        if self.force is None:
            write_new(path, data)
        elif not holds(path, data):
            standing = os.path.lexists(path)
            check_target(Path(path), self.singles.recipe, force=self.force)
            write_whole(Path(path), data, replace=self.force or standing)

    def _recipe(self, at: int) -> str:
        """The recipe of one file, put together from what all have: encoding it takes as long as the picture."""
        low, high = self.limits[at]
        front, middle, end = self.parts
        return f'{front}"{self.singles.numbers[at]}"{middle}[{low!r},{high!r}]{end}'

    def index(self) -> bytes:
        """The index, as JSON with a line a file: JSON's own indentation takes as long as a third of the pictures."""
        singles = self.singles
        content = {
            "layer": singles.recipe.get("layer"),
            "shape": list(singles.levels.shape[1:]),
            "zoom": singles.zoom,
            "scale": singles.scale.kind,
            "recipe": dict(singles.recipe),
        }
        files = zip(self.names, singles.numbers, self.limits, strict=True)
        entries = ({"file": name, "channel": number, "limits": limits} for name, number, limits in files)
        lines = ",\n  ".join(json.dumps(entry, allow_nan=False) for entry in entries)
        return f'{json.dumps(content, allow_nan=False)[:-1]}, "files": [\n  {lines}\n]}}\n'.encode()
