"""URIs: which texts are URIs, URIs without their credentials, and URIs as paths.

``file://`` URIs become plain paths. Of other URIs, the user with its password and the query (which may be a signature) are
kept in this module only: ``resolved`` returns the URI without them, and ``complete`` the one that is opened.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Base = Path
else:
    _Base = type(Path())  # Typer takes no other type for a path


_NAME = r"[A-Za-z][A-Za-z0-9+.-]+"  # of two characters or more: C:// is a drive
_SCHEME = re.compile(rf"((?:{_NAME}::)*{_NAME})://", re.ASCII)
_CHAIN = re.compile(rf"::{_NAME}://|^{_NAME}::.*://", re.ASCII)
_ARGUMENT = re.compile(
    rf"(?:(?:--[a-z-]+=)?(?:\w+=|hf[-_]hub:|local-dir:)?|-[a-z])(?={_SCHEME.pattern})", re.ASCII | re.IGNORECASE
)
_LOCAL = ("file", "local")
WEB = ("http", "https")
_NO_USERS = ("hf", "git", "github")  # what is in front of @ is no user
_QUERY = "?query-"
_DIGITS = 8
_WILDCARD = re.compile(r"[*?\[]")
_COLLAPSED = re.compile(rf"({_NAME}):[/\\](?![/\\])(.*)", re.ASCII | re.DOTALL)
_users: dict[str, str] = {}  # with "@", of an address and, if that ends with a slash, of those below it
_queries: dict[str, str] = {}
_lock = threading.Lock()


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URI: it starts with a scheme of at least two characters and ``://``."""
    return isinstance(path, Uri) or _SCHEME.match(os.fsdecode(path)) is not None


def scheme_of(uri: str | os.PathLike[str]) -> str:
    """The scheme of a URI in lower case; empty for other paths."""
    found = _SCHEME.match(os.fsdecode(uri))
    return found[1].lower() if found else ""


