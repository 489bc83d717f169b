"""What a picture was asked to look like, kept in its recipe, and whether it is there already."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.cli.passes import Places, Run, Wish
    from kernelviz.cli.pictures import Look
    from kernelviz.records import Recipe


def choices_of(look: Look, wish: Wish) -> dict[str, Any]:
    """What was chosen other than usual, as JSON holds it: it tells pictures of one name apart."""
    chosen = {key: value for key, value in asdict(look).items() if value is not None}
    chosen["style"] = None if str(look.style) == "figure" else str(look.style)
    chosen["scale"] = list(look.scale) if isinstance(look.scale, tuple) else look.scale
    chosen["crop"] = wish.crop
    chosen["size"] = list(wish.size) if wish.size else None
    chosen["batch_size"] = wish.batch_size if wish.batch_size > 1 else None
    chosen["classes"] = None if wish.classes else False
    return {key: value for key, value in chosen.items() if value is not None}


def told(run: Run, recipe: Recipe, layer: str | None) -> Recipe:
    """A recipe with what was chosen."""
    asked = asked_of(run, layer)
    return {**recipe, "asked": asked} if asked else recipe


def asked_of(run: Run, layer: str | None) -> dict[str, Any]:
    """What was chosen for one layer; for the overview, which is of all of them, ``layer`` is None."""
    basis = run.bases.get(layer or "")
    return dict(run.asked) if basis is None else {**run.asked, "basis": basis.digest}


def is_done(run: Run, places: Places) -> bool:
    """Whether every file of an image is there, each by its recipe this very picture with these very choices.

    That they are of this model, layer and image was found when they got their places. Of single maps each file that the
    index lists has to be there.
    """
    from kernelviz.files.singles import is_complete

    wanted = [(layer, path) for layer, each in places.items() for _, path in each]
    if run.goal.arrays:
        wanted += [(layer, path.with_suffix(".npz")) for layer, path in wanted if layer]
    there = all(_is_there(path, asked_of(run, layer)) for layer, path in wanted)
    return there and (not run.wish.single or all(is_complete(path) for _, path in wanted))


def _is_there(path: Path, asked: dict[str, Any]) -> bool:
    from kernelviz.errors import RecipeError
    from kernelviz.files.recipes import read_recipe

    if not os.path.lexists(path):
        return False
    try:
        recipe = read_recipe(path)
    except RecipeError:
        return False
    return bool(recipe.get("asked", {}) == asked)
