"""The three operations as plain integers: convolution, transposed convolution and pooling.

Each computes its sizes, windows and weights, and rejects the settings that torch rejects.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kernelviz.arithmetic.windows import (
    Edges,
    Formula,
    Pair,
    Sides,
    adaptive_formula,
    adaptive_window,
    convolution_size,
    count,
    edges,
    pair,
    pooling_size,
    same_padding,
    sides_text,
    size_text,
    transposed_formula,
    transposed_size,
    transposed_window,
    unreached,
    unread,
    window,
    window_formula,
)
from kernelviz.errors import UsageError

Padding: TypeAlias = Sides | Literal["same", "valid"]


class Weighted:
    """The common part of convolutions: channels in groups, weights, and the cost of a dense layer instead."""

    input_size: Pair
    kernel: Pair
    in_channels: int
    out_channels: int
    groups: int
    bias: bool
    transposed: bool = False

    @property
    def output_size(self) -> Pair:
        """(rows, columns) of the output."""
        raise NotImplementedError

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """The shape of the weight as torch stores it; a transposed convolution has the input channels first."""
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return first, second // self.groups, *self.kernel

    @property
    def weights(self) -> int:
        """The number of weights, without the bias."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.weights + (self.out_channels if self.bias else 0)

    @property
    def dense_parameters(self) -> int:
        """The number of parameters of a dense layer from all inputs to all outputs."""
        inputs = self.in_channels * self.input_size[0] * self.input_size[1]
        outputs = self.out_channels * self.output_size[0] * self.output_size[1]
        return inputs * outputs + (outputs if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-adds for one input, including those with padding, excluding the bias."""
        rows, columns = self.input_size if self.transposed else self.output_size
        return rows * columns * self.weights

    def _set_common(
        self, *, input_size: Sides, kernel: Sides, stride: Sides, dilation: Sides,
        groups: int, in_channels: int, out_channels: int, bias: bool,
    ) -> None:  # fmt: skip
        """Set the common fields.

        Raises:
            UsageError: torch would reject a number.
        """
        set_fields(
            self,
            input_size=pair("input size", input_size),
            kernel=pair("kernel", kernel),
            stride=pair("stride", stride),
            dilation=pair("dilation", dilation),
            groups=count("number of groups", groups),
            in_channels=count("number of input channels", in_channels),
            out_channels=count("number of output channels", out_channels),
            bias=bool(bias),
        )

    def _check_groups(self) -> None:
        """Check that the groups divide the channels.

        Raises:
            UsageError: they do not.
        """
        for name, channels in (("input", self.in_channels), ("output", self.out_channels)):
            if channels % self.groups:
                raise UsageError(
                    f"The {name} channels must be divisible by the groups, but got {channels} and {self.groups}.",
                    "Each group has an equal share of the input and output channels.",
                    f"Choose groups that divide {self.in_channels} and {self.out_channels}, or other channels.",
                )


@dataclass(frozen=True, init=False)
class Convolution(Weighted):
    """A 2-D convolution of an input of known size; the arguments mean the same as in torch.

    Sizes are (height, width), ``padding`` is (top, bottom, left, right). ``padding_name`` is ``same`` or ``valid`` if the
    padding was given by that name, else empty.

    Example:
        >>> convolution = kernelviz.Convolution(224, 7, stride=2, padding=3)
        >>> convolution.output_size
        (112, 112)
        >>> convolution.window(0, 1)  # the rows and columns that an output cell reads, padding included
        (range(-3, 4), range(-1, 6))
        >>> convolution.reads(0, 1)  # those of the input
        ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5])
    """

    input_size: Pair
    kernel: Pair
    stride: Pair
    padding: Edges
    dilation: Pair
    groups: int
    in_channels: int
    out_channels: int
    bias: bool
    padding_name: str = field(init=False)

    def __init__(
        self,
        input_size: Sides,
        kernel: Sides,
        *,
        stride: Sides = 1,
        padding: Padding = 0,
        dilation: Sides = 1,
        groups: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        bias: bool = False,
    ) -> None:
        """Accept every size as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of the kernel.
            stride: the step of the window.
            padding: zeros around the input: a number, height and width, (top, bottom, left, right), ``valid`` for none,
                or ``same`` to keep the size (an odd row or column is added at the end, as in torch).
            dilation: the distance between the taps of the kernel.
            groups: the number of groups of channels.
            in_channels: the number of input channels.
            out_channels: the number of output channels.
            bias: whether each output channel has a bias.

        Raises:
            UsageError: torch would reject it: a number that is not positive, a negative padding, ``same`` with a stride,
                channels that the groups do not divide, or a kernel larger than the padded input.
        """
        self._set_common(
            input_size=input_size, kernel=kernel, stride=stride, dilation=dilation,
            groups=groups, in_channels=in_channels, out_channels=out_channels, bias=bias,
        )  # fmt: skip
        set_fields(self, padding_name=padding if isinstance(padding, str) else "")
        set_fields(self, padding=self._edges(padding))
        self._check_groups()
        self._check_fit()

    def _edges(self, padding: Padding) -> Edges:
        if not isinstance(padding, str):
            return edges("padding", padding)
        if padding not in ("same", "valid"):
            raise UsageError(
                f"The padding must be numbers, same or valid, but got {padding!r}.",
                "same keeps the size, valid adds no padding.",
                "Give 1, 1x2, 1,0,1,0 (top, bottom, left, right), same or valid.",
            )
        if padding == "valid":
            return 0, 0, 0, 0
        sides = [
            same_padding(*axis) for axis in zip(self.input_size, self.kernel, self.stride, self.dilation, strict=True)
        ]
        (top, bottom), (left, right) = sides
        if self.stride != (1, 1):
            raise UsageError(
                f"The padding cannot be same with stride {sides_text(self.stride)}.",
                "torch rejects it: with a stride the output is smaller than the input.",
                f"Keras then pads {top},{bottom},{left},{right} (top, bottom, left, right): give these numbers.",
            )
        return edges("padding", (top, bottom, left, right))  # bounded, although kernel times dilation is not

    def _check_fit(self) -> None:
        top, bottom, left, right = self.padding
        padded = self.input_size[0] + top + bottom, self.input_size[1] + left + right
        if self.span[0] > padded[0] or self.span[1] > padded[1]:
            dilated = "" if self.span == self.kernel else f" spans {size_text(self.span)} with its dilation, which"
            raise UsageError(
                f"The {size_text(self.kernel)} kernel{dilated} is larger than the input.",
                f"The padded input is {size_text(padded)}.",
                "Choose a smaller kernel or dilation, or more padding.",
            )

    @property
    def span(self) -> Pair:
        """The rows and columns from the first tap of the kernel to the last: ``d(k - 1) + 1``."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))  # type: ignore[return-value]

    @property
    def output_size(self) -> Pair:
        """(rows, columns) of the output."""
        sizes = [
            convolution_size(size + before + after, kernel, stride, 0, dilation)
            for size, (before, after), kernel, stride, dilation in self._axes()
        ]
        return sizes[0], sizes[1]

    def window(self, row: int, column: int) -> tuple[range, range]:
        """The rows and columns that one output cell multiplies; those outside the input are padding.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        rows, columns = (
            window(at, kernel, stride, before, dilation)
            for at, (_, (before, _), kernel, stride, dilation) in zip((row, column), self._axes(), strict=True)
        )
        return rows, columns

    def reads(self, row: int, column: int) -> tuple[list[int], list[int]]:
        """The rows and columns of the input itself that one output cell reads.

        Raises:
            UsageError: there is no such cell.
        """
        return _inside(self.window(row, column), self.input_size)

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The formulas of the output size: rows, then columns."""
        rows, columns = (
            window_formula(size, kernel, stride, padding, dilation, result)
            for (size, padding, kernel, stride, dilation), result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """The number of rows and columns of the padded input that no window reads, at any position."""
        rows, columns = self._unread()
        return rows[0], columns[0]

    @property
    def left_over(self) -> Pair:
        """The number of those at the end, which the last stride would exceed."""
        rows, columns = self._unread()
        return rows[1], columns[1]

    def _unread(self) -> tuple[Pair, Pair]:
        rows, columns = (
            unread(size + sum(padding), kernel, stride, dilation, outputs)
            for (size, padding, kernel, stride, dilation), outputs in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    def _axes(self) -> tuple[tuple[int, Pair, int, int, int], tuple[int, Pair, int, int, int]]:
        """Size, padding, kernel, stride and dilation of the rows, and of the columns."""
        rows, columns = (
            (
                self.input_size[at],
                self.padding[2 * at : 2 * at + 2],
                self.kernel[at],
                self.stride[at],
                self.dilation[at],
            )
            for at in (0, 1)
        )
        return rows, columns  # type: ignore[return-value]


def _inside(window: tuple[range, range], size: Pair) -> tuple[list[int], list[int]]:
    rows, columns = ([at for at in side if 0 <= at < end] for side, end in zip(window, size, strict=True))
    return rows, columns


def check_cell(size: Pair, row: int, column: int) -> None:
    """Check that the output has a cell.

    Raises:
        UsageError: it is outside, or not given as whole numbers.
    """
    try:
        row, column = operator.index(row), operator.index(column)
    except TypeError:
        what = f"A cell must be a row and a column, but got {row!r} and {column!r}."
        raise UsageError(what, "They are whole numbers from 0 on.", "For example (0, 2).") from None
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise UsageError(
            f"There is no output cell at row {row}, column {column}.",
            f"The output is {size_text(size)}.",
            f"Rows go from 0 to {size[0] - 1}, columns from 0 to {size[1] - 1}.",
        )


def set_fields(record: object, **values: object) -> None:
    """Set fields of a frozen dataclass in its own ``__init__``."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


@dataclass(frozen=True, init=False)
class TransposedConvolution(Weighted):
    """A 2-D transposed convolution of an input of known size; the arguments mean the same as in torch.

    Sizes are (height, width). Each input value adds a scaled copy ("stamp") of the kernel to the output, ``stride`` apart;
    ``padding`` is cut off at both ends of the output, ``output_padding`` is added at the end.

    Example:
        >>> upsampling = kernelviz.TransposedConvolution(7, 4, stride=2, padding=1)
        >>> upsampling.output_size
        (14, 14)
        >>> upsampling.formulas[0].numerator
        '(7 − 1)·2 − 2·1 + 1·(4 − 1) + 0 + 1'
    """

    input_size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    output_padding: Pair
    dilation: Pair
    groups: int
    in_channels: int
    out_channels: int
    bias: bool
    transposed = True

    def __init__(
        self,
        input_size: Sides,
        kernel: Sides,
        *,
        stride: Sides = 1,
        padding: Sides = 0,
        output_padding: Sides = 0,
        dilation: Sides = 1,
        groups: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        bias: bool = False,
    ) -> None:
        """Accept every size as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of the kernel.
            stride: the distance between the stamps.
            padding: the number of rows and columns that are cut off at each end of the output.
            output_padding: the number that is added at the end; below the stride or the dilation.
            dilation: the distance between the taps of the kernel.
            groups: the number of groups of channels.
            in_channels: the number of input channels.
            out_channels: the number of output channels.
            bias: whether each output channel has a bias.

        Raises:
            UsageError: torch would reject it: a number that is not positive, a negative padding, an output padding that
                neither stride nor dilation exceeds, channels that the groups do not divide, or an empty output.
        """
        self._set_common(
            input_size=input_size, kernel=kernel, stride=stride, dilation=dilation,
            groups=groups, in_channels=in_channels, out_channels=out_channels, bias=bias,
        )  # fmt: skip
        paddings = {"padding": padding, "output_padding": output_padding}
        set_fields(self, **{name: pair(name.replace("_", " "), sides, least=0) for name, sides in paddings.items()})
        self._check_groups()
        for more, stride_, dilation_ in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(stride_, dilation_):
                raise UsageError(
                    f"The output padding must be smaller than the stride or the dilation, but got {more}.",
                    f"The stride is {stride_}, the dilation {dilation_}: it selects one of the sizes that a stride merges.",
                    "Choose a smaller output padding.",
                )
        if min(self._sizes()) < 1:
            raise UsageError(
                f"The output would be empty: {size_text([max(0, side) for side in self._sizes()])}.",
                f"The padding cuts off {sides_text(self.padding)} at each end.",
                "Choose a smaller padding.",
            )

    @property
    def output_size(self) -> Pair:
        """(rows, columns) of the output."""
        return self._sizes()

    def _sizes(self) -> Pair:
        sizes = [transposed_size(*axis) for axis in self._axes()]
        return sizes[0], sizes[1]

    @property
    def stretched_size(self) -> Pair:
        """The size of the input with ``stride - 1`` zeros between its values: ``(i - 1)s + 1``."""
        rows, columns = ((size - 1) * stride + 1 for size, stride in zip(self.input_size, self.stride, strict=True))
        return rows, columns

    @property
    def implicit_padding(self) -> Edges:
        """The padding of the equivalent convolution over the stretched input: ``d(k - 1) - p``, cropped if negative.

        (top, bottom, left, right); the output padding adds to the bottom and the right.
        """
        before = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)]
        return before[0], before[0] + self.output_padding[0], before[1], before[1] + self.output_padding[1]

    def window(self, row: int, column: int) -> tuple[range, range]:
        """The rows and columns of the stretched input that the rotated kernel multiplies for one output cell.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        top, _, left, _ = self.implicit_padding
        return (
            window(row, self.kernel[0], 1, top, self.dilation[0]),
            window(column, self.kernel[1], 1, left, self.dilation[1]),
        )

    def reads(self, row: int, column: int) -> tuple[list[int], list[int]]:
        """The rows and columns of the input whose stamps overlap in one output cell.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        rows, columns = (
            [source for source in transposed_window(at, kernel, stride, padding, dilation) if 0 <= source < size]
            for at, (size, kernel, stride, padding, dilation, _) in zip((row, column), self._axes(), strict=True)
        )
        return rows, columns

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The formulas of the output size: rows, then columns."""
        rows, columns = (
            transposed_formula(*axis, result) for axis, result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """The number of rows and columns of the input without effect, because the padding cuts off their stamps."""
        rows, columns = (
            unreached(*axis[:5], outputs) for axis, outputs in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    def _axes(self) -> tuple[tuple[int, int, int, int, int, int], tuple[int, int, int, int, int, int]]:
        """Size, kernel, stride, padding, dilation and output padding of the rows, and of the columns."""
        sides = (self.input_size, self.kernel, self.stride, self.padding, self.dilation, self.output_padding)
        rows, columns = zip(*sides, strict=True)
        return rows, columns


PLAIN = ((0, 0), (1, 1), False, True)  # padding, dilation, ceil_mode, count_include_pad


@dataclass(frozen=True, init=False)
class Pooling:
    """A 2-D max or average pool of an input of known size; the arguments mean the same as in torch.

    Sizes are (height, width). ``adaptive`` is the output size of an adaptive pool, which determines its windows; its
    ``kernel`` is the largest of them. With ``count_include_pad`` an average includes the zeros of the padding.

    Example:
        >>> pool = kernelviz.Pooling(7, 3, stride=2)
        >>> pool.output_size
        (3, 3)
        >>> kernelviz.Pooling(7, kind="average", adaptive=2).window(0, 1)
        (range(0, 4), range(3, 7))
    """

    input_size: Pair
    kernel: Pair
    kind: Literal["max", "average"]
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool
    count_include_pad: bool
    adaptive: Pair | None
    in_channels: int

    def __init__(
        self,
        input_size: Sides,
        kernel: Sides | None = None,
        *,
        kind: Literal["max", "average"] = "max",
        stride: Sides | None = None,
        padding: Sides = 0,
        dilation: Sides = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        adaptive: Sides | None = None,
        in_channels: int = 1,
    ) -> None:
        """Accept every size as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of a window; None for an adaptive pool.
            kind: ``max`` or ``average``.
            stride: the step of the window; by default the size of the kernel.
            padding: rows and columns around the input: zeros for an average, minus infinity for a maximum.
            dilation: the distance between the cells of a window; for ``max`` only.
            ceil_mode: whether a last window that exceeds the padded input is included.
            count_include_pad: whether an average includes the padding.
            adaptive: the output size of an adaptive pool; excludes all other settings.
            in_channels: the number of channels; each is pooled separately.

        Raises:
            UsageError: torch would reject it: a number that is not positive, a padding above half the kernel, a dilated
                average, an empty output; or settings that an adaptive pool does not have.
        """
        if kind not in ("max", "average"):
            raise UsageError(f"The kind of a pool must be max or average, but got {kind!r}.")
        size = pair("input size", input_size)
        if adaptive is None and kernel is None:
            raise UsageError("A pool needs a kernel.", "", "Give a kernel, or the output size of an adaptive pool.")
        output_size = None if adaptive is None else pair("adaptive size", adaptive)
        around, apart = pair("padding", padding, least=0), pair("dilation", dilation)
        if output_size and (kernel, stride, around, apart, ceil_mode, count_include_pad) != (None, None, *PLAIN):
            raise UsageError(
                "An adaptive pool has no kernel, stride, padding, dilation or ceil mode.",
                "The sizes of input and output determine its windows.",
                "Omit them, or omit the adaptive size.",
            )
        sides = _largest_windows(size, output_size) if output_size else pair("kernel", kernel or 0)
        values: dict[str, object] = {
            "input_size": size,
            "kernel": sides,
            "kind": kind,
            "stride": sides if stride is None else pair("stride", stride),
            "padding": around,
            "dilation": apart,
            "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
            "adaptive": output_size,
            "in_channels": count("number of channels", in_channels),
        }
        set_fields(self, **values)
        self._check()

    def _check(self) -> None:
        if self.kind == "average" and self.dilation != (1, 1):
            raise UsageError("An average pool has no dilation.", "torch dilates max pools only.", "Omit it.")
        for padding, kernel in zip(self.padding, self.kernel, strict=True):
            if padding > kernel // 2:
                raise UsageError(
                    f"The padding must be at most half of the kernel, but got {padding} of {kernel}.",
                    "A window could contain nothing but padding.",
                    f"Choose a padding of at most {kernel // 2}, or a larger kernel.",
                )
        if min(self.output_size) < 1:
            raise UsageError(
                f"The output would be empty: no window of {size_text(self.kernel)} fits into {size_text(self.input_size)}.",
                "" if self.dilation == (1, 1) else f"The dilation is {size_text(self.dilation)}.",
                "Choose a smaller kernel, or ceil mode.",
            )

    @property
    def out_channels(self) -> int:
        """The number of output channels, equal to that of the input."""
        return self.in_channels

    @property
    def output_size(self) -> Pair:
        """(rows, columns) of the output."""
        if self.adaptive:
            return self.adaptive
        rows, columns = (pooling_size(*axis, ceil_mode=self.ceil_mode) for axis in self._axes())
        return rows, columns

    def window(self, row: int, column: int) -> tuple[range, range]:
        """The rows and columns that one output cell pools; those outside the input are padding.

        In ceil mode a window ends with the padded input.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        if self.adaptive:
            rows, columns = (
                adaptive_window(at, *sizes)
                for at, sizes in zip((row, column), zip(self.input_size, self.adaptive, strict=True), strict=True)
            )
            return rows, columns
        rows, columns = (
            _up_to(window(at, *axis[1:]), axis[0] + axis[3])
            for at, axis in zip((row, column), self._axes(), strict=True)
        )
        return rows, columns

    def reads(self, row: int, column: int) -> tuple[list[int], list[int]]:
        """The rows and columns of the input itself that one output cell reads.

        Raises:
            UsageError: there is no such cell.
        """
        return _inside(self.window(row, column), self.input_size)

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The formulas of the output size: rows, then columns."""
        if self.adaptive:
            rows, columns = (adaptive_formula(*sizes) for sizes in zip(self.input_size, self.adaptive, strict=True))
            return rows, columns
        rows, columns = (
            window_formula(size, kernel, stride, (padding, padding), dilation, result, ceil_mode=self.ceil_mode)
            for (size, kernel, stride, padding, dilation), result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """The number of rows and columns of the padded input that no window reads, at any position."""
        rows, columns = self._unread()
        return rows[0], columns[0]

    @property
    def left_over(self) -> Pair:
        """The number of those at the end."""
        rows, columns = self._unread()
        return rows[1], columns[1]

    def _unread(self) -> tuple[Pair, Pair]:
        if self.adaptive:  # adaptive windows cover the whole input
            return (0, 0), (0, 0)
        rows, columns = (
            unread(size + 2 * padding, kernel, stride, dilation, outputs)
            for (size, kernel, stride, padding, dilation), outputs in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    weights = parameters = dense_parameters = macs = 0

    def _axes(self) -> tuple[tuple[int, int, int, int, int], tuple[int, int, int, int, int]]:
        """Size, kernel, stride, padding and dilation of the rows, and of the columns."""
        rows, columns = zip(self.input_size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return rows, columns


def _up_to(positions: range, end: int) -> range:
    return range(positions.start, min(positions.stop, end), positions.step)


def _largest_windows(size: Pair, output_size: Pair) -> Pair:
    rows, columns = (
        max(len(adaptive_window(at, side, outputs)) for at in range(outputs))
        for side, outputs in zip(size, output_size, strict=True)
    )
    return rows, columns


Operation: TypeAlias = Convolution | TransposedConvolution | Pooling
