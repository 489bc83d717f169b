"""Read, list and write files of other file systems through fsspec; no other module imports it.

Back ends raise errors of any type, with URLs in their messages: here they become an ``OSError`` without credentials.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import io
import os
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.storage.uris import complete, fixed_part, is_chain, is_on_hub, joined, resolved, scheme_of, secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import WriteableBuffer

    Path = str | os.PathLike[str]


_BUFFER = 1 << 14  # bytes of one request for the head of an object, which has the recipe
_MOST_UNKNOWN = 1 << 28  # bytes of a file whose size its server does not state
_REMEMBERED = 30.0  # seconds in which an image of a folder is opened without a request for its size
_LONGEST = 200  # characters of the message of a back end
_NO_SECRETS = {"protocol", "host", "endpoint_url", "endpoint", "region_name", "region"}
_ANY_USER = re.compile(r"(?<=//)[^/\s@'\"]*:[^/\s@'\"]*@")
_ANY_QUERY = re.compile(r"\?[^\s'\")]*=[^\s'\")]*")
_OFFLINE = {"OfflineModeIsEnabled": "HF_HUB_OFFLINE forbids requests to the hub"}  # an error of the hub's client
_KNOWN = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def check_back_end(uri: Path) -> None:
    """Reject a URI whose file system is unknown or not installed.

    Raises:
        UsageError: with what to install.
    """
    _class_of(uri)


def open_object(uri: Path) -> io.BufferedReader:
    """Open an object for reading; it can be sought in.

    Raises:
        UsageError: its file system is unknown or not installed.
        OSError: it does not exist, or cannot be read; later, reading raises it as well.
    """
    system, path = _located(uri, remembered=True)
    with _as_os_error(system):
        found = _info(system, path)
        if found.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        size = found.get("size")
        if size is None:
            return io.BufferedReader(_whole(system, path))
    # The files of the hub read 5 MiB ahead, which are lost with each range: a slow download would seem to stall.
    choices = {"cache_type": "none"} if is_on_hub(uri) else {}
    return io.BufferedReader(_Reader(system, path, int(size), choices), _BUFFER)


def kind_of(uri: Path) -> Literal["file", "directory"] | None:
    """Whether there is an object of this name, or only objects below it; None if there is neither.

    Raises:
        UsageError, OSError: as ``open_object``.
    """
    state = _state(*_located(uri))
    return None if state is None else "directory" if state.get("type") == "directory" else "file"


def listed(uri: Path) -> dict[str, int | None]:
    """The names of all objects below a URI, relative to it, and their sizes.

    Raises:
        UsageError, OSError: as ``open_object``.
    """
    system, path = _located(uri)
    with _as_os_error(system):
        found = system.find(path, detail=True)
    return {_relative(name, path): info.get("size") for name, info in found.items() if info.get("type") != "directory"}


def matching(uri: str) -> tuple[list[str], int]:
    """The URIs of the objects that match a pattern, and the number of matching folders.

    Raises:
        UsageError, OSError: as ``open_object``.
    """
    system, path = _located(uri)
    with _as_os_error(system):
        found = system.glob(path, detail=True)
    fixed, base = fixed_part(uri), fixed_part(path)
    files = [name for name, info in found.items() if info.get("type") != "directory"]
    return [joined(fixed, _relative(name, base)) for name in files], len(found) - len(files)


def put(uri: Path, data: bytes, *, replace: bool) -> None:
    """Write an object in one request.

    If the back end can, it creates a new object only if there is still none. What a failed request left of a new object is
    deleted. An object that is replaced is as safe as the back end makes it.

    Raises:
        FileExistsError: there is one, and ``replace`` is False.
        UsageError, OSError: as ``open_object``.
    """
    system, path = _located(uri)
    before = _state(system, path)
    if before is not None and not replace:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with _as_os_error(system):
        try:
            _pipe(system, path, data, create=not replace)
        except FileExistsError:
            raise
        except BaseException:
            if before is None:
                _remove_beginning(system, path, data)
            raise


def delete(uri: Path) -> None:
    """Delete an object, if it exists.

    Raises:
        UsageError, OSError: as ``open_object``.
    """
    system, path = _located(uri)
    with suppress(FileNotFoundError), _as_os_error(system):
        system.rm_file(path)


def _class_of(uri: Path) -> Any:
    scheme = scheme_of(uri)
    if is_chain(uri):
        raise UsageError(f"{resolved(uri)} is a chain of file systems.", hint="Give the URI of the file itself.")
    if is_on_hub(uri):
        importlib.import_module("kernelviz.network")  # the hub's client must be imported with its settings
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError:
        hint = "Known are file://, s3://, gs://, hf://, https:// and others of fsspec."
        raise UsageError(f"There is no file system {scheme}://.", hint=hint) from None
    except Exception as error:  # noqa: BLE001  (importing a package may raise anything)
        what = f"{scheme}:// needs a package that is not installed or cannot be imported."
        raise UsageError(what, f"{_message(error)}.", _to_install(scheme)) from None


def _to_install(scheme: str) -> str:
    """What to install for a file system: its own package, or what fsspec's implementation imports."""
    from fsspec.registry import known_implementations

    package = str(known_implementations.get(scheme, {}).get("class", "")).partition(".")[0]
    if package in ("", "fsspec"):
        package = f'"fsspec[{"http" if scheme == "https" else scheme}]"'
    return f"Type `pip install {package}`."


