"""Where an error was raised: in which module of a network, with what input, and in which line of the user's code."""

from __future__ import annotations

import contextlib
import inspect
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

from kernelviz.wording import counted, reason_text, shown

if TYPE_CHECKING:
    from torch import nn


def raised_at(error: BaseException) -> str:
    """The last line of code that belongs to no installed package; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_short(error.filename)}, line {error.lineno}"
    installed = tuple({str(Path(sysconfig.get_path(key))) for key in ("stdlib", "platstdlib", "purelib", "platlib")})
    own = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [each for each in frames if not each.filename.startswith((*installed, own, "<"))]
    return f"{_short(theirs[-1].filename)}, line {theirs[-1].lineno}, in {theirs[-1].name}" if theirs else ""


def _short(filename: str) -> str:
    """A path, relative to the current directory if it is inside."""
    with contextlib.suppress(ValueError, OSError):
        return shown(Path(filename).resolve().relative_to(Path.cwd()))
    return shown(filename)


def failure_texts(what: str, network: nn.Module, error: BaseException) -> tuple[str, str]:
    """``what`` with the layer in which a forward pass failed, and the text of the error with the line that raised it."""
    layer, where, reason = broken_layer(network, error), raised_at(error), reason_text(error)
    return (
        f"{what}: {layer}." if layer else f"{what}.",
        f"{reason.rstrip('.')}. Raised in {where}." if where else reason,
    )


def broken_layer(network: nn.Module, error: BaseException) -> str:
    """``4 (Linear 2048 → 10) got 1,800 values``: the innermost module whose forward pass raised the error, and its input.

    Empty if it is the network itself, or unknown.
    """
    names = {id(module): name for name, module in network.named_modules()}
    layer: Any = None
    tensors: list[torch.Tensor] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if not names.get(id(module)):
            continue
        if frame.f_code.co_name == "_call_impl":
            inputs = (frame.f_locals.get("args"), frame.f_locals.get("kwargs"))
            tensors = [value for value in tree_leaves(inputs) if isinstance(value, torch.Tensor)]
        elif module is not layer:
            tensors = []  # its forward is called directly
        layer = module
    return "" if layer is None else f"{shown(names[id(layer)])} ({_kind(layer)}){_got(layer, tensors)}"


def wrong_inputs(network: nn.Module, error: BaseException) -> str:
    """``The network takes 2 inputs: x, y.`` if the error is that of a call with too few or too many; else empty."""
    call = r"(\S+\.)?forward\(\) (missing|takes|got)"
    if not isinstance(error, TypeError) or not re.match(call, reason_text(error), re.IGNORECASE):
        return ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "_call_impl"]
    if len({id(frame.f_locals.get("self")) for frame in frames}) != 1:
        return ""  # it is a module inside
    kinds = inspect.Parameter
    parameters = [
        each for each in inspect.signature(network.forward).parameters.values() if each.kind is not kinds.VAR_KEYWORD
    ]
    needed = [each.name for each in parameters if each.default is kinds.empty and each.kind is not kinds.VAR_POSITIONAL]
    return f"The network takes {counted(len(needed), 'input')}: {', '.join(needed)}."


SEVERAL_INPUTS = (
    "In Python, give a tuple of tensors or a dict of names and tensors; to trace, also their sizes: "
    "[(3, 32, 32), (3, 32, 32)]."
)


def _kind(layer: Any) -> str:
    """``Linear 2048 → 10``, ``Conv2d 3 → 8``, ``BatchNorm2d 64``."""
    facts = vars(layer)  # the network's own __getattr__ may raise any error
    for ends in (("in_features", "out_features"), ("in_channels", "out_channels")):
        sizes = [facts.get(end) for end in ends]
        if all(isinstance(size, int) for size in sizes):
            return f"{type(layer).__name__} {sizes[0]} → {sizes[1]}"
    size = facts.get("num_features")
    return f"{type(layer).__name__} {size}" if isinstance(size, int) else type(layer).__name__


def _got(layer: Any, tensors: list[torch.Tensor]) -> str:
    """``got 1,800 values``, ``got 1 channel (1 × 32 × 32)``, or the shape of each input without the batch."""
    if not tensors:
        return ""
    shape = tuple(tensors[0].shape)
    text, facts = " × ".join(map(str, shape[1:] or shape)) or "one number", vars(layer)
    features, channels = facts.get("in_features"), facts.get("in_channels")
    channels = facts.get("num_features") if channels is None else channels
    if isinstance(features, int) and shape and shape[-1] != features:
        values = counted(shape[-1], "value")
        return f" got {values}" if len(shape) < 3 else f" got {values} in the last dimension of {text}"
    if isinstance(channels, int) and len(shape) > 2 and shape[1] != channels:
        return f" got {counted(shape[1], 'channel')} ({text})"
    return f" got {', '.join(' × '.join(map(str, tensor.shape[1:] or tensor.shape)) for tensor in tensors[:3])}"
