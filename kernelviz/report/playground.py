"""A page to play with one convolution: its numbers, its settings, its window, and a guess before each answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import html_frame, record_repr
from kernelviz.report.packing import json_text
from kernelviz.report.page import content_policy, joined_script, palettes, part_text, template
from kernelviz.version import SCHEMA, __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernelviz.records import Array, Recipe

MOST_INPUT, MOST_KERNEL = 12, 7
"""Rows and columns of an input and of a kernel that are still legible on a phone."""

_MOST = {"stride": 6, "padding": 6, "dilation": 4}
_DIGITS = 6  # significant
_LARGEST = 10**6
_SLIDERS = {
    "stride": (("stride", "step of the window"), 1, 4),
    "padding": (("padding", "rings of zeros around the input"), 0, 3),
    "dilation": (("dilation", "spacing of the kernel's elements"), 1, 3),
    "input": (("input", "rows and columns"), 1, MOST_INPUT),
    "kernel": (("kernel", "rows and columns"), 1, MOST_KERNEL),
}


@dataclass(frozen=True)
class Playground:
    """A page to play with one convolution, the result of ``make_playground``; ``html`` is the page.

    ``input`` is (H, W), ``kernel`` (h, w) as torch stores it. ``at`` is the row and the column of the framed value of the
    output. ``recipe`` is stored in the page, ``title`` is its heading.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2, padding=1), np.eye(3), [[1, 0], [0, -1]])
        >>> playground = kernelviz.make_playground(worked)
        >>> playground.input.shape, playground.padding
        ((3, 3), 1)
        >>> playground.html[:15]
        '<!doctype html>'
    """

    input: Array
    kernel: Array
    recipe: Recipe
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    at: tuple[int, int] = (0, 0)
    title: str = "Convolution"

    __repr__ = record_repr

    def __post_init__(self) -> None:
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        _check(self.input, self.kernel, settings, self.at)

    @cached_property
    def html(self) -> str:
        """The page: one HTML document that needs no other file and no network."""
        return playground_page(
            self.input, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation, at=self.at,
            recipe=self.recipe, title=self.title,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook cell, in which its script runs apart from the notebook."""
        return html_frame(self.html, self.title, 940)


