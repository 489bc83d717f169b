"""The maps of several kernels, then ReLU, then pooling: the numbers, as text and as fields of a document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.operations import Convolution
from kernelviz.arithmetic.steps import exact_mean
from kernelviz.arithmetic.windows import count, size_text
from kernelviz.errors import UsageError
from kernelviz.explain.texts import (
    bias_number,
    broken_notes,
    display_text,
    equals_sign,
    number_texts,
    plane_terms,
    short_formula,
    size_lines,
    sum_numbers,
)
from kernelviz.records import listed
from kernelviz.wording import counted, factor_text, inflected, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.steps import Step
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array

MOST_ROWS, MOST_SIDE, MOST_PLANES = 4, 32, 4  # kernels; rows or columns of the padded input; input channels
_POOL = re.compile(r"(avg|max)?([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class Pool:
    """A pool of ``size`` × ``size`` with the same stride, of the maximum or the average."""

    size: int
    average: bool = False

    @property
    def name(self) -> str:
        """``max-pool`` or ``avg-pool``."""
        return "avg-pool" if self.average else "max-pool"

    def of(self, values: Array) -> Array:
        """Pool (rows, columns) of ``Decimal``; what is left over at the end is ignored."""
        rows, columns = (side // self.size for side in values.shape)
        result = np.empty((rows, columns), object)
        for i, j in np.ndindex(rows, columns):
            block = [*self.block(values, i, j).flat]
            if self.average:
                result[i, j] = exact_mean(block, len(block))
            else:
                result[i, j] = max(block)
        return result

    def block(self, values: Array, row: int, column: int) -> Array:
        """The cells that one cell of the pool reads."""
        q = self.size
        return values[row * q : (row + 1) * q, column * q : (column + 1) * q]

    def passed_on(self, values: Array) -> Array:
        """Which cells a max pool passes on: the first of equal ones in each block, as in torch."""
        mask = np.zeros(values.shape, bool)
        if not self.average:
            for i, j in np.ndindex(*(side // self.size for side in values.shape)):
                block = self.block(values, i, j)
                first = next(at for at, value in enumerate(block.flat) if value == max(block.flat))
                mask[i * self.size + first // self.size, j * self.size + first % self.size] = True
        return mask


def as_pool(pool: int | str | None) -> Pool | None:
    """The pool that ``2``, ``"avg2"`` or ``"max2"`` means.

    Raises:
        UsageError: it is something else.
    """
    if pool is None:
        return None
    if isinstance(pool, str):
        match = _POOL.fullmatch(pool.strip().lower())
        if match is None:
            raise UsageError(f"The pool must be a size such as 2, or avg2, but got {pool!r}.", hint="For example 2.")
        return Pool(int(match[2]), match[1] == "avg")
    return Pool(count("pool", pool))


@dataclass(frozen=True)
class MapRow:
    """One kernel: its map (rows, columns) of ``Decimal``, after ReLU and after pooling, each None if not requested.

    ``at`` is the first cell with the largest number; None if all are equal. ``more`` counts other cells with it.
    """

    channel: int
    name: str
    values: Array
    relu: Array | None
    pooled: Array | None
    at: tuple[int, int] | None
    more: int

    @property
    def cut(self) -> Array:
        """Which cells are negative, so that ReLU makes them 0."""
        return np.array([value < 0 for value in self.values.flat]).reshape(self.values.shape)


@dataclass(frozen=True)
class Maps:
    """The maps of a convolution's kernels, up to ``most``, and what follows."""

    worked: Walkthrough
    relu: bool
    pool: Pool | None
    names: tuple[str, ...]
    most: int = MOST_ROWS

    @cached_property
    def rows(self) -> tuple[MapRow, ...]:
        """One for each kernel that is shown."""
        return tuple(self._row(channel) for channel in range(min(self.most, len(self.worked.output))))

    def _row(self, channel: int) -> MapRow:
        values = self.worked.results(channel)
        relu = np.array([*(max(value, Decimal(0)) for value in values.flat), None], object)[:-1].reshape(values.shape)
        last = relu if self.relu else values
        at, more = self.worked.largest(channel) or (None, values.size - 1)
        return MapRow(
            channel=channel,
            name=self.names[channel] or f"kernel {channel}",
            values=values,
            relu=relu if self.relu else None,
            pooled=None if self.pool is None else self.pool.of(last),
            at=at,
            more=more,
        )

    @property
    def stages(self) -> str:
        """``convolution, then ReLU, then pooling``."""
        pool = [] if self.pool is None else ["average pooling" if self.pool.average else "pooling"]
        return ", then ".join(["convolution", *(["ReLU"] if self.relu else []), *pool])

    @property
    def notes(self) -> list[str]:
        """What is left out, and what has nothing to be framed."""
        found, total = [], len(self.worked.output)
        if total > len(self.rows):
            found.append(f"{len(self.rows)} of {total:,} kernels")
        for row in self.rows:
            if row.at is None:
                found.append(f"all numbers of the map of {row.name} are equal: none is framed")
            elif self.relu and row.values[row.at] <= 0:
                found.append(f"the largest number of the map of {row.name} is {value_text(row.values[row.at])}: "
                             "ReLU leaves only zeros")  # fmt: skip
        if self.pool is not None:
            over = [side % self.pool.size for side in self.worked.operation.output_size]
            lost = [counted(n, noun) for n, noun in zip(over, ("row", "column"), strict=True) if n]
            if lost:
                found.append(f"the pool does not use {' and '.join(lost)} at the end of each map")
        return found + broken_notes(self.worked)


