"""How the kernels of a layer changed over the checkpoints of a training: NumPy only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import are_colours, as_array, check_positive, shape_text
from kernelviz.views.kernel_views import named_channels
from kernelviz.wording import UNKNOWN, aligned, counted, inflected, number_text, numbers_text, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, ConvLayer, Source, Weights

AT_ONCE = 1 << 16
"""Values that are converted to float64 at a time."""
MOST = 10_000
"""Checkpoints of one history."""
SHOWN = 8
"""Kernels that are drawn unless others are chosen."""
LARGEST_STEP = 1e15
"""From this size on steps are written as powers of ten."""
NUMBERED = "numbered as given"
"""Where steps come from that nothing states."""


@dataclass(frozen=True)
class KernelHistory:
    """The kernels of one layer at the T checkpoints of a training.

    ``weights`` (T, n, I, *k) are those of the kernels with the numbers ``kernels``, n of the O of the layer. Of all
    kernels there are ``norms`` (T, O), ``cosines`` (T, O) to the last checkpoint, ``first_cosines`` (T, O) to the first one
    and ``changes`` (T, O), ‖w[t] − w[t−1]‖ / ‖w[t−1]‖, in float64. They are NaN where a kernel is zero or not finite, and
    changes at the first checkpoint. ``limit`` is the largest finite size of a weight, and ``sum_limit`` that of a sum over
    the input channels, of all kernels at all checkpoints; ``nonfinite`` (T,) counts the weights that are not finite.

    ``steps`` are the numbers on the axis, ``step_source`` is where they come from. ``labels`` name the checkpoints,
    ``sources`` are their weights; None for arrays.

    Example:
        >>> weights = np.ones((3, 2, 1, 3, 3), np.float32)  # three checkpoints of two kernels
        >>> weights[1:, 0] *= 2
        >>> history = kernelviz.read_history(None, weights)
        >>> history.norms[:, 0]
        array([3., 6., 6.])
        >>> history.changes[1]
        array([1., 0.])
    """

    weights: Array
    kernels: tuple[int, ...]
    norms: Array
    cosines: Array
    first_cosines: Array
    changes: Array
    limit: float
    sum_limit: float
    nonfinite: Array
    steps: tuple[float, ...]
    labels: tuple[str, ...]
    layer: ConvLayer | None = None
    groups: int = 1
    step_source: str = NUMBERED
    source: Source | None = None
    sources: tuple[Weights | None, ...] = ()
    notes: tuple[str, ...] = ()
    order: str = "index"

    __repr__ = record_repr

    @property
    def total(self) -> int:
        """The number of kernels of the layer."""
        return int(self.norms.shape[1])

    @property
    def moved(self) -> Array:
        """(O,): 1 − cosine of the first and the last checkpoint; NaN if one of them is zero or not finite."""
        return np.asarray(1.0 - self.cosines[0])

    @property
    def grows(self) -> bool:
        """Whether the steps increase from checkpoint to checkpoint; two that hold the same kernels may have one step."""
        return grow(self.steps, self.changes)

    @property
    def axis(self) -> tuple[float, ...]:
        """The positions of the checkpoints on the axis: their steps, or their numbers from 1 if the steps do not grow."""
        return self.steps if self.grows else tuple(range(1, len(self.steps) + 1))

    def shown(self, channels: str | Sequence[int] | None = None, top: int | None = None) -> tuple[int, ...]:
        """The kernels to draw: the chosen ones, or those kept that moved most, eight of them by default.

        Raises:
            UsageError: both are given, or a kernel does not exist or was not kept.
        """
        if channels is None and self.order == "moved most":
            return self.kernels[: check_positive("number of kernels", top) or SHOWN]
        found = choose_kernels(self.moved, self.kernels, channels, top)
        if lost := [number for number in found if number not in self.kernels]:
            what = f"The history does not hold the weights of {inflected(len(lost), 'kernel')} {numbers_text(lost)}."
            raise UsageError(what, hint="Read them: read_history(..., channels=...).")
        return found

    def __post_init__(self) -> None:
        counts = {len(each) for each in (self.weights, self.norms, self.cosines, self.steps, self.labels)}
        if len(counts) != 1 or self.weights.shape[1] != len(self.kernels):
            raise ValueError("A history needs one entry per checkpoint in each of its arrays.")


def choose_kernels(
    moved: Array, kernels: Sequence[int], channels: str | Sequence[int] | None, top: int | None
) -> tuple[int, ...]:
    """The numbers of ``channels``, or of the ``top`` kernels that moved most, eight by default; ties by number.

    Raises:
        UsageError: both are given, or a number is not one of a kernel.
    """
    if channels is not None and top is not None:
        raise UsageError("Channels and their number, top, cannot be combined.", hint="Omit one of them.")
    if channels is not None:
        return named_channels(channels, len(moved))
    count = check_positive("number of kernels", top) or SHOWN
    rank = np.where(np.isnan(moved), -np.inf, np.round(moved, 12))  # rounding errors are ties
    return tuple(sorted(kernels, key=lambda number: (-rank[number], number))[:count])


class HistoryTally:
    """The history of a layer, added up checkpoint by checkpoint.

    In memory are the banks of the first, the last and the previous checkpoint, numbers of each kernel, and the weights of
    the chosen ``kernels``.

    Args:
        first: The bank (O, I, *k) of the first checkpoint.
        last: That of the last one.
        groups: Of the convolution.
        channels: The kernels to keep; with ``top`` those that moved most, with neither all of them.
        top: As above.

    Raises:
        UsageError: a kernel does not exist.
    """

    def __init__(
        self, first: Array, last: Array, groups: int = 1, *, channels: str | Sequence[int] | None = None,
        top: int | None = None,
    ) -> None:  # fmt: skip
        self._first, self._last, self._groups = first, last, groups
        self._previous: Array | None = None
        self._norms: list[Array] = []
        self._cosines: list[Array] = []
        self._first_cosines: list[Array] = []
        self._changes: list[Array] = []
        self._nonfinite: list[int] = []
        self._weights: list[Array] = []
        self._limits = (0.0, 0.0)
        self._digests: list[bytes] = []
        every, moved = range(len(first)), 1.0 - cosines(first, last)
        self.order = "index" if channels is not None or top is None else "moved most"
        chosen = every if channels is None and top is None else choose_kernels(moved, every, channels, top)
        self.kernels = tuple(chosen)

    @property
    def count(self) -> int:
        """The number of checkpoints so far."""
        return len(self._norms)

    @property
    def same(self) -> list[list[int]]:
        """The positions of checkpoints whose banks have the same bits, those of each bank together, two or more."""
        groups: dict[bytes, list[int]] = {}
        for at, digest in enumerate(self._digests):
            groups.setdefault(digest, []).append(at)
        return [group for group in groups.values() if len(group) > 1]

    def add(self, bank: Array) -> None:
        """Add the bank of the next checkpoint.

        Raises:
            KernelvizError: its shape is not that of the others.
        """
        if bank.shape != self._last.shape:
            raise KernelvizError(f"Its kernels are {shape_text(bank.shape)}, not {shape_text(self._last.shape)}.")
        norms = np.empty(len(bank))
        for part in parts(bank):
            norms[part] = kernel_norms(bank[part])
        self._norms.append(norms)
        self._first_cosines.append(cosines(bank, self._first))
        self._cosines.append(cosines(bank, self._last))
        before = self._previous
        self._changes.append(np.full(len(bank), np.nan) if before is None else changes(before, bank))
        digest, broken = hashlib.blake2b(str(bank.dtype).encode()), 0
        for part in parts(bank):
            rows = np.ascontiguousarray(bank[part])
            digest.update(rows.data)
            broken += rows.size - int(np.count_nonzero(np.isfinite(rows)))
            sizes = _largest(rows), _largest(input_sums(rows))
            self._limits = max(self._limits[0], sizes[0]), max(self._limits[1], sizes[1])
        self._digests.append(digest.digest())
        self._nonfinite.append(broken)
        self._weights.append(bank[list(self.kernels)])
        self._previous = bank

    def result(
        self, steps: Sequence[float], labels: Sequence[str], *, notes: Sequence[str] = (), in_memory: bool = False,
        **facts: Any,
    ) -> KernelHistory:  # fmt: skip
        """The history, with the steps and labels of the checkpoints that were added, notes, and further fields.

        Checkpoints ``in_memory`` may be one tensor that an optimiser changed, of which no copies were kept.
        """
        self._previous = None
        notes = (*notes, *self._notes(steps, labels, in_memory=in_memory))
        return KernelHistory(
            np.stack(self._weights), self.kernels, np.stack(self._norms), np.stack(self._cosines),
            np.stack(self._first_cosines), np.stack(self._changes), *self._limits, np.array(self._nonfinite),
            tuple(steps), tuple(labels), groups=self._groups, order=self.order, notes=notes, **facts,
        )  # fmt: skip

    def _notes(self, steps: Sequence[float], labels: Sequence[str], *, in_memory: bool) -> list[str]:
        """Which checkpoints hold the same kernels, and that the steps do not grow."""
        notes = []
        for group in self.same:
            if len(group) == self.count:
                names = f"all {self.count:,} checkpoints" if self.count > 2 else "both checkpoints"
            else:
                names = ", ".join(labels[at] for at in group[:3])
                names += f" and {len(group) - 3:,} more" if len(group) > 3 else ""
            why = ": were copies kept? an optimiser changes tensors in place"
            notes.append(
                f"{names} hold the same kernels, bit for bit{why if in_memory and len(group) == self.count else ''}"
            )
        if not grow(steps, self._changes):
            notes.append("the steps do not grow: the axis counts the checkpoints as they were given")
        return notes


def grow(steps: Sequence[float], changes: Sequence[Array] | Array) -> bool:
    """Whether each step is larger than the one before, or equal to it if none of the kernels changed."""
    pairs = zip(steps, steps[1:], changes[1:], strict=False)
    return steps[0] < steps[-1] and all(
        one < other or (one == other and not np.any(change)) for one, other, change in pairs
    )


def as_steps(steps: Any) -> tuple[float, ...]:
    """The steps of checkpoints as numbers, whole ones as integers.

    Raises:
        UsageError: one of them is not a finite number.
    """
    found: list[float] = []
    for step in steps if hasattr(steps, "__iter__") else [steps]:
        try:
            number = math.nan if isinstance(step, str | bytes) else float(step)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"Steps must be finite numbers, but got {shown(repr(step))}.")
        found.append(int(number) if number.is_integer() and abs(number) < LARGEST_STEP else number)
    return tuple(found)


def parts(bank: Array) -> list[slice]:
    """Slices of kernels, each of about ``AT_ONCE`` values."""
    step = max(1, AT_ONCE * len(bank) // max(1, bank.size))
    return [slice(start, start + step) for start in range(0, len(bank), step)]


def _scaled(rows: Array) -> tuple[Array, Array]:
    """Kernels (n, …) as rows (n, m) in float64 divided by the size of their largest weight, and these sizes (n,)."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    sizes = np.abs(flat).max(axis=1, initial=0.0)
    with np.errstate(all="ignore"):
        return flat / np.where((sizes > 0) & np.isfinite(sizes), sizes, 1.0)[:, None], sizes


