"""Write a folder of small PNGs, one per channel, by threads, with an index in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.errors import FileInTheWayError, WriteError
from kernelviz.files.encoding import png_series
from kernelviz.files.recipes import LARGEST_INDEX, PNG_KEY, is_whole, recipe_text
from kernelviz.files.writing import (
    check_target,
    flush_to_disk,
    holds,
    make_directory,
    may_replace,
    sweep,
    write_error,
    write_new,
    write_whole,
)
from kernelviz.reading import read_regular
from kernelviz.storage.objects import delete, listed, put
from kernelviz.storage.uris import as_path, is_uri

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from kernelviz.drawing.mosaic import Singles
    from kernelviz.records import Recipe


INDEX = "index.json"
_PART = 64
_OWN = re.compile(r"\d+\.png")
_CHANNEL, _LIMITS = "<kernelviz channel>", "<kernelviz limits>"


def save_singles(singles: Singles, folder: Path | str, *, force: bool = False, threads: int | None = None) -> Path:
    """Write a PNG per channel into a folder, named by its number, and then ``index.json``; return the path of the index.

    The index has each file's channel, its size in bytes and the values at the ends of its colours, and the common shape and
    recipe. A new folder is created atomically. An existing one is unchanged until all files are made; then its index is
    removed, the files are moved in, and a new index is written. Files of an earlier run for other channels are deleted; all
    other files are kept. At a URI the index is removed first, then the files are put one by one; new ones are deleted again
    if one fails. A folder of other ``singles`` is replaced only with ``force``. ``threads`` write, by default up to four.

    Raises:
        FileInTheWayError: something else has this path; nothing was changed.
        WriteError: a file could not be written.

    Example:
        >>> singles = kernelviz.make_singles(torch.rand(4, 14, 14))
        >>> index = kernelviz.save_singles(singles, "channels")
        >>> sorted(path.name for path in index.parent.iterdir())
        ['0000.png', '0001.png', '0002.png', '0003.png', 'index.json']
    """
    folder = as_path(folder)
    if is_uri(folder):
        return _put_singles(singles, folder, force=force, threads=threads)
    try:
        return _save_singles(singles, folder, force=force, threads=threads)
    except FileInTheWayError:  # perhaps another run draws the same maps
        if not may_replace(folder / INDEX, singles.recipe):
            raise
        return _save_singles(singles, folder, force=force, threads=threads)


def _save_singles(singles: Singles, folder: Path, *, force: bool, threads: int | None) -> Path:
    there = folder if os.path.lexists(folder) else None
    if there:
        sweep(folder)
        check_target(folder / INDEX, singles.recipe, force=force)
        if not os.path.isdir(folder):  # noqa: PTH112  (takes links to what may not be examined)
            raise FileInTheWayError(f"{folder} is in the way.", "It is not a directory.", "Choose another --output.")
    make_directory(folder.parent)
    temporary = folder.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        _make_temporary(temporary, folder)
        writer = _Writer(singles, temporary, folder, is_new=not there, force=force)
        _fill(writer, threads)
        if there:
            _move_into(writer, there)
        else:
            _write_index(temporary, folder, writer.index())
            _give_name(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # exists only after a failure
    return folder / INDEX


def _put_singles(singles: Singles, folder: Path, *, force: bool, threads: int | None) -> Path:
    """Put the files into the folder of a URI: without an index until all of them are there."""
    index = folder / INDEX
    check_target(index, singles.recipe, force=force)
    try:
        there = listed(folder)
    except FileNotFoundError:
        there = {}
    except OSError as error:
        raise write_error(folder, error) from error
    writer = _Putter(singles, folder, frozenset(there), force=force)
    for name in there.keys() & {*writer.names}:
        check_target(folder / name, singles.recipe, force=force)
    stale = _stale(folder, there, writer.names, singles.recipe, _OWN)
    try:
        delete(index)
        _fill(writer, threads)
        for path in stale:
            delete(path)
        write_whole(index, writer.index(), replace=True)
    except BaseException as error:
        with contextlib.suppress(OSError):
            for name in writer.new:
                delete(folder / name)
        if isinstance(error, OSError):
            raise write_error(folder, error) from error
        raise
    return index


@contextlib.contextmanager
def replaced_singles(
    index: Path, names: Collection[str], recipe: Recipe, *, own: re.Pattern[str], force: bool
) -> Iterator[Path]:
    """Let the block write files of these names, and the index last, into a folder: they come into that of ``index``.

    The block writes into a new folder. If it fails, nothing was changed. Else the files are moved in, and those of an
    earlier run that are not among them are deleted: those whose names match ``own`` and whose recipes are of the same
    picture. All other files are kept. At a URI the block writes into the folder of ``index`` itself, whose index is removed
    before.

    Raises:
        FileInTheWayError: something else has one of these paths; nothing was changed.
        WriteError: a file could not be written or deleted.
    """
    folder = index.parent
    try:
        there = _names_in(folder)
        check_target(index, recipe, force=force)
        for name in sorted(there & {*names}):
            check_target(folder / name, recipe, force=force)
        stale = _stale(folder, there, names, recipe, own)
        if is_uri(folder):
            delete(index)
            yield folder
        else:
            if os.path.lexists(folder) and not os.path.isdir(folder):  # noqa: PTH112  (takes links to what may not be examined)
                raise FileInTheWayError(
                    f"{folder} is in the way.", "It is not a directory.", "Choose another --output."
                )
            with _made_beside(folder) as made:
                yield made
                _move_all(made, folder, [*names, index.name])
        for path in stale:
            _remove(path)
    except OSError as error:
        raise write_error(folder, error) from error


@contextlib.contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder beside another one, which errors name; it is deleted afterwards."""
    make_directory(folder.parent)
    temporary = folder.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        _make_temporary(temporary, folder)
        yield temporary
    except WriteError as error:
        if str(temporary) in error.what:
            raise type(error)(f"{folder} could not be written.", error.why, error.hint) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_all(made: Path, folder: Path, names: Sequence[str]) -> None:
    """Move files into a folder, of which the last one is the index.

    Raises:
        WriteError: it failed; the folder may then have no index.
    """
    if not os.path.lexists(folder):
        _give_name(made, folder)
        return
    try:
        (folder / names[-1]).unlink(missing_ok=True)
        for name in names:
            (made / name).replace(folder / name)
    except OSError as error:
        raise WriteError(
            f"{folder} could not be written.",
            f"{error.strerror or error}.",
            "It now has no index: run the command again.",
        ) from error


