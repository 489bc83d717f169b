"""One module of a network by its exact name, and what is said where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.errors import UnknownLayerError
from kernelviz.network.refusals import root_of, without_expert
from kernelviz.wording import nearest_names, shown

if TYPE_CHECKING:
    from torch import nn

    from kernelviz.network.models import Model


def find_module(network: Model | nn.Module, name: str) -> tuple[str, nn.Module]:
    """The module with this exact name, and that name; an expert's, ``name:0``, means the layer that mixes them.

    A network that is itself one layer is called by its class.

    Raises:
        UnknownLayerError: there is none.
    """
    root = root_of(network)
    modules = {path: module for path, module in root.named_modules() if path}
    for wanted in (name, without_expert(name)):
        if wanted in modules:
            return wanted, modules[wanted]
    if not modules and name in ("", type(root).__name__):
        return "", root
    nearest = nearest_names(list(modules), name)
    near = f"Nearest: {', '.join(nearest)}." if nearest else ""
    hint = "`kernelviz layers MODEL` lists them."
    raise UnknownLayerError(f"No layer is called {shown(name)}." if name else "The layer's name is empty.", near, hint)


def convolutions_inside(network: Model | nn.Module, name: str) -> str:
    """A hint at what lies inside a module; empty where nothing convolves there."""
    from kernelviz.network.layers import list_layers

    names = [layer.name for layer in list_layers(network)]
    inside = [one for one in names if one.startswith(f"{name}.")]
    if inside:
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        return f"The convolutions inside it: {', '.join(inside[:3])}{more}."
    nearest = nearest_names(names, name, count=1)
    return f"Choose a convolution, {nearest[0]} for one." if nearest else ""
