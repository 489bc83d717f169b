"""The next size of an image that a network takes, if its forward pass breaks on a smaller one."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import torch

from kernelviz.errors import BrokenPassError, NeedsValuesError
from kernelviz.network.failures import broken_pass
from kernelviz.network.model import Model, root_of
from kernelviz.network.snapshot import preserved_random_state
from kernelviz.network.tracing.meta import OperationMode, number_kind, on_meta
from kernelviz.network.tracing.watch import ObservedPass
from kernelviz.threads import no_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn


@contextlib.contextmanager
def naming_next_size(network: Model | nn.Module, size: Sequence[int]) -> Iterator[None]:
    """If a forward pass breaks and a ``Model`` takes a larger side than that of ``size`` (C, H, W), report that side.

    Raises:
        InputSizeError: it takes one.
    """
    try:
        yield
    except NeedsValuesError:
        raise
    except BrokenPassError as error:
        hint = next_size(network, size)
        if not hint or error.__cause__ is None:
            raise
        module = error.observed.network if isinstance(error.observed, ObservedPass) else root_of(network)
        found = broken_pass(error.__cause__, module, size, hint)
        found.observed = error.observed
        raise found from error.__cause__


_SECONDS = 8.0
"""The processor time for the search of a size; each size takes a forward pass on ``meta``."""
_NEAR = 64
"""The sides tried beyond the model's own: networks that take multiples only take those of at most this number."""


def next_size(network: Model | nn.Module, size: Sequence[int]) -> str:
    """A hint at the smallest side that works and is above the smaller side of ``size`` (C, H, W).

    It is empty if the network takes this size, or if it is not a ``Model``, of which no size is known to work. The sides
    that work need not be adjacent, since many networks take multiples of 32 only: so every side in between is tried. If
    that takes too long, the hint contains only what was tried.
    """
    if not isinstance(network, Model) or len(size) != 3 or size[0] != network.input_size[0]:
        return ""
    takes = _meta_runs(network)
    own, least = network.input_size[1:], min(size[1:])
    if not takes(*own) or takes(*size[1:]):
        return ""
    low, high = least, own[0] if own[0] == own[1] and own[0] > least else None
    while high is not None and high - low > 1:  # as if all sides from some on worked
        middle = (low + high) // 2
        low, high = (low, middle) if takes(middle, middle) else (middle, high)
    end = time.thread_time() + _SECONDS
    for side in range(least + 1, high or least + _NEAR + 1):
        if time.thread_time() > end:
            return f"It takes {own[0]} × {own[1]}" + (f" and {high} × {high}." if high not in (None, own[0]) else ".")
        if takes(side, side):
            high = side
            break
    return f"The smallest side above {least} that it takes is {high}." if high else f"It takes {own[0]} × {own[1]}."


def _meta_runs(network: Model) -> Callable[[int, int], bool]:
    """A function that returns whether the network takes an image of these rows and columns."""
    meta_copy = on_meta(root_of(network))
    dtype = number_kind(meta_copy)

    def takes(*sides: int) -> bool:
        with (
            torch.inference_mode(mode=False),
            torch.no_grad(),
            preserved_random_state(),
            no_warnings(),
            OperationMode(),
        ):
            try:
                meta_copy(torch.empty(1, network.input_size[0], *sides, dtype=dtype, device="meta"))
            except Exception:  # noqa: BLE001 - each network has its own
                return False
        return True

    return takes
