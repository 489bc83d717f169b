"""Arrays become pages and figures; knows no command, no network, no disk."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec

_SETTINGS = "matplotlibrc"


def ignore_settings() -> None:
    """Keep this process from reading the user's settings of matplotlib; call it before matplotlib is imported.

    Pages are independent of them, but with an unknown backend or an unreadable file of settings it could not be imported.
    """
    os.environ.pop("MPLBACKEND", None)
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return
    own = os.path.dirname(found.origin)  # noqa: PTH120  (pathlib is slower to import)
    os.environ["MATPLOTLIBRC"] = f"{own}{os.sep}mpl-data{os.sep}{_SETTINGS}"
    if not os.path.lexists(_SETTINGS):
        return
    # A file in the working directory would be read even before the one that MATPLOTLIBRC names.
    exists = os.path.exists
    os.path.exists = lambda path: path != _SETTINGS and exists(path)
    try:
        with contextlib.suppress(Exception):  # it is imported again where it is used, and errors are reported there
            import matplotlib as mpl  # noqa: F401
    finally:
        os.path.exists = exists
