"""What a report contains: layers with their kernels, maps and traced units, and images, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from kernelviz.notebook import html_frame, record_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernelviz.records import Array, ClassScore, Recipe, Source
    from kernelviz.traces import Maker, TracedLayer, UnitTerms


Conv: TypeAlias = Literal["dense", "depthwise", "pointwise", "grouped", "transposed"]

NO_CELL = 254
"""Stands for a cell of a tile that belongs to no weight."""
NOT_FINITE = 255
"""Stands for a value that is not finite."""


@dataclass(frozen=True)
class ReportImage:
    """One image: ``pixels`` uint8 (H, W, 3) are what the network saw.

    ``offset`` and ``scale`` are those of ``SeenImage``; None if the input was not made of an image. If ``exact``, the
    network's input is (pixels / 255 − mean) / std, of a network of one input channel the first of ``pixels``. ``top`` are
    the likeliest classes, () if the network has none or random weights. ``notes`` are about this image.
    """

    name: str
    pixels: Array
    sha256: str | None = None
    offset: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    exact: bool = False
    top: tuple[ClassScore, ...] = ()
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    def __post_init__(self) -> None:
        _check(self.pixels, np.uint8, (None, None, 3))


@dataclass(frozen=True)
class ReportKernels:
    """The kernels of the shown channels: ``levels`` uint8 (n, h, w), in the view ``rgb`` bytes (n, h, w, 3).

    The views are those of ``make_sheet``, with its default scale: ``rgb`` (each kernel its own), ``sum`` (one for the
    layer; of a depthwise layer the kernel itself), and for 1 × 1 kernels ``inputs``: the weights of all input channels row
    by row in a near-square tile, at the levels of the view ``matrix``; cells beyond the last are ``NO_CELL``. The slices of
    kernels of three axes are below each other. ``limits`` (n,) are the sizes of full colour. ``zero``, ``faint`` and
    ``nonfinite`` are the channels with these marks, the latter with the count of their values. ``notes`` are those of the
    ``KernelBank``.
    """

    view: Literal["rgb", "sum", "inputs"]
    levels: Array
    limits: Array
    zero: tuple[int, ...] = ()
    faint: tuple[int, ...] = ()
    nonfinite: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    def __post_init__(self) -> None:
        _check(self.levels, np.uint8, (len(self.limits), None, None, *((3,) if self.view == "rgb" else ())))


@dataclass(frozen=True)
class ReportMaps:
    """The maps of the shown channels for one image: ``levels`` uint8 (n, H, W), each by its own limit.

    ``limits`` (n,) are the sizes of full colour, ``extent`` is the smallest and the largest finite value of the whole
    layer, shown or not. If ``signed``, level 100 is zero and level 200 the limit; else level 0 is zero. ``dead`` are the
    shown channels with one value everywhere, ``nonfinite`` counts the values that are not finite by channel.
    """

    signed: bool
    levels: Array
    limits: Array
    extent: tuple[float, float]
    dead: tuple[int, ...] = ()
    nonfinite: Mapping[int, int] = field(default_factory=dict)

    __repr__ = record_repr

    def __post_init__(self) -> None:
        _check(self.levels, np.uint8, (len(self.limits), None, None))


@dataclass(frozen=True)
class LiveSums:
    """What the page needs to work out any value of a layer that reads the image.

    ``weights`` float32 (n, C, kh, kw) of the shown channels and ``bias`` float32 (n,), or None; the sizes of the operation
    as it ran: ``stride`` and ``dilation`` of rows and columns, ``around`` the padding with zeros (top, bottom, left,
    right).
    """

    weights: Array
    bias: Array | None
    stride: tuple[int, int]
    dilation: tuple[int, int]
    around: tuple[int, int, int, int]

    __repr__ = record_repr

    def __post_init__(self) -> None:
        _check(self.weights, np.float32, (None, None, None, None))
        if self.bias is not None:
            _check(self.bias, np.float32, (len(self.weights),))


@dataclass(frozen=True)
class PatchImage:
    """An image with patches: ``pixels`` uint8 (h, w, 3) are what the network saw, means of ``scale`` × ``scale`` pixels.

    ``size`` are rows and columns of what the network saw. If it is an image of the report, ``shown`` is its position there,
    and ``pixels`` is None. ``jpeg`` is the file that a page without room for the pixels shows instead, else None.
    """

    name: str
    size: tuple[int, int]
    pixels: Array | None = None
    scale: int = 1
    shown: int | None = None
    sha256: str | None = None
    jpeg: bytes | None = None

    __repr__ = record_repr

    def __post_init__(self) -> None:
        if self.pixels is not None:
            _check(self.pixels, np.uint8, (*(-(-side // self.scale) for side in self.size), 3))


@dataclass(frozen=True)
class LayerPatches:
    """The patches of the ``channels`` of a layer that excite these most, in their order.

    ``values`` float32 (n, k) are NaN where a row ends; ``places`` int32 (n, k, 3) are the image, of the report's
    ``patch_images``, the row and the column of the unit, ``boxes`` int32 (n, k, 4) what it reads, as in ``Ranking``, both
    -1 where a row ends. ``crops`` are the pixels of each patch inside the image, one after the other, means of ``reduced``
    × ``reduced`` pixels of its box; None if they are those of the images. ``ties`` and ``ends`` state for a channel how
    many units have its best value, and where its row ends. If ``clipped``, only the part inside the image is shown, with a
    cross at the centre of the field; if ``framed``, the unit's share of the image is framed. ``choice`` states which
    patches these are.
    """

    channels: tuple[int, ...]
    values: Array
    places: Array
    boxes: Array
    choice: str
    crops: tuple[Array, ...] | None = None
    reduced: int = 1
    ties: Mapping[int, str] = field(default_factory=dict)
    ends: Mapping[int, str] = field(default_factory=dict)
    dead: tuple[int, ...] = ()
    clipped: bool = False
    framed: bool = False
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    def __post_init__(self) -> None:
        shape = (len(self.channels), self.values.shape[1])
        arrays = ((self.values, np.float32, ()), (self.places, np.int32, (3,)), (self.boxes, np.int32, (4,)))
        for array, kind, more in arrays:
            if array.dtype != kind or array.shape != (*shape, *more):
                raise ValueError(f"an array must be {np.dtype(kind)} {(*shape, *more)}, but it is {array.shape}")


@dataclass(frozen=True)
class ReportLayer:
    """One layer of the network: its facts, and of the ``shown`` channels the kernels, maps and units.

    ``name`` is that of its maps, with ``#2`` for a second run. ``traced`` is its row of the trace. ``conv`` is the sort of
    convolution; None for other layers, whose ``inputs`` are None. ``outputs`` counts all channels, ``size`` is that of one
    map as drawn: of maps of three axes the ``slices`` are below each other. ``shown`` are the kept channels in ascending
    order. ``maps`` and ``units`` have one element per image, ``units`` none if there are none. ``live`` is None unless the
    layer reads the image. ``makers`` are the layers that made its inputs, as far as they are known. ``unknown`` is why
    units cannot be worked out, or "". ``reads_input`` states that its input is the network's own. ``patches`` are those of
    the shown channels; if there are none, ``without_patches`` is why, or "" if none were requested.
    """

    name: str
    traced: TracedLayer
    outputs: int
    size: tuple[int, int]
    shown: tuple[int, ...]
    maps: tuple[ReportMaps, ...]
    conv: Conv | None = None
    inputs: int | None = None
    slices: int = 1
    kernels: ReportKernels | None = None
    units: tuple[UnitTerms, ...] = ()
    live: LiveSums | None = None
    makers: tuple[Maker, ...] = ()
    unknown: str = ""
    notes: tuple[str, ...] = ()
    reads_input: bool = False
    patches: LayerPatches | None = None
    without_patches: str = ""

    __repr__ = record_repr

    def __post_init__(self) -> None:
        if self.patches is not None and not set(self.patches.channels) <= set(self.shown):
            raise ValueError("there are patches of channels that are not shown")
        if list(self.shown) != sorted(set(self.shown)) or not set(self.shown) <= set(range(self.outputs)):
            raise ValueError("the shown channels are not an ascending choice of all channels")
        for maps in self.maps:
            _check(maps.levels, np.uint8, (len(self.shown), *self.size))
        if self.kernels is not None and len(self.kernels.levels) != len(self.shown):
            raise ValueError("there is not one kernel per shown channel")
        if self.live is not None and len(self.live.weights) != len(self.shown):
            raise ValueError("there are not weights for each shown channel")
        if self.units and len(self.units) != len(self.maps):
            raise ValueError("there are not units for each image")


@dataclass(frozen=True)
class Report:
    """A network and what it makes of some images; ``html`` is the page.

    ``label`` names the model, ``source`` is None if it is not known. ``input_size`` is (C, H, W); ``mean`` and ``std`` are
    one number per channel, () if the input was not made of images. ``notes`` state what is left out and what is unusual,
    ``failed`` are the images that could not be read, with the reason. ``recipe`` is stored in the page. ``renderer`` makes
    the page of a report. ``patch_set`` is the number of images in which patches were searched, 0 if there are none, and
    ``patch_images`` are those that have some.
    """

    label: str
    input_size: tuple[int, ...]
    images: tuple[ReportImage, ...]
    layers: tuple[ReportLayer, ...]
    recipe: Recipe
    source: Source | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    renderer: Callable[[Report], str] | None = field(default=None, repr=False, compare=False)
    patch_set: int = 0
    patch_images: tuple[PatchImage, ...] = ()

    __repr__ = record_repr

    def __post_init__(self) -> None:
        if not self.images or not self.layers:
            raise ValueError("a report has at least one image and one layer")
        if any(len(layer.maps) != len(self.images) for layer in self.layers):
            raise ValueError("a layer lacks the maps of an image")
        if len({layer.name for layer in self.layers}) < len(self.layers):
            raise ValueError("two layers have one name")

    @cached_property
    def html(self) -> str:
        """The page: one HTML document that needs no other file and no network."""
        if self.renderer is None:
            raise ValueError("this report has no renderer")
        return self.renderer(self)

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook cell, in which its script runs apart from the notebook."""
        return html_frame(self.html, self.label, 900)


def _check(array: Array, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Check type and shape of an array, in which None is any size above 0."""
    fits = len(array.shape) == len(shape) and all(
        side > 0 if wanted is None else side == wanted for side, wanted in zip(array.shape, shape, strict=False)
    )
    if array.dtype != dtype or not fits:
        raise ValueError(f"an array must be {np.dtype(dtype)} {shape}, but it is {array.dtype} {array.shape}")
