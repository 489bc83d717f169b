"""Only regular files are read; nothing waits for a pipe or reads a device to its end."""

from __future__ import annotations

import os

import pytest
from restraints import bounds

from kernelviz.reading import SpecialFileError, open_regular, read_regular


def test_a_regular_file_is_read_up_to_a_limit(tmp_path):
    """The content comes back, also through a link; one byte more than allowed is an error."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"12345")
    link.symlink_to(path)
    assert read_regular(link, 5) == b"12345"
    with pytest.raises(OSError, match="too large"):
        read_regular(path, 4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
def test_pipes_devices_and_folders_are_not_opened(tmp_path):
    """A pipe without a writer, an endless device and a folder are rejected at once."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with bounds(5):
        for name in ("pipe", "zeros"):
            with pytest.raises(SpecialFileError):
                open_regular(tmp_path / name)
        with pytest.raises(IsADirectoryError):
            open_regular(tmp_path)
