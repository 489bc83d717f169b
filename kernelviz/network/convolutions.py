"""The convolutions of a network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kernelviz.errors import NoConvolutionsError
from kernelviz.network.model import Model, root_of
from kernelviz.network.snapshot import is_scripted, undisturbed
from kernelviz.records import ConvLayer
from kernelviz.wording import shown

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


def list_layers(network: Model | nn.Module) -> list[ConvLayer]:
    """The convolutions of a network in the order of their definition.

    A network that is a single convolution names it by its class, ``Conv2d``. Each expert of a CondConv2d is listed
    separately, as ``name:0``. Lazy convolutions that never ran have no shape yet and are left out.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 1))
        >>> for layer in kernelviz.list_layers(network):
        ...     print(layer.name, layer.weight_shape)
        0 (8, 3, 3, 3)
        2 (16, 8, 1, 1)
    """
    return list(convolution_records(network, convolutions_by_name(network)).values())


def first_convolution(network: Model | nn.Module, input_size: tuple[int, ...] | None) -> str | None:
    """The name of the first convolution that a forward pass meets; None if there is none.

    The forward pass runs on zeros of ``input_size``, (C, H, W), and ends at that convolution. Without ``input_size``, or if
    the forward pass fails earlier, the result is the first convolution in the order of definition.
    """
    root, convolutions = root_of(network), convolutions_by_name(network)
    first = next(iter(convolutions), None)
    state = [*root.parameters(), *root.buffers()]
    if first is None or input_size is None or any(is_lazy(tensor) for tensor in state):
        return first  # a forward pass would initialise lazy modules
    with (
        undisturbed(root),
        _stopping_at({name: module for name, (module, expert) in convolutions.items() if not expert}),
    ):
        try:
            root(_zeros(root, input_size))
        except _MetError as met:
            first = met.name
        except Exception:  # noqa: BLE001 - the network is the caller's, and may raise anything
            return first
    return first


def _zeros(root: nn.Module, input_size: tuple[int, ...]) -> Tensor:
    """Zeros as an input of the network, which take no memory."""
    like = next((tensor for tensor in root.parameters() if tensor.is_floating_point()), torch.empty(0))
    return torch.zeros(1, dtype=like.dtype, device=like.device).expand(1, *input_size)


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


def convolutions_by_name(network: Model | nn.Module) -> dict[str, tuple[nn.Module, int | None]]:
    """The convolutions that have a shape, by name, in the order of definition, each with the number of its expert."""
    found: dict[str, tuple[nn.Module, int | None]] = {}
    for path, module in root_of(network).named_modules():
        name = path or type(module).__name__
        if is_conditional(module):
            found |= {f"{name}:{expert}": (module, expert) for expert in range(experts_of(module))}
        elif is_quantised(module) or (isinstance(module, CONVOLUTIONS) and not is_lazy_layer(module)):
            found[name] = module, None
    return found


def is_lazy_layer(module: nn.Module) -> bool:
    """Whether a module has parameters without a shape, before its first forward pass."""
    return any(is_lazy(parameter) for parameter in module.parameters(recurse=False))


def convolution_records(
    network: Model | nn.Module, found: Mapping[str, tuple[nn.Module, int | None]]
) -> dict[str, ConvLayer]:
    """The records of the convolutions that ``convolutions_by_name`` found, by name."""
    reads = _reads_image(network, found)
    return {name: _record(name, *each, reads_image=reads.get(name)) for name, each in found.items()}


_known_reads: WeakKeyDictionary[nn.Module, tuple[tuple[nn.Module, ...], dict[str, bool]]] = WeakKeyDictionary()


def _reads_image(network: Model | nn.Module, found: Mapping[str, tuple[nn.Module, int | None]]) -> Mapping[str, bool]:
    """Whether convolutions of three input channels read the image; empty if that is not known, or not in doubt.

    It takes a forward pass, on zeros, only if another convolution than the first one has three, which is rare.
    """
    three = {name: module for name, (module, _) in found.items() if module.in_channels == 3 and module.groups == 1}
    if not isinstance(network, Model) or not three:
        return {}
    if [*three] == [next(iter(found))] and network.input_size[0] == 3:
        return {}
    root, modules = root_of(network), tuple(three.values())
    known = _known_reads.get(root)
    if known is None or known[0] != modules:
        known = _known_reads[root] = modules, _followed(root, three, network.input_size)
    return known[1]


def _followed(root: nn.Module, layers: Mapping[str, nn.Module], input_size: tuple[int, ...]) -> dict[str, bool]:
    """Whether no product with weights made what the first run of each layer reads; without layers that do not run."""
    reads: dict[str, bool] = {}
    follower = _MadeTensors()

    def note(name: str) -> Any:
        def read(_module: nn.Module, inputs: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                reads.setdefault(name, not follower.has(inputs[0]))
            if len(reads) == len(layers):
                raise _MetError(name)

        return read

    if any(is_lazy(tensor) for tensor in (*root.parameters(), *root.buffers())):
        return {}
    with undisturbed(root), contextlib.ExitStack() as stack, contextlib.suppress(Exception):
        for name, module in layers.items():
            stack.enter_context(module.register_forward_pre_hook(note(name), prepend=True))
        stack.enter_context(follower)
        root(_zeros(root, input_size))
    return reads


_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "linear", "matmul"})


class _MadeTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what convolutions and other products make through a forward pass, by the storages of tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: set[int] = set()  # addresses; those of freed storages are discarded when they are used again

    def has(self, tensor: Tensor) -> bool:
        """Whether a product made any of this tensor."""
        return _address(tensor) in self._made

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__  # noqa: SLF001
        made = name in _PRODUCTS or "conv" in name or any(map(self.has, _tensors((args, kwargs))))
        change = self._made.update if made else self._made.difference_update
        change(map(_address, _tensors(output)))
        return output


def _tensors(value: object) -> list[Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, Tensor)]


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


def _record(name: str, module: Any, expert: int | None, *, reads_image: bool | None) -> ConvLayer:
    """The record of a convolution, or of one expert."""
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
        reads_image=reads_image,
    )


def _each(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _padding(module: Any) -> tuple[int, ...] | Literal["same"]:
    pads_by_itself = any("Same" in kind.__name__ for kind in type(module).__mro__) and getattr(module, "same_pad", True)
    pads_by_itself = pads_by_itself or getattr(module, "dynamic_padding", False)
    if module.padding == "same" or pads_by_itself:
        return "same"
    return (0,) * len(module.kernel_size) if module.padding == "valid" else tuple(module.padding)
