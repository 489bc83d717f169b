"""File systems of fsspec for tests: in memory, and one that fails at a byte, with secrets in its messages."""

from __future__ import annotations

from typing import ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

SECRET = "pa55word"


class Fragile(MemoryFileSystem):
    """``fragile://``: its requests fail once ``fails_at`` bytes of an object were read or written.

    Its messages hold what a back end's may hold: an address with a user and a signature, and a key from its options.
    """

    protocol = "fragile"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    fails_at: ClassVar[int | None] = None
    is_dead: ClassVar[bool] = False
    requests: ClassVar[list[tuple[str, str, int]]] = []

    def __init__(self, key="", **options):
        super().__init__(key=key, **options)
        self.key = key

    @classmethod
    def _strip_protocol(cls, path):
        path = path.removeprefix("fragile://").rpartition("@")[2]
        return "/" + path.strip("/") if path.strip("/") else ""

    @classmethod
    def _get_kwargs_from_urls(cls, path):
        user = path.removeprefix("fragile://").rpartition("@")[0]
        return {"user": user} if user else {}

    def _break(self):
        address = f"https://me:{SECRET}@host/x?X-Signature={SECRET}"
        raise RuntimeError(f"GET {address} with {self.key}: connection reset\nand more")

    def info(self, path, **options):
        """What is known of an object."""
        if self.is_dead:
            self._break()
        return super().info(path, **options)

    def find(self, path, **options):
        """All objects below a folder."""
        if self.is_dead:
            self._break()
        return super().find(path, **options)

    def cat_file(self, path, start=None, end=None, **options):
        """A range of an object."""
        data = super().cat_file(path, start, end, **options)
        self.requests.append(("get", path, len(data)))
        if self.is_dead or (self.fails_at is not None and (start or 0) + len(data) > self.fails_at):
            self._break()
        return data

    def pipe_file(self, path, value, mode="overwrite", **options):
        """Put an object; a request that fails leaves its beginning."""
        self.requests.append(("put", path, len(value)))
        if self.is_dead:
            self._break()
        if self.fails_at is not None and len(value) > self.fails_at:
            super().pipe_file(path, value[: self.fails_at], mode)
            self._break()
        super().pipe_file(path, value, mode, **options)


class Forgetful(MemoryFileSystem):
    """``forgetful://``: remembers listings, as s3fs and the hub's client do, until it is asked to forget them.

    It opens only what has the query ``?sig=…`` of its user.
    """

    protocol = "forgetful"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    asked: ClassVar[list[str]] = []

    def __init__(self, sig="", **options):
        super().__init__(sig=sig, **options)
        self.sig, self.listings = sig, {}

    @classmethod
    def _strip_protocol(cls, path):
        path = path.removeprefix("forgetful://").partition("?")[0]
        return "/" + path.strip("/") if path.strip("/") else ""

    @classmethod
    def _get_kwargs_from_urls(cls, path):
        return {"sig": path.partition("?sig=")[2]}

    def invalidate_cache(self, *_, **__):
        """Forget all listings."""
        self.listings.clear()

    def find(self, path, **options):
        """All objects below a folder, which is remembered."""
        if self.sig != SECRET:
            raise PermissionError(path)
        if path not in self.listings:
            self.asked.append(path)
            self.listings[path] = list(super().find(path, detail=True).values())
        found = {each["name"]: each for each in self.listings[path]}
        return found if options.get("detail") else [*found]

    def info(self, path, **_):
        """What is known of an object."""
        parent = self._parent(path)
        if parent in self.listings:
            found = [each for each in self.listings[parent] if each["name"] == path]
            if not found:
                raise FileNotFoundError(path)
            return found[0]
        self.asked.append(path)
        return super().info(path)

    def cat_file(self, path, start=None, end=None, **options):
        """A range of an object."""
        if self.sig != SECRET:
            raise PermissionError(path)
        return super().cat_file(path, start, end, **options)


fsspec.register_implementation("fragile", Fragile)
fsspec.register_implementation("forgetful", Forgetful)
fsspec.config.conf["fragile"] = {"key": f"key-{SECRET}"}  # where users keep such options


def emptied():
    """Forget all objects; the file system answers again."""
    for system in (MemoryFileSystem, Fragile, Forgetful):
        system.store.clear()
        system.pseudo_dirs[:] = [""]
    Fragile.fails_at, Fragile.is_dead = None, False
    Fragile.requests.clear()
    Forgetful.asked.clear()
    Forgetful.clear_instance_cache()
