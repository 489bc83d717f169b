"""The picture of an image and its responses to filters, which the library draws in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.drawing.looks import find_look
from kernelviz.errors import UsageError
from kernelviz.filters.bank import find_filters
from kernelviz.filters.filter_pages import filter_page, filter_recipe
from kernelviz.filters.filtering import Response, apply_filter
from kernelviz.filters.gradient import apply_gradient, gradient_name, plot_gradient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.filters.filtering import Border


def plot_filter(
    image: object, *kernels: object, border: Border = "repeat", look: LookName = "page", caption: bool = True
) -> PageFigure:
    """Draw an image and its filter responses: ``plot_filter(image, "sobel-x", "laplacian")``.

    Takes an image and kernels as ``apply_filter`` does, also in a list, ``plot_filter(image, ["sobel-x", "laplacian"])``;
    or, without kernels, a Response or several of one image. A name may be that of several filters, as for
    ``find_filters``: ``"edge"``, ``"blur,spot"``, ``"line@5"``. ``"sobel"``, ``"scharr"`` or ``"prewitt"`` alone draws the
    strength and the direction of edges, see ``plot_gradient``. ``border`` is as in ``apply_filter``.
    If the page would exceed four megapixels, only the middle of the image is drawn, and the caption states it.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Raises:
        UsageError: There is no kernel and no response, or ``apply_filter`` rejects the arguments.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> figure = kernelviz.plot_filter(image.pixels[::4, ::4], "sobel-x", "laplacian")
    """
    from kernelviz.drawing.figures import draw_page

    if kernels:
        chosen = [one for kernel in kernels for one in _several(kernel)]
        if edges := gradient_name(chosen):
            return plot_gradient(apply_gradient(image, *edges, border=border), look=look, caption=caption)
        responses = [apply_filter(image, one, border=border) for each in chosen for one in _named(each)]
    elif isinstance(image, Response):
        responses = [image]
    else:
        responses = [each for each in image if isinstance(each, Response)] if isinstance(image, list | tuple) else []
    if not responses:
        raise UsageError("There is no filter to draw.", hint='Name one: plot_filter(image, "sobel-x").')
    return draw_page(filter_page(responses), filter_recipe(responses), find_look(look, caption=caption))


def _named(kernel: object) -> Sequence[object]:
    """The filters of a name, or of several separated by commas; any other kernel alone."""
    if not isinstance(kernel, str):
        return [kernel]
    return [one for word in kernel.split(",") if word.strip() for one in find_filters(word)] or [kernel]


def _several(kernel: object) -> Sequence[object]:
    """The kernels of a list of names, filters and arrays; a kernel, also one given as lists of numbers, alone.

    Raises:
        UsageError: the list may also be the three planes of one kernel.
    """
    if not isinstance(kernel, list | tuple) or (
        kernel and all(isinstance(one, list | tuple | int | float) for one in kernel)
    ):
        return [kernel]
    shapes = {tuple(getattr(one, "shape", ())) for one in kernel}
    if len(kernel) == 3 and len(shapes) == 1 and len(shapes.pop()) == 2:
        raise UsageError(
            "A list of three arrays can be three filters, or the red, green and blue plane of one.",
            hint="Give plot_filter(image, *filters) or plot_filter(image, numpy.stack(planes)).",
        )
    return kernel
