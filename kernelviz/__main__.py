"""``python -m kernelviz``."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Python puts the current directory in front: a file ``torch.py`` there would be run instead of torch.
    here = f"{sys.path[0]}{os.sep}kernelviz{os.sep}"
    if not sys.flags.safe_path and not __file__.startswith(here):  # a checkout is where this package itself is
        del sys.path[0]

    from kernelviz.cli.main import run

    run()