def as_maps_of(
    worked: Walkthrough, *, relu: bool = False, pool: int | str | None = None, names: Sequence[str] | None = None
) -> Maps:
    """The maps of a walkthrough.

    Raises:
        UsageError: It is no convolution, the input is too large, the pool does not fit, values are not finite, or the names
            are not one per kernel.
    """
    operation = worked.operation
    if not isinstance(operation, Convolution):
        raise UsageError(
            "Maps are shown of a convolution.",
            "What would follow a transposed convolution or a pool is not a map of matches.",
            "Give a Convolution.",
        )
    rows, columns = worked.canvas.padding.shape
    if max(rows, columns) > MOST_SIDE:
        raise UsageError(
            f"The padded input is {size_text((rows, columns))}.",
            f"Maps are shown of inputs up to {MOST_SIDE} × {MOST_SIDE}.",
            f"Choose an input up to {MOST_SIDE} × {MOST_SIDE}, or give --at instead of --maps.",
        )
    if len(worked.input) > MOST_PLANES:
        raise UsageError(
            f"The input has {len(worked.input):,} channels.", f"Maps are shown of up to {MOST_PLANES} input channels.",
            "Choose fewer.",
        )  # fmt: skip
    if not np.isfinite(worked.output).all():
        raise UsageError("Maps cannot be shown if values are not finite.", hint="Choose smaller numbers.")
    found = as_pool(pool)
    if found is not None and found.size > min(operation.output_size):
        raise UsageError(
            f"The pool of {size_text((found.size, found.size))} is larger than the map.",
            f"The map is {size_text(operation.output_size)}.",
            "Choose a smaller pool, or a larger input.",
        )
    if names is not None and len(names) != len(worked.output):
        raise UsageError(f"There must be one name per kernel, {len(worked.output)}, but got {len(names)}.")
    return Maps(worked, bool(relu), found, tuple(names or [""] * len(worked.output)))


def answer_text(worked: Walkthrough, row: MapRow, at: tuple[int, int]) -> str:
    """``7 = 3×1 + 2×1 + 2×1``: a number of a map as the sum of those products of its window that are not 0."""
    step = worked.step(*at, row.channel)
    terms = _terms(step)
    bias = bias_number(step)
    if bias:
        terms.append(factor_text(bias))
    value = value_text(row.values[at])
    equals = equals_sign(*sum_numbers(step))
    return f"{value} {equals} {' + '.join(terms)}" if terms else value


