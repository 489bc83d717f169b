"""URIs: which texts are URIs, URIs without their credentials, and URIs as paths.

``file://`` URIs become plain paths. Of other URIs, the user with its password and the query (which may be a signature) are
kept in this module only: ``resolved`` returns the URI without them, and ``complete`` the one that is opened.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from kernelviz.errors import UsageError

if TYPE_CHECKING:
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
_users: dict[str, str] = {}
_queries: dict[str, str] = {}
_lock = threading.Lock()


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URI: it starts with a scheme of at least two characters and ``://``."""
    return isinstance(path, Uri) or _SCHEME.match(os.fsdecode(path)) is not None


def scheme_of(uri: str | os.PathLike[str]) -> str:
    """The scheme of a URI in lower case; empty for other paths."""
    found = _SCHEME.match(os.fsdecode(uri))
    return found[1].lower() if found else ""


def is_chain(uri: str | os.PathLike[str]) -> bool:
    """Whether a URI is a chain of file systems, such as ``zip://a.png::s3://bucket/b.zip``, which is not supported."""
    return _CHAIN.search(os.fsdecode(uri)) is not None


def resolved(path: str | os.PathLike[str]) -> str:
    """The path of a ``file://`` URI, another URI without its credentials, and all other paths as they are.

    The credentials are kept for ``complete``. A query is replaced by digits of its hash, so that different ones differ.

    Raises:
        UsageError: a ``file://`` URI names a file of another machine.
    """
    text = os.fsdecode(path)
    scheme = scheme_of(text)
    if scheme in _LOCAL:
        return _local_path(text)
    if not scheme:
        return text
    rest = text[len(scheme) + 3 :]
    user, rest = ("", rest) if scheme in _NO_USERS else _without_user(scheme, rest)
    rest, query = _without_query(scheme, rest)
    if query:
        import hashlib

        rest += _QUERY + hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    public = f"{scheme}://{rest}"
    with _lock:
        if user:
            _users[_site(public)] = user
        if query:
            _queries[public] = query
    return public


def has_query(uri: str | os.PathLike[str]) -> bool:
    """Whether a URI had a query before ``resolved``."""
    return resolved(uri) in _queries


def complete(uri: str) -> str:
    """A URI with the credentials that ``resolved`` kept."""
    with _lock:
        user, query = _users.get(_site(uri), ""), _queries.get(uri, "")
    if query:
        uri = uri.rpartition(_QUERY)[0] + query
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{user}{rest}"


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
    found = _ARGUMENT.match(argument)
    if found is None:
        return argument
    uri = argument[found.end() :]
    return found[0] + (_without_host_user(uri) if scheme_of(uri) in _LOCAL else resolved(uri))


def name_in(path: str) -> str:
    """The file name in a path or a URI."""
    if not is_uri(path):
        return Path(path).name
    name = path.partition(_QUERY)[0].rstrip("/").rpartition("/")[2]
    return unquote(name) if scheme_of(path) in WEB else name


def fixed_part(pattern: str) -> str:
    """The folder of a URI, or of a path in its file system, in front of the first wildcard."""
    scheme = scheme_of(pattern)
    start = len(scheme) + 3 if scheme else 0
    folder, slash, _ = re.split(r"[*?\[]", pattern[start:], maxsplit=1)[0].rpartition("/")
    return pattern[:start] + (folder or slash)


def joined(uri: str, part: str) -> str:
    """A URI with a further part."""
    base = uri.rstrip("/")
    slash = "" if len(base) < len(scheme_of(uri)) + 3 else "/"  # a URI of nothing but the scheme keeps its slashes
    return f"{base if slash else uri}{slash}{part.lstrip('/')}" if part else uri


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


def _site(uri: str) -> str:
    return "/".join(uri.split("/", 3)[:3])


class Uri(_Base):
    """A URI with the attributes of a path that is written to; its credentials are kept apart.

    It is never a directory: objects have none.
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

    def absolute(self) -> Uri:
        """The URI itself."""
        return self

    def is_dir(self, **_: bool) -> bool:
        """False: objects have no directories."""
        return False
