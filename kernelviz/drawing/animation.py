"""The sliding window as frames: a page a step, each as it is drawn alone, the output filling up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.drawing.convolution import explaining_recipe, step_page
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.drawing.page import Panel
    from kernelviz.records import Recipe
    from kernelviz.walkthrough import Walkthrough

MOST_FRAMES = 400
STEP, LAST = 900, 3000  # milliseconds


@dataclass(frozen=True)
class Animation:
    """Pages of one size, how long each is seen (milliseconds, whole hundredths of a second), and how they were made."""

    pages: tuple[Panel, ...]
    durations: tuple[int, ...]
    recipe: Recipe

    def __post_init__(self) -> None:
        if len(self.pages) != len(self.durations):
            raise ValueError("Each page has its duration.")


def animate_convolution(worked: Walkthrough, *, channel: int = 0, fps: float | None = None) -> Animation:
    """The window sliding over the input, a frame for each cell of the output; ``save_picture`` writes it as GIF or WebP.

    A transposed convolution is shown as a convolution over the stretched and padded input.

    Args:
        worked: what ``work_out`` gave.
        channel: which output channel fills up.
        fps: steps a second, at most 50; None for 0.9 seconds a step. The last frame stays for at least 3 seconds.

    Raises:
        UsageError: there are more than 400 cells, no such channel, or the speed is none.
    """
    rows, columns = worked.operation.output_size
    count = rows * columns
    if count > MOST_FRAMES:
        raise UsageError(
            f"The animation would have {count:,} frames, one for each cell of the output.",
            f"At most {MOST_FRAMES} are drawn.",
            "Take a smaller input, or a longer stride; a picture of one step has no such bound.",
        )
    if fps is not None and not 0.01 <= fps <= 50:
        raise UsageError(f"The steps a second must be between 0.01 and 50, but got {fps:g}.")
    pages = [step_page(worked, step, at) for at, step in enumerate(worked.steps(channel))]
    width, height = max(page.width for page in pages), max(page.height for page in pages)
    each = STEP if fps is None else max(20, round(100 / fps) * 10)
    durations = [each] * (count - 1) + [max(LAST, each)]
    recipe = explaining_recipe(worked, view="animation", at=None, channel=channel)
    return Animation(
        tuple(_of_size(page, math.ceil(width), math.ceil(height)) for page in pages),
        tuple(durations),
        {**recipe, "durations": [each, durations[-1]]},
    )


def _of_size(page: Panel, width: int, height: int) -> Panel:
    from dataclasses import replace

    return replace(page, width=width, height=height)