def kernel_norms(rows: Array) -> Array:
    """‖w‖ of each kernel (n, …) in float64; NaN if one of its weights is not finite."""
    with np.errstate(all="ignore"):
        unit, sizes = _scaled(rows)
        found = sizes * np.linalg.norm(unit, axis=1)
    return np.where(np.isfinite(sizes), found, np.nan)


def cosines(one: Array, other: Array) -> Array:
    """⟨a, b⟩ / (‖a‖‖b‖) of each kernel of two banks, in float64; exactly 1 for equal kernels.

    NaN for a kernel that is zero or not finite.
    """
    result = np.empty(len(one))
    for part in parts(one):
        (a, size), (b, other_size) = _scaled(one[part]), _scaled(other[part])
        with np.errstate(all="ignore"):
            found = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        valid = (size > 0) & (other_size > 0) & np.isfinite(size) & np.isfinite(other_size)
        equal = (one[part] == other[part]).reshape(len(a), -1).all(axis=1)
        result[part] = np.where(valid, np.where(equal, 1.0, np.clip(found, -1.0, 1.0)), np.nan)
    return result


def changes(before: Array, after: Array) -> Array:
    """‖b − a‖ / ‖a‖ of each kernel of two banks, in float64; NaN if a is zero or one of them is not finite."""
    result = np.empty(len(before))
    for part in parts(before):
        flat = [each[part].reshape(len(before[part]), -1).astype(np.float64) for each in (before, after)]
        size = np.abs(flat[0]).max(axis=1, initial=0.0)
        with np.errstate(all="ignore"):
            by = np.where(size > 0, size, np.nan)[:, None]
            a, b = flat[0] / by, flat[1] / by
            found = np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1)
        result[part] = np.where(np.isfinite(found), found, np.nan)
    return result


