"""Write files whole or not at all, and never over something else."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import FileInTheWayError, RecipeError, UsageError, WriteError
from kernelviz.files.encoding import encode_picture, formats_of, npz_bytes
from kernelviz.files.recipes import read_recipe, recipe_text
from kernelviz.views.components import COLOURS, Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.drawing.figures import Animation, Figure
    from kernelviz.files.encoding import Pixels
    from kernelviz.records import Array, Progress, Recipe, Source


SAME_PICTURE = ("command", "model", "layer", "view", "stored", "image", "border", "level", "gabor")
"""The keys of a recipe that tell one picture from another."""

_CHUNK = 1 << 26  # some systems refuse to write 2 GB at once


def save_picture(
    picture: Pixels | Figure | Animation,
    path: Path | str,
    *,
    force: bool = False,
    format: str | None = None,  # noqa: A002  (the word of matplotlib and Pillow)
    progress: Progress | None = None,
) -> Path:
    """Write a mosaic (PNG), a figure (PNG, SVG, PDF) or an animation (GIF, WebP) with its recipe inside; return the path.

    Directories are made as needed. An earlier run of the same picture is replaced, anything else only with ``force``.

    Args:
        picture: a ``Mosaic``, a matplotlib Figure, or an ``Animation``.
        path: where; its suffix tells the format.
        force: replace whatever file is there.
        format: ``png``, ``svg``, ``pdf``, ``gif`` or ``webp``, whatever the suffix says.
        progress: called with a label, how many frames of an animation are drawn, and of how many.

    Raises:
        UsageError: the format is unknown, or no format for this picture.
        FileInTheWayError: something else is there.
        WriteError: the file could not be written; what was there is still there.
    """
    path = Path(path)
    data = encode_picture(picture, _format_of(path, formats_of(picture)) if format is None else format, progress)
    _save(path, data, getattr(picture, "recipe", None), force=force)
    return path


def save_arrays(arrays: Mapping[str, Array], path: Path | str, *, recipe: Recipe | None, force: bool = False) -> Path:
    """Write arrays as ``.npz``, which ``numpy.load(path, allow_pickle=False)`` reads; return the path.

    Keys are the names made safe like file names; the true names are in the key ``names``, in the order of the others,
    and the recipe in the key ``recipe``.

    Raises:
        UsageError: an array holds objects.
        FileInTheWayError: something else is there.
        WriteError: the file could not be written; what was there is still there.
    """
    path = Path(path)
    _save(path, npz_bytes(arrays, recipe), recipe, force=force)
    return path


def check_target(path: Path, recipe: Recipe | None, *, force: bool) -> None:
    """Check that a file may be written here.

    With ``force`` files and links may be replaced, but nothing else: no directory and no device.

    Raises:
        FileInTheWayError: something is there that is no earlier run of this very picture.
    """
    if not os.path.lexists(path):
        return
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        raise FileInTheWayError(f"{path} is in the way.", "It is a directory.", "Choose another place with --output.")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise FileInTheWayError(f"{path} is in the way.", "It is no file.", "Choose another place with --output.")
    if not force and not may_replace(path, recipe):
        raise _in_the_way(path)


def may_replace(path: Path, recipe: Recipe | None) -> bool:
    """Whether nothing is here, or an earlier run of the very picture that this recipe makes.

    That is a regular file, and no link, whose own recipe agrees in ``SAME_PICTURE``; an absent value is None. A recipe
    with none of these agrees with nothing.
    """
    if not os.path.lexists(path):
        return True
    there = None if recipe is None else _recipe_at(path)
    if there is None or recipe is None:
        return False
    return any(there.get(key) is not None for key in SAME_PICTURE) and _identity(there) == _identity(recipe)


def holds(path: Path | str, data: bytes) -> bool:
    """Whether a regular file is here, and no link, of exactly these bytes."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall() == data
    except OSError:
        return False


def is_of_another(path: Path, recipe: Recipe) -> bool:
    """Whether here is the same picture of other weights, another model, or another image."""
    there = _recipe_at(path)
    if there is None or there.get("model") is None:
        return False
    return not may_replace(path, recipe) and _identity(
        {**there, "model": recipe.get("model"), "image": recipe.get("image")}
    ) == _identity(recipe)


def _recipe_at(path: Path) -> Recipe | None:
    """The recipe of a regular file, and no link; None where there is none."""
    try:
        return None if path.is_symlink() else read_recipe(path)
    except RecipeError:
        return None


