"""``python -m kernelviz``."""

from __future__ import annotations

from kernelviz.cli.main import run

if __name__ == "__main__":
    run()
