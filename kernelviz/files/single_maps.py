"""A folder of small PNGs, one per channel, encoded and written by threads, with an index in JSON."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import FileInTheWayError, WriteError
from kernelviz.files.encoding import png_series
from kernelviz.files.recipes import PNG_KEY, recipe_text
from kernelviz.files.writing import (
    check_target,
    holds,
    make_directory,
    may_replace,
    write_error,
    write_new,
    write_whole,
)

if TYPE_CHECKING:
    from kernelviz.drawing.mosaic import Singles


INDEX = "index.json"
_PART = 64
_CHANNEL, _LIMITS = "<kernelviz channel>", "<kernelviz limits>"


def save_singles(singles: Singles, folder: Path | str, *, force: bool = False, threads: int | None = None) -> Path:
    """Write a PNG for each channel into a folder, named by its number, and ``index.json`` at last; return the index.

    The index tells each file's channel and the values at the ends of its colours, with the shape and the recipe of all.
    A new folder is there whole or not at all. In one that is there already nothing is changed until all files are made;
    then they take their places, with no index beside them until the last one has. Files of an earlier run that are of
    other channels go; whatever else is in the folder stays.

    Raises:
        FileInTheWayError: something else is there; nothing was changed.
        WriteError: a file could not be written.
    """
    folder = Path(folder)
    there = folder if os.path.lexists(folder) else None
    if there:
        check_target(folder / INDEX, singles.recipe, force=force)
        if not folder.is_dir():
            raise FileInTheWayError(f"{folder} is in the way.", "It is no directory.", "Choose another --output.")
    make_directory(folder.parent)
    temporary = folder.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        make_directory(temporary)
        writer = _Writer(singles, temporary, there, force=force)
        _fill(writer, threads)
        if there:
            _move_into(writer, there)
        else:
            write_whole(temporary / INDEX, writer.index(), replace=False)
            _give_name(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # still there only if something went wrong
    return folder / INDEX


def is_complete(index: Path) -> bool:
    """Whether every file that an index lists is there."""
    try:
        files = json.loads(index.read_bytes())["files"]
        with os.scandir(index.parent) as entries:
            there = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        return there.issuperset(entry["file"] for entry in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fill(writer: _Writer, threads: int | None) -> None:
    """Make all files but the index."""
    count = min(4, os.cpu_count() or 1) if threads is None else threads
    with ThreadPoolExecutor(count, thread_name_prefix="kernelviz-single") as pool:
        try:
            for _ in pool.map(writer.write, _parts(len(writer.names))):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _move_into(writer: _Writer, folder: Path) -> None:
    """Put files that are made into a folder that is there, and take away those that the new index does not know.

    Raises:
        WriteError: it cannot be done; the folder may have no index then.
    """
    made, index = [path.name for path in writer.folder.iterdir()], writer.index()
    names = {*writer.names, INDEX}
    old = [path for path in folder.glob("*.png") if path.stem.isdecimal() and path.name not in names]
    stale = [path for path in old if may_replace(path, writer.singles.recipe)]
    if not made and not stale and holds(folder / INDEX, index):
        return
    try:
        (folder / INDEX).unlink(missing_ok=True)
        for name in made:
            (writer.folder / name).replace(folder / name)
        for path in stale:
            path.unlink()
    except OSError as error:
        raise WriteError(
            f"{folder} could not be written.", f"{error.strerror or error}.", "It has no index now: run it again."
        ) from error
    write_whole(folder / INDEX, index, replace=False)


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
    """Makes the files of one folder; they need not be on the disk before the index is.

    Those that are in ``there`` already, byte for byte, are left as they are.
    """

    def __init__(self, singles: Singles, folder: Path, there: Path | None, *, force: bool) -> None:
        self.singles, self.folder, self.there, self.force = singles, folder, there, force
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
        if self.there is not None:
            path = f"{self.there}{os.sep}{name}"
            if holds(path, data):
                return
            check_target(Path(path), self.singles.recipe, force=self.force)
        write_new(f"{self.folder}{os.sep}{name}", data)

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
