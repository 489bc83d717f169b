"""The three operations as plain integers: convolution, transposed convolution and pooling.

Each knows its sizes, its windows and its weights, and refuses what torch refuses.
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
    """What every convolution has: channels in groups, weights, and what a dense layer would take instead."""

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
        """The shape of the weight as torch stores it; a transposed one's begins with the input channels."""
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return first, second // self.groups, *self.kernel

    @property
    def weights(self) -> int:
        """How many weights there are, without the bias."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]

    @property
    def parameters(self) -> int:
        """Weights, and a bias for each output channel where there is one."""
        return self.weights + (self.out_channels if self.bias else 0)

    @property
    def dense_parameters(self) -> int:
        """What a dense layer from all the input to all the output would take."""
        inputs = self.in_channels * self.input_size[0] * self.input_size[1]
        outputs = self.out_channels * self.output_size[0] * self.output_size[1]
        return inputs * outputs + (outputs if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-adds for one input, those with padding counted too; the bias is none."""
        rows, columns = self.input_size if self.transposed else self.output_size
        return rows * columns * self.weights

    def take(
        self, *, input_size: Sides, kernel: Sides, stride: Sides, dilation: Sides,
        groups: int, in_channels: int, out_channels: int, bias: bool,
    ) -> None:  # fmt: skip
        """Set what every convolution has; UsageError where a number is none that torch takes."""
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

    def check_groups(self) -> None:
        """Raise UsageError where the groups do not divide the channels."""
        for name, channels in (("input", self.in_channels), ("output", self.out_channels)):
            if channels % self.groups:
                raise UsageError(
                    f"The {name} channels must be divisible by the groups, but got {channels} and {self.groups}.",
                    "Each group reads an equal share of the channels and makes an equal share.",
                    f"Take groups that divide {self.in_channels} and {self.out_channels}, or other channels.",
                )


@dataclass(frozen=True, init=False)
class Convolution(Weighted):
    """A 2-D convolution of an input of a known size, with torch's meaning of every number.

    Sides are (height, width), ``padding`` is (top, bottom, left, right). ``padding_name`` is ``same`` or ``valid`` where it
    was asked for so.
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
        """Take each side as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of the kernel.
            stride: by how much the window moves.
            padding: zeros around the input: a number, height and width, (top, bottom, left, right), ``valid`` for none,
                or ``same`` for what keeps the size (the odd one behind, as torch does it).
            dilation: how far the taps of the kernel are apart.
            groups: into how many groups the channels fall.
            in_channels: channels of the input.
            out_channels: channels of the output.
            bias: whether a number is added to each output channel.

        Raises:
            UsageError: torch would refuse it: a number that is not positive, a negative padding, ``same`` with a stride,
                channels that the groups do not divide, or a kernel larger than the padded input.
        """
        self.take(
            input_size=input_size, kernel=kernel, stride=stride, dilation=dilation,
            groups=groups, in_channels=in_channels, out_channels=out_channels, bias=bias,
        )  # fmt: skip
        set_fields(self, padding_name=padding if isinstance(padding, str) else "")
        set_fields(self, padding=self._edges(padding))
        self.check_groups()
        self._check_fit()

    def _edges(self, padding: Padding) -> Edges:
        if not isinstance(padding, str):
            return edges("padding", padding)
        if padding not in ("same", "valid"):
            raise UsageError(
                f"The padding must be numbers, same or valid, but got {padding!r}.",
                "same keeps the size, valid pads nothing.",
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
                "torch refuses it: with a stride the output is smaller than the input.",
                f"Padding {top},{bottom},{left},{right} (top, bottom, left, right) does what TensorFlow calls same.",
            )
        return top, bottom, left, right

    def _check_fit(self) -> None:
        top, bottom, left, right = self.padding
        padded = self.input_size[0] + top + bottom, self.input_size[1] + left + right
        if self.span[0] > padded[0] or self.span[1] > padded[1]:
            dilated = "" if self.span == self.kernel else f" spans {size_text(self.span)} with its dilation, which"
            raise UsageError(
                f"The {size_text(self.kernel)} kernel{dilated} is larger than the input.",
                f"With its padding the input has {size_text(padded)}.",
                "Take a smaller kernel or dilation, or more padding.",
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
        """The rows and columns that one output cell multiplies; negative ones and those behind are padding.

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
        rows, columns = (
            [at for at in side if 0 <= at < size]
            for side, size in zip(self.window(row, column), self.input_size, strict=True)
        )
        return rows, columns

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The size of the output in letters and numbers: rows, then columns."""
        rows, columns = (
            window_formula(size, kernel, stride, padding, dilation, result)
            for (size, padding, kernel, stride, dilation), result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """How many rows and columns of the padded input no window reads, wherever they lie."""
        rows, columns = self._unread()
        return rows[0], columns[0]

    @property
    def left_over(self) -> Pair:
        """How many of them lie at the end, for the stride is too long."""
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


def check_cell(size: Pair, row: int, column: int) -> None:
    """Refuse a cell that the output does not have.

    Raises:
        UsageError: it is outside, or no whole numbers.
    """
    try:
        row, column = operator.index(row), operator.index(column)
    except TypeError:
        what = f"A cell is a row and a column, but got {row!r} and {column!r}."
        raise UsageError(what, "They count from 0 and are whole.", "For example (0, 2).") from None
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise UsageError(
            f"There is no output cell at row {row}, column {column}.",
            f"The output is {size_text(size)}.",
            f"Rows go from 0 to {size[0] - 1}, columns from 0 to {size[1] - 1}.",
        )


def set_fields(record: object, **values: object) -> None:
    """Set the fields of a frozen record that makes itself."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


