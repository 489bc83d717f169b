"""The convolutions of a network, how to choose among them, and errors for names of other things."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kernelviz.errors import NoConvolutionsError, UnknownLayerError, UsageError
from kernelviz.network.model import Model, root_of, stage_names
from kernelviz.network.selection import (
    LISTED,
    TAKE_ALL,
    LayerMatch,
    NetworkNames,
    convolutions_of,
    few,
    inside_of,
    match_layers,
    members,
    unknown_layer,
    with_first_name,
)
from kernelviz.network.snapshot import is_scripted, scripted_error, undisturbed
from kernelviz.records import ConvLayer
from kernelviz.wording import nearest_names, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def first_names(network: Model | nn.Module) -> dict[str, str]:
    """The names of modules that are listed under another one: of shared modules, and those with torch.compile's prefix."""
    given, root = network.module if isinstance(network, Model) else network, root_of(network)
    first = {id(module): name or type(root).__name__ for name, module in root.named_modules()}
    names = ((name, first.get(id(module))) for name, module in given.named_modules(remove_duplicate=False) if name)
    shared = ((name, first.get(id(module))) for name, module in root.named_modules(remove_duplicate=False) if name)
    return {name: known for name, known in (*names, *shared) if known and known != name}


def is_conditional(module: nn.Module) -> bool:
    """Whether a module mixes its kernels from experts for every image: timm's CondConv2d."""
    if type(module).__name__ != "CondConv2d" or not hasattr(module, "kernel_size"):
        return False
    weight, experts = module._parameters.get("weight"), getattr(module, "num_experts", None)  # noqa: SLF001
    return weight is not None and isinstance(experts, int) and weight.shape[:1] == (experts,)


def is_quantised(module: object) -> bool:
    """Whether a module is a convolution of torch's eager-mode quantisation, whose weight and bias are methods."""
    kinds = type(module).__mro__
    return any(kind.__module__.startswith("torch.ao.nn.quantized.") and kind.__name__ == "_ConvNd" for kind in kinds)


def experts_of(module: Any) -> int:
    """The number of experts of such a module."""
    return int(module.num_experts)


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
    match = match_layers(pattern, [*names, *others], ()) if not pattern.startswith("stage:") else None
    if match and members(match, names):
        what = f"{shown(pattern)} is a pattern, not the name of one layer."
        return UnknownLayerError(what, hint="Choose the layers with select_layers first.")
    if match:
        kinds = list(dict.fromkeys(_with_article(others[name]) for name in match.names))
        what = f"What matches {shown(pattern)} is not a convolution, but {few(kinds)}."
        return UnknownLayerError(what, hint=_try_layer(names))
    return unknown_layer(pattern, names, _try_layer(nearest_names(names, pattern) or names))


def obstacle(module: nn.Module) -> str:
    """Why the kernels of a convolving module cannot be read; empty for other modules."""
    kind = str(getattr(module, "original_name", "")) if is_scripted(module) else type(module).__name__
    if isinstance(module, CONVOLUTIONS):
        return f"is a {kind}, which has no weights before its first forward pass"
    if "conv" in kind.lower() and not any(module.children()):
        if is_scripted(module):
            return f"is a scripted {kind} (torch.jit), whose weights cannot be read"
        return f"is a {type(module).__module__}.{kind}, whose weights are in a format that cannot be read"
    return ""


def no_convolutions(network: Model | nn.Module) -> NoConvolutionsError:
    """The error for a network without convolutions, with the layer that takes their place."""
    root = root_of(network)
    name = network.source.model if isinstance(network, Model) else type(root).__name__
    parts = [(path, part) for path, part in root.named_modules() if not any(part.children())]
    unreadable = (f"Its {shown(path) or 'only layer'} {why}." for path, part in parts if (why := obstacle(part)))
    linear = [(path, part) for path, part in parts if isinstance(part, nn.Linear) and path]
    embedding = [(path, part) for path, part in linear if "embed" in path]
    instead = (
        f"Its {'patch embedding' if embedding else 'first layer'}, {shown(path)}, is a Linear, "
        f"{part.in_features:,} numbers to {part.out_features:,}."
        for path, part in embedding or linear
    )
    return NoConvolutionsError(
        f"{name} has no convolution.",
        next(unreadable, next(instead, "")),
        "Choose a network with convolutions, for example `kernelviz kernels tf_efficientnet_lite0`.",
    )


def _try_layer(names: list[str]) -> str:
    return f"Try `--layer {shown(names[0])}`; {TAKE_ALL}."


def _with_article(module: nn.Module) -> str:
    kind = type(module).__name__
    return f"{'an' if kind[:1] in set('AEIOU') else 'a'} {kind}"


