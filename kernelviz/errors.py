"""What can go wrong, in words for the person who asked.

Every error says what happened, why, and what to do next. ``code`` is stable: programs may rely on it.
"""

from __future__ import annotations


class KernelvizError(Exception):
    """An error with three parts: what happened, why, and what to do about it."""

    code = "failed"

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.hint) if part)


class UsageError(KernelvizError):
    """The request itself is wrong: an option, a value, a shape, a name."""

    code = "usage"


class UnknownModelError(UsageError):
    """No architecture, or no tag of it, has this name."""

    code = "unknown-model"


class UnknownLayerError(UsageError):
    """No layer has this name or matches this pattern, or what matches is no convolution."""

    code = "unknown-layer"


class NoConvolutionsError(KernelvizError):
    """The network holds no convolution whose kernels could be shown."""

    code = "no-convolutions"


class NoWeightsError(KernelvizError):
    """There are no weights to be had for this model."""

    code = "no-weights"


class BadWeightsError(KernelvizError):
    """A weights file is missing, unreadable, unsafe, or belongs to another network."""

    code = "bad-weights"


class BadImageError(KernelvizError):
    """An image is missing, damaged, too large, or of a format that is not read."""

    code = "bad-image"


class InputSizeError(KernelvizError):
    """A network does not take an input of this size, or of this many channels."""

    code = "input-size"


class FileInTheWayError(KernelvizError):
    """Something else stands where a file would be written."""

    code = "file-in-the-way"


class WriteError(KernelvizError):
    """A file could not be written; what was there before is still there."""

    code = "write-failed"


class RecipeError(KernelvizError):
    """A file holds no recipe that can be read."""

    code = "no-recipe"


class CancelledError(KernelvizError):
    """The user has ended the command."""

    code = "interrupted"
