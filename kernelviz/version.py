"""The version of kernelviz, which the build reads here, and the version of its JSON documents and recipes."""

__version__ = "0.2.0"

SCHEMA = 1
"""Changes only if a field of documents or recipes is renamed or removed."""
