"""Which rows and columns of the input each element of a tensor reads, one axis at a time.

An ``AxisReads`` holds six planes for one axis of the image. Each plane has the tensor's rank; a dimension along which
nothing changes has size 1. ``FIRST`` and ``LAST`` are the rows read inside the image, ``FREE_FIRST`` and ``FREE_LAST``
those read if the image continued beyond its border, and ``POSITION`` is the element's own row in its map: ``NO_POSITION``
if it has none, ``TORN`` if it was made of several. ``FREE_POSITION`` is the row of the continued map to which the free
reads belong: a row that was wrapped around the border lies beyond it. An element that reads nothing has a first row
beyond its last one.

Nothing is followed backwards. Each operation of the forward pass computes the reads of its output from those of its inputs,
so that the reads of a map are those in the image, however many layers are between. For example, an image of 8 rows and
two convolutions with kernels of 3 × 3 and a padding of 1, of which the first has a stride of 2:

1. Each row of the image reads itself (``image``): ``FIRST`` = ``LAST`` = 0, 1, ..., 7, and the same in the other four
   planes. The planes of the rows of an image (1, C, 8, 8) have the shape (6, 1, 1, 8, 1): columns and channels differ in
   nothing here. The columns have planes of their own, (6, 1, 1, 1, 8).
2. The first convolution makes 4 rows. Their windows are the rows (-1, 0, 1), (1, 2, 3), (3, 4, 5) and (5, 6, 7), the
   ``taps`` of ``gathered``. The reads of an output are the union of those in its window; the row -1 is padding, which reads
   nothing in the image, but would be a row if the image continued::

       POSITION     0   1   2   3        jump 2: the next row of the map
       FIRST        0   1   3   5        reads 2 rows further down
       LAST         1   3   5   7
       FREE_FIRST  -1   1   3   5
       FREE_LAST    1   3   5   7

3. The windows of the second convolution are rows of this map: (-1, 0, 1), (0, 1, 2), (1, 2, 3) and (2, 3, 4). Row 1, for
   example, reads those of rows 0 to 2: from 0, the smallest ``FIRST``, to 5, the largest ``LAST``. The rows -1 and 4 of the
   map do not exist; if it continued, they would read what rows 0 and 3 read, moved by the jump: -3 to -1, and 7 to 9::

       POSITION     0   1   2   3        jump 2, since the stride is 1
       FIRST        0   0   1   3
       LAST         3   5   7   7
       FREE_FIRST  -3  -1   1   3
       FREE_LAST    3   5   7   9

The receptive field is read off the last table (``trace.receptive_field``): unit 0 reads the rows 0 to 3 of the image; the
size is 7 = 3 - (-3) + 1, the same for all units, as without a border; the jump is 2 and the offset -3, so that unit i
reads the rows -3 + 2i to 3 + 2i of a continued image.

All other operations do one of a few things with the planes. An elementwise operation, such as a residual connection, takes
the union of the reads of its inputs (``joined``); a sum, a mean or a softmax takes it along a dimension (``together``,
``reduced``); a permutation or a reshape moves the planes as it moves the elements (``AxisReads.moved``, ``reshaped``), so
that positions are known in tokens and windows; ``cat`` joins planes (``concatenated``). If an operation has no rule, the
reads are ``lost``, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from kernelviz.records import Array


FIRST, LAST, FREE_FIRST, FREE_LAST, POSITION, FREE_POSITION = range(6)
NO_POSITION = -1
TORN = -2
"""The position of an element that combines elements at several positions."""
FAR = 2**29  # further than any row of any image
NOWHERE = -FAR  # a tap that reads nothing, and the free position of an element without one

_SMALL = 2**14
_LARGEST = 2**21  # elements of one plane; larger ones are not followed
LARGEST_REARRANGED = 2**22  # elements of one plane that only lays out those of others, as windows per channel
_MANY = 2**17  # elements of planes from which it pays to look for equal slices
_LONGEST_PERIOD = 64  # positions of one window


@dataclass(frozen=True, eq=False)
class AxisReads:
    """The planes (6, *dims) of one axis, and the distance in the input of neighbouring positions, ``jump``.

    ``pooled``: the elements have no position along this axis any more, as after a mean. ``mixed``: an operation that reads
    the whole axis took part. ``uncertain``: rows that are apart were combined, or the size of the map was set, so that the
    number of rows that an element reads may depend on the size of the image. ``torn``: it does, since elements combine
    several positions, as a recurrent layer does. ``guessed``: a window reaches beyond a map that is too small to show how
    its free reads continue. ``beside`` are planes that are read as well, kept separate if their union would be large: the
    scores of attention read the reads of their row and those of their column. ``gridless`` is why elements have no
    position, if an operation put them in another order than that of rows and columns. ``several``: whether the elements
    along the first dimension are several images rather than windows of one; None if that is to be read from positions.
    """

    planes: Array
    jump: Fraction = Fraction(1)
    pooled: bool = False
    mixed: bool = False
    beside: tuple[Array, ...] = ()
    uncertain: bool = False
    torn: bool = False
    guessed: bool = False
    gridless: str = ""
    several: bool | None = None

    def moved(self, move: Callable[[Array], Array]) -> AxisReads:
        """The reads after ``move`` rearranged the planes; it must keep their first dimension."""
        return replace(self, planes=move(self.planes), beside=tuple(map(move, self.beside)))

    @property
    def spread(self) -> tuple[int, ...]:
        """The dimensions of the tensor along which elements differ."""
        shape = np.broadcast_shapes(self.planes.shape, *(planes.shape for planes in self.beside))
        return tuple(dim for dim, size in enumerate(shape[1:]) if size > 1)

    @property
    def positioned(self) -> bool:
        """Whether elements differ in their position along this axis."""
        return bool(self.planes[POSITION].min() != self.planes[POSITION].max())

    @property
    def varies_along(self) -> tuple[int, ...]:
        """The dimensions along which positions differ."""
        position = self.planes[POSITION]
        spread = [dim for dim in self.spread if position.shape[dim] > 1]
        return tuple(dim for dim in spread if (position.take([0], axis=dim) != position).any())

    @property
    def home(self) -> int | None:
        """The dimension along which positions differ; None unless there is exactly one."""
        dims = self.varies_along
        return dims[0] if len(dims) == 1 else None


class TooLargeError(Exception):
    """The planes of a tensor would take too much memory."""


def image_axis(size: int, dim: int, rank: int) -> AxisReads:
    """The reads of the image itself along the axis of dimension ``dim`` of ``rank``."""
    shape = [1] * rank
    shape[dim] = size
    rows = np.arange(size, dtype=np.int32).reshape(shape)
    return AxisReads(np.stack([rows] * 6))


def nothing(rank: int) -> Array:
    """Planes (6, 1, ..., 1) that read nothing."""
    return np.array([FAR, -FAR, FAR, -FAR, NO_POSITION, NOWHERE], dtype=np.int32).reshape(6, *[1] * rank)


def joined(parts: Sequence[AxisReads]) -> AxisReads:
    """The union of the reads of several tensors of one rank that are combined elementwise.

    Tensors without positions (a gate, the mean of an image) add no rows but count as ``mixed``, if another tensor has
    positions.
    """
    if len(parts) == 1 or all(part is parts[0] for part in parts):
        return parts[0]
    positioned = [part for part in parts if not part.pooled] or list(parts)
    terms = [planes for part in positioned for planes in (part.planes, *part.beside)]
    planes, beside = _united(terms)
    jumps = [part.jump for part in positioned if part.spread] or [positioned[0].jump]
    return AxisReads(
        planes,
        jump=jumps[0],
        pooled=all(part.pooled for part in parts),
        mixed=any(part.mixed for part in parts) or len(positioned) < len(parts),
        beside=beside,
        uncertain=any(part.uncertain for part in positioned) or _apart([part.planes for part in positioned]),
        torn=any(part.torn for part in positioned) or bool((planes[POSITION] == TORN).any()),
        guessed=any(part.guessed for part in positioned),
        gridless=next((part.gridless for part in positioned if part.gridless), ""),
        several=_either([part.several for part in positioned]),
    )


def _either(judged: Sequence[bool | None]) -> bool | None:
    """Whether one of the parts is several images; None if that is known of none."""
    return True if True in judged else False if False in judged else None


def _apart(terms: Sequence[Array]) -> bool:
    """Whether elements of the first term read rows that are not next to those of another one."""
    one = terms[0]
    for other in terms[1:]:
        if int(np.prod(np.broadcast_shapes(one.shape, other.shape))) > max(one.size, other.size, _SMALL):
            continue
        first = np.maximum(one[FREE_FIRST], other[FREE_FIRST])
        if ((first > np.minimum(one[FREE_LAST], other[FREE_LAST]) + 1) & (first < FAR)).any():
            return True
    return False


def _united(terms: Sequence[Array]) -> tuple[Array, tuple[Array, ...]]:
    """The union of all terms, or several unions if one would be much larger than the terms."""
    kept: list[Array] = []
    for term in terms:
        for at, other in enumerate(kept):
            shape = np.broadcast_shapes(term.shape, other.shape)
            if int(np.prod(shape)) <= max(term.size, other.size, _SMALL):
                kept[at] = _union(other, term)
                break
        else:
            kept.append(term)
    return kept[0], tuple(kept[1:])


def whole(reads: AxisReads) -> AxisReads:
    """The reads with ``beside`` merged into ``planes``."""
    planes = reads.planes
    for term in reads.beside:
        planes = _union(planes, term)
    return replace(reads, planes=planes, beside=())


def narrowed(reads: AxisReads) -> AxisReads:
    """The reads with size 1 along each dimension along which nothing differs."""
    if _is_large(reads):
        return reads
    reads = whole(reads)
    for dim in reads.spread:
        first = reads.planes.take([0], axis=dim + 1)
        if (first == reads.planes).all():
            reads = replace(reads, planes=first)
    return reads


def _union(one: Array, other: Array) -> Array:
    if one.shape == other.shape and np.array_equal(one, other):
        return one
    bigger = np.broadcast_shapes(one.shape, other.shape)
    check_size(bigger)
    planes = np.empty(bigger, dtype=np.int32)
    np.minimum(one[::2][:2], other[::2][:2], out=planes[:4:2])
    np.maximum(one[1:4:2], other[1:4:2], out=planes[1:4:2])
    planes[POSITION:] = _positions_of_both(one[POSITION:], other[POSITION:])
    return planes


def _positions_of_both(one: Array, other: Array) -> Array:
    """The positions of an element made of two: the first's if they differ between elements, else the second's.

    Two different constant positions give none, as in the states of a recurrent layer.
    """
    first, second = one[0], other[0]
    if first.size > 1 and first.min() != first.max():
        return one
    if second.size > 1 and second.min() != second.max():
        return other
    together_at_one = first.flat[0] == second.flat[0] or NO_POSITION in {int(first.flat[0]), int(second.flat[0])}
    return one if together_at_one else np.array([TORN, NOWHERE]).reshape(2, *[1] * first.ndim)


def check_size(shape: Sequence[int], *, most: int = _LARGEST) -> None:
    """Reject planes that would take too much memory.

    Raises:
        TooLargeError: they would.
    """
    if int(np.prod(shape[1:])) > most:
        raise TooLargeError


def together(reads: AxisReads, dim: int, *, keep_positions: bool = False) -> AxisReads:
    """Every element reads the union along ``dim``, which stays with size 1.

    With ``keep_positions`` elements keep their position (as in a softmax); otherwise positions along ``dim`` are lost.
    """
    if dim not in reads.spread:
        return reads
    if keep_positions:
        planes = np.broadcast_to(_reduced(reads.planes, dim), reads.planes.shape).copy()
        planes[POSITION:] = reads.planes[POSITION:]
    else:
        planes = _reduced(reads.planes, dim)
    planes, beside = _united([planes, *(_reduced(term, dim) for term in reads.beside)])
    position = reads.planes[POSITION]
    in_space = position.shape[dim] > 1 and bool((position.take([0], axis=dim) != position).any())
    in_space = in_space or (not reads.pooled and bool((position == NO_POSITION).all()))
    everything = in_space and all((planes[plane] == planes[plane].flat[0]).all() for plane in (FIRST, LAST))
    uncertain = reads.uncertain or (in_space and not everything and _with_gaps(reads.planes, dim))
    return replace(reads, planes=planes, beside=beside, mixed=reads.mixed or everything, uncertain=uncertain)


def _with_gaps(planes: Array, dim: int) -> bool:
    """Whether the rows that the elements along a dimension read leave out rows between them."""
    first, last = (np.moveaxis(planes[plane], dim, -1) for plane in (FREE_FIRST, FREE_LAST))
    if (first[..., 1:] <= last[..., :-1] + 1).all() and (first[..., :-1] <= last[..., 1:] + 1).all():
        return False
    order = first.argsort(axis=-1, kind="stable")
    first = np.take_along_axis(first, order, axis=-1)
    reach = np.maximum.accumulate(np.take_along_axis(last, order, axis=-1), axis=-1)
    return bool(((first[..., 1:] > reach[..., :-1] + 1) & (first[..., 1:] < FAR)).any())


def _reduced(planes: Array, dim: int) -> Array:
    """The union along one dimension, which stays with size 1; positions that differed along it are lost."""
    if planes.shape[dim + 1] == 1:
        return planes
    united = np.empty([6, *(1 if axis == dim else size for axis, size in enumerate(planes.shape[1:]))], dtype=np.int32)
    united[:4:2] = planes[:4:2].min(axis=dim + 1, keepdims=True)
    united[1:4:2] = planes[1:4:2].max(axis=dim + 1, keepdims=True)
    position = planes[POSITION]
    highest = position.max(axis=dim, keepdims=True)
    lowest, free = (
        np.where(position < 0, FAR, plane).min(axis=dim, keepdims=True) for plane in planes[POSITION:]
    )  # padding has no position
    lowest = np.minimum(lowest, highest)
    if lowest.min() == lowest.max():
        lowest = np.where(lowest < highest, NO_POSITION, lowest)
    united[POSITION], united[FREE_POSITION] = lowest, np.where(lowest < 0, NOWHERE, free)
    return united


def gathered(
    reads: AxisReads, dim: int, taps: Array, size: int, *, at_home: bool, free_taps: Array | None = None
) -> AxisReads:
    """Output o along ``dim`` reads the positions ``taps[o]`` of ``size``; ``taps`` is (outputs, longest window).

    Positions outside are padding and read nothing, except in the free planes, in which the image continues: there the
    pattern of positions repeats with the jump. ``at_home``: this dimension is the axis' own. ``free_taps`` are the
    positions that are read if the image continues, where these are others: padding that repeats rows of the map.
    """
    reads = whole(reads)
    planes = reads.planes
    if planes.shape[dim + 1] == 1 and (reads.pooled or not at_home):
        return reads
    if taps.shape == (size, 1) and bool((taps[:, 0] == np.arange(size)).all()):
        return reads  # 1 × 1: every unit keeps its position
    free_taps = taps if free_taps is None else free_taps
    in_windows = at_home and 0 in reads.varies_along  # padding of a window is not that of the image
    beyond = at_home and bool(((free_taps < 0) | (free_taps >= size)).any())
    found = _period(planes, dim, reads.jump) if beyond else reads.jump.denominator
    period = found or reads.jump.denominator
    jump = reads.jump if at_home else Fraction(0)
    around = [1] * planes.ndim
    around[dim + 1] = len(taps)
    shape = [len(taps) if axis == dim + 1 else side for axis, side in enumerate(planes.shape)]
    check_size(shape)
    result = np.empty(shape, dtype=np.int32)
    result[:4:2], result[1:4:2] = FAR, -FAR
    for tap, free_tap in zip(taps.T, free_taps.T, strict=True):
        inside = ((tap >= 0) & (tap < size)).reshape(around)
        real = inside if in_windows else (tap != NOWHERE).reshape(around)
        source, shift = _equivalent(free_tap, size, jump, period)
        read = planes[:4].take(np.minimum(source, planes.shape[dim + 1] - 1), axis=dim + 1)
        free = read[2:] + shift.astype(np.int32).reshape(around)
        if free_taps is not taps:
            read = planes[:2].take(np.minimum(tap, planes.shape[dim + 1] - 1), axis=dim + 1)
        np.minimum(result[:1], np.where(inside, read[:1], FAR), out=result[:1])
        np.maximum(result[1:2], np.where(inside, read[1:2], -FAR), out=result[1:2])
        np.minimum(result[2:3], np.where(real, free[:1], FAR), out=result[2:3])
        np.maximum(result[3:4], np.where(real, free[1:], -FAR), out=result[3:4])
    if in_windows:  # the position of the middle element
        middle = np.clip(taps[:, taps.shape[1] // 2], 0, size - 1)
        result[POSITION:] = planes[POSITION:].take(middle, axis=dim + 1)
    elif at_home:
        result[POSITION:] = np.arange(len(taps)).reshape(around[1:])
    elif len(taps) == size:
        result[POSITION:] = planes[POSITION:]
    elif (planes[POSITION:] == (same := planes[POSITION:].take([0], axis=dim + 1))).all():
        result[POSITION:] = same  # a part of the map reads nothing
    else:
        result[POSITION], result[FREE_POSITION] = NO_POSITION, NOWHERE
    return replace(reads, planes=result, guessed=reads.guessed or not found)


def _equivalent(taps: Array, size: int, jump: Fraction, period: int) -> tuple[Array, Array]:
    """For positions beyond the ends, the equivalent position inside, and the distance between the two in the input."""
    before, after = np.maximum(0, -taps), np.maximum(0, taps - size + 1)
    periods = -(-before // period) - -(-after // period)
    source = np.clip(taps + periods * period, 0, size - 1)
    return source, np.where(taps == NOWHERE, 0, -periods * int(period * jump))


def _period(planes: Array, dim: int, jump: Fraction) -> int:
    """The number of positions after which the free reads repeat: that of the jump, or that of windows of positions.

    It is 0 if they do not repeat in a map of this size, so that nothing is known of its continuation.
    """
    free = np.moveaxis(planes[FREE_FIRST : FREE_LAST + 1], dim + 1, -1)
    shortest, size = jump.denominator, free.shape[-1]
    free = free[:, (free[0] <= free[1]).all(axis=-1)]  # other lines are padding
    for period in range(shortest, min(size // 2, _LONGEST_PERIOD) + 1, shortest):
        if (free[..., period:] - free[..., :-period] == int(period * jump)).all():
            return period
    return shortest if size < 2 * shortest else 0


def step_along(reads: AxisReads, dim: int) -> Fraction:
    """The mean step between positions along ``dim``: 2 for 0, 2, 4; one half for 0, 0, 1, 1."""
    line = tuple(slice(None) if axis == dim else 0 for axis in range(reads.planes.ndim - 1))
    positions = reads.planes[FREE_POSITION][line]
    steps = np.diff(positions)
    if positions.size < 2 or positions.min() == NOWHERE or steps.min() < 0:
        return Fraction(1)
    known = np.unique(positions)
    gaps = np.unique(np.diff(known))
    if len(gaps) != 1 or positions.size % len(known):
        return Fraction(1)
    return Fraction(int(gaps[0]) * len(known), int(positions.size))


def continued(carried: TensorReads, dim: int) -> TensorReads:
    """The reads after elements were moved along ``dim``: free reads continue those of the elements that kept their order.

    Rows that were wrapped around the border, copied beyond it or set to a constant there have the free reads of the row
    that would be in their place if the image continued, so that receptive fields have the size that they have inside.
    """
    moved = [axis for axis, reads in enumerate(carried.axes) if dim in reads.varies_along]
    if len(moved) != 1 or carried.home(moved[0]) != dim:  # tokens have rows and columns along one dimension
        return carried
    axes = list(carried.axes)
    axes[moved[0]] = _continued_along(whole(axes[moved[0]]), dim)
    return replace(carried, axes=tuple(axes))


def _continued_along(reads: AxisReads, dim: int) -> AxisReads:
    lines = np.moveaxis(reads.planes[FREE_POSITION], dim, -1)
    steps = np.diff(lines, axis=-1)
    if steps.size == 0 or (steps == steps.flat[0]).all():
        return reads
    planes = np.moveaxis(reads.planes, dim + 1, -1).copy()
    flat = planes.reshape(len(planes), -1, planes.shape[-1])
    if ((flat[FREE_POSITION] == NOWHERE) & (flat[FREE_FIRST] <= flat[FREE_LAST])).any():
        return reads  # elements that were put together from several positions
    lines, number = np.unique(flat[FREE_POSITION], axis=0, return_inverse=True)
    for at, line in enumerate(lines):
        expected = _progression(line)
        if expected is not None and (expected != line).any():
            chosen = np.flatnonzero(number.reshape(-1) == at)
            flat[:, chosen] = _continued_line(flat[:, chosen], expected, reads.jump)
    return replace(reads, planes=np.moveaxis(flat.reshape(planes.shape), -1, dim + 1))


def _progression(line: Array) -> Any:
    """The arithmetic progression that at least half of the positions follow without a gap, an ascending one first."""
    numbers = np.arange(len(line))
    known = np.flatnonzero(line != NOWHERE)
    if len(known) == 1:
        return line[known[0]] + numbers - known[0]
    steps = np.where((line[1:] == NOWHERE) | (line[:-1] == NOWHERE), 0, np.diff(line))
    starts = np.flatnonzero(np.diff(steps, prepend=steps[:1] - 1))
    lengths = np.diff(starts, append=len(steps))
    runs = [
        (int(length), int(steps[start]) > 0, int(start))
        for start, length in zip(starts, lengths, strict=True)
        if steps[start]
    ]
    if not runs:
        return None
    length, _, start = max(runs)
    return None if 2 * (length + 1) < len(known) else line[start] + steps[start] * (numbers - start)


def _continued_line(planes: Array, expected: Array, jump: Fraction) -> Array:
    """Lines (6, lines, n) of equal free positions, with the free reads of the ``expected`` positions."""
    line = planes[FREE_POSITION, 0]
    known = np.flatnonzero(line != NOWHERE)
    kept = np.flatnonzero(line == expected)
    kept = kept[(kept >= kept[0]) & (np.diff(kept, prepend=kept[0] - 1) == 1).cumprod().astype(bool)]
    step = int(expected[1] - expected[0])
    period = _period(planes[:, :, kept], 1, jump * step) or (jump * step).denominator
    result = planes.copy()
    for at in np.flatnonzero(line != expected):
        if line[at] == NOWHERE and known[0] < at < known[-1]:
            continue  # a gap inside the map: nothing is read there if the image continues either
        source, start = at, line[at]
        if line[at] == NOWHERE or (expected[at] - line[at]) % (period * step):
            (source,), _ = _equivalent(np.array([at - kept[0]]), len(kept), jump * step, period)
            source = source + kept[0]
            start = line[source]
        free = planes[FREE_FIRST : FREE_LAST + 1, :, source]
        shift = round((int(expected[at]) - int(start)) * jump)
        result[FREE_FIRST : FREE_LAST + 1, :, at] = np.where(free[0] <= free[1], free + shift, free)
    result[FREE_POSITION] = expected
    return result


def as_taps(windows: Sequence[Sequence[int]]) -> Array:
    """Windows of several lengths as one array (outputs, longest)."""
    longest = max((len(window) for window in windows), default=0)
    taps = np.full((len(windows), max(longest, 1)), NOWHERE, dtype=np.int32)
    for row, window in zip(taps, windows, strict=True):
        row[: len(window)] = window
    return taps


def reshaped(planes: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """Planes (n, *dims) of a tensor of shape ``before``, seen as shape ``after``.

    Dimensions are matched in groups of equal products, so that only groups in which something differs take memory.
    """
    pieces: list[int] = []
    sources: list[Sequence[int]] = []
    for ours, theirs in _groups(before, after):
        stored = [planes.shape[dim + 1] for dim in ours]
        if all(size == 1 for size in stored):
            sources.append([])
            pieces += [1] * len(theirs)
        else:
            sources.append(ours)
            pieces += [after[dim] for dim in theirs]
    full = [planes.shape[0]] + [
        before[dim] if any(dim in group for group in sources) else 1 for dim in range(len(before))
    ]
    check_size(full, most=LARGEST_REARRANGED)
    return _compact(np.broadcast_to(planes, full).reshape([planes.shape[0], *pieces]))


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions of two shapes of one size whose products are equal."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ours, theirs, left, right = [], [], 1, 1
        if i < len(before):
            ours.append(i)
            left = before[i]
            i += 1
        if j < len(after) and not (left == 1 and after[j] != 1):
            theirs.append(j)
            right = after[j]
            j += 1
        while left != right:
            if left < right:
                ours.append(i)
                left *= before[i]
                i += 1
            else:
                theirs.append(j)
                right *= after[j]
                j += 1
        groups.append((ours, theirs))
    return groups


def _compact(planes: Array) -> Array:
    """The planes with size 1 along each dimension along which nothing differs."""
    for dim in range(1, planes.ndim):
        if planes.shape[dim] > 1:
            start = planes.take([0], axis=dim)
            if (planes == start).all():
                planes = start
    return planes


def aligned(planes: Array, rank: int) -> Array:
    """Planes of a tensor that is broadcast to a higher rank."""
    missing = rank - (planes.ndim - 1)
    return planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:]) if missing > 0 else planes


def distinct_slices(arrays: Sequence[Array], dims: Sequence[int]) -> list[Array]:
    """Large planes (n, *dims) without slices along ``dims`` that equal an earlier one in every array, as per channel."""
    arrays = list(arrays)
    for dim in dims:
        long = [at for at, planes in enumerate(arrays) if planes.shape[dim + 1] > 1]
        if sum(arrays[at].size for at in long) > _MANY:
            slices = zip(*(np.moveaxis(arrays[at], dim + 1, 0) for at in long), strict=True)
            keys = [b"".join(part.tobytes() for part in parts) for parts in slices]
            first = sorted({key: number for number, key in reversed([*enumerate(keys)])}.values())
            if len(first) == len(keys):
                continue
            for at in long:
                arrays[at] = arrays[at].take(first, axis=dim + 1)
    return arrays


SEVERAL_IMAGES = "the images along its first axis read different rows and columns"

AXIS_LETTERS = {1: "L", 2: "HW", 3: "DHW"}


@dataclass(frozen=True, eq=False)
class TensorReads:
    """The reads along each axis of the image, and the channel numbers (1, *dims); or the reason why they are ``lost``.

    If the reads are lost, ``axes`` only locate the elements by their positions; they are empty if positions are lost too.
    """

    axes: tuple[AxisReads, ...] = ()
    channel: Array | None = None
    lost: str = ""

    def moved(self, move: Callable[[Array], Array]) -> TensorReads:
        """The reads after ``move`` rearranged all planes."""
        channel = None if self.channel is None else move(self.channel)
        return replace(self, axes=tuple(reads.moved(move) for reads in self.axes), channel=channel)

    def each(self, change: Callable[[AxisReads], AxisReads]) -> TensorReads:
        """The reads after ``change`` of every axis."""
        return replace(self, axes=tuple(map(change, self.axes)))

    def compact(self) -> TensorReads:
        """The reads for storage: those of channels that equal those of an earlier one take no memory."""
        if self.channel is None or any(reads.beside for reads in self.axes):
            return self
        dims = [dim for dim, size in enumerate(self.channel.shape[1:]) if size > 1]
        planes = distinct_slices([reads.planes for reads in self.axes], dims)
        axes = (replace(reads, planes=each) for reads, each in zip(self.axes, planes, strict=True))
        return replace(self, axes=tuple(axes))

    def with_channels(self, count: int, dim: int, rank: int) -> TensorReads:
        """The reads with ``count`` channels numbered along ``dim``."""
        shape = [1] * (rank + 1)
        shape[dim % rank + 1] = count
        return replace(self, channel=np.arange(count, dtype=np.int64).reshape(shape))

    def home(self, axis: int) -> int | None:
        """The dimension along which the positions of an axis differ; channels with several positions do not count."""
        dims = self.axes[axis].varies_along
        if len(dims) > 1 and self.channel is not None and self.channel.ndim == self.axes[axis].planes.ndim:
            dims = tuple(dim for dim in dims if self.channel.shape[dim + 1] == 1)
        return dims[0] if len(dims) == 1 else None

    @property
    def leading(self) -> int:
        """The number of dimensions before those of a map (C, *axes), at least one."""
        rank = max((reads.planes.ndim - 1 for reads in self.axes), default=0)
        return max(rank - len(self.axes) - 1, 1)

    @property
    def in_windows(self) -> bool:
        """Whether positions differ along the leading dimensions."""
        return any(dim < self.leading for reads in self.axes for dim in reads.varies_along)

    @property
    def several_images(self) -> bool:
        """Whether the first dimensions hold several images, such as one and its mirror image, rather than windows of one.

        Windows of one image hold each position of it once, in the same order in each window, and leave out none.
        """
        if not self.in_windows:
            return False
        judged = _either([reads.several for reads in self.axes])
        positions = None if judged else _positions_of_windows(self)
        if positions is None:
            return bool(judged)
        return _overlapping(positions) or (judged is None and _out_of_order(positions))

    def judged(self, dims: Collection[int]) -> TensorReads:
        """The reads before positions along ``dims`` are left out or renumbered, with whether they are several images."""
        if not self.in_windows or not any(set(reads.varies_along) & set(dims) for reads in self.axes):
            return self
        several = self.several_images
        return self.each(lambda reads: replace(reads, several=several))

    @property
    def mixed(self) -> bool:
        """Whether an operation that reads a whole axis took part."""
        return any(reads.mixed or reads.pooled for reads in self.axes)

    @property
    def uncertain(self) -> bool:
        """Whether receptive fields may grow with the image."""
        return any(reads.uncertain or reads.guessed for reads in self.axes)

    @property
    def guessed(self) -> bool:
        """Whether they are continued beyond a map that is too small for that."""
        return any(reads.guessed for reads in self.axes)


def _positions_of_windows(carried: TensorReads) -> Array | None:
    """The positions (axes, windows, *dims) of the elements of a tensor, those of its first channel."""
    lines = [reads.planes[POSITION] for reads in carried.axes]
    rank = lines[0].ndim
    if any(line.ndim != rank for line in lines):
        return None
    lines = [line if line.min() < line.max() else np.zeros_like(line) for line in lines]
    if carried.channel is not None and carried.channel.ndim == rank + 1:
        for dim in range(1, rank):
            if carried.channel.shape[dim + 1] > 1:
                lines = [line.take([0], axis=dim) for line in lines]
    positions = np.stack(np.broadcast_arrays(*lines))
    return positions.reshape(len(lines), -1, *positions.shape[carried.leading + 1 :])


def _overlapping(positions: Array) -> bool:
    """Whether several elements are at one position."""
    known = (positions >= 0).all(axis=0)
    if not known.any():
        return False
    cells = np.ravel_multi_index(list(positions[:, known]), [int(line.max()) + 1 for line in positions])
    return bool(np.bincount(cells).max() > 1)


def _out_of_order(positions: Array) -> bool:
    """Whether windows differ in the dimensions or directions of their rows and columns, or leave out some of the image."""
    known = (positions >= 0).all(axis=0)
    if known.sum() != np.prod([len(np.unique(line[known])) for line in positions]):
        return True
    for line in positions:
        used = np.unique(line[line >= 0])
        if len(used) < 2:
            continue
        if len(np.unique(np.diff(used))) > 1:
            return True
        span = int(used[-1] - used[0]) + int(used[1] - used[0])
        moving = []
        for dim in range(1, line.ndim):
            one, other = line.take(range(line.shape[dim] - 1), axis=dim), line.take(range(1, line.shape[dim]), axis=dim)
            steps = (other - one + span // 2) % span - span // 2  # windows may be rolled around the border
            signs = np.where((one < 0) | (other < 0), 0, np.sign(steps)).reshape(len(line), -1)
            directions = signs.sum(axis=1)
            if (directions > 0).any() and (directions < 0).any():
                return True
            moving.append(signs.any(axis=1))
        if any((one & ~other).any() and (other & ~one).any() for one, other in combinations(moving, 2)):
            return True
    return False


def image(shape: Sequence[int]) -> TensorReads:
    """The input (1, C, *axes) itself."""
    rank = len(shape)
    axes = tuple(image_axis(shape[dim], dim, rank) for dim in range(2, rank))
    return TensorReads(axes).with_channels(shape[1], 1, rank)


def located(shape: Sequence[int], lost: str) -> TensorReads:
    """What is known of a map (N, C, *axes) whose reads are lost: where each of its elements is."""
    return replace(image(shape), lost=lost)


def elementwise(parts: Sequence[TensorReads], rank: int) -> TensorReads:
    """The result of combining tensors elementwise, broadcast to ``rank``."""
    if len(parts) == 1 and all(reads.planes.ndim == rank + 1 for reads in parts[0].axes):
        return parts[0]
    parts = [part.moved(lambda planes: aligned(planes, rank)) for part in parts]
    axes = tuple(joined(reads) for reads in zip(*(part.axes for part in parts), strict=True))
    channels = [part.channel for part in parts if part.channel is not None]
    largest = max(channels, key=lambda channel: channel.size, default=None)
    return TensorReads(axes, largest)


def reduced(carried: TensorReads, dims: Sequence[int], *, keep: bool) -> TensorReads:
    """The result of a reduction over ``dims``: an axis that was reduced completely is pooled."""
    carried = carried.judged(dims)

    def reduce(reads: AxisReads) -> AxisReads:
        had_position = reads.positioned
        for dim in dims:
            reads = together(reads, dim)
        pooled = reads.pooled or (had_position and not reads.positioned)
        return replace(reads, pooled=pooled)

    result = carried.each(reduce)
    if carried.channel is not None:
        channel = carried.channel
        for dim in dims:
            channel = channel.take([0], axis=dim + 1)
        result = replace(result, channel=channel)
    return result if keep else result.moved(lambda planes: planes.squeeze(tuple(dim + 1 for dim in dims)))


def mixed_over(carried: TensorReads, dims: Sequence[int]) -> TensorReads:
    """The result of a normalisation over ``dims``: an axis along one of them is mixed."""
    return carried.each(lambda reads: replace(reads, mixed=reads.mixed or bool(set(dims) & set(reads.spread))))


def concatenated(parts: Sequence[TensorReads | None], sizes: Sequence[int], dim: int, rank: int) -> TensorReads:
    """The result of ``cat`` along ``dim`` of parts of these sizes; None is a part that does not read the image."""
    known = [part for part in parts if part is not None]
    axes = tuple(
        _concatenated([None if part is None else part.axes[axis] for part in parts], sizes, dim, rank)
        for axis in range(len(known[0].axes))
    )
    numbered = [part.channel for part in known if part.channel is not None and part.channel.size > 1]
    across = [channel for channel in numbered if channel.shape[dim + 1] == 1]
    if across:
        return continued(TensorReads(axes, max(across, key=lambda channel: channel.size)), dim)
    return continued(TensorReads(axes).with_channels(sum(sizes), dim, rank) if numbered else TensorReads(axes), dim)


def _is_large(reads: AxisReads) -> bool:
    """Whether the planes with those ``beside`` merged into them would take too much memory."""
    shapes = (reads.planes.shape, *(planes.shape for planes in reads.beside))
    return bool(reads.beside) and int(np.prod(np.broadcast_shapes(*shapes)[1:])) > _LARGEST


def _concatenated(parts: Sequence[AxisReads | None], sizes: Sequence[int], dim: int, rank: int) -> AxisReads:
    if any(part is not None and _is_large(part) for part in parts):
        return _concatenated_beside(parts, sizes, dim, rank)
    parts = [None if part is None else whole(part) for part in parts]
    known = [part for part in parts if part is not None]
    positioned = [part for part in known if not part.pooled] or known
    beside = _empty_beside(positioned[0], dim, rank)
    planes = [part.planes if part in positioned else beside for part in parts]
    mixed = any(part.mixed for part in known) or len(positioned) < len(known)
    same = all(other.shape == planes[0].shape and np.array_equal(other, planes[0]) for other in planes)
    if same and planes[0].shape[dim + 1] == 1 and dim not in positioned[0].spread:
        return replace(positioned[0], mixed=mixed)
    shapes = [np.broadcast_shapes(*((*part.shape[: dim + 1], 1, *part.shape[dim + 2 :]) for part in planes))]
    pieces = []
    for part, size in zip(planes, sizes, strict=True):
        shape = list(shapes[0])
        shape[dim + 1] = size
        pieces.append(np.broadcast_to(part, shape))
    return replace(
        positioned[0],
        planes=np.concatenate(pieces, axis=dim + 1),
        mixed=mixed,
        uncertain=any(part.uncertain for part in positioned),
        torn=any(part.torn for part in positioned),
        guessed=any(part.guessed for part in positioned),
        several=any(part.several for part in positioned) or None,
    )


def _concatenated_beside(parts: Sequence[AxisReads | None], sizes: Sequence[int], dim: int, rank: int) -> AxisReads:
    """As ``_concatenated``, with the first, the second, ... planes of the parts joined separately."""
    most = max(1 + len(part.beside) for part in parts if part is not None)
    terms = []
    for at in range(most):
        planes = [None if part is None else [part.planes, *part.beside][at : at + 1] for part in parts]
        known = [
            replace(part, planes=found[0] if found else nothing(rank), beside=())
            if part and found is not None
            else None
            for part, found in zip(parts, planes, strict=True)
        ]
        terms.append(_concatenated(known, sizes, dim, rank))
    return replace(terms[0], beside=tuple(term.planes for term in terms[1:]))


def _empty_beside(part: AxisReads, dim: int, rank: int) -> Array:
    """Planes that read nothing, with the positions of ``part`` if these are constant along ``dim``."""
    position = part.planes[POSITION]
    if not position.size:
        return nothing(rank)
    first = position.take([0], axis=dim)
    if (first != position).any() or first.size == 1:
        return nothing(rank)
    planes = np.broadcast_to(nothing(rank), (6, *first.shape)).copy()
    planes[POSITION:] = part.planes[POSITION:].take([0], axis=dim + 1)
    return planes


def layout(carried: TensorReads | None, shape: Sequence[int]) -> str:
    """One word per dimension: ``N C H W``, ``N HW C`` for tokens, ``HW HW C`` for windows; ``?`` if it is not known.

    Channels that contain several positions of a map count as channels.
    """
    words = ["N", *["?"] * (len(shape) - 1)] if shape else []
    if carried is None or not carried.axes:
        return " ".join(words)
    letters = AXIS_LETTERS.get(len(carried.axes), "?" * len(carried.axes))
    along: list[str] = [""] * len(shape)
    channel = carried.channel
    for dim in range(len(shape)):
        if channel is not None and channel.ndim == len(shape) + 1 and channel.shape[dim + 1] > 1:
            along[dim] += "C"
        for axis, (letter, reads) in enumerate(zip(letters, carried.axes, strict=True)):
            if reads.planes.ndim != len(shape) + 1 or dim not in reads.varies_along:
                continue
            if carried.home(axis) in {None, dim}:
                along[dim] += letter
    waiting = [letter for letter in ("C" + letters if channel is not None else letters) if letter not in "".join(along)]
    free = [dim for dim in range(1, len(shape)) if not along[dim] and shape[dim] == 1]
    for dim, letter in zip(free, waiting, strict=False):
        along[dim] = letter
    return " ".join(found or word for found, word in zip(along, words, strict=True))