def find_layer(network: Model | nn.Module, name: str) -> tuple[str, nn.Module]:
    """The one convolution, pool or other module that a pattern names, and its name.

    A module that contains exactly one convolution or pool means that one. An expert, ``name:0``, means the layer that
    mixes them. A network that is itself one layer is called by its class.

    Raises:
        UnknownLayerError: there is no such module, stage or expert.
        UsageError: the pattern means several layers.
        KernelvizError: the layer is scripted.
    """
    root = root_of(network)
    modules = {path: module for path, module in root.named_modules() if path}
    if name not in modules:
        name = with_first_name(name, first_names(network))
    if not modules and name in ("", type(root).__name__):
        return "", root
    match = match_layers(name, modules, _stages(network), parts=True, hint=LISTED)
    if match is None and name == type(root).__name__:  # the network itself
        match = LayerMatch(tuple(modules))
    if match is None or match.run is not None or not _is_part(modules[match.names[0]], match.part):
        raise unknown_layer(name, modules, LISTED)
    inside = list(dict.fromkeys(path for container in match.names for path in _windows_inside(modules, container)))
    found = inside or match.names
    if len(found) > 1:
        what = f"{shown(name)} matches {len(found)} layers."
        if len(match.names) == 1:
            container = match.names[0]
            content = f"{_with_article(modules[container])} with {len(found)} convolutions and pools"
            what = f"The layer {shown(container)} is {content}."
        raise UsageError(what, "Only one can be explained at a time.", f"Choose one of them: {few(found)}.")
    if is_scripted(modules[found[0]]):
        raise scripted_error(found[0])
    return found[0], modules[found[0]]


def _is_part(module: nn.Module, part: int | None) -> bool:
    """Whether a module has this part, an expert; every module has the part None, all of it."""
    return part is None or (is_conditional(module) and part < experts_of(module))


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


def list_layers(network: Model | nn.Module) -> list[ConvLayer]:
    """The convolutions of a network in the order of their definition.

    A network that is a single convolution names it by its class, ``Conv2d``. Each expert of a CondConv2d is listed
    separately, as ``name:0``. Lazy convolutions that never ran have no shape yet and are left out.
    """
    return [_record(name, *found) for name, found in _convolutions(network).items()]


def select_layers(network: Model | nn.Module, patterns: str | Sequence[str] | None = None) -> list[ConvLayer]:
    """The convolutions that the patterns name, each once; without patterns the first one that a forward pass meets.

    A pattern is an exact name, a shell pattern over dotted names (``*`` crosses dots), or ``stage:0``, ``stage:-1``. A
    module that contains others stands for the convolutions inside it, a CondConv2d for its experts. The matches of one
    pattern are in the order of definition.

    Raises:
        UnknownLayerError: a pattern matches nothing, or no convolution.
        NoConvolutionsError: the network has no convolutions.
    """
    convolutions = _convolutions(network)
    if not convolutions:
        raise no_convolutions(network)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not patterns:
        size = network.input_size if isinstance(network, Model) else None
        chosen = [first_convolution(network, size) or next(iter(convolutions))]
    else:
        chosen = [name for pattern in patterns for name in _matches(network, list(convolutions), pattern)]
    return [_record(name, *convolutions[name]) for name in dict.fromkeys(chosen)]


def left_out(network: Model | nn.Module, patterns: str | Sequence[str] | None = None) -> dict[str, str]:
    """The convolving modules that match the patterns but whose kernels cannot be read: the reason for each name."""
    modules = {name: module for name, module in root_of(network).named_modules() if name}
    obstacles = {
        name: why
        for name, module in modules.items()
        if not is_conditional(module)
        and not is_quantised(module)
        and (not isinstance(module, CONVOLUTIONS) or _is_lazy(module))
        if (why := obstacle(module))
    }
    patterns = [patterns] if isinstance(patterns, str) else patterns or ()
    matches = [match_layers(pattern, modules, _stages(network)) for pattern in patterns]
    chosen = {name for match in matches if match for name in members(match, list(obstacles))}
    return {name: why for name, why in obstacles.items() if name in chosen}


def find_convolution(network: Model | nn.Module, name: str) -> tuple[ConvLayer, nn.Module]:
    """The convolution with this exact name: its record and its module.

    Raises:
        UnknownLayerError: there is none.
        NoConvolutionsError: the network has no convolution at all.
    """
    convolutions = _convolutions(network)
    if not convolutions:
        raise no_convolutions(network)
    if name not in convolutions:
        name = with_first_name(name, first_names(network))
    if name not in convolutions:
        raise _not_a_convolution(network, list(convolutions), name)
    return _record(name, *convolutions[name]), convolutions[name][0]


