"""From what was seen of each module to the layers of a ``Trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from kernelviz.network import boxes, carried
from kernelviz.network.layers import list_layers
from kernelviz.network.refusals import without_expert
from kernelviz.traces import Trace, TracedLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernelviz.network.trace import Visit
    from kernelviz.records import ConvLayer, Source
    from kernelviz.traces import Family


_FAMILIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    ("conv", ("convolution", "_convolution")),
    ("linear", ("mm", "addmm", "bmm", "baddbmm")),
    ("norm", ("_norm", "norm_", "group_norm", "layer_norm")),
    ("pool", ("pool",)),
)
_WITHOUT_ARITHMETIC = frozenset({
    "view", "_unsafe_view", "permute", "transpose", "t", "clone", "slice", "select", "expand", "cat", "split",
    "split_with_sizes", "unbind", "roll", "constant_pad_nd", "detach", "alias", "_to_copy", "squeeze",
    "unsqueeze", "stack", "unfold", "pixel_shuffle", "pixel_unshuffle", "empty_like", "arange",
})  # fmt: skip


def network_rows(
    network: nn.Module,
    visits: Mapping[str, Visit],
    size: tuple[int, ...],
    source: Source | None,
    stages: tuple[str, ...],
    *,
    fields: bool = True,
) -> Trace:
    """A row for each module with work or parameters of its own, and for each without parts, in the order of the pass."""
    modules = dict(network.named_modules())
    convolutions = {
        without_expert(layer.name) if layer.expert is not None else layer.name: layer for layer in list_layers(network)
    }
    if "" in modules and type(network).__name__ in convolutions:
        convolutions[""] = convolutions[type(network).__name__]
    params = _own_params(modules)
    never_ran = [name for name in modules if name not in visits]
    layers = tuple(
        _row(name, modules[name], visits.get(name), params[name], convolutions.get(name), fields=fields)
        for name in [*visits, *never_ran]
        if _has_a_row(modules[name], visits.get(name), params[name])
    )
    return Trace(
        input_size=size,
        layers=layers,
        params=sum(params.values()),
        macs=sum(visit.macs for visit in visits.values()),
        source=source,
        stages=stages,
    )


def _own_params(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """The parameters that each module holds itself; shared ones count where they come first."""
    met: set[int] = set()
    counts = {}
    for name, module in modules.items():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in met]
        counts[name] = sum(parameter.numel() for parameter in own)
        met.update(map(id, own))
    return counts


def _has_a_row(module: nn.Module, visit: Visit | None, params: int) -> bool:
    if visit is None:
        return params > 0
    return params > 0 or visit.macs > 0 or not any(module.children())


def _row(
    name: str, module: nn.Module, visit: Visit | None, params: int, convolution: ConvLayer | None, *, fields: bool
) -> TracedLayer:
    facts = _window_facts(module, convolution)
    kind = type(module).__name__
    if visit is None:
        return TracedLayer(
            name, kind, "conv" if convolution else "other", params, 0, 0, lost="It did not run.", **facts
        )
    found, shape = visit.found, visit.shape
    field = boxes.field(found) if fields else None
    lost = "" if field else _why_unknown(found) if fields else "Fields were not asked for."
    return TracedLayer(
        name,
        kind,
        _family(module, visit, params),
        params,
        visit.macs,
        visit.runs,
        output_shape=shape[1:] if shape is not None else None,
        layout=carried.layout(found, shape or ()),
        field=field,
        lost=lost,
        changes=visit.changes or params > 0,
        **facts,
    )


def _why_unknown(found: carried.Carried | None) -> str:
    if found is None:
        return "it reads no image"
    return found.lost or boxes.unsettled(found)


def _family(module: nn.Module, visit: Visit, params: int) -> Family:
    """What a module computes, by the operations of its own forward."""
    names = visit.operations
    if any(module.children()) and visit.macs == 0 and not params:
        return "other"
    if "Norm" in type(module).__name__:
        return "norm"
    for family, words in _FAMILIES:
        exact = family in ("conv", "linear")
        if any(word == name if exact else word in name for name in names for word in words):
            return family
    if "Pool" in type(module).__name__:
        return "pool"
    computes = [name for name in names if name not in _WITHOUT_ARITHMETIC]
    return "act" if computes and not any(name in ("mean", "sum") for name in computes) and params < 10_000 else "other"


def _window_facts(module: Any, convolution: ConvLayer | None) -> dict[str, Any]:
    """Kernel, stride, padding and the like of convolutions and pools; bias of what has one."""
    if convolution is not None:
        return {
            "kernel": convolution.kernel_size,
            "stride": convolution.stride,
            "padding": convolution.padding,
            "dilation": convolution.dilation,
            "groups": convolution.groups,
            "bias": convolution.bias,
        }
    facts: dict[str, Any] = {}
    if hasattr(module, "kernel_size") and "Pool" in type(module).__name__:
        rank = 1 if "1d" in type(module).__name__ else 3 if "3d" in type(module).__name__ else 2
        kernel = _each(module.kernel_size, rank)
        padding = "same" if "Same" in type(module).__name__ else _each(getattr(module, "padding", 0), rank)
        facts = {"kernel": kernel, "stride": _each(module.stride or kernel, rank), "padding": padding}
        if hasattr(module, "dilation"):
            facts["dilation"] = _each(module.dilation, rank)
    elif isinstance(module, nn.Linear):
        facts = {"bias": module.bias is not None}
    return facts


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if isinstance(value, int) else tuple(map(int, value))