def is_on_hub(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URI of the model hub."""
    return scheme_of(path) == "hf"


def is_chain(uri: str | os.PathLike[str]) -> bool:
    """Whether a URI is a chain of file systems, such as ``zip://a.png::s3://bucket/b.zip``, which is not supported."""
    return _CHAIN.search(os.fsdecode(uri)) is not None


def resolved(path: str | os.PathLike[str]) -> str:
    """The path of a ``file://`` URI, another URI without its credentials, and all other paths as they are.

    The credentials are kept for ``complete``. A query is replaced by digits of its hash, so that different ones differ.

    Raises:
        UsageError: a ``file://`` URI names a file of another machine, or a URI was given as a ``pathlib.Path``.
    """
    text = os.fsdecode(path)
    scheme = scheme_of(text)
    if scheme in _LOCAL:
        return _local_path(text)
    if not scheme:
        if isinstance(path, PurePath):
            _check_collapsed(text)
        return text
    public, user, query = _divided(text)
    with _lock:
        if user:
            _users[plain(public)] = _users[_opened_by(public)] = user
            for folder in _folders(public):
                _users.setdefault(f"{folder}/", user)
        if query:
            _queries[public] = query
    return public


def _divided(uri: str) -> tuple[str, str, str]:
    """A URI without its credentials, its user with ``@``, and its query."""
    scheme = scheme_of(uri)
    rest = uri[len(scheme) + 3 :]
    user, rest = ("", rest) if scheme in _NO_USERS else _without_user(scheme, rest)
    rest, query = _without_query(scheme, rest)
    if query:
        import hashlib

        rest += _QUERY + hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{scheme}://{rest}", user, query


def _opened_by(public: str) -> str:
    """The address that is opened with the user of a URI: its own or, for a pattern, that of all objects in its folder."""
    address = plain(public)
    return f"{fixed_part(address).rstrip('/')}/" if _WILDCARD.search(address) else address


def plain(uri: str) -> str:
    """A URI that ``resolved`` returned, without the digits of its query."""
    return uri.partition(_QUERY)[0]


def has_query(uri: str | os.PathLike[str]) -> bool:
    """Whether a URI had a query before ``resolved``."""
    return resolved(uri) in _queries


def complete(uri: str) -> str:
    """A URI with the credentials that ``resolved`` kept.

    These are its own; else those of the nearest folder above it, or of the first address that was below such a folder.
    """
    address, mark, digits = uri.partition(_QUERY)
    with _lock:
        folders = _folders(address)
        keys = [address, *(key for folder in folders for key in (folder, f"{folder}/"))]
        user = next((_users[key] for key in keys if key in _users), "")
        queries = (f"{each}{mark}{digits}" for each in (address, *folders) if mark)
        query = next((_queries[key] for key in queries if key in _queries), mark + digits)
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{user}{rest}{query}"


def secrets() -> set[str]:
    """The users with passwords, the passwords and the queries that are kept: no message may contain them."""
    with _lock:
        users, queries = list(_users.values()), list(_queries.values())
    parts = [part for user in users for part in (user.rstrip("@"), user.rstrip("@").partition(":")[2])]
    fields = [part.partition("=") for query in queries for part in re.split(r"[?&#]", query)]
    values = [value or key for key, _, value in fields]
    found = {*parts, *queries, *values}
    return {text for each in found for text in (each, unquote(each)) if len(text) > 3}


@dataclass(frozen=True)
class Credentials:
    """What ``resolved`` kept, for another process; not shown by ``repr``."""

    users: dict[str, str] = field(repr=False)
    queries: dict[str, str] = field(repr=False)

    def keep(self) -> None:
        """Keep it in this process as well."""
        with _lock:
            _users.update(self.users)
            _queries.update(self.queries)


def kept() -> Credentials:
    """The credentials that ``resolved`` has kept so far."""
    with _lock:
        return Credentials(dict(_users), dict(_queries))


def without_credentials(argument: str) -> str:
    """An argument of a command line, in which a URI has no credentials; they are kept as by ``resolved``."""
    front, uri, is_collapsed = _uri_in(argument)
    if is_collapsed:
        return resolved(uri).replace("://", ":/", 1)
    return front + (_without_host_user(uri) if scheme_of(uri) in _LOCAL else resolved(uri) if uri else "")


def check_users(arguments: Iterable[str]) -> None:
    """Check that a command line has one user for each URI: what it opens is known without its user.

    Raises:
        UsageError: there are different ones.
    """
    users: dict[str, str] = {}
    for argument in arguments:
        uri = _uri_in(argument)[1]
        public, user, _ = _divided(uri) if uri and scheme_of(uri) not in _LOCAL else ("", "", "")
        if user and users.setdefault(_opened_by(public), user) != user:
            what = f"There are different credentials for {plain(public)}."
            raise UsageError(what, "One run opens a URI with one user.", "Give the same credentials, or use two runs.")


def _uri_in(argument: str) -> tuple[str, str, bool]:
    """What is in front of a URI in an argument, the URI, and whether pathlib has left out one of its slashes."""
    if (collapsed := _COLLAPSED.match(argument)) and collapsed[1].lower() not in _LOCAL:
        return "", f"{collapsed[1]}://{collapsed[2]}", True
    found = _ARGUMENT.match(argument)
    return (argument, "", False) if found is None else (found[0], argument[found.end() :], False)


def name_in(path: str) -> str:
    """The file name in a path or a URI."""
    if not is_uri(path):
        return Path(path).name
    name = plain(path).rstrip("/").rpartition("/")[2]
    return unquote(name) if scheme_of(path) in WEB else name


def fixed_part(pattern: str) -> str:
    """The folder of a URI, or of a path in its file system, in front of the first wildcard; a query is kept."""
    pattern, mark, digits = pattern.partition(_QUERY)
    scheme = scheme_of(pattern)
    start = len(scheme) + 3 if scheme else 0
    folder, slash, _ = _WILDCARD.split(pattern[start:], maxsplit=1)[0].rpartition("/")
    return pattern[:start] + (folder or slash) + mark + digits


def joined(uri: str, part: str) -> str:
    """A URI with a further part, and with the query of the first."""
    uri, mark, digits = uri.partition(_QUERY)
    base = uri.rstrip("/")
    slash = "" if len(base) < len(scheme_of(uri)) + 3 else "/"  # a URI of nothing but the scheme keeps its slashes
    whole = f"{base if slash else uri}{slash}{part.lstrip('/')}" if part else uri
    return whole + mark + digits


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path, or a ``Uri``."""
    text = resolved(path)
    return Uri(text) if is_uri(text) else Path(text)


def _local_path(uri: str) -> str:
    """The path that a ``file://`` URI names (RFC 8089)."""
    rest = uri.partition("://")[2]
    host, slash, path = rest.partition("/")
    if os.name == "nt" and re.fullmatch(r"[A-Za-z]:", host):
        return unquote(rest)
    if host not in ("", "localhost") or not slash:
        raise UsageError(
            f"{_without_host_user(uri)} names no file of this machine.",
            hint="A file URI has three slashes: file:///path.",
        )
    drive = os.name == "nt" and re.match(r"[A-Za-z]:", path)
    return os.fsdecode(unquote_to_bytes(os.fsencode(path if drive else f"/{path}")))


def _without_host_user(uri: str) -> str:
    """A ``file://`` URI without a user in front of its host, which it should not have."""
    return re.sub(r"(?<=://)[^/]*@", "", uri, count=1)


def _without_user(scheme: str, rest: str) -> tuple[str, str]:
    """The user with ``@`` in front of a URI without scheme, and the rest.

    The user is empty if it has no password; in the web, where it may be a token, it needs none.
    """
    site = rest.partition("/")[0]
    before, at, after = site.rpartition("@")
    if at and (":" in before or scheme in WEB):
        return before + at, after + rest[len(site) :]
    if not at and re.search(r":(?!\d*$)", site) and not site.startswith("[") and "@" in rest:
        before, at, after = rest.rpartition("@")  # a password with a slash
        return before + at, after
    return "", rest


def _without_query(scheme: str, rest: str) -> tuple[str, str]:
    """The rest without its query, and that; elsewhere than in the web, ``?`` may be in a name or a pattern."""
    found = re.search(r"[?#].*" if scheme in WEB else r"\?[^/?]*=.*", rest, re.DOTALL)
    if found is None or rest[found.start() :].startswith(_QUERY):
        return rest, ""
    return rest[: found.start()], found[0]


def _folders(uri: str) -> list[str]:
    """The folders above an address, the nearest first and its host last."""
    parts = plain(uri).split("/")
    return ["/".join(parts[:end]) for end in range(len(parts) - 1, 2, -1)]


def _check_collapsed(text: str) -> None:
    """Reject a path that was a URI, unless its first folder exists.

    Raises:
        UsageError: with the URI to give.
    """
    found = _COLLAPSED.match(text)
    if found and not os.path.lexists(f"{found[1]}:"):
        slashes = ":///" if found[1].lower() in _LOCAL else "://"
        uri = without_credentials(found[1] + slashes + found[2].replace("\\", "/"))
        what = f"A pathlib.Path cannot hold {uri}: it leaves out one of the slashes."
        raise UsageError(what, hint=f'Give the URI as text: "{uri}".')


class Uri(_Base):
    """A URI with the attributes of a path; its credentials are kept apart.

    ``exists``, ``is_file``, ``read_bytes``, ``read_text`` and ``open`` for reading access its file system. It is never a
    directory: objects have none. What else a path does with a disk raises ``io.UnsupportedOperation``.
    """

    def __init__(self, uri: str) -> None:
        self._uri = resolved(uri)
        if sys.version_info >= (3, 12):  # before, pathlib has no initializer
            super().__init__(self._uri)

    def __reduce__(self) -> tuple[type[Uri], tuple[str]]:
        return Uri, (self._uri,)

    def __str__(self) -> str:
        return self._uri

    def __fspath__(self) -> str:
        return self._uri

    def __repr__(self) -> str:
        return f"Uri({self._uri!r})"

    def __hash__(self) -> int:
        return hash(self._uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uri) and self._uri == other._uri

    def __lt__(self, other: Any) -> bool:
        return self._uri < str(other)

    def __truediv__(self, part: Any) -> Uri:
        return Uri(joined(self._uri, str(part)))

    def joinpath(self, *parts: Any) -> Uri:
        """The URI with further parts."""
        return reduce(Uri.__truediv__, parts, self)

    @property
    def _split(self) -> tuple[str, str]:
        """The URI before its last part, with the slash, and the last part."""
        start = len(scheme_of(self._uri)) + 3
        text = self._uri.rstrip("/") if len(self._uri.rstrip("/")) >= start else self._uri
        cut = max(text.rfind("/") + 1, start)
        return text[:cut], text[cut:]

    @property
    def name(self) -> str:
        """The last part."""
        return name_in(self._uri)

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Uri:
        """The URI without its last part."""
        before, start = self._split[0], len(scheme_of(self._uri)) + 3
        return Uri(before[:start] + before[start:].rstrip("/"))

    @property
    def parents(self) -> tuple[Uri, ...]:
        """The parent, its parent, and so on."""
        parent = self.parent
        return () if parent == self else (parent, *parent.parents)

    def with_name(self, name: str) -> Uri:
        """The URI with another last part."""
        return Uri(self._split[0] + name)

    def with_suffix(self, suffix: str) -> Uri:
        """The URI with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: Any, *_: Any, **__: Any) -> PurePosixPath:  # type: ignore[override]
        """The part of the URI that is below another one.

        Raises:
            ValueError: it is not below it.
        """
        base = plain(resolved(other)).rstrip("/") + "/"
        if not f"{self._uri}/".startswith(base):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self._uri[len(base) :])

    def is_relative_to(self, other: Any, *_: Any) -> bool:
        """Whether the URI is below another one, or the same."""
        return f"{self._uri}/".startswith(plain(resolved(other)).rstrip("/") + "/")

    def absolute(self) -> Uri:
        """The URI itself."""
        return self

    def resolve(self, *_: Any, **__: Any) -> Uri:
        """The URI itself."""
        return self

    def expanduser(self) -> Uri:
        """The URI itself."""
        return self

    def is_absolute(self) -> bool:
        """True."""
        return True

    def as_uri(self) -> str:
        """The URI as text."""
        return self._uri

    def as_posix(self) -> str:
        """The URI as text."""
        return self._uri

    def is_dir(self, **_: bool) -> bool:
        """False: objects have no directories."""
        return False

    def is_file(self, **_: bool) -> bool:
        """Whether there is an object of this name.

        Raises:
            UsageError, OSError: its file system is not installed, or does not answer.
        """
        return bool(_objects().kind_of(self) == "file")

    def exists(self, **_: bool) -> bool:
        """Whether there is an object of this name, or one below it.

        Raises:
            UsageError, OSError: as ``is_file``.
        """
        return _objects().kind_of(self) is not None

    def open(
        self, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None
    ) -> Any:
        """Open the object for reading.

        Raises:
            io.UnsupportedOperation: the mode is for writing.
            UsageError, OSError: as ``is_file``.
        """
        del buffering
        if set(mode) - set("rbt"):
            raise _unsupported("open", self)
        file = _objects().open_object(self)
        return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        """The content of the object.

        Raises:
            UsageError, OSError: as ``is_file``.
        """
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: Any = None, errors: Any = None, newline: Any = None) -> str:
        """The content of the object as text.

        Raises:
            UsageError, OSError: as ``is_file``.
        """
        with self.open("r", -1, encoding, errors, newline) as file:
            return str(file.read())


ON_DISK = (
    "chmod", "copy", "copy_into", "glob", "group", "hardlink_to", "info", "is_block_device", "is_char_device", "is_fifo",
    "is_junction", "is_mount", "is_socket", "is_symlink", "iterdir", "lchmod", "lstat", "mkdir", "move", "move_into",
    "owner", "readlink", "rename", "replace", "rglob", "rmdir", "samefile", "stat", "symlink_to", "touch", "unlink", "walk",
    "write_bytes", "write_text",
)  # fmt: skip
"""What paths do with a disk in some version of Python, and URIs do not."""


def _unsupported(name: str, uri: Uri) -> io.UnsupportedOperation:
    return io.UnsupportedOperation(
        f"{name} is for files of this machine, but got {uri}; see fsspec.open and fsspec.url_to_fs"
    )


def _not_here(name: str) -> Any:
    def method(self: Uri, *_: Any, **__: Any) -> Any:
        raise _unsupported(name, self)

    method.__name__, method.__doc__ = name, "Not supported: the object is on no disk of this machine."
    return method


for _name in ON_DISK:
    setattr(Uri, _name, _not_here(_name))


def _objects() -> Any:
    return import_module("kernelviz.storage.objects")  # which imports this module
