"""``python -m kernelviz``."""

from kernelviz.cli.main import run

if __name__ == "__main__":
    run()
