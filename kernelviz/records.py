"""The immutable values that packages exchange: NumPy arrays and plain facts, nothing of torch or matplotlib.

NumPy is imported by what computes with arrays: a command that prints facts alone does without it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.wording import counted, inflected, with_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[Any]
    Progress: TypeAlias = Callable[[str, int, int], None]


WeightsSource: TypeAlias = Literal["cache", "bundled", "hub", "url", "file", "random", "code"]
View: TypeAlias = Literal["auto", "rgb", "sum", "norm", "channels", "matrix", "spectrum"]
Sort: TypeAlias = Literal["index", "norm", "mean", "max", "std"]
Layout: TypeAlias = Literal["torch", "keras"]
Interpolation: TypeAlias = Literal["bicubic", "bilinear", "lanczos", "nearest", "box", "hamming"]
Recipe: TypeAlias = Mapping[str, Any]

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in grey: ITU-R BT.601, as in Pillow's mode L."""
WEIGHTS_WORDS = ("auto", "hub", "bundled", "random")
"""What names weights that are no file of the user."""
VIEWS: tuple[str, ...] = get_args(View)
SORTS: tuple[str, ...] = get_args(Sort)
LAYOUTS: tuple[str, ...] = get_args(Layout)
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)


@dataclass(frozen=True)
class Weights:
    """Where the weights of a network came from.

    ``name`` is for people (a file's name, a package and its version, the seed); ``sha256`` is that of the file's bytes,
    None if there is no file. The source ``code`` is the user's own code that builds the network.

    Of a user's file, ``key`` and ``prefix`` are where the tensors were in it: the keys of the mapping, joined by dots, and
    what their names begin with; None for neither. ``missing`` are the tensors of the network that it lacks.
    """

    source: WeightsSource
    name: str
    sha256: str | None = None
    key: str | None = None
    prefix: str | None = None
    missing: tuple[str, ...] = ()

    def location(self) -> dict[str, Any]:
        """``key``, ``prefix`` and ``missing``; None for those that do not apply."""
        return {"key": self.key, "prefix": self.prefix, "missing": list(self.missing) or None}


@dataclass(frozen=True)
class Source:
    """The model behind a value: its network, its weights and the device.

    ``stem`` is the part of a file's name that identifies this model and its weights; ``preprocessing`` is what the network
    expects of an image; ``versions`` are those of the libraries that computed the value. ``arguments`` are those that the
    network was built with, ``code`` is the SHA-256 of the user's file that builds it.
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
    arguments: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None

    __repr__ = record_repr

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``model``; a file from the hub and its copy in the cache have the same."""
        weights = self.weights
        source = "hub" if weights and weights.source == "cache" else weights and weights.source
        facts = weights and {"source": source, "name": weights.name, "sha256": weights.sha256}
        if facts and weights:
            facts |= {key: value for key, value in weights.location().items() if value is not None}
        own = {"arguments": {key: repr(value) for key, value in self.arguments.items()}, "code": self.code}
        return {
            "name": self.model,
            "tag": self.tag,
            "licence": self.licence,
            "params": self.params,
            "weights": facts,
        } | {key: value for key, value in own.items() if value}

    def as_document(self) -> dict[str, Any]:
        """The part of a JSON document called ``model``: as in the recipe, with the actual source of the weights."""
        recipe = self.as_recipe()
        recipe |= {key: recipe.get(key) for key in ("arguments", "code")}
        if self.weights:
            weights = self.weights
            facts = {"source": weights.source, "name": weights.name, "sha256": weights.sha256}
            recipe["weights"] = facts | weights.location()
        return recipe

    def preprocessing_entry(self) -> dict[str, Any] | None:
        """How images enter, as in a recipe and in a JSON document: ``mean``, ``std`` and ``interpolation``.

        Also which of them were ``chosen`` and which are ``guessed``. None if the network takes no images, as far as known.
        """
        facts = self.preprocessing
        if not {"mean", "std", "interpolation"} <= facts.keys():
            return None
        numbers = {key: [float(value) for value in facts[key]] for key in ("mean", "std")}
        names = {key: list(facts.get(key, ())) for key in ("chosen", "guessed")}
        return {**numbers, "interpolation": facts["interpolation"], **names}

    @property
    def title(self) -> str:
        """The network with its arguments, ``my_net.py:Net(width=8)``."""
        return with_arguments(self.model, self.arguments)

    @property
    def weights_stem(self) -> str:
        """The end of ``stem`` that names the weights: the stem of a file, or a word, which contains no dot."""
        weights = self.weights
        return PurePath(weights.name).stem if weights and weights.source == "file" else self.stem.rpartition(".")[2]

    @property
    def short_label(self) -> str:
        """The label in pictures: without the package of bundled weights and its version, which recipes and JSON contain."""
        bundled = self.weights if self.weights and self.weights.source == "bundled" else None
        return self.label.replace(f" ({bundled.name})", "") if bundled else self.label

    @property
    def provenance(self) -> str:
        """The label, with the source of the weights if the label lacks it."""
        found = {"cache": ", from the cache", "hub": ", from the hub", "url": ", from its link"}
        return self.label + (found.get(self.weights.source, "") if self.weights else "")