def _names_in(folder: Path) -> set[str]:
    """The names of the files in a folder; none if there is no folder."""
    try:
        return {*listed(folder)} if is_uri(folder) else {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _stale(
    folder: Path, there: Iterable[str], names: Collection[str], recipe: Recipe, own: re.Pattern[str]
) -> list[Path]:
    """The files of an earlier run of the same pictures that are not among the new names."""
    old = [folder / name for name in sorted(there) if own.fullmatch(name) and name not in names]
    return [path for path in old if may_replace(path, recipe)]


def _remove(path: Path) -> None:
    if is_uri(path):
        delete(path)
    else:
        path.unlink(missing_ok=True)


def _make_temporary(temporary: Path, folder: Path) -> None:
    """Create the temporary folder; an error names ``folder``."""
    try:
        temporary.mkdir()
    except OSError as error:
        raise write_error(folder, error) from error


def _write_index(temporary: Path, folder: Path, index: bytes) -> None:
    """Write the index into the temporary folder; an error names ``folder``."""
    try:
        write_new(f"{temporary}{os.sep}{INDEX}", index)
        flush_to_disk(temporary / INDEX)
    except OSError as error:
        raise write_error(folder, error) from error


def is_complete(index: Path) -> bool:
    """Whether every file in an index exists, has the size that the index states, and is undamaged.

    Objects of other file systems are not read: only their sizes are compared.
    """
    try:
        files = json.loads(read_regular(index, LARGEST_INDEX))["files"]
        if is_uri(index):
            sizes = listed(index.parent)
            return all(sizes.get(entry["file"]) == entry["bytes"] for entry in files)
        with os.scandir(index.parent) as entries:
            there = {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }
        whole = all(there.get(entry["file"]) == entry["bytes"] for entry in files)
        return whole and all(is_whole(index.parent / entry["file"]) for entry in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fill(writer: _Writer, threads: int | None) -> None:
    """Make all files except the index."""
    count = min(4, os.cpu_count() or 1) if threads is None else threads
    with ThreadPoolExecutor(count, thread_name_prefix="kernelviz-single") as pool:
        try:
            for _ in pool.map(writer.write, _parts(len(writer.names))):
                pass
            for _ in pool.map(flush_to_disk, writer.unflushed()):
                pass
        except OSError as error:
            pool.shutdown(wait=True, cancel_futures=True)
            raise write_error(writer.target, error) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _move_into(writer: _Writer, folder: Path) -> None:
    """Move the files into an existing folder, and delete those that are not in the new index.

    Raises:
        WriteError: it failed; if files could not be moved or deleted, the folder then has no index.
    """
    made, index = [path.name for path in writer.folder.iterdir()], writer.index()
    try:
        stale = _stale(folder, _names_in(folder), writer.names, writer.singles.recipe, _OWN)
        if not made and not stale and holds(folder / INDEX, index):
            return
        check_target(folder / INDEX, writer.singles.recipe, force=writer.force, data=index)
        (folder / INDEX).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        for name in made:
            (writer.folder / name).replace(folder / name)
        for path in stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"{folder} could not be written.",
            f"{error.strerror or error}.",
            "It has no index now: choose another --output, or run the command again when it can be written.",
        ) from error
    write_whole(folder / INDEX, index, replace=False)


def _give_name(temporary: Path, folder: Path) -> None:
    """Rename the temporary folder, atomically.

    Raises:
        FileInTheWayError: the path has been created in the meantime.
        WriteError: it failed.
    """
    try:
        temporary.rename(folder)
    except OSError as error:
        if os.path.lexists(folder):
            raise FileInTheWayError(
                f"{folder} is in the way.", "It was created in the meantime.", "Try again."
            ) from error
        raise write_error(folder, error) from error


def _parts(count: int) -> list[range]:
    return [range(start, min(count, start + _PART)) for start in range(0, count, _PART)]


class _Writer:
    """Writes the files of one folder, without waiting for the disk after each.

    Files that exist in ``target`` with the same bytes are not written again.
    """

    def __init__(self, singles: Singles, folder: Path, target: Path, *, is_new: bool, force: bool) -> None:
        self.singles, self.folder, self.target, self.is_new, self.force = singles, folder, target, is_new, force
        digits = max(4, len(str(max(singles.numbers))))
        self.names = [f"{number:0{digits}d}.png" for number in singles.numbers]
        self.sizes = [0] * len(self.names)
        self.limits = singles.limits.tolist()
        text = recipe_text({**singles.recipe, "shown": 1, "channels": _CHANNEL, "limits": _LIMITS})
        front, _, rest = text.partition(f'"{_CHANNEL}"')
        middle, _, end = rest.partition(f'"{_LIMITS}"')
        self.parts = front, middle, end

    def write(self, part: range) -> None:
        """Encode and write some of the files."""
        pixels, palette = self.singles.drawn(slice(part.start, part.stop))
        texts = map(self._recipe, part)
        for at, data in zip(part, png_series(pixels, palette, PNG_KEY, texts), strict=True):
            self.sizes[at] = len(data)
            self._write(self.names[at], data)

    def _write(self, name: str, data: bytes) -> None:
        if not self.is_new:
            path = f"{self.target}{os.sep}{name}"
            if holds(path, data):
                return
            check_target(Path(path), self.singles.recipe, force=self.force, data=data)
        write_new(f"{self.folder}{os.sep}{name}", data)

    def unflushed(self) -> list[Path]:
        """The files that may not be on the disk yet."""
        return list(self.folder.iterdir())

    def _recipe(self, at: int) -> str:
        """The recipe of one file, assembled from a common text, because encoding takes as long as the picture."""
        low, high = self.limits[at]
        front, middle, end = self.parts
        return f'{front}"{self.singles.numbers[at]}"{middle}[{low!r},{high!r}]{end}'

    def index(self) -> bytes:
        """The index as JSON with one line per file; the indentation of ``json`` would be slow."""
        singles = self.singles
        content = {
            "layer": singles.recipe.get("layer"),
            "shape": list(singles.levels.shape[1:]),
            "zoom": singles.zoom,
            "scale": singles.scale.kind,
            "recipe": dict(singles.recipe),
        }
        files = zip(self.names, singles.numbers, self.limits, self.sizes, strict=True)
        entries = (
            {"file": name, "channel": number, "limits": limits, "bytes": size} for name, number, limits, size in files
        )
        lines = ",\n  ".join(json.dumps(entry, allow_nan=False) for entry in entries)
        return f'{json.dumps(content, allow_nan=False)[:-1]}, "files": [\n  {lines}\n]}}\n'.encode()


class _Putter(_Writer):
    """Puts the files of one folder of a URI. ``there`` are the names of its objects, ``new`` those that were added."""

    def __init__(self, singles: Singles, folder: Path, there: frozenset[str], *, force: bool) -> None:
        super().__init__(singles, folder, folder, is_new=False, force=force)
        self.there = there
        self.new: list[str] = []

    def _write(self, name: str, data: bytes) -> None:
        put(self.folder / name, data, replace=name in self.there)
        if name not in self.there:
            self.new.append(name)

    def unflushed(self) -> list[Path]:
        """None."""
        return []
