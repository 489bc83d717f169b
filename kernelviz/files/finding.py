"""Find the images that command-line arguments name: files, folders, patterns, standard input, samples."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.images import READ_FORMATS, SAMPLES, SUFFIXES
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class FoundImages:
    """Sources for ``read_image`` in reading order, and notes of what was left out."""

    images: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_images(arguments: Sequence[str | os.PathLike[str]], *, recursive: bool = False) -> FoundImages:
    """Find the images that arguments name, in their order, without repetitions; folders and patterns are sorted.

    ``-`` is standard input and ``sample:grace_hopper`` matplotlib's photograph. An argument with ``*``, ``?`` or ``[…]`` is
    a pattern unless a file has exactly this name. In folders only files with the suffixes of images are found, hidden ones
    are not; links to folders are not followed. Named files that cannot be read, and folders without ``recursive``, are left
    to ``read_image``, so that one bad image does not end a run over many.

    Args:
        arguments: the arguments as typed.
        recursive: search folders and all folders below them.

    Raises:
        UsageError: there are no arguments.
        BadImageError: a folder has no image or cannot be read, or no file matches a pattern.
    """
    if not arguments:
        raise UsageError("No image is given.", hint="Give a file, a folder with -r, `-` or sample:grace_hopper.")
    found: dict[str, str] = {}
    notes: list[str] = []
    for argument in arguments:
        for path in _meant(os.fspath(argument), notes, recursive=recursive):
            found.setdefault(path if path == "-" or path in SAMPLES else os.path.abspath(path), path)  # noqa: PTH100
    return FoundImages(tuple(found.values()), tuple(notes))


def _meant(argument: str, notes: list[str], *, recursive: bool) -> list[str]:
    if argument == "-":
        return [argument]
    if os.path.isdir(argument):  # noqa: PTH112  (unlike pathlib's it accepts every name, even with a zero byte)
        return _in_folder(argument, notes) if recursive else [argument]
    if os.path.lexists(argument) or argument in SAMPLES or not glob.has_magic(argument):
        return [argument]
    return _matching(argument, notes)


def _matching(pattern: str, notes: list[str]) -> list[str]:
    matches = sorted(glob.glob(pattern))  # noqa: PTH207  (pathlib's accepts no absolute pattern)
    files = [path for path in matches if not os.path.isdir(path)]  # noqa: PTH112
    if not files:
        what = f"No file matches {pattern}."
        why = f"{counted(len(matches), 'folder does', 'folders do')}." if matches else ""
        raise BadImageError(what, why, "Give a file, or a folder with -r.")
    if len(files) < len(matches):
        notes.append(f"{pattern}: {counted(len(matches) - len(files), 'folder')} left out")
    return files


def _in_folder(folder: str, notes: list[str]) -> list[str]:
    images, others = [], 0
    for path in _files_below(folder):
        if Path(path).suffix.lower() in SUFFIXES:
            images.append(path)
        else:
            others += 1
    if not images:
        why = f"{counted(others, 'other file is', 'other files are')} in it." if others else "It is empty."
        raise BadImageError(f"The folder {folder} contains no image.", why, f"Supported formats: {READ_FORMATS}.")
    if others:
        suffix = inflected(others, "its suffix", "their suffixes")
        notes.append(f"{folder}: {counted(others, 'file')} left out, not images by {suffix}")
    return images


def _files_below(folder: str) -> Iterator[str]:
    """All files that are not hidden, folder by folder, sorted by name."""

    def fail(error: OSError) -> None:
        why = f"{error.strerror or error}."
        raise BadImageError(f"The folder {error.filename} cannot be read.", why, "Leave it out.") from None

    for directory, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(directory, name)  # noqa: PTH118  (it keeps a name as it was typed)