def _located(uri: Path, *, remembered: bool = False) -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    Back ends remember listings without a limit of time. They are forgotten here; with ``remembered``, only those that are
    older than ``_REMEMBERED``.
    """
    text = complete(resolved(uri))
    cls = _class_of(text)
    with _as_os_error(None):
        # Unlike fsspec.url_to_fs, this takes no "::" in the name of an object for a chain.
        system, path = cls(**cls._get_kwargs_from_urls(text)), cls._strip_protocol(text)
    if not remembered or time.monotonic() - _forgotten.get(system, -_REMEMBERED) >= _REMEMBERED:
        _forget(system)
    return system, path


_forgotten: WeakKeyDictionary[Any, float] = WeakKeyDictionary()  # when each file system last forgot its listings


def _forget(system: Any) -> None:
    with _as_os_error(system):
        system.invalidate_cache()
    _forgotten[system] = time.monotonic()


def _info(system: Any, path: str) -> Any:
    """What is known of an object; one that is missing in a remembered listing is requested."""
    try:
        return system.info(path)
    except FileNotFoundError:
        _forget(system)
        return system.info(path)


@contextmanager
def _as_os_error(system: Any) -> Iterator[None]:
    """Errors of a back end as ``OSError`` without credentials."""
    try:
        yield
    except KernelvizError:
        raise
    except Exception as raised:  # noqa: BLE001  (back ends raise what their clients raise)
        error = _reason(raised)
        known = next((kind for kind in _KNOWN if isinstance(error, kind)), None)
        number = error.errno if isinstance(error, OSError) and isinstance(error.errno, int) else None
        if known is not None:
            default = {FileNotFoundError: errno.ENOENT, FileExistsError: errno.EEXIST, PermissionError: errno.EACCES,
                       IsADirectoryError: errno.EISDIR, NotADirectoryError: errno.ENOTDIR}[known]  # fmt: skip
            raise known(default, os.strerror(default)) from None
        text = _OFFLINE.get(type(error).__name__) or f"{type(error).__name__}: {_message(error)}".rstrip(": ")
        raise OSError(number or errno.EIO, _without_secrets(text, system)) from None


def _reason(error: Exception) -> BaseException:
    """The error itself, or why a file was not found, if that is another reason than that there is none.

    fsspec's file system of the web raises ``FileNotFoundError`` for every failure.
    """
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None or isinstance(cause, _KNOWN):
        return error
    return cause if isinstance(cause, OSError) or getattr(cause, "status", 404) != 404 else error


def _message(error: BaseException) -> str:
    """The message of an error on one line, without a full stop."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".:")


