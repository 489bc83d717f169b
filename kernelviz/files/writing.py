"""Write files atomically, and never over something else.

An object of another file system is put in one request from bytes in memory. What it may replace is checked before, not
locked: of two runs that write the same object at the same time, one may win where the back end cannot create exclusively.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import DiskFullError, FileInTheWayError, RecipeError, UsageError, WriteError
from kernelviz.files.encoding import encode_picture, formats_of, frame_pngs, frame_recipe, is_animation, npz_bytes
from kernelviz.files.recipes import CSV_HEAD, HTML_HEAD, is_whole, read_recipe, recipe_text
from kernelviz.reading import open_regular, read_regular
from kernelviz.storage.objects import kind_of, put
from kernelviz.storage.uris import as_path, is_uri
from kernelviz.version import SCHEMA, __version__
from kernelviz.views.components import COLOURS, Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import Figure
    from kernelviz.files.encoding import Pixels
    from kernelviz.records import Array, Progress, Recipe, Source


SAME_PICTURE = ("command", "model", "layer", "view", "stored", "image", "border", "level", "gabor", "identity")
"""The keys of a recipe that identify a picture; ``identity`` holds what else its name has, such as several layers."""

_HEAD = 64  # bytes of a file that show its format
_BEGINNINGS = (
    b"\x89PNG\r\n\x1a\n",
    b"%PDF-1.",
    b"<?xml",
    b"PK\x03\x04",
    b"GIF89a",
    b"RIFF",
    b'{"layer"',
    CSV_HEAD,
    HTML_HEAD,
)
_TEMPORARY = re.compile(r"\.kernelviz-[0-9a-f]{16}")
_ABANDONED = 3600  # seconds
_CHUNK = 1 << 26  # bytes: some systems cannot write 2 GB at once


def save_picture(
    picture: Pixels | Figure | Animation,
    path: Path | str,
    *,
    force: bool = False,
    format: str | None = None,  # noqa: A002  (as in matplotlib and Pillow)
    progress: Progress | None = None,
) -> Path:
    """Write a mosaic (PNG), a figure (PNG, SVG, PDF) or an animation (GIF, WebP) with its recipe inside; return the path.

    Missing directories are created. The same picture of an earlier run is replaced, anything else only with ``force``.

    Args:
        picture: a ``Mosaic``, a matplotlib Figure, or an ``Animation``.
        path: the target path, or a URI such as ``s3://bucket/stem.png``; its suffix determines the format.
        force: replace any existing file.
        format: ``png``, ``svg``, ``pdf``, ``gif`` or ``webp``; overrides the suffix.
        progress: called for the frames of an animation with a label, the number drawn, and the total.

    Raises:
        UsageError: the format is unknown, or does not suit the picture.
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.

    Example:
        >>> weight = torch.nn.Conv2d(3, 16, 5).weight
        >>> path = kernelviz.save_picture(kernelviz.plot_kernels(weight), "kernels.svg")
        >>> sheet = kernelviz.make_sheet(weight, style="bare")
        >>> path = kernelviz.save_picture(kernelviz.make_mosaic(sheet), "tiles.png")
        >>> path.name
        'tiles.png'
    """
    path = as_path(path)
    data = encode_picture(picture, _format_of(path, formats_of(picture)) if format is None else format, progress)
    _save(path, data, getattr(picture, "recipe", None), force=force)
    return path


def save_frames(
    animation: Animation, path: Path | str, *, force: bool = False, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Write the frames of an animation as numbered PNGs in the size of its pages; return the paths.

    ``out/conv.png`` becomes ``out/conv-frame-000.png``, ``out/conv-frame-001.png`` and so on. Every frame has its recipe.
    Missing directories are created; nothing is written if one of the paths is taken by something else.

    Args:
        animation: the animation.
        path: the directory and the beginning of the names, with the suffix ``.png``.
        force: replace any existing files.
        progress: called for the frames with a label, the number drawn, and the total.

    Raises:
        UsageError: the suffix is not ``.png``, or it is no animation.
        FileInTheWayError: a path is occupied by something else.
        WriteError: writing failed; frames that were written are kept.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2), np.arange(9).reshape(3, 3), np.eye(2))
        >>> paths = kernelviz.save_frames(kernelviz.animate_convolution(worked), "frames/conv.png")
        >>> [path.name for path in paths]
        ['conv-frame-000.png', 'conv-frame-001.png', 'conv-frame-002.png', 'conv-frame-003.png']
    """
    path = as_path(path)
    _format_of(path, ("png",))
    if not is_animation(animation):
        raise UsageError(f"Only an Animation has frames, but got {type(animation).__name__}.")
    paths = frame_paths(path, len(animation.pages))
    recipes = [frame_recipe(animation.recipe, at) for at in range(len(paths))]
    for each, recipe in zip(paths, recipes, strict=True):
        check_target(each, recipe, force=force)
    for each, recipe, data in zip(paths, recipes, frame_pngs(animation, progress), strict=True):
        _save(each, data, recipe, force=force)
    return tuple(paths)


