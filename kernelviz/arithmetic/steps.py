"""One step of a convolution or a pool: the values under the window, with the padding around and the zeros between."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kernelviz.notebook import html_planes, record_repr, side_by_side
from kernelviz.wording import decimal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class AxisCells:
    """What some positions along one axis of a padded, stretched input hold; four arrays of one length.

    ``index`` is the row of the input, clipped to the rows that exist; ``present`` is False if there is no such row or the
    position is ``between`` two of them. ``padding`` marks positions outside the layer's own input.
    """

    index: Array
    present: Array
    padding: Array
    between: Array

    __repr__ = record_repr

    def at(self, position: Any) -> AxisCells:
        """Some of them, by an index into the first axis of each array."""
        return AxisCells(self.index[position], self.present[position], self.padding[position], self.between[position])


def axis_cells(positions: Array, size: int, *, stride: int = 1, own: tuple[int, int] | None = None) -> AxisCells:
    """The cells at these positions; row i of the input is at ``i * stride``, with zeros between.

    Args:
        positions: Whole numbers; negative ones, and those behind the last row, are padding.
        size: How many rows there are.
        stride: The distance of two rows: that of a transposed convolution, else 1.
        own: The first row of the layer's own input and the one behind its last; None for all rows. The other rows hold
            padding that was put around the input before.
    """
    first, stop = own or (0, size)
    index, between = np.floor_divide(positions, stride), positions % stride != 0
    return AxisCells(
        index=np.clip(index, 0, size - 1),
        present=(index >= 0) & (index < size) & ~between,
        padding=(positions < first * stride) | (positions > (stop - 1) * stride),
        between=between,
    )


def read_cells(values: Array, rows: AxisCells, columns: AxisCells) -> tuple[Array, Array, Array]:
    """What is at these rows and columns of (C, H, W).

    Returns:
        The values (C, h, w) in float64, 0 for what is not there; and two masks (h, w): the padding, and the zeros between
        values of a stretched input.
    """
    padding = rows.padding[:, None] | columns.padding
    found = pick_cells(values.astype(np.float64), rows, columns, 0.0)
    return found, padding, (rows.between[:, None] | columns.between) & ~padding


def pick_cells(values: Array, rows: AxisCells, columns: AxisCells, absent: float | str) -> Array:
    """What is at these rows and columns of (C, H, W), and ``absent`` where nothing is."""
    found = values[:, rows.index[:, None], columns.index]
    found[:, ~(rows.present[:, None] & columns.present)] = absent
    return found


_EXACT = Context(prec=5000)  # digits: more than any sum of floats has
_AVERAGES = Context(prec=50)  # which may have no end


def _product(value: float, weight: float) -> Decimal:
    if not (np.isfinite(value) and np.isfinite(weight)):
        with np.errstate(all="ignore"):
            return decimal_of(float(np.float64(value) * np.float64(weight)))
    return _within_floats(_EXACT.multiply(decimal_of(value), decimal_of(weight)))


def _within_floats(number: Decimal) -> Decimal:
    """A finite number, or ±∞ if it is beyond every float, as the output then is."""
    if number.adjusted() < sys.float_info.max_10_exp:
        return number
    rounded = float(number)
    return number if math.isfinite(rounded) else decimal_of(rounded)


def exact_sum(terms: Iterable[Decimal], *, within_floats: bool = True) -> Decimal:
    """The sum without rounding; inf or nan if a term is not finite, and ``within_floats`` inf if it is beyond them."""
    total, rest = Decimal(0), []
    for term in terms:
        if term.is_finite():
            total = _EXACT.add(total, term)
        else:
            rest.append(float(term))
    if rest:
        return decimal_of(sum(rest))
    return _within_floats(total) if within_floats else total


def exact_mean(terms: Sequence[Decimal], count: int) -> Decimal:
    """The sum of the terms divided by the count, to 50 digits; the sum itself may be beyond every float."""
    return _AVERAGES.divide(exact_sum(terms, within_floats=False), Decimal(count))


@dataclass(frozen=True)
class Step:
    """How one output cell is computed: ``value`` is the sum of ``products`` and the bias, in float64.

    ``at`` is its row and column, ``channel`` its channel. ``window`` (C, h, w) holds the values that are read, of the
    input ``channels``. ``padding`` (h, w) marks those around the input, ``stretched`` the zeros between its values.
    ``weights`` has the shape of ``window``; it is None for a pool. ``counted`` is the divisor of an average.
    ``window_texts`` and ``weight_texts`` hold how the numbers were typed, an empty text or None if they were not; so does
    ``bias_text``.

    Example:
        >>> image = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2), image, [[1, 0], [0, 2]])
        >>> step = worked.step(1, 0)
        >>> step.window[0]
        array([[4., 5.],
               [7., 8.]])
        >>> step.products[0]
        array([[ 4.,  0.],
               [ 0., 16.]])
        >>> step.value
        20.0
    """

    at: tuple[int, int]
    channel: int
    channels: tuple[int, ...]
    window: Array
    padding: Array
    stretched: Array
    weights: Array | None
    bias: float | None
    value: float
    counted: int | None = None
    window_texts: Array | None = None
    weight_texts: Array | None = None
    bias_text: str = ""

    @property
    def exact_products(self) -> Array | None:
        """(C, h, w) of ``Decimal``: the products of the shortest decimals of the factors, without rounding."""
        if self.weights is None:
            return None
        factors = zip(self.window.ravel(), self.weights.ravel(), strict=True)
        result = np.array([_product(float(value), float(weight)) for value, weight in factors] + [None], object)
        return result[:-1].reshape(self.window.shape)

    @property
    def exact_sums(self) -> Array | None:
        """(C,) of ``Decimal``: what each input channel contributes, without rounding."""
        products, overflows = self.exact_products, not np.isfinite(self.value)
        if products is None:
            return None
        sums = (exact_sum(each.ravel(), within_floats=overflows) for each in products)
        return np.array([*sums, None], object)[:-1]

    @property
    def exact(self) -> Decimal:
        """The value without rounding: what the decimals of its terms make, which 0.1 + 0.2 in floats is not."""
        if not np.isfinite(self.value):
            return decimal_of(self.value)
        if self.weights is not None:
            sums = self.exact_sums
            return exact_sum([*(() if sums is None else sums), decimal_of(self.bias or 0.0)], within_floats=False)
        if self.counted is None:
            return decimal_of(self.value)
        return exact_mean([decimal_of(each) for each in self.window[0][~self.padding]], self.counted)

    __repr__ = record_repr

    def _repr_html_(self) -> str:
        """The window, and of a convolution the kernel, the products and the value, as tables."""
        tables = [html_planes("window", self.window)]
        if self.weights is not None and self.products is not None:
            tables += [html_planes("kernel", self.weights), html_planes("products", self.products)]
        if self.bias is not None:
            tables.append(html_planes("bias", [[[self.bias]]]))
        return side_by_side([*tables, html_planes("value", [[[self.value]]])])

    @property
    def products(self) -> Array | None:
        """(C, h, w): what each weight contributes; None for a pool."""
        with np.errstate(all="ignore"):
            return None if self.weights is None else self.window * self.weights

    @property
    def sums(self) -> Array | None:
        """(C,): what each input channel contributes; None for a pool."""
        products = self.products
        with np.errstate(all="ignore"):
            return None if products is None else np.asarray(products.sum(axis=(1, 2)))

    def strongest(self, count: int) -> tuple[int, ...]:
        """The positions, in ``channels``, of those that contribute most in size, the largest first; NaN counts as most."""
        return largest(np.zeros(len(self.channels)) if self.sums is None else np.abs(self.sums), count)


def largest(sizes: Array, count: int) -> tuple[int, ...]:
    """The positions of the largest sizes in descending order; NaN is the largest, equal ones stay in order."""
    return tuple(np.argsort(-np.where(np.isnan(sizes), np.inf, sizes), kind="stable")[:count].tolist())