def write_whole(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file whole or not at all; whatever happens, no half of it is seen and nothing else is left.

    The bytes go to a temporary file beside it, which takes its place in one step. Directories are made as needed. A
    link is replaced itself, not what it leads to.

    Args:
        path: where.
        data: the whole content.
        replace: take the place of a file that is there.

    Raises:
        FileInTheWayError: something is there, and ``replace`` is False.
        WriteError: the file could not be written; what was there is still there.
    """
    temporary = path.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        _make_directory(path.parent)
        try:
            _write_new(temporary, data)
            _put(temporary, path, replace=replace)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()  # still there only if something went wrong
    except FileExistsError as error:
        raise _in_the_way(path) from error
    except OSError as error:
        raise write_error(path, f"{error.strerror or error}.") from error
    except ValueError as error:
        raise write_error(path, "The path holds a character that no path may hold.") from error


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it, where they are not there.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        _make_directory(directory)
    except (OSError, ValueError) as error:
        raise write_error(directory, f"{getattr(error, 'strerror', None) or error}.") from error


def _save(path: Path, data: bytes, recipe: Recipe | None, *, force: bool) -> None:
    standing = os.path.lexists(path)
    check_target(path, recipe, force=force)
    write_whole(path, data, replace=force or standing)  # what has come in between is not known, so it stays


def _format_of(path: Path, formats: Sequence[str]) -> str:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        got = f"got {path.suffix!r}" if suffix else "there is none"
        choices = ", ".join(f".{each}" for each in formats)
        raise UsageError(f"The suffix of {path} must be one of {choices}, but {got}.")
    return suffix


def _identity(recipe: Recipe) -> str:
    """The values that tell this picture, as JSON: a recipe in memory may hold tuples where the file's holds lists."""
    return recipe_text({key: recipe.get(key) for key in SAME_PICTURE})


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(error.errno, "Its place is not a directory") from error


def write_new(path: str, data: bytes) -> None:
    """Write a file into a folder that is not there for others yet, without waiting for the disk.

    Raises:
        WriteError: it could not be written.
    """
    try:
        _write_new(path, data, durable=False)
    except OSError as error:
        raise write_error(Path(path), f"{error.strerror or error}.") from error


def _write_new(path: Path | str, data: bytes, *, durable: bool = True) -> None:
    """Write a file that must not be there yet, and have it on the disk."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest[:_CHUNK]) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(temporary: Path, path: Path, *, replace: bool) -> None:
    """Give the file its name, in one step; FileExistsError where it is taken and ``replace`` is False."""
    if not replace:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError as error:  # not every file system has hard links
            if os.path.lexists(path):
                raise FileExistsError from error
        else:
            return
    temporary.replace(path)


def _in_the_way(path: Path) -> FileInTheWayError:
    return FileInTheWayError(
        f"{path} is in the way.",
        "It is no earlier run of this very picture.",
        "Replace it with --force, or choose another --output.",
    )


def write_error(path: Path, why: str) -> WriteError:
    """That a file could not be written."""
    return WriteError(
        f"{path} could not be written.", why, "Nothing was changed. Choose another place with --output, or make room."
    )


_ARRAYS = ("mean", "components", "deviations", "share")
_HINT = "Give a file …-basis.npz that --reduce pca wrote."


def save_basis(basis: Basis, path: Path | str, source: Source | None = None, *, force: bool = False) -> Path:
    """Write a basis as ``.npz``: ``mean`` (C,), ``components`` (3, C), ``deviations`` (3,), ``share`` (3,), and a recipe.

    Raises:
        FileInTheWayError: something else is there.
        WriteError: the file could not be written.
    """
    from kernelviz.version import __version__

    recipe: dict[str, Any] = {
        "kernelviz": __version__,
        "schema": 1,
        "command": "features",
        "model": source.as_recipe() if source else basis.model,
        "layer": basis.layer or None,
        "view": "basis",
        "image": basis.identity,
        "images": basis.images,
        "positions": basis.positions,
    }
    return save_arrays({name: getattr(basis, name) for name in _ARRAYS}, path, recipe=recipe, force=force)


def read_basis(path: Path | str) -> Basis:
    """The basis that ``save_basis`` wrote.

    Raises:
        UsageError: there is no such file, it is damaged, or it holds no basis, or numbers that are not finite.
    """
    try:
        recipe = read_recipe(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in _ARRAYS}
    except RecipeError as error:
        raise UsageError(f"{path} is no basis.", error.what, _HINT) from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no basis.", str(error).partition("\n")[0], _HINT) from error
    _check(path, arrays)
    layer, images, positions = recipe.get("layer"), recipe.get("images"), recipe.get("positions")
    model, identity = (each if isinstance(each, dict) else None for each in (recipe.get("model"), recipe.get("image")))
    counts = [number if isinstance(number, int) else 0 for number in (images, positions)]
    return Basis(
        **arrays, layer=layer if isinstance(layer, str) else "", images=counts[0], positions=counts[1],
        model=model, identity=identity,
    )  # fmt: skip


def _check(path: Path | str, arrays: dict[str, Array]) -> None:
    channels = arrays["mean"].size
    wanted = {"mean": (channels,), "components": (COLOURS, channels), "deviations": (COLOURS,), "share": (COLOURS,)}
    if not channels or any(arrays[name].shape != shape for name, shape in wanted.items()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UsageError(f"{path} is no basis.", f"Its arrays do not fit together: {shapes}.", _HINT)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UsageError(f"{path} is no basis.", "It holds numbers that are not finite.", _HINT)
