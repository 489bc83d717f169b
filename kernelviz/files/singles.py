"""A folder of small PNGs, one a channel, encoded and written by threads, with an index in JSON."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.files.png import png_bytes
from kernelviz.files.recipes import PNG_KEY, recipe_text
from kernelviz.files.writing import check_target, write_whole

if TYPE_CHECKING:
    from kernelviz.drawing.singles import Singles

INDEX = "index.json"


def save_singles(singles: Singles, folder: Path | str, *, force: bool = False, threads: int | None = None) -> Path:
    """Write a PNG for each channel into a folder, named by its number, and ``index.json`` at last; return the index.

    The index tells each file's channel and the values at the ends of its colours, with the shape and the recipe of all.

    Raises:
        FileInTheWayError: something else is there.
        WriteError: a file could not be written; the others may be there, but the index is not.
    """
    folder = Path(folder)
    index = folder / INDEX
    check_target(index, singles.recipe, force=force)
    digits = max(4, len(str(max(singles.numbers))))
    names = [f"{number:0{digits}d}.png" for number in singles.numbers]
    write = partial(_write, singles, folder, names, force=force)
    with ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="kernelviz-single") as pool:
        try:
            for _ in pool.map(write, _parts(len(names))):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    height, width = singles.levels.shape[1:]
    content = {
        "layer": singles.recipe.get("layer"),
        "shape": [height, width],
        "zoom": singles.zoom,
        "scale": singles.scale.kind,
        "files": [
            {"file": name, "channel": number, "limits": [float(low), float(high)]}
            for name, number, (low, high) in zip(names, singles.numbers, singles.limits, strict=True)
        ],
        "recipe": dict(singles.recipe),
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    write_whole(index, text.encode(), replace=force or os.path.lexists(index))
    return index


def _parts(count: int) -> list[range]:
    return [range(start, min(count, start + 64)) for start in range(0, count, 64)]


def _write(singles: Singles, folder: Path, names: list[str], part: range, *, force: bool) -> None:
    """Write some of the files; they need not be on the disk before the index is."""
    for at in part:
        recipe = {
            **singles.recipe,
            "channels": str(singles.numbers[at]),
            "shown": 1,
            "limits": [float(limit) for limit in singles.limits[at]],
        }
        pixels = singles.levels[at]
        if singles.zoom > 1:
            pixels = np.repeat(np.repeat(pixels, singles.zoom, 0), singles.zoom, 1)
        path = folder / names[at]
        standing = os.path.lexists(path)
        if standing:
            check_target(path, recipe, force=force)
        data = png_bytes(pixels, singles.palette, {PNG_KEY: recipe_text(recipe)})
        write_whole(path, data, replace=force or standing, durable=False)
