"""Pictures of a convolution or a pool that was worked out, and the recipe that stands in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.drawing.step_pages import step_page
from kernelviz.drawing.terms import broken_count, broken_notes, name_text, settings_text
from kernelviz.drawing.worksheets import strongest
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.page import Panel
    from kernelviz.walkthrough import Walkthrough


WorkView = Literal["step", "steps", "stamps"]


def plot_convolution(
    worked: Walkthrough, *, at: tuple[int, int] = (0, 0), channel: int = 0, view: WorkView = "step"
) -> PageFigure:
    """A figure of a convolution, a transposed one or a pool that was worked out.

    Args:
        worked: what ``work_out`` gave.
        at: the row and the column of the output cell that is shown.
        channel: of which output channel.
        view: ``step`` draws how that cell came about (a transposed convolution as a convolution over the stretched
            input), ``steps`` a sheet of all cells, ``stamps`` how a transposed convolution stamps its kernel.

    Raises:
        UsageError: there is no such cell, channel or view, or what is no transposed convolution should stamp.
    """
    from kernelviz.drawing.figures import draw_page

    figure = draw_page(explaining_page(worked, at=at, channel=channel, view=view))
    figure.recipe = explaining_recipe(worked, view=view, at=None if view == "steps" else at, channel=channel)
    return figure


@np.errstate(all="ignore")  # sums of what is not finite
def explaining_page(
    worked: Walkthrough, *, at: tuple[int, int] = (0, 0), channel: int = 0, view: WorkView = "step"
) -> Panel:
    """The page of ``plot_convolution``.

    Raises:
        UsageError: as there.
    """
    if view == "steps":
        from kernelviz.drawing.stepsheet import steps_page

        return steps_page(worked, channel)
    if view == "stamps":
        from kernelviz.drawing.stamping import stamps_page

        return stamps_page(worked, at, channel)
    if view != "step":
        raise UsageError(f"A view is step, steps or stamps, but got {view!r}.")
    return step_page(worked, worked.step(*at, channel))


def explaining_recipe(worked: Walkthrough, *, view: str, at: tuple[int, int] | None, channel: int) -> dict[str, Any]:
    """How this picture was made, and what is to be seen of what is there; its numbers too where they are few.

    ``shown`` of ``total`` are steps, or stamps of the input; ``limits`` are those of the output. Numbers that are not
    finite have no place in JSON: their hash alone tells them.
    """
    from dataclasses import asdict

    from kernelviz.drawing.sheets import SCHEMA
    from kernelviz.version import __version__

    settings = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(worked.operation).items()
    }
    numbers = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias}
    there = [values for values in numbers.values() if values is not None]
    few = sum(values.size for values in there) <= 4096 and all(np.isfinite(values).all() for values in there)
    output = worked.output[channel]
    limit = strongest(output)
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"{name_text(worked.operation)}, {settings_text(worked.operation)}",
        "view": f"{view} of channel {channel}" if at is None else f"{view} {at[0]},{at[1]} of channel {channel}",
        "image": numbers_hash(worked),
        "settings": settings,
        "numbers": {key: None if value is None else value.tolist() for key, value in numbers.items()} if few else None,
        **_shown(worked, view, at, channel),
        "limits": [-limit if (output < 0).any() else 0.0, limit],
        "nonfinite": broken_count(worked),
        "notes": broken_notes(worked),
    }


def _shown(worked: Walkthrough, view: str, at: tuple[int, int] | None, channel: int) -> dict[str, int]:
    """How many steps or stamps of all a picture shows."""
    total = worked.operation.output_size[0] * worked.operation.output_size[1]
    if view == "stamps" and at is not None:
        from kernelviz.drawing.stamping import shown_places

        total = worked.operation.input_size[0] * worked.operation.input_size[1]
        return {"shown": len(shown_places(worked, worked.step(*at, channel))), "total": total}
    if view == "steps":
        from kernelviz.drawing.stepsheet import shown_steps

        rows, columns = shown_steps(worked)
        return {"shown": rows * columns, "total": total}
    return {"shown": 1 if at is not None else total, "total": total}


def numbers_hash(worked: Walkthrough) -> str:
    """Sixteen hex digits that tell these numbers and settings from others."""
    from hashlib import sha256

    digest = sha256(repr(worked.operation).encode())
    for values in (worked.input, worked.kernel, worked.bias):
        digest.update(b"-" if values is None else np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()[:16]