def _terms(step: Step) -> list[str]:
    products = step.exact_products
    if products is None:
        return []
    found = [term for plane in range(len(step.window)) for term in plane_terms(step, plane)]
    return [term for term, product in zip(found, products.flat, strict=True) if product]


def more_text(row: MapRow) -> str:
    """``, and 2 more places`` with the largest number; empty if there is only one."""
    return f", and {row.more:,} more {inflected(row.more, 'place')}" if row.more else ""


def formula_text(maps: Maps) -> str:
    """``8 − 3 + 1 = 6``: the size of a map; empty if rows and columns differ."""
    rows, columns = maps.worked.operation.formulas
    return short_formula(rows, str(rows.result)) if rows == columns else ""


def pool_formula(pool: Pool, size: tuple[int, int]) -> str:
    """``6 / 2 = 3``; with brackets if something is left over; empty if rows and columns differ."""
    if size[0] != size[1]:
        return ""
    text = f"{size[0]} / {pool.size}"
    return f"{text if size[0] % pool.size == 0 else f'⌊{text}⌋'} = {size[0] // pool.size}"


def maps_lines(maps: Maps) -> list[str]:
    """The numbers as lines of text."""
    worked = maps.worked
    numbers = [row.values for row in maps.rows]
    note = display_text(worked, worked.input, worked.kernel, worked.bias, *numbers, marked=True)
    lines = [
        *size_lines(worked.operation),
        f"stages      {maps.stages}",
        f"numbers     {note.removeprefix('numbers ')}",
    ]
    typed = worked.typed.get("input")
    for plane, values in enumerate(worked.input):
        name = f"input channel {plane}" if len(worked.input) > 1 else "input"
        lines += ["", name, *_table(number_texts(values, None if typed is None else typed[plane]))]
    typed = worked.typed.get("kernel")
    for row in maps.rows:
        kernel = worked.kernel[row.channel] if worked.kernel is not None else worked.input[:0]
        tables = [
            ("" if plane else row.name, number_texts(each, None if typed is None else typed[row.channel, plane]))
            for plane, each in enumerate(kernel)
        ]
        tables.append(("map", number_texts(row.values)))
        tables += [] if row.relu is None else [("ReLU", number_texts(row.relu))]
        tables += [] if row.pooled is None or maps.pool is None else [(maps.pool.name, number_texts(row.pooled))]
        lines += ["", *_beside(tables)]
        if row.at is not None:
            where = f"row {row.at[0]}, column {row.at[1]}"
            lines.append(f"  largest at {where}: {answer_text(worked, row, row.at)}{more_text(row)}")
    return [*lines, *([""] if maps.notes else []), *maps.notes]


def _table(texts: Array) -> list[str]:
    wide = max(len(text) for text in texts.flat)
    return ["  " + " ".join(text.rjust(wide) for text in row) for row in texts]


def _beside(tables: Sequence[tuple[str, Array]]) -> list[str]:
    """Tables beside each other, with their names above them."""
    blocks = [[f"  {name}", *_table(texts)] for name, texts in tables]
    tall = max(map(len, blocks))
    widths = [max(map(len, block)) for block in blocks]
    full = [[*block, *([""] * (tall - len(block)))] for block in blocks]
    rows = zip(*full, strict=True)
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def maps_entry(maps: Maps) -> dict[str, Any]:
    """The fields of the JSON document."""

    def numbers(values: Array | None) -> list[list[float]] | None:
        return None if values is None else listed(values.astype(np.float64))

    pool = maps.pool
    return {
        "relu": maps.relu,
        "pool": None if pool is None else {"size": pool.size, "kind": "average" if pool.average else "max"},
        "maps": [
            {
                "kernel": row.channel, "name": row.name, "map": numbers(row.values), "relu": numbers(row.relu),
                "pooled": numbers(row.pooled), "cut": int(row.cut.sum()) if maps.relu else None,
                "largest": None if row.at is None else {
                    "value": float(row.values[row.at]) + 0.0, "at": list(row.at), "more": row.more,
                    "text": answer_text(maps.worked, row, row.at),
                },
            }
            for row in maps.rows
        ],
    }  # fmt: skip
