"""Where the files go that are told of all images together, and what is in their way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kernelviz.cli.passes import Run
    from kernelviz.records import Recipe


def check_way(run: Run, layer: str, view: str, suffixes: Sequence[str]) -> None:
    """Look before the passes whether files of these names may be written; which images they are of is not known yet.

    Raises:
        FileInTheWayError: something stands there that is no such file, of these images or of others.
    """
    from kernelviz.files.writing import check_target, is_of_another

    stem, identity = _stem(run, layer, view), _identity(run, layer, view, None)
    for suffix in suffixes:
        path = run.goal.directory / f"{stem}{suffix}"
        if run.goal.force or not is_of_another(path, identity):
            check_target(path, identity, force=run.goal.force)


def place(run: Run, layer: str, view: str, images: Recipe | None, suffix: str) -> Path:
    """Where a file goes that is told of ``images``; where those of others, or of other weights, are, digits are added.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.cli.pictures import find_place

    source = run.network.source
    weights = (source.weights.sha256 if source.weights else None) or ""
    goal = replace(run.goal, suffix=suffix, arrays=run.goal.arrays and view == "statistics")
    identity = _identity(run, layer, view, images)
    secret = (source.label, weights, images["sha256"] if images else "")
    return find_place(_stem(run, layer, view), identity, secret, goal, run.report)


def _stem(run: Run, layer: str, view: str) -> str:
    from kernelviz.files.names import file_stems

    what = "features" if run.wish.tap == "output" else "inputs"
    stems = file_stems([(run.network.source.stem, name, what, view) for name in run.drawn])
    return stems[run.drawn.index(layer)]


def _identity(run: Run, layer: str, view: str, images: Recipe | None) -> dict[str, Any]:
    model = run.network.source.as_recipe()
    return {"command": "features", "model": model, "layer": layer, "view": view, "image": images}


def keep_entry(
    run: Run, path: Path, layer: str, view: str, *, shown: int, nonfinite: int = 0,
    limits: Sequence[float] | None = None, notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Keep one written file in the report, and print its path."""
    from kernelviz.cli.talk import result

    layout = {tap.name: tap.layout for tap in run.tapped.taps.taps}[layer]
    run.report.outputs.append({
        "path": str(path), "layer": layer, "image": None, "view": view, "shape": list(layout.shape[1:]), "shown": shown,
        "total": layout.size[0], "limits": list(limits) if limits else None, "nonfinite": nonfinite,
        "notes": list(notes),
    })  # fmt: skip
    if not run.goal.as_json:
        result(path)
