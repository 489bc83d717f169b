"""Convolutions as plain integers: sizes, windows, weights, and what torch refuses of them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kernelviz.arithmetic import convolution_size, same_padding, unread, window
from kernelviz.errors import UsageError
from kernelviz.sides import Edges, Pair, Sides, count, edges, pair, sides_text, size_text
from kernelviz.size_formulas import Formula, window_formula

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