@dataclass(frozen=True, init=False)
class TransposedConvolution(Weighted):
    """A 2-D transposed convolution of an input of a known size, with torch's meaning of every number.

    Sides are (height, width). Each input value stamps the kernel onto the output, ``stride`` apart; ``padding`` is cut off
    the output at both ends, ``output_padding`` is added behind.
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
        """Take each side as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of the kernel.
            stride: how far the stamps are apart.
            padding: how many rows and columns are cut off the output at each end.
            output_padding: how many are added to it behind; below the stride or the dilation.
            dilation: how far the taps of the kernel are apart.
            groups: into how many groups the channels fall.
            in_channels: channels of the input.
            out_channels: channels of the output.
            bias: whether a number is added to each output channel.

        Raises:
            UsageError: torch would refuse it: a number that is not positive, a negative padding, an output padding that
                neither stride nor dilation exceeds, channels that the groups do not divide, or nothing that comes out.
        """
        self.take(
            input_size=input_size, kernel=kernel, stride=stride, dilation=dilation,
            groups=groups, in_channels=in_channels, out_channels=out_channels, bias=bias,
        )  # fmt: skip
        paddings = {"padding": padding, "output_padding": output_padding}
        set_fields(self, **{name: pair(name.replace("_", " "), sides, least=0) for name, sides in paddings.items()})
        self.check_groups()
        for more, stride_, dilation_ in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(stride_, dilation_):
                raise UsageError(
                    f"The output padding must be smaller than the stride or the dilation, but got {more}.",
                    f"The stride is {stride_}, the dilation {dilation_}: it tells apart sizes that one stride merges.",
                    "Take a smaller output padding.",
                )
        if min(self._sizes()) < 1:
            raise UsageError(
                f"Nothing comes out: the output would have {size_text([max(0, side) for side in self._sizes()])}.",
                f"The padding cuts {sides_text(self.padding)} off each end.",
                "Take a smaller padding.",
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
        """The input with ``stride - 1`` zeros between its values: ``(i - 1)s + 1``."""
        rows, columns = ((size - 1) * stride + 1 for size, stride in zip(self.input_size, self.stride, strict=True))
        return rows, columns

    @property
    def implicit_padding(self) -> Edges:
        """The zeros around the stretched input over which it is a convolution: ``d(k - 1) - p``, cut off where negative.

        (top, bottom, left, right); the output padding adds to the bottom and the right.
        """
        before = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)]
        return before[0], before[0] + self.output_padding[0], before[1], before[1] + self.output_padding[1]

    def window(self, row: int, column: int) -> tuple[range, range]:
        """The rows and columns of the stretched input that the turned kernel multiplies for one output cell.

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
        """The rows and columns of the input whose stamps meet on one output cell.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        rows, columns = (
            [place for place in transposed_window(at, kernel, stride, padding, dilation) if 0 <= place < size]
            for at, (size, kernel, stride, padding, dilation, _) in zip((row, column), self._axes(), strict=True)
        )
        return rows, columns

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The size of the output in letters and numbers: rows, then columns."""
        rows, columns = (
            transposed_formula(*axis, result) for axis, result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """How many rows and columns of the input reach no output cell: the padding cuts off all that they stamp."""
        rows, columns = (
            unreached(*axis[:5], outputs) for axis, outputs in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    def _axes(self) -> tuple[tuple[int, int, int, int, int, int], tuple[int, int, int, int, int, int]]:
        """Size, kernel, stride, padding, dilation and output padding of the rows, and of the columns."""
        sides = (self.input_size, self.kernel, self.stride, self.padding, self.dilation, self.output_padding)
        rows, columns = zip(*sides, strict=True)
        return rows, columns


PLAIN = ((0, 0), (1, 1), False, True)  # padding, dilation, ceiling, and whether padding counts


@dataclass(frozen=True, init=False)
class Pooling:
    """A 2-D max or average pool of an input of a known size, with torch's meaning of every number.

    Sides are (height, width). ``adaptive`` is the output size of an adaptive pool, whose windows follow from it; its
    ``kernel`` is its largest window. ``count_include_pad`` counts zeros of the padding into an average.
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
        """Take each side as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of a window; None for an adaptive pool.
            kind: ``max`` or ``average``.
            stride: by how much the window moves; None for the kernel's own sides.
            padding: what is around the input: zeros for an average, less than every number for a maximum.
            dilation: how far the cells of a window are apart; for ``max`` alone.
            ceil_mode: whether a last window that reaches out of the padded input counts, too.
            count_include_pad: whether padding counts in an average.
            adaptive: the size of the output of an adaptive pool, instead of everything else.
            in_channels: channels; each is pooled by itself.

        Raises:
            UsageError: torch would refuse it: a number that is not positive, a padding above half the kernel, a dilated
                average, nothing that comes out; or choices that an adaptive pool does not have.
        """
        if kind not in ("max", "average"):
            raise UsageError(f"A pool is max or average, but got {kind!r}.")
        size = pair("input size", input_size)
        if adaptive is None and kernel is None:
            raise UsageError("A pool needs a kernel.", "", "Or the output size of an adaptive one.")
        asked = None if adaptive is None else pair("adaptive size", adaptive)
        around, apart = pair("padding", padding, least=0), pair("dilation", dilation)
        if asked and (kernel, stride, around, apart, ceil_mode, count_include_pad) != (None, None, *PLAIN):
            raise UsageError(
                "An adaptive pool takes no kernel, stride, padding, dilation or ceiling.",
                "Its windows follow from the sizes of input and output.",
                "Leave them out, or leave out the adaptive size.",
            )
        sides = _largest_windows(size, asked) if asked else pair("kernel", kernel or 0)
        values: dict[str, object] = {
            "input_size": size,
            "kernel": sides,
            "kind": kind,
            "stride": sides if stride is None else pair("stride", stride),
            "padding": around,
            "dilation": apart,
            "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
            "adaptive": asked,
            "in_channels": count("number of channels", in_channels),
        }
        set_fields(self, **values)
        self._check()

    def _check(self) -> None:
        if self.kind == "average" and self.dilation != (1, 1):
            raise UsageError("An average pool has no dilation.", "torch dilates max pools alone.", "Leave it out.")
        for padding, kernel in zip(self.padding, self.kernel, strict=True):
            if padding > kernel // 2:
                raise UsageError(
                    f"The padding must be at most half of the kernel, but got {padding} of {kernel}.",
                    "A window would lie in the padding alone.",
                    f"Take a padding of at most {kernel // 2}, or a larger kernel.",
                )
        if min(self.output_size) < 1:
            raise UsageError(
                f"Nothing comes out: no window of {size_text(self.kernel)} fits into {size_text(self.input_size)}.",
                "" if self.dilation == (1, 1) else f"The dilation is {size_text(self.dilation)}.",
                "Take a smaller kernel, or ceil mode.",
            )

    @property
    def out_channels(self) -> int:
        """As many as come in."""
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
        rows, columns = (
            [at for at in side if 0 <= at < size]
            for side, size in zip(self.window(row, column), self.input_size, strict=True)
        )
        return rows, columns

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The size of the output in letters and numbers: rows, then columns."""
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
        """How many rows and columns of the padded input no window reads, wherever they lie."""
        rows, columns = self._unread()
        return rows[0], columns[0]

    @property
    def left_over(self) -> Pair:
        """How many of them lie at the end."""
        rows, columns = self._unread()
        return rows[1], columns[1]

    def _unread(self) -> tuple[Pair, Pair]:
        if self.adaptive:  # windows that follow from the sizes leave nothing out
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
