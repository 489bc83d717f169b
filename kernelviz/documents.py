"""Records become the JSON that other programs read; names in it change only with ``SCHEMA``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kernelviz.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.errors import KernelvizError
    from kernelviz.records import Source


@dataclass
class Report:
    """What a run has done so far: enough for its JSON document, its messages and its exit code.

    ``more`` is what the document of this command holds besides. ``latest`` is the report made last, for whoever has to
    tell of a run that a signal ended.
    """

    latest: ClassVar[Report | None] = None

    command: str | None
    source: Source | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Report.latest = self

    def add_error(self, error: KernelvizError, culprit: str | None = None) -> None:
        """Keep an error, with the input that it is about."""
        message = " ".join(part for part in (error.what, error.why) if part)
        self.errors.append({"code": error.code, "message": message, "hint": error.hint or None, "input": culprit})


def output_entry(path: Path, sheet: Sheet | Overlay, layer: str | None, image: str | None = None) -> dict[str, Any]:
    """One file and what stands in it."""
    return {
        "path": str(path),
        "layer": layer,
        "image": image,
        "view": sheet.recipe["view"],
        "weight": sheet.recipe.get("weight"),
        "shape": list(sheet.recipe["shape"]),
        "shown": sheet.shown,
        "total": sheet.tiles.total,
        "rows": sheet.recipe["rows"],
        "columns": sheet.recipe["columns"],
        "limits": [sheet.scale.low, sheet.scale.high],
        "nonfinite": sheet.marks.nonfinite,
        "notes": list(sheet.notes),
    }


def document(report: Report, environment: Mapping[str, Any] | None = None, **more: object) -> dict[str, Any]:
    """The one document of a command; what is not known is None."""
    from kernelviz.drawing.sheets import SCHEMA

    source = report.source
    known = {**source.versions, "device": source.device, "threads": source.threads} if source else {}
    known.update(environment or {})
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": report.command,
        "environment": {key: known.get(key) for key in ("torch", "timm", "device", "threads")},
        "model": source.as_document() if source else None,
        "outputs": report.outputs,
        "warnings": report.warnings,
        "errors": report.errors,
        **report.more,
        **more,
    }


def json_text(value: object) -> str:
    """Valid JSON in ASCII: a number that is not finite becomes null, a lone surrogate an escape."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