def frame_paths(path: Path, count: int) -> list[Path]:
    """``x-frame-000.png``, ``x-frame-001.png``, … beside ``x.png``."""
    return [path.with_name(f"{path.stem}-frame-{number:03}.png") for number in range(count)]


def save_arrays(arrays: Mapping[str, Array], path: Path | str, *, recipe: Recipe | None, force: bool = False) -> Path:
    """Write arrays as ``.npz``, which ``numpy.load(path, allow_pickle=False)`` reads; return the path.

    Keys are the names made safe as for files; the original names are in the key ``names``, in the same order, and the
    recipe is in the key ``recipe``. A file with the same recipe is replaced, anything else only with ``force``.

    Raises:
        UsageError: an array contains objects.
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.

    Example:
        >>> path = kernelviz.save_arrays({"layer1.0": np.eye(3)}, "maps.npz", recipe=None)
        >>> np.load(path)["layer1.0"].shape
        (3, 3)
    """
    path = as_path(path)
    _save(path, npz_bytes(arrays, recipe), recipe, force=force)
    return path


def save_bytes(data: bytes, path: Path, *, recipe: Recipe, force: bool = False) -> Path:
    """Write a file that contains its recipe; return the path.

    Raises:
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.
    """
    _save(path, data, recipe, force=force)
    return path


def check_target(path: Path, recipe: Recipe | None, *, force: bool, data: bytes | None = None) -> None:
    """Check that a file may be written here.

    With ``force`` any file or link may be replaced, but no directory and no device. A damaged file that lost its recipe may
    be replaced if it is the beginning of ``data``, or empty or zeros; without ``data`` this is left to a later check.

    Raises:
        FileInTheWayError: the path is occupied by something other than the same picture.
    """
    if is_uri(path):
        _check_object(path, recipe, force=force)
        return
    if not os.path.lexists(path):
        return
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:  # another run has moved it
        return
    if stat.S_ISDIR(mode):
        raise _is_directory(path)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise FileInTheWayError(f"{path} is in the way.", "It is not a regular file.", "Choose another --output.")
    if not force and not may_replace(path, recipe) and not _is_remnant(path, data):
        raise _in_the_way(path)


def _check_object(path: Path, recipe: Recipe | None, *, force: bool) -> None:
    """``check_target`` for a URI."""
    try:
        kind = kind_of(path)
        if kind == "directory":
            raise _is_directory(path)
        if kind and not force:
            there = None if recipe is None else _recipe_at(path)
            if there is None or recipe is None or not _is_same(there, recipe):
                raise _in_the_way(path)
    except OSError as error:
        raise write_error(path, error) from error


def _is_directory(path: Path) -> FileInTheWayError:
    return FileInTheWayError(f"{path} is in the way.", "It is a directory.", "Choose another --output.")


def exists(path: Path | str) -> bool:
    """Whether anything has this path.

    Raises:
        OSError: it is a URI, and its file system does not answer.
    """
    return kind_of(path) is not None if is_uri(path) else os.path.lexists(path)


def _is_remnant(path: Path, data: bytes | None) -> bool:
    """Whether a regular file, not a link, is what a crash left of ``data``: its beginning, perhaps followed by zeros.

    Without ``data``, whether it may be: it is damaged, and begins like a file of ours.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        if data is None:
            with open_regular(path) as file:
                head = file.read(_HEAD)
            begun = any(start.startswith(head[: len(start)]) for start in _BEGINNINGS)
            return (begun or not any(head)) and not is_whole(path)
        there = read_regular(path, len(data))
    except OSError:
        return False
    return data.startswith(there.rstrip(b"\0"))


def may_replace(path: Path, recipe: Recipe | None) -> bool:
    """Whether nothing has this path, or the picture that this recipe describes.

    That is a regular file, not a link, whose recipe has the same values of ``SAME_PICTURE``; missing values are None. A
    recipe without any of them matches nothing.
    """
    if not exists(path):
        return True
    there = None if recipe is None else _recipe_at(path)
    if there is None or recipe is None:
        return not exists(path)  # another run may have moved it
    return _is_same(there, recipe)


def _is_same(there: Recipe, recipe: Recipe) -> bool:
    """Whether two recipes are of the same picture."""
    return any(there.get(key) is not None for key in SAME_PICTURE) and _identity(there) == _identity(recipe)


def holds(path: Path | str, data: bytes) -> bool:
    """Whether the path is a regular file, not a link, of exactly these bytes."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall() == data
    except OSError:
        return False


