"""The frozen values that pass from room to room: NumPy arrays and plain facts, nothing of torch or matplotlib."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Progress: TypeAlias = Callable[[str, int, int], None]


WeightsSource: TypeAlias = Literal["cache", "bundled", "hub", "url", "file", "random"]
View: TypeAlias = Literal["auto", "rgb", "sum", "norm", "channels", "matrix", "spectrum"]
Sort: TypeAlias = Literal["index", "norm", "mean", "max", "std"]
Recipe: TypeAlias = Mapping[str, Any]

VIEWS: tuple[str, ...] = get_args(View)
SORTS: tuple[str, ...] = get_args(Sort)


@dataclass(frozen=True)
class Weights:
    """Where the numbers of a network came from.

    ``name`` says it for people (a file's name, a package and its version, the seed); ``sha256`` is that of the file's
    bytes, None where there is no file.
    """

    source: WeightsSource
    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """The model behind a value: which network, which weights, on what it ran.

    ``stem`` is the part of a file's name that tells this model and its weights from others; ``preprocessing`` is what the
    network expects of an image; ``versions`` are those of the libraries that computed.
    """

    model: str
    label: str
    stem: str
    params: int
    weights: Weights | None = None
    tag: str | None = None
    licence: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``model``; the cache's copy of a hub's file makes the very same picture."""
        weights = self.weights
        source = "hub" if weights and weights.source == "cache" else weights and weights.source
        return {
            "name": self.model,
            "tag": self.tag,
            "licence": self.licence,
            "params": self.params,
            "weights": None if weights is None else {"source": source, "name": weights.name, "sha256": weights.sha256},
        }

    def as_document(self) -> dict[str, Any]:
        """The part of a JSON document called ``model``: that of the recipe, with where the weights were found."""
        recipe = self.as_recipe()
        if self.weights:
            recipe["weights"]["source"] = self.weights.source
        return recipe

    @property
    def provenance(self) -> str:
        """The label, and where the weights were found where the label does not say it."""
        found = {"cache": ", from the cache", "hub": ", from the hub", "url": ", from its link"}
        return self.label + (found.get(self.weights.source, "") if self.weights else "")


@dataclass(frozen=True)
class ConvLayer:
    """A convolution of a network, by its dotted ``named_modules`` path; axes in the module's own rank (1, 2 or 3).

    ``padding`` is one number an axis, or ``"same"``. ``weight_shape`` is the stored weight's own shape. ``expert`` is the
    number of one of several banks that are mixed anew for every image; ``params`` are then those of this one.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | Literal["same"]
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    transposed: bool
    weight_shape: tuple[int, ...]
    params: int
    expert: int | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each kernel reads one channel of several."""
        return self.groups > 1 and self.groups == self.in_channels


@dataclass(frozen=True)
class KernelBank:
    """All kernels of one layer: ``weight`` is (out_channels, in_channels / groups, *kernel_size).

    Kernel i makes output channel i. ``layer`` and ``source`` are None for a plain array. ``notes`` tell what is odd.
    Where a layer convolves with another weight than it stores, ``reading`` says which of them this is: the
    ``effective`` one; or the ``stored`` one, which was asked for. None where they are the same.
    """

    weight: Array
    layer: ConvLayer | None = None
    source: Source | None = None
    groups: int = 1
    notes: tuple[str, ...] = ()
    reading: Literal["effective", "stored"] | None = None


@dataclass(frozen=True)
class Image:
    """A picture ready to be used: ``pixels`` is uint8 (H, W, 3), sRGB, opaque and the right way up.

    ``name`` says it for people, ``stem`` in names of files; ``path`` is None where it came from no file. ``sha256`` is that
    of the file's bytes, or of the pixels where there was no file. ``format`` and ``mode`` are Pillow's words for what was
    read. ``notes`` say what was done to it.
    """

    pixels: Array
    name: str
    stem: str
    path: str | None
    sha256: str
    format: str | None
    mode: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``image``: no directory is told."""
        return {"name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class SeenImage:
    """What a network saw of an image: ``pixels`` is uint8 (H, W, 3), before the mean and deviation were taken out.

    Row r of it, counted from the upper edge of the first, lies at ``offset[0] + scale[0] * r`` rows of the image, columns
    likewise; what lies outside of the image is a border. ``scale`` is below 1 where the image was enlarged.
    """

    pixels: Array
    offset: tuple[float, float]
    scale: tuple[float, float]
    notes: tuple[str, ...] = ()

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``seen``: which part of the image it was, by ``offset`` and ``scale``."""
        return {"offset": list(self.offset), "scale": list(self.scale)}


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer gave (or took) for one image at one run: ``values`` (C, H, W), map i made by channel i.

    ``layer`` is its name with ``#2`` for the second run and ``:0`` for a part of a tuple. ``kind`` is the module's class,
    ``shape`` that of its own tensor without the batch, ``tap`` which side of the module it is. ``input_size`` is (C, H, W)
    of what the network took, ``seen`` what it saw of ``image``. ``centres`` are the rows and the columns of the input at
    which the fields of the map's units have their middle. All but the values are None where they are not known.
    """

    values: Array
    layer: str | None = None
    kind: str | None = None
    shape: tuple[int, ...] | None = None
    tap: Literal["output", "input"] = "output"
    source: Source | None = None
    image: Image | None = None
    seen: SeenImage | None = None
    input_size: tuple[int, ...] | None = None
    centres: tuple[Array, Array] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassScore:
    """One class of a prediction: its index, its name where that is known, its probability (softmax)."""

    index: int
    label: str | None
    probability: float


@dataclass(frozen=True)
class Axis:
    """One side of a table or heat map: what it counts, the labels of its rows (or columns), and how many there were."""

    name: str
    labels: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class Tiles:
    """The small pictures of one view before colour.

    ``values`` is (n, h, w), or (n, h, w, 3) for ``rgb``. In a ``grid`` tile i belongs to kernel ``numbers[i]``; in a
    ``table`` tile r * columns + c stands in row r, column c; a ``heatmap`` is one tile whose pixels are rows and columns.
    ``numbers`` are the kernels (or channels) in it, of ``total``. ``extent`` is the smallest and the largest finite value
    of the whole layer in this view, chosen or not; (0, 0) where there is none. ``signed`` values are drawn around zero.
    ``parts`` say what red, green and blue are.
    """

    values: Array
    view: str
    layout: Literal["grid", "table", "heatmap"]
    numbers: tuple[int, ...]
    total: int
    extent: tuple[float, float]
    quantity: str
    explanation: str
    signed: bool = True
    numbers_along: Literal["tiles", "rows", "columns"] = "tiles"
    rows: Axis | None = None
    columns: Axis | None = None
    noun: str = "kernel"
    order: str = "index"
    parts: tuple[str, ...] = ("R", "G", "B")

    @property
    def is_reduced(self) -> bool:
        """Whether it is one map made of all the numbers, not one for each."""
        return self.noun == "map" and self.view != "maps"


def as_array(values: object) -> Array:
    """A NumPy array of any array-like or tensor (by duck typing: ``detach``, ``cpu``, ``numpy``), never a view that moves.

    bfloat16 and half precision come back as float32, whole numbers and booleans as float64.

    Raises:
        UsageError: ``values`` holds no real numbers.
    """
    tensor: Any = values
    try:
        if hasattr(tensor, "detach"):
            tensor = tensor.detach().cpu()
            if tensor.is_floating_point() and tensor.element_size() < 4:
                tensor = tensor.float()  # NumPy has no bfloat16, and float32 holds every half-precision number exactly
            tensor = tensor.numpy()
        array = np.asarray(tensor)
    except (RuntimeError, TypeError, ValueError) as error:  # on meta, sparse; a ragged list
        raise UsageError("The values must be an array of real numbers.", str(error).partition("\n")[0]) from error
    if array.dtype.kind not in "fiub":
        raise UsageError(f"The values must be real numbers, but they are {array.dtype}.")
    wanted = {2: np.float32, 4: np.float32}.get(array.dtype.itemsize, np.float64)
    return np.array(array, dtype=wanted if array.dtype.kind == "f" else np.float64)


def shape_text(shape: Sequence[int]) -> str:
    """``(32, 3, 3, 3)``: a shape as people write it."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def check_positive(name: str, value: int | None) -> int | None:
    """The value, which has to be a whole number from 1 on where it is given.

    Raises:
        UsageError: it is not.
    """
    if value is None:
        return None
    try:
        whole = operator.index(value)
    except TypeError:
        raise UsageError(f"The {name} must be a whole number, but got {value!r}.") from None
    if whole < 1:
        raise UsageError(f"The {name} must be at least 1, but got {whole}.")
    return whole


def as_bank(kernels: object, *, transposed: bool = False) -> KernelBank:
    """A kernel bank of a record, a tensor or an array.

    A plain weight is (out_channels, in_channels / groups, *kernel_size), with one, two or three kernel axes; with
    ``transposed`` the first two are turned, as in a transposed convolution without groups. A single kernel
    (in_channels, height, width) has to be given as (1, in_channels, height, width).

    Raises:
        UsageError: another rank, an empty axis, or no real numbers.
    """
    if isinstance(kernels, KernelBank):
        return kernels
    weight = as_array(kernels)
    if weight.ndim not in (3, 4, 5):
        raise UsageError(
            f"Kernels must be (out_channels, in_channels, *kernel_size), but the shape is {shape_text(weight.shape)}.",
            hint="A single kernel (C, H, W) is drawn as weight[None].",
        )
    if 0 in weight.shape:
        raise UsageError(f"There is nothing to draw in the shape {shape_text(weight.shape)}.")
    return KernelBank(weight.swapaxes(0, 1) if transposed else weight)


def as_maps(maps: object) -> FeatureMaps:
    """Feature maps of a record, a tensor or an array (C, H, W); (1, C, H, W) is taken as (C, H, W).

    Raises:
        UsageError: another rank, an empty axis, or no real numbers.
    """
    if isinstance(maps, FeatureMaps):
        return maps
    values = as_array(maps)
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        raise UsageError(
            f"Feature maps must be (channels, height, width), but the shape is {shape_text(values.shape)}.",
            hint="One map (H, W) is drawn as values[None], image i of a batch as values[i].",
        )
    if 0 in values.shape:
        raise UsageError(f"There is nothing to draw in the shape {shape_text(values.shape)}.")
    return FeatureMaps(values)
