"""What ``kernelviz filter`` is given: numbers of filters, and places of learned kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.records import Array


def check_alone(*others: object) -> None:
    """Refuse what ``--list`` would leave undone.

    Raises:
        UsageError: an image or a filter is given too.
    """
    if any(others):
        raise UsageError(
            "--list shows the filters alone, without an image, --kernel, --kernel-values or --from.",
            hint="Leave out --list to filter the image.",
        )


def parse_values(text: str) -> Array:
    """(h, w) of rows between semicolons, numbers between blanks or commas.

    Raises:
        UsageError: something is no number, or the rows are not equally long.
    """
    try:
        rows = [[float(word) for word in row.replace(",", " ").split()] for row in text.strip(" ;[]").split(";")]
    except ValueError:
        rows = [[]]
    if not rows[0] or len({len(row) for row in rows}) != 1:
        hint = "For example --kernel-values '0 -1 0; -1 4 -1; 0 -1 0'"
        raise UsageError(f"A kernel is rows of as many numbers each, but got {text!r}.", hint=hint)
    return np.array(rows)


def parse_place(text: str) -> tuple[str, str, int]:
    """Model, layer and channel of ``MODEL:LAYER:CHANNEL``; a model's name may hold colons itself.

    Raises:
        UsageError: it is not written so.
    """
    model, _, rest = text.rpartition(":")
    model, _, layer = model.rpartition(":")
    if not (model and layer and rest.isdecimal()):
        hint = "For example --from tf_efficientnet_lite0:conv_stem:15"
        raise UsageError(f"A learned kernel is written MODEL:LAYER:CHANNEL, but got {text!r}.", hint=hint)
    return model, layer, int(rest)


def parse_places(texts: list[str]) -> list[tuple[str, str, int]]:
    """All learned kernels that are asked for.

    Raises:
        UsageError: one is not written so, or they are of several models.
    """
    places = [parse_place(text) for text in texts]
    models = list(dict.fromkeys(model for model, _, _ in places))
    if len(models) > 1:
        raise UsageError(
            "The learned kernels of one picture are of one model.",
            f"But --from names {' and '.join(models)}.",
            "Make a picture for each.",
        )
    return places