def is_of_another(path: Path, recipe: Recipe) -> bool:
    """Whether the path is the same picture of other weights, another model, or another image."""
    there = _recipe_at(path)
    if there is None or there.get("model") is None:
        return False
    return not _is_same(there, recipe) and _identity(
        {**there, "model": recipe.get("model"), "image": recipe.get("image")}
    ) == _identity(recipe)


def _recipe_at(path: Path) -> Recipe | None:
    """The recipe of a regular file, not a link; None if there is none."""
    try:
        # Unlike pathlib, os.path takes paths that cannot be examined.
        return None if os.path.islink(path) else read_recipe(path)  # noqa: PTH114
    except RecipeError:
        return None


def write_whole(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file atomically: no partial or temporary file remains. An object is put in one request.

    The bytes are written to a temporary file in the same directory, which is then renamed. Missing directories are created.
    A link is replaced itself, not its target.

    Args:
        path: the target path.
        data: the whole content.
        replace: replace an existing file.

    Raises:
        FileInTheWayError: the path exists, and ``replace`` is False.
        WriteError: writing failed; nothing was changed.
    """
    if is_uri(path):
        _put_object(path, data, replace=replace)
        return
    temporary = path.parent / f".kernelviz-{secrets.token_hex(8)}"
    try:
        _make_directory(path.parent)
        try:
            _write_new(temporary, data)
            _put(temporary, path, replace=replace)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()  # exists only after a failure
    except FileExistsError as error:
        raise _in_the_way(path) from error
    except OSError as error:
        raise write_error(path, error) from error
    except ValueError as error:
        raise write_error(path, "The path contains an invalid character.") from error


def _put_object(path: Path, data: bytes, *, replace: bool) -> None:
    try:
        put(path, data, replace=replace)
    except FileExistsError as error:
        raise _in_the_way(path) from error
    except OSError as error:
        raise write_error(path, error) from error


def make_directory(directory: Path) -> None:
    """Create a directory and its parents if they do not exist.

    Raises:
        WriteError: it cannot be created.
    """
    try:
        _make_directory(directory)
    except (OSError, ValueError) as error:
        raise write_error(directory, error) from error


def check_holds_files(directory: Path, *, writable: bool = False) -> None:
    """Check, before long work, that a directory can exist and, if requested, that files can be written there.

    Raises:
        WriteError: a file is at its path or above it, or the permission is missing.
    """
    if is_uri(directory):
        return
    nearest = directory
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.path.isdir(nearest):  # noqa: PTH112  (takes every path)
        raise write_error(directory, f"{nearest} is not a directory.")
    if writable and not os.access(nearest, os.W_OK | os.X_OK):
        raise write_error(directory, f"{nearest} is read-only.")


def sweep(directory: Path) -> None:
    """Delete temporary files and folders that a killed run left in a directory more than an hour ago; a URI has none."""
    if is_uri(directory):
        return
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if not _TEMPORARY.fullmatch(entry.name):
                    continue
                if time.time() - entry.stat(follow_symlinks=False).st_mtime < _ABANDONED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink()


def _save(path: Path, data: bytes, recipe: Recipe | None, *, force: bool) -> None:
    replaced = not is_uri(path) and os.path.lexists(path)
    check_target(path, recipe, force=force, data=data)
    try:
        write_whole(path, data, replace=force or replaced)
    except FileInTheWayError:  # created in the meantime, perhaps by another run that draws the same picture
        if not may_replace(path, recipe):
            raise
        write_whole(path, data, replace=True)


def _format_of(path: Path, formats: Sequence[str]) -> str:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        got = f"got {path.suffix!r}" if suffix else "there is none"
        choices = ", ".join(f".{each}" for each in formats)
        raise UsageError(f"The suffix of {path} must be one of {choices}, but {got}.")
    return suffix


def _identity(recipe: Recipe) -> str:
    """The values that identify this picture, as JSON, in which tuples of a recipe in memory equal lists of a file."""
    return recipe_text({key: recipe.get(key) for key in SAME_PICTURE})


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(error.errno, "Its parent is not a directory") from error


def flush_to_disk(path: Path | str) -> None:
    """Wait until a file that was written is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: str, data: bytes) -> None:
    """Write a file into a temporary folder, without waiting for the disk.

    Raises:
        OSError: writing failed.
    """
    _write_new(path, data, durable=False)


