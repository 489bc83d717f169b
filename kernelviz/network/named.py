"""Which layers of a network a name, a pattern or a stage means, and errors for names of other things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.errors import UnknownLayerError, UsageError
from kernelviz.network.convolutions import (
    CONVOLUTIONS,
    convolution_records,
    convolutions_by_name,
    experts_of,
    first_convolution,
    first_names,
    is_conditional,
    is_lazy_layer,
    is_quantised,
    list_layers,
    no_convolutions,
    obstacle,
)
from kernelviz.network.model import Model, named_stages, root_of
from kernelviz.network.selection import (
    LISTED,
    TAKE_ALL,
    LayerMatch,
    NetworkNames,
    between_stages,
    convolutions_of,
    few,
    inside_of,
    is_missing_part,
    is_stage,
    match_layers,
    members,
    unknown_layer,
    with_first_name,
)
from kernelviz.network.snapshot import is_scripted, scripted_error
from kernelviz.network.tracing.stages import find_stages
from kernelviz.wording import nearest_names, shown, split_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from kernelviz.records import ConvLayer


def _not_a_convolution(network: Model | nn.Module, names: list[str], pattern: str) -> UnknownLayerError:
    """The error for a pattern that names none of the convolutions called ``names``."""
    root = root_of(network)
    others = {name or type(root).__name__: module for name, module in root.named_modules()}
    others = {name: module for name, module in others.items() if name not in names}
    if pattern in others:
        inside = inside_of(names, pattern)
        why = f"The convolutions inside it: {few(inside)}." if inside else ""
        what = obstacle(others[pattern]) or f"is {_with_article(others[pattern])}, not a convolution"
        return UnknownLayerError(f"The layer {shown(pattern)} {what}.", why, _try_layer(inside or names))
    match = match_layers(pattern, [*names, *others], ()) if not is_stage(pattern) else None
    if match and is_missing_part(match, names):
        match = None
    if match and members(match, names):
        what = f"{shown(pattern)} is a pattern, not the name of one layer."
        return UnknownLayerError(what, hint="Choose the layers with select_layers first.")
    if match:
        kinds = list(dict.fromkeys(_with_article(others[name]) for name in match.names))
        what = f"What matches {shown(pattern)} is not a convolution, but {few(kinds)}."
        return UnknownLayerError(what, hint=_try_layer(names))
    return unknown_layer(pattern, names, _try_layer(nearest_names(names, pattern) or names))


def _try_layer(names: list[str]) -> str:
    return f"Try `--layer {shown(names[0])}`; {TAKE_ALL}."


def _with_article(module: nn.Module) -> str:
    kind = type(module).__name__
    return f"{'an' if kind[:1] in set('AEIOU') else 'a'} {kind}"


@dataclass(frozen=True)
class NamedLayer:
    """One module of a network: its dotted name, and which of its runs is meant, from 0.

    ``name`` is empty for the network itself. ``title`` is the name as it is shown.
    """

    name: str
    module: nn.Module
    run: int = 0

    @property
    def title(self) -> str:
        """The name, or the class of the network itself, with the run from the second on."""
        name = self.name or type(self.module).__name__
        return f"{name}#{self.run + 1}" if self.run else name


def find_layer(network: Model | nn.Module, pattern: str, input_size: tuple[int, ...] | None = None) -> NamedLayer:
    """The one convolution, pool or other module that a pattern names.

    A module that contains exactly one convolution or pool means that one, and so does a stage. An expert, ``name:0``, means
    the layer that mixes them. A network that is itself one layer is called by its class. ``input_size`` is that at which
    the stages of a network that names none are found.

    Raises:
        UnknownLayerError: there is no such module, stage or expert.
        UsageError: the pattern means several layers.
        KernelvizError: the layer is scripted.
    """
    root = root_of(network)
    modules = {path: module for path, module in root.named_modules() if path}
    if pattern not in modules:
        pattern = with_first_name(pattern, first_names(network))
    if not modules and split_name(pattern)[0] in ("", type(root).__name__):
        return NamedLayer("", root, split_name(pattern)[1] or 0)
    names = names_of(network, [pattern], input_size)
    match = match_layers(pattern, modules, names.stages, hint=LISTED)
    if match is None and pattern == type(root).__name__:  # the network itself
        match = LayerMatch(tuple(modules))
    if match is None or not _is_part(modules[match.names[0]], match.part):
        raise unknown_layer(pattern, modules, LISTED)
    inside = list(dict.fromkeys(path for container in match.names for path in _windows_inside(modules, container)))
    if match.stage is not None and not inside:
        windows = window_names(root)
        inside = between_stages(windows, names, match.stage)
    found = inside or match.names
    if len(found) > 1:
        what = f"{shown(pattern)} matches {len(found)} layers."
        if len(match.names) == 1 and inside_of(found, match.names[0]):
            container = match.names[0]
            content = f"{_with_article(modules[container])} with {len(found)} convolutions and pools"
            what = f"The layer {shown(container)} is {content}."
        raise UsageError(what, "Only one can be explained at a time.", f"Choose one of them: {few(found)}.")
    if is_scripted(modules[found[0]]):
        raise scripted_error(found[0])
    return NamedLayer(found[0], modules[found[0]], match.run or 0)


def _is_part(module: nn.Module, part: int | None) -> bool:
    """Whether a module may have this part: an expert, or one of the tensors that a container returns."""
    if is_conditional(module):
        return part is None or part < experts_of(module)
    return not part or any(module.children())


def nearest_convolution(network: Model | nn.Module, name: str) -> str:
    """A hint at the convolution with the nearest name; empty if the network has none."""
    nearest = nearest_names([layer.name for layer in list_layers(network)], name, count=1)
    return f"Choose a convolution, for example {shown(nearest[0])}." if nearest else ""


def _windows_inside(modules: Mapping[str, nn.Module], name: str) -> list[str]:
    """The outermost convolutions and pools in the module of this name; that name alone if it is one."""
    found: list[str] = []
    for path in inside_of(modules, name):
        if _is_window(modules[path]) and not any(path.startswith(f"{outer}.") for outer in found):
            found.append(path)
    return found


def window_names(root: nn.Module) -> list[str]:
    """The names of all convolutions and pools, also of those inside each other."""
    return [path for path, module in root.named_modules() if path and _is_window(module)]


def _is_window(module: nn.Module) -> bool:
    is_pool = "Pool" in type(module).__name__ and not any(module.children())
    return is_pool or isinstance(module, CONVOLUTIONS) or is_conditional(module)


def select_layers(network: Model | nn.Module, patterns: str | Sequence[str] | None = None) -> list[ConvLayer]:
    """The convolutions that the patterns name, each once; without patterns the first one that a forward pass meets.

    A pattern is an exact name, a shell pattern over dotted names (``*`` crosses dots), or ``stage:0``, ``stage:-1``. A
    module that contains others stands for the convolutions inside it, a CondConv2d for its experts, ``name#2`` for the
    convolution that runs twice. The matches of one pattern are in the order of definition.

    Raises:
        UnknownLayerError: a pattern matches nothing, or no convolution.
        NoConvolutionsError: the network has no convolutions.

    Example:
        >>> model = kernelviz.load_model("test_resnet", weights=None)
        >>> [layer.name for layer in kernelviz.select_layers(model, "layer1.*")]
        ['layer1.0.conv1', 'layer1.0.conv2']
        >>> [layer.name for layer in kernelviz.select_layers(model)]
        ['conv1.0']
    """
    convolutions = convolutions_by_name(network)
    if not convolutions:
        raise no_convolutions(network)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not patterns:
        size = network.input_size if isinstance(network, Model) else None
        chosen = [first_convolution(network, size) or next(iter(convolutions))]
    else:
        names = names_of(network, patterns)
        chosen = [name for pattern in patterns for name in _matches(network, list(convolutions), pattern, names)]
    records = convolution_records(network, convolutions)
    return [records[name] for name in dict.fromkeys(chosen)]


def left_out(network: Model | nn.Module, patterns: str | Sequence[str] | None = None) -> dict[str, str]:
    """The convolving modules that match the patterns but whose kernels cannot be read: the reason for each name."""
    modules = {name: module for name, module in root_of(network).named_modules() if name}
    obstacles = {
        name: why
        for name, module in modules.items()
        if not is_conditional(module)
        and not is_quantised(module)
        and (not isinstance(module, CONVOLUTIONS) or is_lazy_layer(module))
        if (why := obstacle(module))
    }
    patterns = [patterns] if isinstance(patterns, str) else patterns or ()
    stages = names_of(network, patterns).stages
    matches = [match_layers(pattern, modules, stages) for pattern in patterns]
    chosen = {name for match in matches if match for name in members(match, list(obstacles))}
    return {name: why for name, why in obstacles.items() if name in chosen}


def find_convolution(network: Model | nn.Module, name: str) -> tuple[ConvLayer, nn.Module]:
    """The convolution with this exact name: its record and its module. ``name#2`` is the same as ``name``.

    Raises:
        UnknownLayerError: there is none.
        NoConvolutionsError: the network has no convolution at all.
    """
    convolutions = convolutions_by_name(network)
    if not convolutions:
        raise no_convolutions(network)
    if name not in convolutions:
        name = with_first_name(name, first_names(network))
    module, run, part = split_name(name)
    if run != -1 and module in convolutions and not part:
        name = module
    if name not in convolutions:
        raise _not_a_convolution(network, list(convolutions), name)
    return convolution_records(network, convolutions)[name], convolutions[name][0]


def _matches(network: Model | nn.Module, names: list[str], pattern: str, known: NetworkNames) -> list[str]:
    """The names of convolutions that one pattern means, at least one."""
    found = convolutions_of(pattern, names, known, _try_layer(names))
    if not found:
        raise _not_a_convolution(network, names, pattern)
    return found


def names_of(
    network: Model | nn.Module, patterns: Sequence[str] = (), input_size: tuple[int, ...] | None = None
) -> NetworkNames:
    """The names by which layers of a network are chosen.

    The stages of a network that names none take a traced forward pass of an image of ``input_size``; they are found if a
    pattern names one.

    Raises:
        UnknownLayerError: a pattern names a stage, and the forward pass fails.
    """
    modules = tuple(name for name, _ in root_of(network).named_modules() if name)
    stages = named_stages(network)
    if stages is None and any(is_stage(pattern) and pattern not in modules for pattern in patterns):
        stages = find_stages(network, input_size)
    return NetworkNames(modules, stages or (), first_names(network))