@dataclass(frozen=True)
class ConvLayer:
    """A convolution of a network, by its dotted ``named_modules`` path, with one, two or three axes.

    ``padding`` is one number per axis, or ``"same"``. ``weight_shape`` is the shape of the stored weight. ``expert`` is the
    index of one of several banks that the layer mixes for every image; ``params`` then counts this bank only.
    ``reads_image`` is False if another layer made its inputs, so that three input channels are not red, green and blue;
    None if that is not known.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.Conv2d(8, 8, 5, groups=8))
        >>> layer = kernelviz.list_layers(network)[1]
        >>> layer.name, layer.kernel_size, layer.weight_shape, layer.depthwise
        ('1', (5, 5), (8, 1, 5, 5), True)
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
    reads_image: bool | None = None

    __repr__ = record_repr

    @property
    def depthwise(self) -> bool:
        """Whether each kernel reads one channel of several."""
        return self.groups > 1 and self.groups == self.in_channels


def are_colours(shape: Sequence[int], groups: int, layer: ConvLayer | None) -> bool:
    """Whether kernels (out, in / groups, *k) of a layer have the planes red, green and blue: it may read the image."""
    return shape[1] == 3 and groups == 1 and (layer is None or layer.reads_image is not False)


@dataclass(frozen=True)
class KernelBank:
    """All kernels of one layer: ``weight`` is (out_channels, in_channels / groups, *kernel_size).

    Kernel i produces output channel i. ``layer`` and ``source`` are None for a plain array. ``notes`` lists irregularities.
    If a layer convolves with another weight than it stores, ``reading`` is ``effective`` or, if it was requested,
    ``stored``; None if they are the same.

    Example:
        >>> weight = np.zeros((8, 3, 5, 5), np.float32)
        >>> bank = kernelviz.KernelBank(weight)
        >>> sheet = kernelviz.make_sheet(bank, view="rgb")
        >>> bank = kernelviz.read_kernels(torch.nn.Conv2d(16, 32, 3, groups=4), "Conv2d")
        >>> bank.weight.shape, bank.groups
        ((32, 4, 3, 3), 4)
    """

    weight: Array
    layer: ConvLayer | None = None
    source: Source | None = None
    groups: int = 1
    notes: tuple[str, ...] = ()
    reading: Literal["effective", "stored"] | None = None

    __repr__ = record_repr

    @property
    def are_colours(self) -> bool:
        """Whether the three planes of each kernel are those of red, green and blue."""
        return are_colours(self.weight.shape, self.groups, self.layer)


@dataclass(frozen=True)
class Image:
    """A decoded image: ``pixels`` is uint8 (H, W, 3), sRGB, opaque and upright.

    ``name`` is for people, ``stem`` for names of files; ``path`` is None if there is no file. ``sha256`` is that of the
    file's bytes, or of the pixels if there is no file. ``format`` and ``mode`` are Pillow's names for what was read.
    ``notes`` lists the conversions.

    ``values`` (H, W, C) are the measured numbers of an image of more than 8 bits, of other than three bands, or with a
    chosen range; None if ``pixels`` holds all there is. The two ``limits`` are the numbers that become 0 and 1. ``bands``
    numbers the C bands as in the file, from 1; () if they are in its order. ``pixels`` then shows the first three bands, or
    the first. ``limits`` and ``notes`` are about these bands if none were chosen; ``read_by`` returns the image with those
    of a network's bands, by ``reader``.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> image.pixels.shape, image.pixels.dtype
        ((600, 512, 3), dtype('uint8'))
        >>> image.size, image.format, image.notes
        ((600, 512), 'JPEG', ())
    """

    pixels: Array
    name: str
    stem: str
    path: str | None
    sha256: str
    format: str | None
    mode: str
    notes: tuple[str, ...] = ()
    values: Array | None = None
    limits: tuple[float, float] = (0.0, 255.0)
    bands: tuple[int, ...] = ()
    reader: Callable[[Image, int], Image] | None = field(default=None, repr=False, compare=False)

    __repr__ = record_repr

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """The number of bands, three if ``pixels`` holds all there is."""
        return int((self.pixels if self.values is None else self.values).shape[2])

    def shares(self, channel: int, dtype: DTypeLike = "float32") -> Array:
        """One channel (H, W) from 0 to 1, as the network and filters read it."""
        plane = (self.pixels if self.values is None else self.values)[:, :, channel]
        return shares_of(plane, self.limits if self.values is not None else (0.0, 255.0), dtype)

    def chosen_bands(self, most: int) -> tuple[range, tuple[str, ...]]:
        """The first ``most`` channels, all if there are fewer, and a note about the bands that are left out.

        Raises:
            UsageError: more bands were chosen.
        """
        used = range(min(most, self.channels))
        left = self.channels - len(used)
        if not left:
            return used, ()
        if self.bands:
            read = f"{most} bands are" if most > 1 else "one band is"
            what = f"Bands {', '.join(map(str, self.bands))} of {self.name} were chosen, but only {read} read."
            hint = "Choose one band or three for filters, for a network as many as it has inputs."
            raise UsageError(what, hint=hint)
        which = f"band{'s' if len(used) > 1 else ''} {', '.join(str(channel + 1) for channel in used)}"
        return used, (
            f"{which} of {self.channels} bands: {counted(left, 'band')} {'are' if left > 1 else 'is'} left out",
        )

    def bands_for(self, inputs: int) -> tuple[range, tuple[str, ...]]:
        """The channels that a network with so many inputs reads: three for one input, which reads grey; as above."""
        return self.chosen_bands(3 if inputs == 1 and self.channels == 3 else inputs)

    def read_by(self, inputs: int) -> Image:
        """The image as a network with so many inputs reads it.

        The bands that it reads determine the numbers that become 0 and 1; a file with as many bands is read as a whole.
        """
        return self if self.reader is None else self.reader(self, inputs)

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``image``, without any directory."""
        return {"name": self.name, "sha256": self.sha256}

    def reading_recipe(self) -> dict[str, Any]:
        """What a recipe states about measured values: ``range`` and, if they were chosen, ``bands``; else nothing."""
        facts: dict[str, Any] = {} if self.values is None else {"range": list(self.limits)}
        return {**facts, "bands": list(self.bands)} if self.bands else facts


