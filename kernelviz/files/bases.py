"""Principal components in files, so that the same colours mean the same in another run."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import RecipeError, UsageError
from kernelviz.files.recipes import read_recipe
from kernelviz.files.writing import save_arrays
from kernelviz.views.components import COLOURS, Basis

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.records import Array, Source


_ARRAYS = ("mean", "components", "deviations", "share")
_HINT = "Give a file …-basis.npz that --reduce pca wrote."


def save_basis(basis: Basis, path: Path | str, source: Source | None = None, *, force: bool = False) -> Path:
    """Write a basis as ``.npz``: ``mean`` (C,), ``components`` (3, C), ``deviations`` (3,), ``share`` (3,), and a recipe.

    Raises:
        FileInTheWayError: something else is there.
        WriteError: the file could not be written.
    """
    from kernelviz.version import __version__

    recipe: dict[str, Any] = {
        "kernelviz": __version__,
        "schema": 1,
        "command": "features",
        "model": source.as_recipe() if source else basis.model,
        "layer": basis.layer or None,
        "view": "basis",
        "image": basis.identity,
        "images": basis.images,
        "positions": basis.positions,
    }
    return save_arrays({name: getattr(basis, name) for name in _ARRAYS}, path, recipe=recipe, force=force)


def read_basis(path: Path | str) -> Basis:
    """The basis that ``save_basis`` wrote.

    Raises:
        UsageError: there is no such file, it is damaged, or it holds no basis, or numbers that are not finite.
    """
    try:
        recipe = read_recipe(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in _ARRAYS}
    except RecipeError as error:
        raise UsageError(f"{path} is no basis.", error.what, _HINT) from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no basis.", str(error).partition("\n")[0], _HINT) from error
    _check(path, arrays)
    layer, images, positions = recipe.get("layer"), recipe.get("images"), recipe.get("positions")
    model, identity = (each if isinstance(each, dict) else None for each in (recipe.get("model"), recipe.get("image")))
    counts = [number if isinstance(number, int) else 0 for number in (images, positions)]
    return Basis(
        **arrays, layer=layer if isinstance(layer, str) else "", images=counts[0], positions=counts[1],
        model=model, identity=identity,
    )  # fmt: skip


def _check(path: Path | str, arrays: dict[str, Array]) -> None:
    channels = arrays["mean"].size
    wanted = {"mean": (channels,), "components": (COLOURS, channels), "deviations": (COLOURS,), "share": (COLOURS,)}
    if not channels or any(arrays[name].shape != shape for name, shape in wanted.items()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UsageError(f"{path} is no basis.", f"Its arrays do not fit together: {shapes}.", _HINT)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UsageError(f"{path} is no basis.", "It holds numbers that are not finite.", _HINT)