def _write_new(path: Path | str, data: bytes, *, durable: bool = True) -> None:
    """Write a file that must not exist yet, and flush it to the disk."""
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
    """Rename the file, atomically; FileExistsError if the path exists and ``replace`` is False."""
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
    is_table = path.suffix.lower() == ".csv"
    return FileInTheWayError(
        f"{path} is in the way.",
        "It is not of the same numbers." if is_table else "It is not the same picture.",
        f"Replace it with --force, or choose another {'--csv' if is_table else '--output'}.",
    )


def write_error(path: Path, why: str | Exception) -> WriteError:
    """The error of a file that could not be written; a ``DiskFullError`` if that is the reason."""
    text = why if isinstance(why, str) else f"{getattr(why, 'strerror', None) or why}."
    if is_uri(path):
        hint = "Check the address, the permissions and the network, or choose another --output."
        return WriteError(f"{path} could not be written.", text, hint)
    full = isinstance(why, OSError) and why.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return (DiskFullError if full else WriteError)(
        f"{path} could not be written.", text, "Nothing was changed. Choose another --output, or free disk space."
    )


_LARGEST_ARRAY = 1 << 26  # bytes; compressed, it could grow a thousandfold
_ARRAYS = ("mean", "components", "deviations", "share")
_HINT = "Give a file …-basis.npz written by --reduce pca."


def save_basis(basis: Basis, path: Path | str, source: Source | None = None, *, force: bool = False) -> Path:
    """Write a basis as ``.npz``: ``mean`` (C,), ``components`` (3, C), ``deviations`` (3,), ``share`` (3,), and a recipe.

    ``source``, of a model or of maps, is in the recipe. The same basis of an earlier run at this path is replaced, anything
    else only with ``force``.

    Raises:
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed.

    Example:
        >>> tally = kernelviz.CovarianceTally()
        >>> tally.add(np.random.default_rng(0).normal(size=(8, 14, 14)))
        >>> path = kernelviz.save_basis(tally.basis(), "basis.npz")
    """
    recipe: dict[str, Any] = {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "features",
        "model": source.as_recipe() if source else basis.model,
        "layer": basis.layer or None,
        "view": "basis",
        "image": basis.identity,
        "preprocessing": source.preprocessing_entry() if source and basis.identity else None,
        "images": basis.images,
        "positions": basis.positions,
    }
    return save_arrays({name: getattr(basis, name) for name in _ARRAYS}, path, recipe=recipe, force=force)


def read_basis(path: Path | str) -> Basis:
    """Read a basis that ``save_basis`` wrote.

    Raises:
        UsageError: the file does not exist, is damaged, contains no basis, or numbers that are not finite.

    Example:
        >>> tally = kernelviz.CovarianceTally()
        >>> tally.add(np.random.default_rng(0).normal(size=(8, 14, 14)))
        >>> basis = kernelviz.read_basis(kernelviz.save_basis(tally.basis(), "basis.npz"))
        >>> basis.components.shape
        (3, 8)
    """
    path = as_path(path)
    try:
        recipe = read_recipe(path)
        with open_regular(path) as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: _bounded_array(file, name) for name in _ARRAYS}
    except RecipeError as error:
        raise UsageError(f"{path} is not a basis.", error.what, _HINT) from error
    except (OSError, ValueError, KeyError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is not a basis.", str(error).partition("\n")[0], _HINT) from error
    _check(path, arrays)
    layer, images, positions = recipe.get("layer"), recipe.get("images"), recipe.get("positions")
    model, identity = (each if isinstance(each, dict) else None for each in (recipe.get("model"), recipe.get("image")))
    counts = [number if isinstance(number, int) else 0 for number in (images, positions)]
    return Basis(
        **arrays, layer=layer if isinstance(layer, str) else "", images=counts[0], positions=counts[1],
        model=model, identity=identity,
    )  # fmt: skip


def _bounded_array(file: Any, name: str) -> Array:
    """An array of an npz file as float64; ValueError if it has more than ``_LARGEST_ARRAY`` bytes."""
    if file.zip.getinfo(f"{name}.npy").file_size > _LARGEST_ARRAY:
        raise ValueError(f"{name} has more than {_LARGEST_ARRAY >> 20} MiB.")
    return np.asarray(file[name], np.float64)


def _check(path: Path | str, arrays: dict[str, Array]) -> None:
    channels = arrays["mean"].size
    wanted = {"mean": (channels,), "components": (COLOURS, channels), "deviations": (COLOURS,), "share": (COLOURS,)}
    if not channels or any(arrays[name].shape != shape for name, shape in wanted.items()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UsageError(f"{path} is not a basis.", f"Its arrays do not fit together: {shapes}.", _HINT)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UsageError(f"{path} is not a basis.", "It contains numbers that are not finite.", _HINT)