_STRIP = 1 << 20
"""Values that are converted at a time, so that memory stays small beside the image."""


def shares_of(values: Array, limits: tuple[float, float], dtype: DTypeLike = "float32") -> Array:
    """Measured values (H, W) or (H, W, C) from 0 to 1: ``limits`` become 0 and 1, what is beyond is clipped, NaN is 0.

    If both limits are equal, all are 0.
    """
    import numpy as np

    shares = np.empty(values.shape, dtype)
    low, high = limits
    rows = max(1, _STRIP // max(1, values[:1].size))
    for top in range(0, len(values), rows):
        part = values[top : top + rows].astype(np.float64)
        if low == high:
            part[:] = 0
        elif max(abs(low), abs(high)) < 1e300:
            part -= low
            part /= high - low
        else:  # halved first, because the difference may overflow
            part = (part / 2 - low / 2) / (high / 2 - low / 2)
        shares[top : top + rows] = np.nan_to_num(part, copy=False, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1, out=part)
    return shares


@dataclass(frozen=True)
class SeenImage:
    """The network's input made of an image: ``pixels`` is uint8 (H, W, 3), before normalisation.

    Row coordinate r, counted from the upper edge, corresponds to row ``offset[0] + scale[0] * r`` of the image, columns
    likewise; what is outside the image is a border. ``scale`` is below 1 if the image was enlarged. ``settings`` is how
    the image was read, if it was not an 8-bit image as a whole: ``range`` and ``bands``.
    """

    pixels: Array
    offset: tuple[float, float]
    scale: tuple[float, float]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = record_repr

    def as_recipe(self) -> dict[str, Any]:
        """The part of a recipe called ``seen``: the part of the image, by ``offset`` and ``scale``, and the settings."""
        return {"offset": list(self.offset), "scale": list(self.scale), **self.settings}


@dataclass(frozen=True)
class AxisField:
    """The receptive fields of the units of a map along one axis of the input.

    Unit i reads the rows ``first[i]`` to ``last[i]`` inside the image, none if first > last. ``size`` is the largest
    extent, as if the image had no border; None if it depends on the size of the image, as for the sum of a map and its
    mirror image. If the fields are evenly spaced, ``jump`` is their distance in rows and
    ``offset`` the start of the first one, which may be outside the image; otherwise both are None.
    """

    first: Array
    last: Array
    size: int | None
    jump: int | None
    offset: int | None

    __repr__ = record_repr


@dataclass(frozen=True)
class Field:
    """The receptive fields of a map, an ``AxisField`` for each axis of the input: rows, then columns.

    If ``mixes_image``, an operation that reads the whole image (a gate, a mean, a normalisation over space, attention)
    took part; the rows and columns are then those read through convolutions and pools.
    """

    axes: tuple[AxisField, ...]
    mixes_image: bool = False

    __repr__ = record_repr

    @property
    def largest(self) -> int | None:
        """The size along the axis along which it is largest; None if a size is not known."""
        sizes = [axis.size for axis in self.axes if axis.size is not None]
        return max(sizes) if len(sizes) == len(self.axes) and sizes else None

    def box(self, row: int, column: int) -> Box:
        """What the unit at this row and column reads inside the image."""
        rows, columns = self.axes
        return Box(int(rows.first[row]), int(rows.last[row]), int(columns.first[column]), int(columns.last[column]))


@dataclass(frozen=True)
class FeatureMaps:
    """The output (or input) of one layer for one image: ``values`` (C, H, W), one map per channel.

    Maps of three axes are (C, D, H, W), those of one axis (C, 1, L).
    ``layer`` is its name, with ``#2`` for the second run and ``:0`` for a part of a tuple. ``kind`` is the module's class,
    ``shape`` the shape of the tensor without the batch, ``tap`` the side of the module. ``input_size`` is (C, H, W) of the
    network's input, ``seen`` the part of ``image`` in it. ``centres`` are the rows and the columns of the input on which
    the receptive fields of the map's units are centred, ``field`` those receptive fields, and ``lost`` the reason if they
    are not known. All fields but the values are None if unknown.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> maps = kernelviz.capture_features(network, torch.rand(3, 16, 16), "1")[0]
        >>> maps.values.shape, maps.layer, maps.kind
        ((8, 14, 14), '1', 'ReLU')
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
    field: Field | None = None
    lost: str = ""

    __repr__ = record_repr


@dataclass(frozen=True)
class Box:
    """The rows ``top`` to ``bottom`` and the columns ``left`` to ``right`` of the input, all inclusive."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class ClassScore:
    """One class of a prediction: its index, its name (None if unknown) and its probability (softmax).

    Example:
        >>> score = kernelviz.ClassScore(index=285, label="Egyptian cat", probability=0.62)
        >>> f"{score.label}: {score.probability:.0%}"
        'Egyptian cat: 62%'
    """

    index: int
    label: str | None
    probability: float


@dataclass(frozen=True)
class Axis:
    """One axis of a table or heat map: what it counts, the labels shown, and the total number."""

    name: str
    labels: tuple[str, ...]
    total: int

    __repr__ = record_repr


@dataclass(frozen=True)
class Tiles:
    """The small pictures of one view before colour.

    ``values`` is (n, h, w), or (n, h, w, 3) for rgb and pca. In a ``grid`` tile i belongs to kernel ``numbers[i]``; in a
    ``table`` tile r * columns + c is in row r, column c; a ``heatmap`` is one tile whose pixels are rows and columns.
    ``numbers`` are the kernels (or channels) in it, of ``total``. ``extent`` is the smallest and the largest finite value
    of the whole layer in this view, chosen or not; (0, 0) if there is none. ``signed`` values are drawn around zero.
    ``parts`` names the contents of red, green and blue. ``pictures`` names the pictures that each tile is drawn as; () if
    it is a single one.
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
    pictures: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def is_reduced(self) -> bool:
        """Whether it is a single map reduced from all channels."""
        return self.noun == "map" and self.view != "maps"

    @property
    def as_volumes(self) -> Array | None:
        """(maps, slices, h, w) if the tiles are slices of maps of three axes, one column per map; else None."""
        if self.noun != "map" or self.is_reduced or self.columns is None:
            return None
        across = len(self.columns.labels)
        return self.values.reshape(-1, across, *self.values.shape[1:]).swapaxes(0, 1)


@dataclass(frozen=True, eq=False)
class Typed:
    """Numbers as a user wrote them: ``values`` in float64, and the ``texts`` that stand for them, an array of that shape.

    A text is empty if the number is to be written from its value. It is an array to NumPy, that of the values.
    """

    values: Array
    texts: Array

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> Array:
        """The values."""
        import numpy as np

        return np.array(self.values, dtype=dtype)

    def spread(self, shape: tuple[int, ...]) -> Typed:
        """The same numbers in this shape; a single plane, or a single number, is repeated."""
        import numpy as np

        both = (np.broadcast_to(each, (math.prod(shape[: len(shape) - each.ndim + 1]), *each.shape[1:])).reshape(shape)
                for each in (self.values, self.texts))  # fmt: skip
        return Typed(*both)


class TypedNumber(float):
    """A number that is written as it was typed, such as 3.10, where it is written as text."""

    text: str

    def __new__(cls, value: float, text: str) -> Self:
        """The number with its text, which has a true minus or none."""
        number = super().__new__(cls, value)
        number.text = text.replace("−", "-")
        return number

    def __str__(self) -> str:
        """The text."""
        return self.text


def listed(values: Array, texts: Array | None = None) -> Any:
    """Nested lists of numbers without a sign of zero, of typed ones with their ``texts``; one without a text is a float."""
    plain = values + 0.0  # −0 + 0 is 0
    if texts is None:
        return plain.tolist()
    import numpy as np

    pairs = zip(plain.ravel().tolist(), texts.flat, strict=True)
    found = [TypedNumber(value, text) if text else value for value, text in pairs]
    return np.array([*found, None], object)[:-1].reshape(values.shape).tolist()


def as_array(values: object, *, copy: bool = True) -> Array:
    """Convert an array-like or a tensor (by duck typing: ``detach``, ``cpu``, ``numpy``) to a new NumPy array.

    bfloat16 and half precision become float32, integers and booleans float64. Without ``copy``, it is a view of the values
    themselves if no conversion is needed.

    Raises:
        UsageError: ``values`` are not real numbers.
    """
    import numpy as np

    tensor: Any = values
    try:
        if hasattr(tensor, "detach"):
            tensor = tensor.detach().cpu()
            if hasattr(tensor, "resolve_neg"):
                tensor = tensor.resolve_neg()  # the sign may be noted beside the numbers
            if tensor.is_floating_point() and tensor.element_size() < 4:
                tensor = tensor.float()  # NumPy has no bfloat16; float32 holds all such numbers exactly
            tensor = tensor.numpy()
        array = np.asarray(tensor)
    except (RuntimeError, TypeError, ValueError) as error:  # a meta or sparse tensor, a ragged list
        raise UsageError("The values must be an array of real numbers.", str(error).partition("\n")[0]) from error
    if array.dtype.kind not in "fiub":
        raise UsageError(f"The values must be real numbers, but they are {array.dtype}.")
    wanted = {2: np.float32, 4: np.float32}.get(array.dtype.itemsize, np.float64)
    return np.array(array, dtype=wanted if array.dtype.kind == "f" else np.float64, copy=copy or None)


def is_untrained(recipe: Recipe | None) -> bool:
    """Whether a recipe states that a picture shows random weights, those of a network before any training.

    What is not known to be random is not called so.
    """
    model = (recipe or {}).get("model") or {}
    models = model if isinstance(model, list) else [model]
    return any((each.get("weights") or {}).get("source") == "random" for each in models)


def shape_text(shape: Sequence[int]) -> str:
    """``(32, 3, 3, 3)``: a shape as text."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def check_positive(name: str, value: int | None) -> int | None:
    """Check that a value, unless None, is a positive whole number; return it as an int.

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


def as_bank(kernels: object, *, transposed: bool = False, layout: Layout | None = None) -> KernelBank:
    """Convert a record, a tensor or an array to a kernel bank.

    A plain weight is (out_channels, in_channels / groups, *kernel_size), with one, two or three kernel axes; with
    ``transposed`` the first two are swapped, as in a transposed convolution without groups. A single kernel
    (in_channels, height, width) must be given as (1, in_channels, height, width).

    This is the layout of torch. With ``layout="keras"`` the weight is (*kernel_size, in_channels, out_channels), with
    ``transposed`` (*kernel_size, out_channels, in_channels). Without a ``layout``, a shape that is more likely that of
    Keras is rejected; parameters of torch modules have the layout of torch.

    Raises:
        UsageError: another rank, an empty axis, no real numbers, or a shape that may be of either layout.
    """
    if layout not in (None, *LAYOUTS):
        raise UsageError(f"The layout must be {' or '.join(LAYOUTS)}, but got {layout!r}.")
    if isinstance(kernels, KernelBank):
        if layout == "keras":
            raise UsageError("A KernelBank has the layout of torch already.", hint="Omit layout.")
        return kernels
    weight = as_array(kernels)
    if weight.ndim not in (3, 4, 5):
        raise UsageError(
            f"Kernels must be (out_channels, in_channels, *kernel_size), but the shape is {shape_text(weight.shape)}.",
            hint="Give a single kernel (C, H, W) as weight[None].",
        )
    if 0 in weight.shape:
        raise UsageError(f"The kernels are empty: their shape is {shape_text(weight.shape)}.")
    if layout is None and type(kernels).__module__ != "torch.nn.parameter":
        check_layout(weight.shape, transposed=transposed)
    if layout == "keras":  # (*k, in, out) to (out, in, *k); also (*k, out, in) to (in, out, *k)
        import numpy as np

        weight = np.moveaxis(weight, (-1, -2), (0, 1))
    return KernelBank(weight.swapaxes(0, 1) if transposed else weight)


SIDES = (1, 2, 3, 4, 5, 7, 9, 11)
"""The usual lengths of the sides of kernels."""


def check_layout(shape: tuple[int, ...], *, transposed: bool = False) -> None:
    """Reject the shape of a weight that is likely (*kernel_size, in_channels, out_channels), as in Keras.

    The first axes are then the equal sides of a kernel, and the last ones are not.

    Raises:
        UsageError: the shape may be of either layout.
    """
    sides, kernel = shape[:-2], shape[2:]  # of a kernel in Keras and in torch
    side, last = sides[0], kernel[-1]
    if set(shape) == {1} or not _may_be_sides(sides, kernel) or _is_usual_in_torch(side, kernel):
        return
    first, second = (shape[1], shape[0]) if transposed else shape[:2]
    inputs, outputs = (last, shape[-2]) if transposed else (shape[-2], last)
    size = " × ".join(map(str, sides)) if len(sides) > 1 else f"length-{side}"
    many = f"{first:,} {inflected(first, 'kernel')} of {second:,} {inflected(second, 'channel')}"
    raise UsageError(
        f"The shape {shape_text(shape)} can be read in two ways.",
        f"In Keras it is {size} kernels, {inputs:,} → {outputs:,} channels; "
        f"in torch {many}, {' × '.join(map(str, kernel))}.",
        'Pass layout="keras" or layout="torch".',
    )


def _may_be_sides(sides: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether the first axes look like the sides of a kernel: equal, or else before axes too long for one."""
    if {*sides} == {sides[0]}:
        return sides[0] in SIDES
    return {*sides} <= {*SIDES[1:]} and kernel[-1] > SIDES[-1]


def _is_usual_in_torch(side: int, kernel: tuple[int, ...]) -> bool:
    """Whether the last axes of a weight look like a kernel, not like channels; ``side`` is its first axis."""
    last = kernel[-1]
    if len(kernel) == 1:
        return last in SIDES[1:] or (side == 1 and last <= SIDES[-1])
    if side == 1:  # one kernel, perhaps one of the user's own
        square = kernel[-2] == last and (last % 2 == 1 or last <= SIDES[-1])
        return square or (min(kernel) == 1 and max(kernel) <= SIDES[-1])
    return {*kernel} == {last} and last in SIDES[1:] and (last % 2 == 1 or last < side)


def as_maps(maps: object, *, of_any_axes: bool = False, axes: int | None = None) -> FeatureMaps:
    """Convert a record, a tensor or an array (C, H, W) to feature maps; (1, C, H, W) is taken as (C, H, W).

    ``of_any_axes`` takes maps of one and three axes too: (C, L) and (1, C, D, H, W), or whatever ``axes`` states: (C, L)
    and (1, C, L) with 1, (C, D, H, W) and (1, C, D, H, W) with 3.

    Raises:
        UsageError: another rank, an empty axis, or no real numbers.
    """
    if isinstance(maps, FeatureMaps):
        if maps.values.ndim == 4 and not of_any_axes:
            what = f"Maps of three axes, {shape_text(maps.values.shape)}, are drawn as slices by plot_features only."
            raise UsageError(what, hint="Give one slice of each map, maps.values[:, depth].")
        return maps
    if axes not in (None, 1, 2, 3):
        raise UsageError(f"axes must be 1, 2 or 3, but got {axes!r}.")
    values = as_array(maps)
    if axes is None:
        axes = {2: 1, 5: 3}.get(values.ndim, 2) if of_any_axes else 2
    if values.ndim == axes + 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != axes + 1:
        names = {1: "channels, length", 2: "channels, height, width", 3: "channels, depth, height, width"}[axes]
        more = " Maps of one or three axes: axes=1 or axes=3." if of_any_axes else ""
        raise UsageError(
            f"Feature maps must be ({names}), but the shape is {shape_text(values.shape)}.",
            hint=f"Give a single map (H, W) as values[None], image i of a batch as values[i].{more}",
        )
    if 0 in values.shape:
        raise UsageError(f"The feature maps are empty: their shape is {shape_text(values.shape)}.")
    return FeatureMaps(values[:, None], shape=values.shape) if axes == 1 else FeatureMaps(values)
