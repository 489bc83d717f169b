"""The version of kernelviz, which the build reads here and ``kernelviz.__version__`` exposes."""

from __future__ import annotations

__version__ = "0.1.0"
