"""A convolution or a pool worked out on real numbers, cell by cell; NumPy only, in float64."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.matrices import connections
from kernelviz.arithmetic.operations import Convolution, Operation, Pooling, TransposedConvolution, check_cell
from kernelviz.arithmetic.steps import Step, axis_cells, pick_cells, read_cells
from kernelviz.errors import UsageError
from kernelviz.notebook import html_planes, record_repr, side_by_side
from kernelviz.records import Typed, as_array, shape_text
from kernelviz.wording import decimal_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kernelviz.records import Array


@dataclass(frozen=True)
class Canvas:
    """What the window slides over: the input with its padding, and with the zeros between its values.

    ``values`` is (C, H, W); the masks ``padding`` and ``stretched`` (H, W) mark the cells around the input and the zeros
    between its values. The first row and column of the input are at ``origin``, which is negative if the input is cut.
    ``rows`` and ``columns`` hold what each row and column of the output reads. ``kernel`` is (out_channels,
    in_channels / groups, h, w) as it slides, turned by 180° for a transposed convolution; None for a pool. ``texts`` and
    ``kernel_texts`` hold how the numbers were typed, or None.
    """

    values: Array
    padding: Array
    stretched: Array
    origin: tuple[int, int]
    rows: tuple[range, ...]
    columns: tuple[range, ...]
    kernel: Array | None
    texts: Array | None = None
    kernel_texts: Array | None = None

    __repr__ = record_repr

    @property
    def unread(self) -> Array:
        """(H, W): which cells no window reads."""
        rows = np.isin(np.arange(self.values.shape[1]), [at for side in self.rows for at in side])
        columns = np.isin(np.arange(self.values.shape[2]), [at for side in self.columns for at in side])
        return ~(rows[:, None] & columns[None, :])


def make_canvas(
    operation: Operation,
    data: Array,
    kernel: Array | None,
    texts: Array | None = None,
    kernel_texts: Array | None = None,
) -> Canvas:
    """The canvas of an operation for this input (C, H, W) and this kernel as torch stores it, and for the texts of both."""
    stride = (1, 1)
    if isinstance(operation, TransposedConvolution):
        edges, stride = operation.implicit_padding, operation.stride
        kernel = None if kernel is None else _turned(operation, kernel)
        kernel_texts = None if kernel_texts is None else _turned(operation, kernel_texts)
    elif isinstance(operation, Convolution):
        edges = operation.padding
    else:
        above, beside = operation.padding
        edges = above, above, beside, beside
    rows, columns = (
        axis_cells(np.arange(-before, (size - 1) * step + 1 + after), size, stride=step)
        for size, step, before, after in zip(data.shape[1:], stride, edges[::2], edges[1::2], strict=True)
    )
    values, padding, stretched = read_cells(data, rows, columns)
    top, _, left, _ = edges
    outputs = operation.output_size
    return Canvas(
        values=values,
        padding=padding,
        stretched=stretched,
        origin=(top, left),
        rows=tuple(_moved(operation.window(row, 0)[0], top) for row in range(outputs[0])),
        columns=tuple(_moved(operation.window(0, column)[1], left) for column in range(outputs[1])),
        kernel=kernel,
        texts=None if texts is None else pick_cells(texts, rows, columns, ""),
        kernel_texts=kernel_texts,
    )


def _turned(operation: TransposedConvolution, kernel: Array) -> Array:
    """The kernel as it slides: (out_channels, in_channels / groups, h, w), turned by 180°."""
    inputs, outputs = operation.in_channels // operation.groups, operation.out_channels // operation.groups
    grouped = kernel.reshape(operation.groups, inputs, outputs, *operation.kernel).swapaxes(1, 2)
    return grouped.reshape(operation.out_channels, inputs, *operation.kernel)[..., ::-1, ::-1]


def cut(values: Array, rows: range, columns: range) -> Array:
    """The part of (…, H, W) at these rows and columns."""
    return values[..., rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step]


def _moved(positions: range, by: int) -> range:
    return range(positions.start + by, positions.stop + by, positions.step)


MOST_WORK = 50_000_000  # multiply-adds or pooled values at most, which take seconds
MOST_ENTRIES = 4_000_000  # of a matrix
MOST_MEMORY = 400_000_000  # bytes at most, as estimated by ``memory_needed``
INPUT_DIGITS, KERNEL_DIGITS = (0, 10), (-2, 3)  # small whole numbers, easy to add


_EXACT_FLOATS = 2.0**52  # whole numbers up to this size, and their sums, are exact floats
_MOST_TERMS = 500_000  # of the sums of one output channel that are worked out in decimals, which takes a second


@dataclass(frozen=True)
class Walkthrough:
    """An operation with its numbers, the result of ``work_out``.

    ``input`` is (C, H, W), ``kernel`` as torch stores it, ``bias`` (out_channels,), ``output`` (C, H, W); a pool has no
    kernel and no bias. ``step`` is how one value of the output is computed, ``steps`` are all of a channel.
    ``plot_convolution`` and ``animate_convolution`` draw it.

    ``typed`` holds the texts of those numbers that were typed, by name (``input``, ``kernel``, ``bias``). ``made_up`` names
    those that come from the random numbers of ``seed``. ``greys`` are the numbers of the input that are drawn black and
    white, with greys between, if it is drawn as an image.

    Example:
        >>> image = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2), image, [[1, 0], [0, 2]])
        >>> worked.output[0]
        array([[11., 14.],
               [20., 23.]])
        >>> [step.value for step in worked.steps()]
        [11.0, 14.0, 20.0, 23.0]
        >>> worked.matrix.shape  # output = matrix @ input, both written row after row
        (4, 9)
    """

    operation: Operation
    input: Array
    kernel: Array | None
    bias: Array | None
    output: Array
    canvas: Canvas
    typed: Mapping[str, Array] = field(default_factory=dict)
    made_up: tuple[str, ...] = ()
    seed: int = 0
    greys: tuple[float, float] | None = None

    __repr__ = record_repr

    def _repr_html_(self) -> str:
        """Input, kernel, bias and output as tables."""
        tables = [html_planes("input", self.input)]
        if self.kernel is not None:
            tables.append(html_planes("kernel", self.kernel.reshape(-1, *self.kernel.shape[2:])))
        if self.bias is not None:
            tables.append(html_planes("bias", self.bias[None, :, None]))
        return side_by_side([*tables, html_planes("output", self.output)])

    @np.errstate(all="ignore")
    def step(self, row: int, column: int, channel: int = 0) -> Step:
        """How the output at this row and column of this channel is computed.

        Raises:
            UsageError: There is no such cell.
        """
        check_cell(self.operation.output_size, row, column)
        if not 0 <= channel < len(self.output):
            raise UsageError(
                f"There is no output channel {channel}.", f"Channels are numbered from 0 to {len(self.output) - 1}."
            )
        canvas = self.canvas
        cells = canvas.rows[row], canvas.columns[column]
        channels = self._channels(channel)
        step = Step(
            at=(row, column),
            channel=channel,
            channels=tuple(channels),
            window=cut(canvas.values[channels.start : channels.stop], *cells),
            padding=cut(canvas.padding, *cells),
            stretched=cut(canvas.stretched, *cells),
            weights=None if canvas.kernel is None else canvas.kernel[channel],
            bias=None if self.bias is None else float(self.bias[channel]),
            value=float(self.output[channel, row, column]),
            window_texts=None if canvas.texts is None else cut(canvas.texts[channels.start : channels.stop], *cells),
            weight_texts=None if canvas.kernel_texts is None else canvas.kernel_texts[channel],
            bias_text=str(self.typed["bias"][channel]) if "bias" in self.typed else "",
        )
        return replace(step, counted=self._counted(step))

    def largest(self, channel: int = 0) -> tuple[tuple[int, int], int] | None:
        """The first cell with the largest number of an output channel, and how many other cells have it.

        None if all numbers are equal, or one is not finite.
        """
        if not np.isfinite(self.output[channel]).all():
            return None
        results = self.results(channel)
        most = max(results.flat)
        places = [at for at in np.ndindex(*results.shape) if results[at] == most]
        return None if len(places) == results.size else ((places[0][0], places[0][1]), len(places) - 1)

    def results(self, channel: int = 0) -> Array:
        """(rows, columns) of ``Decimal``: an output channel without rounding, as ``Step.exact`` computes it.

        Of whole numbers the floats are exact themselves. Where decimals would take very long, they are floats of 15 digits.
        """
        if channel not in self._known_results:
            self._known_results[channel] = self._results(channel)
        return self._known_results[channel]

    @cached_property
    def _known_results(self) -> dict[int, Array]:
        return {}

    def _results(self, channel: int) -> Array:
        output = self.output[channel]
        whole = all(
            values is None or (values == np.rint(values)).all() for values in (self.input, self.kernel, self.bias)
        )
        averages = isinstance(self.operation, Pooling) and self.operation.kind != "max"
        terms = len(self._channels(channel)) * self.operation.kernel[0] * self.operation.kernel[1]
        largest = [1.0 if values is None else float(np.abs(values).max()) for values in (self.input, self.kernel)]
        exact = whole and not averages and terms * largest[0] * largest[1] < _EXACT_FLOATS
        result = np.empty(output.shape, object)
        if exact or output.size * terms > _MOST_TERMS:
            found = [float(value) if exact else float(f"{value:.15g}") for value in output.flat]
            result.ravel()[:] = [*map(decimal_of, found)]
            return result
        for step in self.steps(channel):
            result[step.at] = step.exact
        return result

    @cached_property
    def matrix(self) -> Array:
        """(outputs, inputs): the operation as a matrix, read-only.

        ``matrix @ input.ravel()`` plus the bias of each channel is ``output.ravel()``; a transposed convolution has the
        transpose of the matrix of a convolution.

        Raises:
            UsageError: The operation is a pool, which is no matrix, or the matrix has more than 4,000,000 entries.
        """
        operation = self.operation
        if isinstance(operation, Pooling) or self.kernel is None:
            raise UsageError("A pool is no matrix.", "It has no weights.", "Give a convolution.")
        if self.output.size * self.input.size > MOST_ENTRIES:
            raise UsageError(
                f"The matrix would have {self.output.size:,} × {self.input.size:,} entries.",
                f"At most {MOST_ENTRIES:,} are computed.",
                "Choose a smaller input, or fewer channels.",
            )
        result, weights = np.zeros((self.output.size, self.input.size)), self.kernel.ravel()
        for row, column, weight in connections(operation):
            result[row, column] = weights[weight]
        result.setflags(write=False)
        return result

    def steps(self, channel: int = 0) -> Iterator[Step]:
        """Every step of one output channel, row by row."""
        rows, columns = self.operation.output_size
        return (self.step(row, column, channel) for row in range(rows) for column in range(columns))

    @np.errstate(all="ignore")
    def stamp(self, row: int, column: int, channel: int = 0) -> Array:
        """The stamp of one input position on a channel of a transposed convolution: (rows, columns), zero elsewhere.

        Raises:
            UsageError: The operation is not transposed.
        """
        operation = self.operation
        if not isinstance(operation, TransposedConvolution) or self.kernel is None:
            raise UsageError("Only a transposed convolution stamps its kernel.")
        outputs = operation.out_channels // operation.groups
        kernels = self.kernel[list(self._channels(channel)), channel % outputs]
        stamp = np.tensordot(self.input[list(self._channels(channel)), row, column], kernels, 1)
        result = np.zeros(operation.output_size)
        for (i, j), value in np.ndenumerate(stamp):
            y = row * operation.stride[0] - operation.padding[0] + i * operation.dilation[0]
            x = column * operation.stride[1] - operation.padding[1] + j * operation.dilation[1]
            if 0 <= y < result.shape[0] and 0 <= x < result.shape[1]:
                result[y, x] = value
        return result

    def _channels(self, channel: int) -> range:
        """The input channels that an output channel reads."""
        operation = self.operation
        if isinstance(operation, Pooling):
            return range(channel, channel + 1)
        inputs = operation.in_channels // operation.groups
        first = channel // (operation.out_channels // operation.groups) * inputs
        return range(first, first + inputs)

    def _counted(self, step: Step) -> int | None:
        operation = self.operation
        if not isinstance(operation, Pooling) or operation.kind == "max":
            return None
        return step.padding.size if operation.count_include_pad else int((~step.padding).sum())


def work_needed(operation: Operation) -> int:
    """The number of products, or of pooled values."""
    rows, columns = operation.output_size
    return operation.macs or operation.in_channels * rows * columns * operation.kernel[0] * operation.kernel[1]


def memory_needed(operation: Operation, *, as_json: bool = False) -> int:
    """The bytes that working an operation out takes at its peak, estimated; with ``as_json`` including the document."""
    (rows, columns), (height, width) = operation.output_size, operation.kernel
    area = operation.input_size[0] * operation.input_size[1]
    inputs, outputs = operation.in_channels * area, operation.out_channels * rows * columns
    if isinstance(operation, TransposedConvolution):
        (high, wide), (top, bottom, left, right) = operation.stretched_size, operation.implicit_padding
        cells = (high + top + bottom) * (wide + left + right)
    elif isinstance(operation, Convolution):
        (high, wide), (top, bottom, left, right) = operation.input_size, operation.padding
        cells = (high + top + bottom) * (wide + left + right)
    else:
        cells = (operation.input_size[0] + 2 * operation.padding[0]) * (
            operation.input_size[1] + 2 * operation.padding[1]
        )
    weights = 0 if isinstance(operation, Pooling) else operation.parameters
    # Random integers, their floats and a copy; three arrays and five masks of the canvas; what a tap reads, its products
    # and their sum; the windows along both axes as ranges and as indices.
    arrays = 24 * (inputs + weights) + cells * (24 * operation.in_channels + 5)
    arrays += 8 * operation.in_channels * rows * columns + 24 * outputs
    axes = rows * (150 + 8 * height) + columns * (150 + 8 * width)
    return arrays + axes + (130 * (inputs + weights + outputs) if as_json else 0)


def check_cost(operation: Operation, *, as_json: bool = False) -> None:
    """Check that an operation can be worked out in seconds and within the memory, before anything is allocated.

    Raises:
        UsageError: it cannot.
    """
    work, memory = work_needed(operation), memory_needed(operation, as_json=as_json)
    if work > MOST_WORK:
        raise UsageError(
            f"It takes {work:,} multiply-adds to work this out.",
            f"At most {MOST_WORK:,} can be shown with their numbers.",
            "Choose smaller sizes, or fewer channels.",
        )
    if memory > MOST_MEMORY:
        raise UsageError(
            f"It takes {-(-memory // 10**6):,} MB of memory to work this out.",
            f"At most {MOST_MEMORY // 10**6} MB can be used.",
            "Choose smaller sizes, a smaller stride or padding, or fewer channels.",
        )


@np.errstate(all="ignore")
def work_out(operation: Operation, values: object, kernel: object = None, bias: object = None) -> Walkthrough:
    """Work out an operation on these numbers in float64; overflow results in inf or nan, as in torch.

    Args:
        operation: The operation with its sizes.
        values: The input, (C, H, W), or (H, W) for one channel.
        kernel: The weight as torch stores it: (out_channels, in_channels / groups, h, w), for a transposed convolution
            (in_channels, out_channels / groups, h, w); (h, w) if there is only one plane. None for a pool.
        bias: (out_channels,), or None.

    Raises:
        UsageError: A shape does not fit the operation, or the operation takes too long or too much memory.

    Example:
        >>> pool = kernelviz.Pooling(4, 2)
        >>> kernelviz.work_out(pool, np.arange(16).reshape(4, 4)).output[0]
        array([[ 5.,  7.],
               [13., 15.]])
        >>> operation = kernelviz.Convolution(8, 3, padding=1, in_channels=3, out_channels=16, bias=True)
        >>> layer = torch.nn.Conv2d(3, 16, 3, padding=1)
        >>> kernelviz.work_out(operation, torch.rand(3, 8, 8), layer.weight, layer.bias).output.shape
        (16, 8, 8)
    """
    check_cost(operation)
    given = {"input": _shaped("input", values, (operation.in_channels, *operation.input_size))}
    if isinstance(operation, Pooling):
        if kernel is not None or bias is not None:
            raise UsageError("A pool has no kernel values and no bias.")
    else:
        given["kernel"] = _shaped("kernel", kernel, operation.kernel_shape)
        if operation.bias != (bias is not None):
            raise UsageError(
                "The operation has a bias, but no bias values were given."
                if operation.bias
                else "The operation has no bias, but bias values were given."
            )
    if bias is not None:
        given["bias"] = _shaped("bias", bias, (operation.out_channels,))
    typed = {name: texts for name, (_, texts) in given.items() if texts is not None}
    weight, shift = (given[name][0] if name in given else None for name in ("kernel", "bias"))
    canvas = make_canvas(operation, given["input"][0], weight, typed.get("input"), typed.get("kernel"))
    if isinstance(operation, Pooling):
        output = _pooled(operation, canvas)
    else:
        output = _convolved(canvas, operation.groups) + (0 if shift is None else shift[:, None, None])
    return Walkthrough(operation, given["input"][0], weight, shift, output, canvas, typed)


def example_numbers(operation: Operation, seed: int = 0) -> tuple[Array, Array | None, Array | None]:
    """Small random whole numbers for the input, the kernel and the bias, from a seed.

    The input holds 0 to 9, kernel and bias −2 to 2.

    Raises:
        UsageError: the operation takes too long or too much memory.
    """
    check_cost(operation)
    random = np.random.default_rng(seed)
    data = random.integers(*INPUT_DIGITS, size=(operation.in_channels, *operation.input_size)).astype(np.float64)
    if isinstance(operation, Pooling):
        return data, None, None
    kernel = random.integers(*KERNEL_DIGITS, size=operation.kernel_shape).astype(np.float64)
    bias = random.integers(*KERNEL_DIGITS, size=operation.out_channels).astype(np.float64)
    return data, kernel, bias if operation.bias else None


def _shaped(name: str, values: object, shape: tuple[int, ...]) -> tuple[Array, Array | None]:
    """The values in this shape, and their texts if they were typed."""
    array = as_array(values).astype(np.float64)
    while array.ndim < len(shape) and shape[len(shape) - array.ndim - 1] == 1:
        array = array[None]
    if array.shape != shape:
        raise UsageError(f"The {name} must have the shape {shape_text(shape)}, but has {shape_text(array.shape)}.")
    return array, values.texts.reshape(shape) if isinstance(values, Typed) else None


def _convolved(canvas: Canvas, groups: int) -> Array:
    """(out_channels, rows, columns): every window times the kernel, a tap at a time."""
    kernel = canvas.kernel
    if kernel is None:
        raise TypeError(canvas)
    outputs, inputs, height, width = kernel.shape
    values = canvas.values.reshape(groups, inputs, *canvas.values.shape[1:])
    weights = kernel.reshape(groups, outputs // groups, inputs, height, width)
    rows, columns = np.array(canvas.rows), np.array(canvas.columns)
    result = np.zeros((groups, outputs // groups, len(rows), len(columns)))
    for i in range(height):
        for j in range(width):
            read = values[:, :, rows[:, i][:, None], columns[:, j][None, :]]
            result += np.einsum("goc,gcrs->gors", weights[..., i, j], read, optimize=True)
    return result.reshape(outputs, len(rows), len(columns))


def _pooled(operation: Pooling, canvas: Canvas) -> Array:
    result = np.empty((len(canvas.values), len(canvas.rows), len(canvas.columns)))
    lowest = np.where(canvas.padding, -np.inf, canvas.values)
    for row, column in np.ndindex(*result.shape[1:]):
        cells = canvas.rows[row], canvas.columns[column]
        if operation.kind == "max":
            result[:, row, column] = cut(lowest, *cells).max(axis=(1, 2))
        else:
            inside = ~cut(canvas.padding, *cells)
            counted = inside.size if operation.count_include_pad else max(1, int(inside.sum()))
            result[:, row, column] = cut(canvas.values, *cells).sum(axis=(1, 2)) / counted
    return result
