"""Why a name or pattern means no convolution, or a network holds none, in words that lead on."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NoReturn

from torch import nn

from kernelviz.errors import NoConvolutionsError, UnknownLayerError
from kernelviz.network.models import Model
from kernelviz.wording import nearest_names, shown

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
_ALL_LAYERS = "`--layer '*'` takes all of them"


def root_of(network: Model | nn.Module) -> nn.Module:
    """The module itself."""
    return network.module if isinstance(network, Model) else network


def inside_of(names: list[str], container: str) -> list[str]:
    """The names that are this one, lie in the module of this name, or are its experts, ``name:0``."""
    return [name for name in names if name == container or name.startswith((f"{container}.", f"{container}:"))]


def is_conditional(module: nn.Module) -> bool:
    """Whether a module holds experts, from which it mixes the kernels anew for every image: timm's CondConv2d."""
    return type(module).__name__ == "CondConv2d" and hasattr(module, "num_experts")


def experts_of(module: Any) -> int:
    """How many experts such a module holds."""
    return int(module.num_experts)


def without_expert(name: str) -> str:
    """The module's own name in that of an expert, ``name:0``."""
    module, colon, number = name.rpartition(":")
    return module if colon and number.isdigit() else name


def refuse(network: Model | nn.Module, names: list[str], pattern: str) -> NoReturn:
    """Say why a pattern means none of the convolutions called ``names``.

    Raises:
        UnknownLayerError: that is what it is for.
    """
    if not pattern:
        raise UnknownLayerError("The layer's name is empty.", hint=layers_hint(names))
    others = {name: module for name, module in root_of(network).named_modules() if name and name not in names}
    if pattern in others:
        inside = inside_of(names, pattern)
        why = f"The convolutions inside it: {_few(inside)}." if inside else ""
        what = obstacle(others[pattern]) or f"is {_with_article(type(others[pattern]).__name__)}, not a convolution"
        raise UnknownLayerError(f"The layer {shown(pattern)} {what}.", why, layers_hint(inside or names))
    if any(fnmatchcase(name, pattern) for name in names):
        what = f"{shown(pattern)} is a pattern, not the name of one layer."
        raise UnknownLayerError(what, hint="Choose the layers with select_layers first.")
    kinds = {type(module).__name__: None for name, module in others.items() if fnmatchcase(name, pattern)}
    if kinds:
        what = f"What matches {shown(pattern)} is no convolution, but {_few([_with_article(kind) for kind in kinds])}."
        raise UnknownLayerError(what, hint=layers_hint(names))
    nearest = nearest_names(names, pattern)
    raise UnknownLayerError(
        f"No layer is called {shown(pattern)}.", f"Nearest: {', '.join(nearest)}.", layers_hint(nearest)
    )


def obstacle(module: nn.Module) -> str:
    """Why the kernels of something that convolves cannot be read; empty for anything else."""
    kind = type(module).__name__
    if isinstance(module, CONVOLUTIONS):
        return f"is a {kind}, which has no weights before its first pass"
    if "conv" in kind.lower() and not any(module.children()):
        return f"is a {type(module).__module__}.{kind}, which keeps its weights in its own way; they cannot be read"
    return ""


def no_convolutions(network: Model | nn.Module) -> NoConvolutionsError:
    """Say it, and what there is instead at the place where convolutions would be expected."""
    root = root_of(network)
    name = network.source.model if isinstance(network, Model) else type(root).__name__
    parts = [(path, part) for path, part in root.named_modules() if not any(part.children())]
    unreadable = (f"Its {path or 'only layer'} {why}." for path, part in parts if (why := obstacle(part)))
    linear = [(path, part) for path, part in parts if isinstance(part, nn.Linear) and path]
    embedding = [(path, part) for path, part in linear if "embed" in path]
    instead = (
        f"Its {'patch embedding' if embedding else 'first layer'}, {path}, is a Linear, "
        f"{part.in_features:,} numbers to {part.out_features:,}."
        for path, part in embedding or linear
    )
    return NoConvolutionsError(
        f"{name} has no convolution.",
        next(unreadable, next(instead, "")),
        "Choose a network with convolutions, `kernelviz kernels tf_efficientnet_lite0` for one.",
    )


def layers_hint(names: list[str]) -> str:
    """What to type instead."""
    return f"Try `--layer {names[0]}`; {_ALL_LAYERS}."


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _with_article(kind: str) -> str:
    return f"{'an' if kind[:1] in set('AEIOU') else 'a'} {kind}"
