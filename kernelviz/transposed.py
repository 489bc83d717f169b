"""Transposed convolutions as plain integers: sizes, windows, and what torch refuses of them."""

from __future__ import annotations

from dataclasses import dataclass

from kernelviz.arithmetic import transposed_size, transposed_window, unreached, window
from kernelviz.convolutions import Weighted, check_cell, set_fields
from kernelviz.errors import UsageError
from kernelviz.sides import Edges, Pair, Sides, pair, sides_text, size_text
from kernelviz.size_formulas import Formula, transposed_formula


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
