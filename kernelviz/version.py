"""The version of kernelviz, in one place: the build reads it here, and ``kernelviz.__version__`` hands it on."""

from __future__ import annotations

__version__ = "0.1.0"
