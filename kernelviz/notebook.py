"""How values display themselves: one short line everywhere, and plain tables in a notebook; standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from kernelviz.wording import counted, filled_columns, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


LONGEST = 280  # characters of a line
LONGEST_TEXT = 60  # characters of a name in it
FEW = 4  # items of a tuple that are written out
MOST_ROWS = 200  # of a table of records
MOST_CELLS = 12  # rows and columns of a table of numbers
MOST_PLANES = 4


def record_repr(record: Any) -> str:
    """``Name(field=value, …)`` for a dataclass, in one short line.

    Arrays are written as their type and shape, records inside it by their names; fields with their default are omitted.
    """
    parts: list[str] = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.repr and not _is_default(field, value):
            parts.append(f"{field.name}={_brief(value)}")
    return _line(type(record).__name__, parts)


def gathered_repr(gathered: Any) -> str:
    """``Name('layer', 3 images)`` for what collects the maps of one ``layer`` over ``images``."""
    many = counted(len(gathered.images), "image")
    return _line(type(gathered).__name__, [_brief(gathered.layer), many] if gathered.layer else [many])


def _line(name: str, parts: Sequence[str]) -> str:
    """The name with as many parts in brackets as fit."""
    kept: list[str] = []
    for part in parts:
        if len(name) + sum(len(each) + 2 for each in [*kept, part]) > LONGEST - 4:
            kept.append("…")
            break
        kept.append(part)
    return f"{name}({', '.join(kept)})"


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if value is None:
        return True
    factory = field.default_factory
    default = factory() if callable(factory) else field.default
    return type(value) is type(default) and bool(value == default)


def _brief(value: Any) -> str:
    """A value in a few words."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{str(value.dtype).removeprefix('torch.')} {' × '.join(map(str, value.shape)) or 'number'}>"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 1]}…")
    if isinstance(value, bool | int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)[:LONGEST_TEXT]
    if isinstance(value, tuple | list | frozenset | set | Mapping | range):
        return _brief_items(value)
    kind = type(value).__name__
    if dataclasses.is_dataclass(value):
        names = (getattr(value, name, None) for name in ("label", "name", "layer"))
        name = next((name for name in names if isinstance(name, str)), None)
        return f"{kind}({'…' if name is None else _brief(name)})"
    return f"{kind}({_brief(str(value))})" if isinstance(value, Exception) else f"<{kind}>"


def _brief_items(values: Any) -> str:
    items = list(values)
    if isinstance(values, Mapping):
        return f"<{counted(len(items), 'entry', 'entries')}>"
    plain = all(isinstance(item, bool | int | float | str) for item in items)
    text = f"({', '.join(map(_brief, items))}{',' if len(items) == 1 else ''})" if plain and len(items) <= FEW else ""
    if text and len(text) <= LONGEST_TEXT:
        return text
    kinds = {type(item).__name__ for item in items}
    return f"<{len(items):,} × {kinds.pop()}>" if len(kinds) == 1 else f"<{len(items):,} items>"


def html_frame(page: str, title: str, height: int) -> str:
    """A page in a frame of a notebook cell, in which its script runs apart from the notebook."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" width="100%" height="{height}" '
        f'style="border: 0" title="{escape(visible(title))}"></iframe>'
    )


def html_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), *, caption: str = ""
) -> str:
    """A plain HTML table of texts, which are escaped; ``numbers`` are aligned to the right, empty columns are omitted.

    At most 200 rows are shown, and the caption states how many there are.
    """
    shown = filled_columns([tuple(row) for row in rows]) if rows else list(range(len(heads)))
    part = rows[:MOST_ROWS]
    if len(part) < len(rows):
        caption = f"{caption}{'; ' if caption else ''}the first {len(part)} of {len(rows):,} rows"
    lines = [_row(_cell(heads[at], "th", right=heads[at] in numbers) for at in shown)]
    lines += [_row(_cell(row[at], "td", right=heads[at] in numbers) for at in shown) for row in part]
    return _table(caption, lines)


def html_planes(name: str, planes: Any) -> str:
    """A table for each plane of an array (planes, rows, columns); the captions state what is left out."""
    tables = []
    for number, rows in enumerate(planes[:MOST_PLANES]):
        tall, wide = len(rows), len(rows[0])
        which = f" {number} of {len(planes):,}" if len(planes) > 1 else ""
        cut = f", the first {MOST_CELLS}" if max(tall, wide) > MOST_CELLS else ""
        part = [list(row)[:MOST_CELLS] for row in rows[:MOST_CELLS]]
        lines = [_row(_cell(exact_text(value), "td", right=True) for value in row) for row in part]
        tables.append(_table(f"{name}{which}: {tall:,} × {wide:,}{cut}", lines))
    return side_by_side(tables)


def exact_text(value: float) -> str:
    """A number in at most six significant digits, with a true minus; ``≈`` marks one that has more."""
    text = f"{value + 0.0:.6g}"  # −0 + 0 is 0
    exact = float(text) == value or value != value  # noqa: PLR0124  (NaN)
    return ("" if exact else "≈ ") + text.replace("-", "−").replace("inf", "∞").replace("nan", "NaN")


def side_by_side(tables: Iterable[str]) -> str:
    """Tables in a line that wraps."""
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1.5em; align-items: flex-start">{"".join(tables)}</div>'


def _table(caption: str, lines: Sequence[str]) -> str:
    head = (
        f'<caption style="caption-side: top; text-align: left">{escape(visible(caption))}</caption>' if caption else ""
    )
    return f"<table>{head}{''.join(lines)}</table>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, tag: str, *, right: bool) -> str:
    return f'<{tag} style="text-align: {"right" if right else "left"}">{escape(visible(text))}</{tag}>'
