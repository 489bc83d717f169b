"""The errors of the package, with messages for the user.

Every error states what happened, why, and what to do next. ``code`` is stable: programs may rely on it.
"""

from __future__ import annotations


class KernelvizError(Exception):
    """An error with three parts: what happened, why, and what to do about it.

    Example:
        >>> try:
        ...     kernelviz.find_filter("sobel-z")
        ... except kernelviz.KernelvizError as error:
        ...     print(error.code, "|", error.what)
        usage | There is no filter 'sobel-z' of 3 × 3.
    """

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
    """No layer has this name or matches this pattern, or what matches is not a convolution."""

    code = "unknown-layer"


class NoConvolutionsError(KernelvizError):
    """The network has no convolution whose kernels can be shown."""

    code = "no-convolutions"


class NoWeightsError(KernelvizError):
    """No weights are available for this model."""

    code = "no-weights"


class BadWeightsError(KernelvizError):
    """A weights file is missing, unreadable, unsafe, or belongs to another network."""

    code = "bad-weights"


class CodeError(KernelvizError):
    """The user's own code, which builds a network, raised an error."""

    code = "own-code"


class BadImageError(KernelvizError):
    """An image is missing, damaged, too large, or of an unsupported format."""

    code = "bad-image"


class BrokenPassError(KernelvizError):
    """A forward pass failed in a layer.

    ``trace`` is the ``Trace`` of the layers that ran before, ``maps`` are their feature maps if they were captured,
    ``missing`` the chosen layers that were not captured since they did not run, and ``observed`` is what all are made from;
    each is None or empty if it was not requested.
    """

    def __init__(self, what: str, why: str = "", hint: str = "", *, observed: object = None) -> None:
        super().__init__(what, why, hint)
        self.observed = observed
        self.trace: object = None
        self.maps: tuple[object, ...] = ()
        self.missing: tuple[str, ...] = ()


class InputSizeError(BrokenPassError):
    """A network does not take an input of this size, or of this many channels."""

    code = "input-size"


class NeedsValuesError(BrokenPassError):
    """A forward pass depends on the values of tensors, which a network on ``meta`` does not have."""


class FileInTheWayError(KernelvizError):
    """Another file exists where a file would be written."""

    code = "file-in-the-way"


class WriteError(KernelvizError):
    """A file could not be written; a file that existed before is unchanged."""

    code = "write-failed"


class DiskFullError(WriteError):
    """A file could not be written because the disk is full; further files could not be either."""


class RecipeError(KernelvizError):
    """A file contains no readable recipe."""

    code = "no-recipe"


class CancelledError(KernelvizError):
    """The user has cancelled the command."""

    code = "interrupted"