def _largest(values: Array) -> float:
    """The largest finite size of a value; 0 if there is none."""
    finite = np.isfinite(values)
    return float(np.abs(values).max(initial=0.0, where=finite))


def view_of(shape: Sequence[int], groups: int = 1, layer: ConvLayer | None = None) -> str:
    """How kernels of this shape (O, I, *k) become tiles: ``rgb``, ``inputs`` or ``sum``.

    ``inputs`` of 1 × 1 kernels are all their weights, in rows.
    """
    _, inputs, *kernel = shape
    if len(kernel) == 2 and are_colours(shape, groups, layer):
        return "rgb"
    return "inputs" if max(kernel) == 1 and inputs > 1 else "sum"


def input_sums(bank: Array) -> Array:
    """The weights of kernels (n, I, *k) added up over their input channels, (n, *k)."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(bank[:, 0] if bank.shape[1] == 1 else bank.sum(axis=1, dtype=np.float64))


def tile_values(bank: Array, view: str) -> Array:
    """The tiles of kernels (n, I, *k) in a view of ``view_of``: (n, h, w, 3) of colour, else (n, h, w).

    Kernels with more input channels are their sums over them, 1 × 1 kernels all their weights in the rows of a nearly
    square tile, whose end is filled with zeros. Slices of volumes are below each other.
    """
    if view == "rgb":
        return np.moveaxis(bank, 1, -1)
    if view == "inputs":
        flat = bank.reshape(len(bank), -1)
        columns = inputs_columns(flat.shape[1])
        rows = -(-flat.shape[1] // columns)
        padded = np.zeros((len(bank), rows * columns), bank.dtype)
        padded[:, : flat.shape[1]] = flat
        return padded.reshape(len(bank), rows, columns)
    planes = input_sums(bank)
    return planes.reshape(len(bank), -1, planes.shape[-1])


def inputs_columns(inputs: int) -> int:
    """The columns of a tile that holds so many weights, one per input channel."""
    return math.isqrt(inputs - 1) + 1


def even_positions(total: int, shown: int) -> tuple[int, ...]:
    """At most ``shown`` of ``total`` positions in a list, evenly spread, the first and the last always."""
    count = min(total, max(2, shown)) if total > 1 else total
    return tuple(dict.fromkeys(round(at * (total - 1) / max(1, count - 1)) for at in range(count)))


def irregularities(history: KernelHistory) -> tuple[str, ...]:
    """What is irregular in a history: weights that are not finite, steps that do not grow, and its notes."""
    lines = []
    broken = np.flatnonzero(history.nonfinite)
    if broken.size:
        count = int(history.nonfinite[broken[0]])
        shape = history.norms.shape[1] * int(np.prod(history.weights.shape[2:]))
        since = broken.size == len(history.steps) - broken[0]
        where = "from" if since and broken.size > 1 else "at"
        step = f"{where} {_name_of(history, int(broken[0]))}{' on' if where == 'from' else ''}"
        more = "" if since or broken.size == 1 else f", and at {counted(broken.size - 1, 'more checkpoint')}"
        lines.append(f"Not finite {step}{more}: {count:,} of {shape:,} weights there")
    return (*lines, *history.notes)


def _name_of(history: KernelHistory, at: int) -> str:
    if history.step_source == NUMBERED or not history.grows:
        return history.labels[at]
    return f"step {step_text(history.steps[at])}"


def step_text(step: float) -> str:
    """A step with separated thousands; a fraction in three significant digits."""
    whole = step == int(step) and abs(step) < LARGEST_STEP
    return f"{int(step):,}".replace("-", "−") if whole else number_text(step)


def history_entry(history: KernelHistory) -> dict[str, Any]:
    """What the JSON document states of a layer: its checkpoints, and the numbers of all its kernels."""
    sources = history.sources or (None,) * len(history.labels)
    return {
        "name": history.layer.name if history.layer else None,
        "limit": history.limit,
        "checkpoints": [
            {
                "name": name, "step": step, "nonfinite": int(lost),
                "sha256": weights.sha256 if weights else None,
                **({key: weights.location()[key] if weights else None for key in ("key", "prefix")}),
            }
            for name, step, lost, weights in zip(history.labels, history.steps, history.nonfinite, sources, strict=True)
        ],
        "kernels": [
            {
                "kernel": kernel,
                "norm": [float(history.norms[0, kernel]), float(history.norms[-1, kernel])],
                "cosine": float(history.cosines[0, kernel]),
                "moved": float(history.moved[kernel]),
            }
            for kernel in range(history.total)
        ],
    }  # fmt: skip


def history_table(history: KernelHistory, kernels: Sequence[int], *, width: int | None = None) -> list[str]:
    """A line for each of some kernels: its norm at both ends, the cosine of these, and its largest change in a step."""

    def text(value: float) -> str:
        return number_text(value) if math.isfinite(value) else UNKNOWN

    rows = []
    for kernel in kernels:
        steps = history.changes[1:, kernel]
        largest = int(np.nanargmax(steps)) if np.isfinite(steps).any() else None
        rows.append((
            str(kernel), text(float(history.norms[0, kernel])), text(float(history.norms[-1, kernel])),
            text(float(history.cosines[0, kernel])), UNKNOWN if largest is None else text(float(steps[largest])),
            "" if largest is None else step_text(history.steps[largest + 1]),
        ))  # fmt: skip
    heads = ("kernel", "norm first", "last", "cosine", "largest change", "at")
    return aligned(heads, rows, heads, width=width).splitlines()


def as_history(value: object, **facts: Any) -> KernelHistory:
    """A history, or one of plain weights (T, O, I, kh, kw): an array, a tensor, a list, or a mapping from steps to banks.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, KernelHistory):
        return value
    if isinstance(value, Mapping):
        value, facts = list(value.values()), {"steps": list(value)} | facts
    hint = "read_history(model, checkpoints, layer) returns one."
    try:
        banks = (
            [as_array(each) for each in value]
            if isinstance(value, list | tuple)
            else list(np.atleast_1d(as_array(value)))
        )
    except UsageError as error:
        what = "A history must be weights (T, O, I, kh, kw) of at least two checkpoints."
        raise UsageError(what, error.what, hint) from None
    shapes = {np.shape(bank) for bank in banks}
    first = np.shape(banks[0]) if banks else ()
    if len(banks) < 2 or len(shapes) > 1 or len(first) < 3 or 0 in first:
        shape = shape_text((len(banks), *first)) if len(shapes) < 2 else "several shapes"
        what = f"A history must be weights (T, O, I, kh, kw) of at least two checkpoints, but got {shape}."
        raise UsageError(what, hint=hint)
    return history_of(banks, **facts)


def history_of(banks: Sequence[Array] | Array, steps: Sequence[float] | None = None, **facts: Any) -> KernelHistory:
    """The history of banks (O, I, *k) that are in memory, all of whose kernels are kept."""
    tally = HistoryTally(
        banks[0], banks[-1], facts.pop("groups", 1), channels=facts.pop("channels", None), top=facts.pop("top", None)
    )
    for bank in banks:
        tally.add(bank)
    numbers = tuple(range(1, len(banks) + 1)) if steps is None else as_steps(steps)
    labels = facts.pop("labels", None) or tuple(f"checkpoint {number}" for number in range(1, len(banks) + 1))
    source = NUMBERED if steps is None else "as given"
    return tally.result(numbers, labels, step_source=source, in_memory=True, **facts)
