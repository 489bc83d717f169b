"""The classical kernels that have a name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.records import Array

NAMED = {
    "sobel-x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel-y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "laplacian": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
}


def named_kernel(name: str) -> Array:
    """The kernel (h, w) of this name.

    Raises:
        UsageError: none has it.
    """
    if name not in NAMED:
        near = difflib.get_close_matches(name, NAMED, 3, 0.4) or list(NAMED)
        raise UsageError(
            f"There is no kernel and no file called {name!r}.",
            f"Nearest: {', '.join(near)}.",
            "Or type the numbers: rows apart by ;, channels by |.",
        )
    return np.array(NAMED[name], dtype=np.float64)
