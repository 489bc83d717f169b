"""Find the images, or the checkpoints of a training, that command-line arguments name: files, folders, patterns."""

from __future__ import annotations

import glob
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernelviz.errors import BadImageError, BadWeightsError, NoWeightsError, RecipeError, UsageError
from kernelviz.files.images import READ_FORMATS, SAMPLES, SUFFIXES
from kernelviz.files.recipes import read_recipe
from kernelviz.storage.objects import check_back_end, kind_of, listed, matching
from kernelviz.storage.uris import WEB, fixed_part, is_on_hub, is_uri, joined, name_in, plain, resolved, scheme_of
from kernelviz.wording import counted, inflected, last_number

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


CHECKPOINTS = {".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar", ".model", ".state"}
"""The suffixes of weights files in folders."""
_BESIDE_WEIGHTS = re.compile(r"(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args)(_\d+)*")
"""The names, without suffix, of what Transformers and Accelerate save beside the weights."""


def find_checkpoints(
    arguments: Sequence[str], *, recursive: bool = False, output: str | os.PathLike[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, BadWeightsError]]:
    """Find the weights files that arguments name, without repetitions, notes of what was left out, and unreadable folders.

    Typed files keep their order; those of a folder or a pattern are sorted as ``in_order`` does. Folders, patterns, URIs
    and files below ``output`` are taken as in ``find_images``; of a folder, files beside the weights, such as the state of
    an optimiser, are left out by their names.

    Raises:
        UsageError: the file system of a URI is unknown or not installed.
        BadWeightsError: a folder is given without ``recursive`` or has no weights file, or no file matches a pattern.
        NoWeightsError: the hub, on which an argument is, does not answer.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    unreadable: dict[str, BadWeightsError] = {}
    search = _Search(None if output is None else resolved(output), notes)
    for argument in map(resolved, arguments):
        files = [argument]
        try:
            kind = _kind_of(argument)
            if kind == "directory":
                files = _checkpoints_below(argument, search, unreadable, recursive=recursive)
            elif kind is None and _is_pattern(argument):
                matches, _ = _matches(argument)
                files, _ = search.without_own(argument, _fixed_part(argument), in_order(matches))
                if not files:
                    raise BadWeightsError(f"No file matches {argument}.", hint="Give files, or a folder with -r.")
        except OSError as error:
            kind_of_error = NoWeightsError if is_on_hub(argument) else BadWeightsError
            raise kind_of_error(f"{argument} cannot be read.", f"{error.strerror or error}.") from None
        for path in files:
            found.setdefault(path if is_uri(path) else os.path.abspath(path), path)  # noqa: PTH100
    return tuple(found.values()), tuple(notes), unreadable


def in_order(paths: Sequence[str]) -> list[str]:
    """Weights files sorted by the last number in their names without the suffix, and then by name.

    ``step-900`` is before ``step-1000``, and names without a number, such as ``last``, are at the end. If no name has a
    number, those in the names of their folders count.
    """
    numbers = {path: last_number(Path(path).stem)[0] for path in paths}
    if all(number is None for number in numbers.values()):
        numbers = {path: last_number(Path(path).parent.name)[0] for path in paths}
    whole = any(isinstance(number, int) for number in numbers.values())

    def key(path: str) -> tuple[float, str, str]:
        number = numbers[path]
        place = math.inf if number is None or (whole and isinstance(number, float)) else number
        return place, str(Path(path).with_suffix("")), path

    return sorted(paths, key=key)


def _checkpoints_below(
    folder: str, search: _Search, unreadable: dict[str, BadWeightsError], *, recursive: bool
) -> list[str]:
    if not recursive:
        raise BadWeightsError(f"{folder} is a folder.", hint="Give -r to take the checkpoints in it, or name files.")
    failed: dict[str, BadImageError] = {}
    below = list(_visible(folder) if is_uri(folder) else _files_below(folder, failed))
    every, own = search.without_own(folder, folder, below)
    unreadable |= {name: BadWeightsError(error.what, error.why, error.hint) for name, error in failed.items()}
    files = [path for path in every if _may_be_weights(Path(name_in(path)))]
    others = len(every) - len(files)
    if not files and not failed:
        why = f"{counted(others, 'other file is', 'other files are')} in it." if others else ""
        hint = f"Files are taken whose names end with {', '.join(sorted(CHECKPOINTS))}."
        raise BadWeightsError(
            f"The folder {folder} contains no weights file.", why or f"{_own_files(own)}." * bool(own), hint
        )
    if others:
        by_name = inflected(others, "its name", "their names")
        search.notes.append(f"{folder}: {counted(others, 'file')} left out, not weights by {by_name}")
    return in_order(files)


def _may_be_weights(file: Path) -> bool:
    return file.suffix.lower() in CHECKPOINTS and not _BESIDE_WEIGHTS.fullmatch(file.stem)


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
    """Whether a real path is inside a real directory, and not that directory; or a URI inside another one."""
    if is_uri(directory):
        path, directory = plain(path), plain(directory)
    inside = joined(directory, "/") if is_uri(directory) else os.path.join(directory, "")  # noqa: PTH118
    return path != directory and path.startswith(inside)


def _suffix(path: str) -> str:
    return Path(name_in(path)).suffix.lower()


def _is_drawn(path: str) -> bool:
    """Whether a file is an image with a recipe of kernelviz."""
    if _suffix(path) not in SUFFIXES:
        return False
    try:
        return "kernelviz" in read_recipe(path)
    except (RecipeError, ValueError):  # ValueError: a name with a zero byte
        return False


def _drawn_objects(uris: Iterable[str]) -> set[str]:
    """The objects that are images with a recipe of kernelviz, which are read by threads: each takes a request."""
    from concurrent.futures import ThreadPoolExecutor

    possible = [uri for uri in uris if _suffix(uri) in _WITH_RECIPE]
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="kernelviz-find") as pool:
        return {uri for uri, drawn in zip(possible, pool.map(_is_drawn, possible), strict=True) if drawn}


def _meant(argument: str, search: _Search, *, recursive: bool) -> list[str]:
    if argument == "-":
        return [argument]
    if is_uri(argument):
        return _meant_by_uri(argument, search, recursive=recursive)
    kind = _kind_of(argument)
    if kind == "directory":
        return _in_folder(argument, search) if recursive else [argument]
    if kind or argument in SAMPLES or not _is_pattern(argument):
        return [argument]
    return _matching(argument, search)


def _meant_by_uri(uri: str, search: _Search, *, recursive: bool) -> list[str]:
    check_back_end(uri)
    if not (recursive or _is_pattern(uri)):
        return [uri]
    try:
        kind = _kind_of(uri)
        if kind == "directory" and recursive:
            return _images_of(uri, sorted(_visible(uri), key=_by_folder), search)
        return _matching(uri, search) if kind is None and _is_pattern(uri) else [uri]
    except OSError as error:
        what = f"{uri} cannot be read: {error.strerror or error}."  # of several, the first line alone is printed
        search.unreadable[uri] = BadImageError(what, hint="Leave it out.")
        return []


def _kind_of(path: str) -> Literal["file", "directory"] | None:
    """Whether a path is a directory, or exists at all; in the web, everything is a file.

    Raises:
        OSError: the file system of a URI does not answer.
    """
    if is_uri(path):
        return "file" if scheme_of(path) in WEB else kind_of(path)
    if os.path.isdir(path):  # noqa: PTH112  (unlike pathlib's it accepts every name, even with a zero byte)
        return "directory"
    return "file" if os.path.lexists(path) else None


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and scheme_of(path) not in WEB


def _matches(pattern: str) -> tuple[list[str], int]:
    """The files that match a pattern, sorted, and the number of matching folders."""
    if is_uri(pattern):
        objects, folders = matching(pattern)
        start = len(plain(_fixed_part(pattern)))
        hidden = "/." in f"/{pattern[start:]}"
        return sorted(uri for uri in objects if hidden or "/." not in f"/{uri[start:]}"), folders
    every = sorted(glob.glob(pattern))  # noqa: PTH207  (pathlib's accepts no absolute pattern)
    files = [path for path in every if not os.path.isdir(path)]  # noqa: PTH112
    return files, len(every) - len(files)


def _visible(folder: str) -> Iterator[str]:
    """All objects below a folder of which no part is hidden."""
    return (joined(folder, name) for name in listed(folder) if "/." not in f"/{name}")


def _by_folder(path: str) -> list[tuple[bool, str]]:
    """The order of folders and files that walking through a folder has: its files, then its folders, by name."""
    *folders, name = path.split("/")
    return [*((True, each) for each in folders), (False, name)]


def _matching(pattern: str, search: _Search) -> list[str]:
    files, folders = _matches(pattern)
    images, own = search.without_own(pattern, _fixed_part(pattern), files)
    if not images:
        what, why = f"No file matches {pattern}.", ""
        if own:
            what, why = f"No image matches {pattern}.", f"{_own_files(own)}."
        elif folders:
            why = f"{counted(folders, 'folder does', 'folders do')}."
        raise BadImageError(what, why, "Give a file, or a folder with -r.")
    if folders:
        search.notes.append(f"{pattern}: {counted(folders, 'folder')} left out")
    return images


def _fixed_part(pattern: str) -> str:
    """The directory in which a pattern begins to vary."""
    if is_uri(pattern):
        return fixed_part(pattern)
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
    images = [path for path in files if _suffix(path) in SUFFIXES]
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
