"""The kernels of a model: from the loaded network, or from its weights file alone if an earlier run remembered where."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kernelviz.cli import loading, remembered
from kernelviz.errors import BadWeightsError, UnknownLayerError
from kernelviz.wording import reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.model import Model
    from kernelviz.network.stored_kernels import StoredKernels
    from kernelviz.records import ConvLayer, KernelBank, Source


class KernelSource(Protocol):
    """The selected convolutions of a model, and how their kernels are read."""

    @property
    def source(self) -> Source:
        """The model and its weights."""

    @property
    def layers(self) -> Sequence[ConvLayer]:
        """The selected convolutions."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """The convolving modules that were selected but cannot be read, each with the reason."""

    def read(self, layer: ConvLayer, *, stored: bool = False) -> KernelBank:
        """The kernels of a layer."""


@dataclass(frozen=True)
class LoadedKernels:
    """The kernels of a loaded network."""

    model: Model
    layers: Sequence[ConvLayer]
    left_out: Mapping[str, str]

    @property
    def source(self) -> Source:
        """The model and its weights."""
        return self.model.source

    def read(self, layer: ConvLayer, *, stored: bool = False) -> KernelBank:
        """The kernels of a layer, see ``read_kernels``."""
        from kernelviz.network.kernels import read_kernels

        return read_kernels(self.model, layer, stored=stored)


@dataclass(frozen=True)
class RememberedKernels:
    """Kernels in a file, without the network."""

    known: StoredKernels
    layers: Sequence[ConvLayer]
    left_out: Mapping[str, str]

    @property
    def source(self) -> Source:
        """The model and its weights."""
        return self.known.source

    def read(self, layer: ConvLayer, *, stored: bool = False) -> KernelBank:
        """The kernels of a layer.

        Raises:
            BadWeightsError: the file was changed since this run began.
        """
        try:
            return self.known.read(layer, stored=stored)
        except (OSError, ValueError, KeyError) as error:
            what = f"The weights of {shown(layer.name)} cannot be read; their file was changed meanwhile."
            raise BadWeightsError(what, f"{reason_text(error)}.", "Run it again.") from None


def open_kernels(
    choices: ModelChoices, patterns: Sequence[str] | None, report: Report, progress: Progress
) -> KernelSource:
    """The convolutions that the patterns name, from the weights file if that is known to be enough, else of the network.

    Raises:
        KernelvizError: the model cannot be loaded, or has no such layer.
    """
    known = remembered.recalled_kernels(choices) if choices.cache else None
    with contextlib.suppress(UnknownLayerError):
        layers = known.select(patterns) if known else None
        if known and layers and known.holds(layers):
            loading.announce(known.source, choices, report)
            return RememberedKernels(known, layers, {})
    model = loading.load(choices, report, progress)
    from kernelviz.network.named import left_out, select_layers

    if choices.cache:
        remembered.remember_kernels(choices, model)
    return LoadedKernels(model, select_layers(model, patterns), left_out(model, patterns))
