"""Find the images that command-line arguments name: files, folders, patterns, standard input, samples."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.errors import BadImageError, RecipeError, UsageError
from kernelviz.files.images import READ_FORMATS, SAMPLES, SUFFIXES
from kernelviz.files.recipes import read_recipe
from kernelviz.storage.objects import check_back_end, kind_of, listed, matching
from kernelviz.storage.uris import WEB, is_uri, resolved, scheme_of
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_WITH_RECIPE = (".png", ".apng", ".gif", ".webp")  # suffixes of images that may be ours
_REQUESTS = 16  # at a time


@dataclass(frozen=True)
class FoundImages:
    """Sources for ``read_image`` in reading order, notes of what was left out, and folders that could not be read."""

    images: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unreadable: Mapping[str, BadImageError] = field(default_factory=dict)


def find_images(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    output: str | os.PathLike[str] | None = None,
) -> FoundImages:
    """Find the images that arguments name, in their order, without repetitions; folders and patterns are sorted.

    ``-`` is standard input and ``sample:grace_hopper`` matplotlib's photograph. An argument with ``*``, ``?`` or ``[…]`` is
    a pattern unless a file has exactly this name. In folders only files with the suffixes of images are found, hidden ones
    are not; links to folders are not followed. Of folders and patterns, pictures of kernelviz by their recipe are left out,
    and all files below ``output`` if that is inside. Named files that cannot be read, and folders without ``recursive``,
    are left to ``read_image``, and unreadable folders are returned with their errors, so that neither ends a run over many.

    A URI such as ``s3://bucket/photos`` is opened by fsspec; it may be an object, a folder or a pattern, of the web (http,
    https) an object only. Pictures of kernelviz are looked for in PNG, GIF and WebP.

    Args:
        arguments: the arguments as typed.
        recursive: search folders and all folders below them.
        output: the directory into which pictures are written.

    Raises:
        UsageError: there are no arguments, or the file system of a URI is unknown or not installed.
        BadImageError: a folder has no image, no folder can be read, or no file matches a pattern.
    """
    if not arguments:
        raise UsageError("No image is given.", hint="Give a file, a folder with -r, `-` or sample:grace_hopper.")
    found: dict[str, str] = {}
    notes: list[str] = []
    search = _Search(None if output is None else resolved(output), notes)
    for argument in map(resolved, arguments):
        for path in _meant(argument, search, recursive=recursive):
            is_path = path != "-" and path not in SAMPLES and not is_uri(path)
            found.setdefault(os.path.abspath(path) if is_path else path, path)  # noqa: PTH100
    if not found:
        raise next(iter(search.unreadable.values()))
    return FoundImages(tuple(found.values()), tuple(notes), search.unreadable)


@dataclass(frozen=True)
class _Search:
    """The directory whose files are left out, and the notes and the unreadable folders so far."""

    output: str | None
    notes: list[str]
    unreadable: dict[str, BadImageError] = field(default_factory=dict)

    def without_own(self, argument: str, base: str, files: Iterable[str]) -> tuple[list[str], int]:
        """Leave out files below ``output``, if that is inside ``base``, and pictures of kernelviz; also count these."""
        real = str if is_uri(base) else os.path.realpath
        output = None if self.output is None or is_uri(base) != is_uri(self.output) else real(self.output)
        inside = output is not None and _is_below(output, real(base))
        others, below, drawn = [], 0, 0
        own = _drawn_objects(files) if is_uri(base) else None
        for path in files:
            if inside and output is not None and _is_below(real(path), output):
                below += 1
            elif _is_drawn(path) if own is None else path in own:
                drawn += 1
            else:
                others.append(path)
        if below:
            self.notes.append(f"{argument}: {counted(below, 'file')} left out, below {self.output}")
        if drawn:
            self.notes.append(f"{argument}: {counted(drawn, 'file')} left out, drawn by kernelviz")
        return others, below + drawn


def _is_below(path: str, directory: str) -> bool:
    """Whether a real path is inside a real directory, and not that directory."""
    return path != directory and path.startswith(os.path.join(directory, ""))  # noqa: PTH118


def _is_drawn(path: str) -> bool:
    """Whether a file is an image with a recipe of kernelviz."""
    if Path(path).suffix.lower() not in SUFFIXES:
        return False
    try:
        return "kernelviz" in read_recipe(path)
    except (RecipeError, ValueError):  # ValueError: a name with a zero byte
        return False


def _drawn_objects(uris: Iterable[str]) -> set[str]:
    """The objects that are images with a recipe of kernelviz, which are read by threads: each takes a request."""
    from concurrent.futures import ThreadPoolExecutor

    possible = [uri for uri in uris if Path(uri).suffix.lower() in _WITH_RECIPE]
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="kernelviz-find") as pool:
        return {uri for uri, drawn in zip(possible, pool.map(_is_drawn, possible), strict=True) if drawn}


def _meant(argument: str, search: _Search, *, recursive: bool) -> list[str]:
    if argument == "-":
        return [argument]
    if is_uri(argument):
        return _meant_by_uri(argument, search, recursive=recursive)
    if os.path.isdir(argument):  # noqa: PTH112  (unlike pathlib's it accepts every name, even with a zero byte)
        return _in_folder(argument, search) if recursive else [argument]
    if os.path.lexists(argument) or argument in SAMPLES or not glob.has_magic(argument):
        return [argument]
    return _matching(argument, search)


def _meant_by_uri(uri: str, search: _Search, *, recursive: bool) -> list[str]:
    check_back_end(uri)
    has_magic = glob.has_magic(uri.partition("://")[2])
    if scheme_of(uri) in WEB or not (recursive or has_magic):
        return [uri]
    try:
        kind = kind_of(uri)
        if kind == "directory" and recursive:
            return _images_of(uri, sorted(_visible(uri), key=_by_folder), search)
        if kind is not None or not has_magic:
            return [uri]
        return _matching(uri, search)
    except OSError as error:
        why = f"{error.strerror or error}."
        search.unreadable[uri] = BadImageError(f"{uri} cannot be read.", why, "Leave it out.")
        return []


def _visible(folder: str) -> Iterator[str]:
    """All objects below a folder of which no part is hidden."""
    base = folder.rstrip("/")
    return (f"{base}/{name}" for name in listed(folder) if not any(part[:1] == "." for part in name.split("/")))


def _by_folder(path: str) -> list[tuple[bool, str]]:
    """The order of folders and files that walking through a folder has: its files, then its folders, by name."""
    *folders, name = path.split("/")
    return [*((True, each) for each in folders), (False, name)]


def _matching(pattern: str, search: _Search) -> list[str]:
    if is_uri(pattern):
        objects, folders = matching(pattern)
        hidden = pattern.rpartition("/")[2].startswith(".")
        files = sorted(uri for uri in objects if hidden or not uri.rpartition("/")[2].startswith("."))
        matches = [*files, *[""] * folders]
    else:
        matches = sorted(glob.glob(pattern))  # noqa: PTH207  (pathlib's accepts no absolute pattern)
        files = [path for path in matches if not os.path.isdir(path)]  # noqa: PTH112
    images, own = search.without_own(pattern, _fixed_part(pattern), files)
    if not images:
        what, why = f"No file matches {pattern}.", ""
        if own:
            what, why = f"No image matches {pattern}.", f"{_own_files(own)}."
        elif matches:
            why = f"{counted(len(matches), 'folder does', 'folders do')}."
        raise BadImageError(what, why, "Give a file, or a folder with -r.")
    if len(files) < len(matches):
        search.notes.append(f"{pattern}: {counted(len(matches) - len(files), 'folder')} left out")
    return images


def _fixed_part(pattern: str) -> str:
    """The directory in which a pattern begins to vary."""
    if is_uri(pattern):
        return re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    directory = pattern
    while glob.has_magic(directory):
        directory = os.path.dirname(directory)  # noqa: PTH120
    return directory or os.curdir


def _in_folder(folder: str, search: _Search) -> list[str]:
    failed: dict[str, BadImageError] = {}
    files = list(_files_below(folder, failed))
    search.unreadable.update(failed)
    return _images_of(folder, files, search, failed=bool(failed))


def _images_of(folder: str, every: list[str], search: _Search, *, failed: bool = False) -> list[str]:
    """The images among all files below a folder."""
    files, own = search.without_own(folder, folder, every)
    images = [path for path in files if Path(path).suffix.lower() in SUFFIXES]
    others = len(files) - len(images)
    if not images and failed:
        return []
    if not images:
        why = [f"{counted(others, 'other file is', 'other files are')} in it."] if others else []
        why += [f"{_own_files(own)}."] if own else []
        what = f"The folder {folder} contains no image."
        raise BadImageError(what, " ".join(why) or "It is empty.", f"Supported formats: {READ_FORMATS}.")
    if others:
        suffix = inflected(others, "its suffix", "their suffixes")
        search.notes.append(f"{folder}: {counted(others, 'file')} left out, not images by {suffix}")
    return images


def _own_files(count: int) -> str:
    verbs = inflected(count, "was", "were"), inflected(count, "is", "are")
    return f"{counted(count, 'file')} {verbs[0]} drawn by kernelviz or {verbs[1]} below --output"


def _files_below(folder: str, failed: dict[str, BadImageError]) -> Iterator[str]:
    """All files that are not hidden, folder by folder, sorted by name; unreadable folders are added to ``failed``."""

    def fail(error: OSError) -> None:
        name, why = os.fsdecode(error.filename or folder), f"{error.strerror or error}."
        failed[name] = BadImageError(f"The folder {name} cannot be read.", why, "Leave it out.")

    for directory, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(directory, name)  # noqa: PTH118  (it keeps a name as it was typed)