def _without_secrets(text: str, system: Any) -> str:
    """A message of a back end without credentials, those in the options of the file system included."""
    options = [] if system is None else [getattr(system, "storage_options", {}), getattr(system, "kwargs", {})]
    for secret in sorted(secrets() | set(_texts_in(options)), key=len, reverse=True):
        text = text.replace(secret, "…")
    text = _ANY_QUERY.sub("?…", _ANY_USER.sub("", text))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) > 3:
        yield value
    elif isinstance(value, bytes) and len(value) > 3:
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _NO_SECRETS:
                yield from _texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts_in(each)


def _state(system: Any, path: str) -> Mapping[str, Any] | None:
    """What is known of an object; None if there is none.

    Unlike ``exists`` of fsspec, this fails if the server does not answer.
    """
    try:
        with _as_os_error(system):
            found: Mapping[str, Any] = system.info(path)
    except FileNotFoundError:
        return None
    return found


def _relative(name: str, base: str) -> str:
    if not base.strip("/"):
        return name.lstrip("/")
    inside = base.rstrip("/") + "/"
    return name[len(inside) :] if name.startswith(inside) else name.rpartition("/")[2]


def _pipe(system: Any, path: str, data: bytes, *, create: bool) -> None:
    if create and _has_modes(system):
        try:
            system.pipe_file(path, data, mode="create")
        except FileExistsError:
            raise
        except Exception as error:
            if "implement" not in f"{type(error).__name__} {error}".casefold():  # of a store that lacks conditions
                raise
        else:
            return
    system.pipe_file(path, data)


def _has_modes(system: Any) -> bool:
    """Whether ``pipe_file`` can create an object only if there is none."""
    pipe = getattr(system, "_pipe_file", system.pipe_file)
    return "mode" in inspect.signature(pipe).parameters


def _remove_beginning(system: Any, path: str, data: bytes) -> None:
    """Delete what a failed request left: the beginning of the data, and nothing else."""
    with suppress(Exception):
        size = system.info(path).get("size")
        if size is not None and size < len(data) and data.startswith(system.cat_file(path)):
            system.rm_file(path)


def _whole(system: Any, path: str) -> Any:
    """An object whose size is not known, in memory."""
    parts, total = [], 0
    with system.open(path, "rb") as file:
        while part := file.read(1 << 20):
            parts.append(part)
            total += len(part)
            if total > _MOST_UNKNOWN:
                raise OSError(errno.EFBIG, f"its server states no size, and it has more than {_MOST_UNKNOWN >> 20} MiB")
    return io.BytesIO(b"".join(parts))


class _Reader(io.RawIOBase):
    """Reads ranges of an object; the file system's own files share their position where several are open."""

    def __init__(self, system: Any, path: str, size: int, choices: Mapping[str, Any]) -> None:
        super().__init__()
        self._choices = choices
        self._system, self._path, self._size, self._at = system, path, size, 0
        self._data: bytes | None = None  # of a server without ranges

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readall(self) -> bytes:
        data = bytearray(max(0, self._size - self._at))
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with memoryview(buffer).cast("B") as view:
            wanted = max(0, min(len(view), self._size - self._at))
            if not wanted:
                return 0
            with _as_os_error(self._system):
                data = self._data
                if data is None:
                    data = self._system.cat_file(self._path, start=self._at, end=self._at + wanted, **self._choices)
                if len(data) == self._size and len(data) > wanted:
                    self._data = data  # a server without ranges sends the whole object
                    data = data[self._at : self._at + wanted]
                if len(data) != wanted:
                    raise OSError(errno.EIO, f"It ended after {self._at + len(data):,} of {self._size:,} bytes")
            view[:wanted] = data
            self._at += wanted
            return wanted
