"""The tensors of a network in a weights file, each read when it is needed: no network is built for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kernelviz.errors import BadWeightsError, UsageError
from kernelviz.network.weights.checkpoints import Contents, few_match, is_counted, name_list, read_contents
from kernelviz.network.weights.searching import chosen_weights, more_notes
from kernelviz.records import Weights, as_array, shape_text
from kernelviz.threads import no_warnings
from kernelviz.views.kernel_history import as_steps
from kernelviz.wording import shown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from kernelviz.records import Array

STEP_KEYS = ("global_step", "step", "iteration", "epoch")
"""What a training script calls the step beside the tensors, the most precise first."""


@dataclass(frozen=True)
class StoredWeights:
    """The tensors of one weights file by the names that the network has for them.

    ``path`` is where they are in the file: its keys and the prefix of the names, joined by dots; ``averaged`` if it calls
    them an average over the training. ``steps`` are the numbers beside them that count steps, by ``STEP_KEYS``. ``notes``
    are further facts for the user.
    """

    weights: Weights
    path: str
    averaged: bool
    steps: Mapping[str, float]
    notes: tuple[str, ...] = ()
    _tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    _types: Mapping[str, torch.dtype] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the file holds, by the network's names."""
        return tuple(self._tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, whose numbers are not read; None if the file has none of this name."""
        found = self._tensors.get(name)
        return None if found is None else tuple(found.shape)

    def read(self, name: str) -> Array:
        """A copy of one tensor, in the type that the network has for it.

        Raises:
            BadWeightsError: the file has none of this name.
        """
        found = self._tensors.get(name)
        if found is None:
            raise BadWeightsError(f"The weights file {shown(self.weights.name)} has no tensor {shown(name)}.")
        with no_warnings():
            plain = found.dequantize() if found.is_quantized else found
        wanted = self._types.get(name, plain.dtype)
        return as_array(plain if plain.dtype == wanted or not plain.is_floating_point() else plain.to(wanted))


def open_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    architecture: str,
    *,
    key: str | None = None,
    timeout: float = 10.0,
) -> StoredWeights:
    """Find the tensors of a network in a file as ``--weights FILE`` does; their numbers stay in the file.

    Args:
        path: of a safetensors or ``torch.save`` file.
        tensors: of the network: type and shape by name, as ``Architecture.tensors``.
        architecture: The name of the network, for messages.
        key: Keys and prefix of the weights, as ``--weights-key``.
        timeout: Seconds without progress after which a file of the hub is given up.

    Raises:
        BadWeightsError: the file cannot be read, or has fewer than half of the network's tensors.
    """
    return find_stored_weights(read_contents(path, mapped=True, timeout=timeout), tensors, architecture, key=key)


def find_stored_weights(
    contents: Contents, tensors: Mapping[str, tuple[str, tuple[int, ...]]], architecture: str, *, key: str | None = None
) -> StoredWeights:
    """As ``open_weights``, of contents that are read already.

    Raises:
        BadWeightsError: as ``open_weights``.
    """
    skeleton = _Skeleton(tensors)

    def build(tensors: dict[str, Tensor], *, headless: bool) -> nn.Module:
        del tensors, headless
        return skeleton

    best = chosen_weights(contents, skeleton, build, key)
    if 2 * best.matching < best.total:
        different = [
            f"{shown(name)} is {shape_text(best.tensors[name].shape)}, not {shape_text(tensors[name][1])}"
            for name in best.lacking
            if name in best.tensors
        ]
        missing = [name for name in best.lacking if name not in best.tensors]
        faults = [name_list("missing", missing), name_list("different", different)]
        raise few_match(contents.weights.name, architecture, (best.matching, best.total), faults)
    candidate = best.candidate
    weights = replace(contents.weights, key=candidate.key or None, prefix=candidate.prefix or None)
    types = {name: getattr(torch, kind) for name, (kind, _) in tensors.items()}
    held = {name: entry.tensor for name, entry in candidate.matched.items()}
    steps = _steps(contents, candidate.key)
    return StoredWeights(weights, candidate.path, candidate.is_averaged, steps, tuple(more_notes(best)), held, types)


class _Skeleton(nn.Module):
    """Stands for a network of which only names, types and shapes of its tensors are known."""

    def __init__(self, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        super().__init__()
        self._known = {
            name: torch.empty(shape, dtype=getattr(torch, kind), device="meta")
            for name, (kind, shape) in tensors.items()
        }

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self._known

    def parameters(self, recurse: bool = True) -> Iterator[Any]:  # noqa: ARG002, FBT001, FBT002  (as in torch)
        running = ("running_mean", "running_var")
        return (each for name, each in self._known.items() if is_counted(name) and not name.endswith(running))


def _steps(contents: Contents, key: str) -> dict[str, float]:
    """The numbers that count steps in the mappings around the tensors, the innermost first."""
    levels: list[Any] = [contents.metadata]
    value = contents.value
    while isinstance(value, dict):
        levels.append(value)
        begins = [name for name in value if isinstance(name, str) and f"{key}.".startswith(f"{name}.")]
        if not key or not begins:
            break
        value, key = value[begins[0]], key[len(begins[0]) + 1 :]
    found: dict[str, float] = {}
    for name in STEP_KEYS:
        numbers = (_number(dict.get(level, name)) for level in reversed(levels))
        number = next((each for each in numbers if each is not None), None)
        if number is not None:
            found[name] = number
    return found


def _number(value: object) -> float | None:
    """A finite number of a file, whole numbers as such; None for anything else."""
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 and not value.is_complex() and not value.is_meta else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return as_steps([value])[0]
    except UsageError:
        return None
