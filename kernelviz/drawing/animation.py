"""The sliding window as frames: a page a step, each as it is drawn alone, the output filling up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from kernelviz.drawing.convolution import explaining_recipe
from kernelviz.drawing.figures import Animation
from kernelviz.drawing.stamp_frames import stamp_pages
from kernelviz.drawing.step_pages import step_page
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.drawing.page import Panel
    from kernelviz.walkthrough import Walkthrough


MOST_FRAMES = 400
STEP, LAYING, ADDING, LAST = 900, 1100, 1500, 3000  # milliseconds

MotionView = Literal["window", "stamps"]


def animate_convolution(
    worked: Walkthrough, *, channel: int = 0, fps: float | None = None, view: MotionView = "window"
) -> Animation:
    """The window sliding over the input, a frame for each cell of the output; ``save_picture`` writes it as GIF or WebP.

    Args:
        worked: what ``work_out`` gave.
        channel: which output channel fills up.
        fps: steps a second, at most 50; None for 0.9 seconds a step, or for stamps 1.1, and 1.5 where numbers are added.
            The last frame stays for at least 3 seconds.
        view: ``window``, under which a transposed convolution is one over the stretched and padded input; or ``stamps``,
            which are laid down one after the other and add up where they meet: for a transposed convolution of one channel.

    Raises:
        UsageError: there are more than 400 frames, no such channel or view, or the speed is none; or for stamps it is
            no transposed convolution, has several input channels, or its numbers would not be legible.
    """
    if fps is not None and not 0.01 <= fps <= 50:
        raise UsageError(f"The steps a second must be between 0.01 and 50, but got {fps:g}.")
    if view not in ("window", "stamps"):
        raise UsageError(f"A view is window or stamps, but got {view!r}.")
    pages, durations = (_window if view == "window" else _stamps)(worked, channel)
    if fps is not None:
        durations = [max(20, round(100 / fps) * 10)] * len(pages)
    durations[-1] = max(LAST, durations[-1])
    width, height = (math.ceil(max(getattr(page, side) for page in pages)) for side in ("width", "height"))
    name = "animation" if view == "window" else "stamps-animation"
    recipe = explaining_recipe(worked, view=name, at=None, channel=channel)
    return Animation(
        tuple(replace(page, width=width, height=height) for page in pages),
        tuple(durations),
        {**recipe, "durations": [durations[0], durations[-1]]},
    )


def _window(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.output_size
    _check_count(rows * columns, "one for each cell of the output", "Take a smaller input, or a longer stride")
    pages = [step_page(worked, step, at) for at, step in enumerate(worked.steps(channel))]
    return pages, [STEP] * len(pages)


def _stamps(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.input_size
    _check_count(2 * rows * columns, "two for each value of the input", "Take a smaller input")
    pages = stamp_pages(worked, channel)
    return [page for page, _ in pages], [ADDING if adding else LAYING for _, adding in pages]


def _check_count(count: int, what: str, hint: str) -> None:
    if count > MOST_FRAMES:
        raise UsageError(
            f"The animation would have {count:,} frames, {what}.",
            f"At most {MOST_FRAMES} are drawn.",
            f"{hint}; a picture of one step has no such bound.",
        )
