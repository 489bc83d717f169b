"""Read regular files and objects only: pipes may never end, nor devices, and opening either may wait for ever."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from kernelviz.storage.uris import is_uri

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


class SpecialFileError(OSError):
    """A file is a pipe, a device or a socket."""


def open_regular(path: Path | str) -> BufferedReader:
    """Open a regular file for reading; links are followed. A URI opens an object of another file system.

    Raises:
        SpecialFileError: it is not a regular file.
        OSError: it is a directory, cannot be opened, or its content is not available without waiting.
        ValueError: no file can have this name.
    """
    if is_uri(path):
        from kernelviz.storage.objects import open_object

        return open_object(path)
    _check(os.stat(path).st_mode)  # noqa: PTH116  (takes every path); opening some devices has effects
    return open(path, "rb", opener=_without_waiting)


def read_regular(path: Path | str, most: int) -> bytes:
    """The content of a regular file of at most this many bytes.

    Raises:
        OSError: as ``open_regular``, or the file is larger.
        ValueError: no file can have this name.
    """
    with open_regular(path) as file:
        data = file.read(most + 1) or b""  # None if a file of /proc has no content yet
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data


def _check(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise SpecialFileError(errno.EINVAL, "It is not a regular file")


def _without_waiting(path: str, flags: int) -> int:
    """The descriptor of a regular file; if reading it would wait, as with some files of /proc, an error is raised."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        _check(status.st_mode)
        if not status.st_size and hasattr(os, "pread"):
            os.pread(descriptor, 1, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