def playground_page(
    values: Array,
    kernel: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    at: tuple[int, int] = (0, 0),
    recipe: Recipe | None = None,
    title: str = "Convolution",
) -> str:
    """The text of an HTML document in which the numbers and settings of a convolution can be changed.

    ``make_playground`` makes such a page of a ``Walkthrough``, ``save_playground`` writes it.

    Args:
        values: The input (H, W), up to 12 × 12, numbers of at most six significant digits below a million.
        kernel: The kernel (h, w), up to 7 × 7, as torch stores it: it is not turned.
        stride: How far the window steps, up to 6.
        padding: Rings of zeros around the input, up to 6.
        dilation: How far apart the kernel reads, up to 4.
        at: The row and the column of the framed value of the output.
        recipe: Stored in the page.
        title: The heading.

    Raises:
        UsageError: the numbers or the settings are larger, or there is no output.

    Example:
        >>> page = kernelviz.playground_page(np.eye(5), np.array([[1, 0], [0, -1]]), stride=1, padding=1)
        >>> page[:15]
        '<!doctype html>'
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    _check(values, kernel, settings, at)
    output = convolved(values, kernel, **settings)
    script, style = joined_script("playground.js"), part_text("page.css") + part_text("playground.css")
    cells = {look: {"cells": tables["cells"]} for look, tables in palettes().items()}
    texts = {"palettes": cells, "at": list(at),
             "settings": {**settings, "input": values.tolist(), "kernel": kernel.tolist()}}  # fmt: skip
    sliders = [
        (name, text, least, max(most, settings.get(name, most))) for name, (text, least, most) in _SLIDERS.items()
    ]
    index = {"kernelviz": __version__, "schema": SCHEMA, "command": "explain", "recipe": recipe}
    return template("playground.html.jinja").render(
        title=title, policy=content_policy(script, style), style=style, script=script, **settings,
        input=_texts(values), kernel=_texts(kernel), output=_texts(output), at=at, sliders=sliders,
        terms=_terms(values, kernel, at, settings), result=_text(float(output[at])),
        formula=_formula(values, kernel, settings), texts=json_text(texts), index=json_text(index),
    )  # fmt: skip


def convolved(values: Array, kernel: Array, *, stride: int, padding: int, dilation: int) -> Array:
    """The convolution of (H, W) with (h, w) in float64, as torch computes it: (H', W')."""
    windows = _windows(values, kernel, stride, padding, dilation)
    return np.asarray(np.einsum("yxij,ij->yx", windows, kernel))


def _windows(values: Array, kernel: Array, stride: int, padding: int, dilation: int) -> Array:
    reach = tuple((side - 1) * dilation + 1 for side in kernel.shape)
    padded = np.pad(values.astype(float), padding)
    found = np.lib.stride_tricks.sliding_window_view(padded, reach)
    return found[::stride, ::stride, ::dilation, ::dilation]


def _check(values: Array, kernel: Array, settings: Mapping[str, int], at: tuple[int, int]) -> None:
    for name, array, most in (("input", values, MOST_INPUT), ("kernel", kernel, MOST_KERNEL)):
        if array.ndim != 2 or not array.size > 0 or max(array.shape) > most:
            size = " × ".join(map(str, array.shape))
            raise UsageError(f"The {name} of a page must be at most {most} × {most}, but is {size}.")
        if not np.isfinite(array).all() or (np.abs(array) >= _LARGEST).any():
            raise UsageError(f"The numbers of the {name} of a page must be below {_LARGEST:,}.")
        if any(float(f"{number:.{_DIGITS}g}") != number for number in array.reshape(-1).tolist()):
            raise UsageError(f"The numbers of the {name} of a page have at most {_DIGITS} significant digits.")
    for name, most in _MOST.items():
        if settings[name] > most:
            raise UsageError(f"The {name} of a page must be at most {most}, but is {settings[name]}.")
    spans = [(side - 1) * settings["dilation"] + 1 for side in kernel.shape]
    if any(side + 2 * settings["padding"] < span for side, span in zip(values.shape, spans, strict=True)):
        raise UsageError(f"A kernel that spans {spans[0]} × {spans[1]} does not fit the input.")
    sizes = [
        (side + 2 * settings["padding"] - span) // settings["stride"] + 1
        for side, span in zip(values.shape, spans, strict=True)
    ]
    if not all(0 <= place < size for place, size in zip(at, sizes, strict=True)):
        raise UsageError(f"The cell {at[0]},{at[1]} is not in the output of {sizes[0]} × {sizes[1]}.")


def _text(value: float) -> str:
    digits = max(_DIGITS, len(f"{abs(value):.0f}"))  # the whole part is never rounded
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def _texts(values: Array) -> list[list[str]]:
    return [[_text(float(value)) for value in row] for row in values]


def _terms(values: Array, kernel: Array, at: tuple[int, int], settings: Mapping[str, int]) -> str:
    window = _windows(values, kernel, **settings)[at]
    rows: list[str] = []
    for numbers, weights in zip(window.tolist(), kernel.tolist(), strict=True):
        pairs = zip(map(_text, numbers), map(_text, weights), strict=True)
        rows.append(" + ".join(f"{one}×{f'({other})' if other.startswith('−') else other}" for one, other in pairs))
    return " +\n".join(rows)


def _formula(values: Array, kernel: Array, settings: Mapping[str, int]) -> str:
    stride, padding, dilation = (settings[name] for name in ("stride", "padding", "dilation"))
    lines: dict[str, Any] = {}
    for side, span in zip(values.shape, kernel.shape, strict=True):
        size = (side + 2 * padding - dilation * (span - 1) - 1) // stride + 1
        lines[f"⌊ ({side} + 2·{padding} − {dilation}·({span} − 1) − 1) / {stride} ⌋ + 1 = {size}"] = None
    return " · ".join(lines)