def first_convolution(network: Model | nn.Module, input_size: tuple[int, ...] | None) -> str | None:
    """The name of the first convolution that a forward pass meets; None if there is none.

    The forward pass runs on zeros of ``input_size``, (C, H, W), and ends at that convolution. Without ``input_size``, or if
    the forward pass fails earlier, the result is the first convolution in the order of definition.
    """
    root, convolutions = root_of(network), _convolutions(network)
    first = next(iter(convolutions), None)
    state = [*root.parameters(), *root.buffers()]
    if first is None or input_size is None or any(is_lazy(tensor) for tensor in state):
        return first  # a forward pass would initialise lazy modules
    like = next((tensor for tensor in root.parameters() if tensor.is_floating_point()), torch.empty(0))
    zeros = torch.zeros(1, dtype=like.dtype, device=like.device).expand(1, *input_size)  # takes no memory
    with (
        undisturbed(root),
        _stopping_at({name: module for name, (module, expert) in convolutions.items() if not expert}),
    ):
        try:
            root(zeros)
        except _MetError as met:
            first = met.name
        except Exception:  # noqa: BLE001 - the network is the caller's, and may raise anything
            return first
    return first


class _MetError(Exception):
    """Ends a forward pass at a convolution; carries its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextlib.contextmanager
def _stopping_at(convolutions: dict[str, nn.Module]) -> Iterator[None]:
    def stop_at(name: str) -> Any:
        def stop(*_: object) -> NoReturn:
            raise _MetError(name)

        return stop

    with contextlib.ExitStack() as stack:
        for name, module in convolutions.items():
            # before other hooks: those of weight_norm and spectral_norm write into the module
            stack.enter_context(module.register_forward_pre_hook(stop_at(name), prepend=True))
        yield


def _convolutions(network: Model | nn.Module) -> dict[str, tuple[nn.Module, int | None]]:
    """The convolutions that have a shape, by name, in the order of definition, each with the number of its expert."""
    found: dict[str, tuple[nn.Module, int | None]] = {}
    for path, module in root_of(network).named_modules():
        name = path or type(module).__name__
        if is_conditional(module):
            found |= {f"{name}:{expert}": (module, expert) for expert in range(experts_of(module))}
        elif is_quantised(module) or (isinstance(module, CONVOLUTIONS) and not _is_lazy(module)):
            found[name] = module, None
    return found


def _is_lazy(module: nn.Module) -> bool:
    return any(is_lazy(parameter) for parameter in module.parameters(recurse=False))


def _record(name: str, module: Any, expert: int | None) -> ConvLayer:
    transposed = isinstance(module, TRANSPOSED) or getattr(module, "transposed", False)
    bias = module.bias() if is_quantised(module) else module.bias
    channels = (module.in_channels, module.out_channels) if transposed else (module.out_channels, module.in_channels)
    params = sum(parameter.numel() for parameter in module.parameters())
    if is_quantised(module):
        params = module.weight().numel() + (0 if bias is None else bias.numel())
    return ConvLayer(
        name=name,
        kind=type(module).__name__,
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel_size=tuple(module.kernel_size),
        stride=_each(module.stride, len(module.kernel_size)),
        padding=_padding(module),
        dilation=_each(module.dilation, len(module.kernel_size)),
        groups=module.groups,
        bias=bias is not None,
        transposed=transposed,
        weight_shape=(channels[0], channels[1] // module.groups, *module.kernel_size),
        params=params if expert is None else params // experts_of(module),
        expert=expert,
    )


def _each(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _padding(module: Any) -> tuple[int, ...] | Literal["same"]:
    pads_by_itself = any("Same" in kind.__name__ for kind in type(module).__mro__) and getattr(module, "same_pad", True)
    pads_by_itself = pads_by_itself or getattr(module, "dynamic_padding", False)
    if module.padding == "same" or pads_by_itself:
        return "same"
    return (0,) * len(module.kernel_size) if module.padding == "valid" else tuple(module.padding)


def _stages(network: Model | nn.Module) -> tuple[str, ...]:
    return network.stages if isinstance(network, Model) else stage_names(network)


def _matches(network: Model | nn.Module, names: list[str], pattern: str) -> list[str]:
    """The names of convolutions that one pattern means, at least one."""
    found = convolutions_of(pattern, names, names_of(network), _try_layer(names))
    if not found:
        raise _not_a_convolution(network, names, pattern)
    return found


def names_of(network: Model | nn.Module) -> NetworkNames:
    """The names by which layers of a network are chosen."""
    modules = tuple(name for name, _ in root_of(network).named_modules() if name)
    return NetworkNames(modules, _stages(network), first_names(network))
