"""Where weights come from: names, checkpoints, the cache and the model hub."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from timm.models import _builder

from kernelviz.errors import BadWeightsError
from kernelviz.records import shape_text
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from kernelviz.network.checkpoints import Checkpoint


_NAMES_TOLD = 3  # of each kind of mismatch: the whole message stays below ten lines
_LOCK = threading.Lock()


@dataclass
class Loading:
    """What timm would do with pretrained weights: how it renames them, and whether all must be there."""

    rename: Callable[..., dict[str, Tensor]] | None = None
    strict: bool = True


@contextmanager
def instead_of_loading() -> Iterator[Loading]:
    """While a network is built in this thread, timm tells how it would load pretrained weights, and does not.

    Each architecture hands its own rule to one function of timm, and to nobody else. Other threads load as ever.
    """
    loading, thread = Loading(), threading.get_ident()
    with _LOCK:
        load = _builder.load_pretrained

        def tell(*given: Any, **choices: Any) -> None:
            if threading.get_ident() != thread:
                load(*given, **choices)
                return
            loading.rename, loading.strict = choices.get("filter_fn"), choices.get("strict", True)

        _builder.load_pretrained = tell
        try:
            yield loading
        finally:
            _builder.load_pretrained = load


def fit_pretrained(network: nn.Module, checkpoint: Checkpoint, architecture: str, loading: Loading) -> tuple[str, ...]:
    """Load the weights that timm has for this network, as timm would; return what is to be said about them.

    Where timm itself does not insist on all of them, what has no place is left, and vectors (of a normalisation that the
    training had not) may be missing; a kernel may not.

    Raises:
        BadWeightsError: they are not those of the network.
    """
    tensors = _renamed(network, checkpoint, architecture, loading.rename)
    notes: tuple[str, ...] = ()
    if not loading.strict:
        state = network.state_dict()
        added = {name: value for name, value in state.items() if name not in tensors and value.ndim <= 1}
        tensors = {name: value for name, value in (tensors | added).items() if name in state}
        missing = [name for name in added if _counts(name)]
        notes = (_told("not in the weights, as initialised", missing),) if missing else ()
    return notes + fit(network, replace(checkpoint, tensors=tensors), architecture)


def fit(network: nn.Module, checkpoint: Checkpoint, architecture: str) -> tuple[str, ...]:
    """Load the weights into the network, every one of them (``num_batches_tracked`` aside); return what is to be said.

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
    rounded = [name for name, value in given.items() if _is_rounded(value, wanted[name].dtype)]
    types = ", ".join(sorted({str(given[name].dtype).removeprefix("torch.") for name in rounded}))
    told = f"{len(rounded)} of {len(given)} tensors were rounded from {types} to the network's float32"
    return (*checkpoint.notes, told) if rounded else checkpoint.notes


def _is_rounded(value: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor's numbers are not all among those of another type."""
    if value.dtype == dtype or not value.is_floating_point():
        return False
    return not torch.equal(value.nan_to_num(), value.to(dtype).to(value.dtype).nan_to_num())


def _renamed(
    network: nn.Module, checkpoint: Checkpoint, architecture: str, rename: Callable[..., dict[str, Tensor]] | None
) -> dict[str, Tensor]:
    """The tensors under the names of the network, by the architecture's own rule."""
    if rename is None:
        return checkpoint.tensors
    try:
        try:
            return dict(rename(dict(checkpoint.tensors), network))
        except TypeError:  # older rules take no network
            return dict(rename(dict(checkpoint.tensors)))
    except Exception:  # noqa: BLE001 - each architecture's rule raises what it likes
        what = f"{shown(checkpoint.weights.name)} does not hold the weights of {architecture}."
        raise BadWeightsError(what, "Their names are not those that timm knows.", "Give --weights FILE.") from None


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
