"""Where an error was raised: in which module of a network, with what input, and in which line of the user's code."""

from __future__ import annotations

import ast
import contextlib
import inspect
import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

from kernelviz.errors import BrokenPassError, InputSizeError, KernelvizError
from kernelviz.wording import AXES, READS, counted, form_of, reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def broken_pass(error: BaseException, network: nn.Module, size: Sequence[int], hint: str = "") -> BrokenPassError:
    """The error for a forward pass of an image of ``size`` (C, H, W) that failed.

    It is an ``InputSizeError`` if a shape is the trouble, or if there is a ``hint`` at a size that the network takes.
    """
    sides = " × ".join(map(str, size))
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return BrokenPassError("There is not enough memory for this forward pass.", hint="Give a smaller --input-size.")
    if wrong := _wrong_inputs(network, error):
        return BrokenPassError(*wrong)
    if isinstance(error, RuntimeError | IndexError) and _NEEDS_INDICES.search(str(error)):
        what = f"The forward pass failed for an input of {sides}"
        hint = "The layer reads indices, whole numbers: convert its input first, for example with .long()."
        return BrokenPassError(*failure_texts(what, network, error), hint)
    if isinstance(error, RuntimeError) and _DATA_TYPE.search(str(error)) and not _NOT_REAL.search(str(error)):
        what = "The network does not take an input of its own data type"
        hint = "Convert all of it to one data type first, for example with .float()."
        return BrokenPassError(*failure_texts(what, network, error), hint)
    if hint or _is_of_shapes(error):
        texts = failure_texts(f"The network does not take an input of {sides}", network, error)
        return InputSizeError(*texts, hint or _fitting_input(network, error, size))
    what = f"The forward pass failed for an input of {sides}"
    return BrokenPassError(*failure_texts(what, network, error, with_type=True))


def cut_gradient(what: str) -> KernelvizError:
    """The error for something of which no gradient reaches the image."""
    why = "The network cuts it, as torch.no_grad and detach do, or nothing there depends on the image."
    return KernelvizError(f"The gradient of {what} does not reach the image.", why, "Choose a layer before that.")


_DATA_TYPE = re.compile(r"\bdtype\b|scalar types?|same type|type .*should be the same")
_NEEDS_INDICES = re.compile(
    r"expected [^;,.]*scalar types?:? (Long|Int)\b|used as indices|index tensor"
    r"|\bindex\w* .*\b(int(32|64)|Long|LongTensor)\b",
    re.IGNORECASE,
)
_NOT_REAL = re.compile(
    r"\b(CPU|CUDA)?((Long|Int|Short|Char|Byte|Bool|Complex\w+?)(Tensor|Type)?|u?int\d*|bool|complex\d*)\b"
)
_SHAPES = re.compile(
    r"\b(sizes?|shapes?|dims?|dimensions?|dimensional|channels?|heights?|widths?|lengths?|resolutions?|divisible|multiple"
    r"|broadcast\w*|elements|strides?|[1-5]D)\b|mat1 and mat2|must match|too small|kernel size|index out of range",
    re.IGNORECASE,
)


def _is_of_shapes(error: BaseException) -> bool:
    """Whether the shapes of tensors are the trouble, by the text of an error or the condition of an assertion."""
    if not isinstance(error, RuntimeError | ValueError | IndexError | AssertionError) or isinstance(
        error, NotImplementedError | RecursionError
    ):
        return False
    return bool(_SHAPES.search(_text_of(error))) and "index out of range in self" not in str(error)


def _text_of(error: BaseException) -> str:
    """The text of an error; of an assertion also its condition."""
    return f"{error} {_condition(error)}"


def _condition(error: BaseException) -> str:
    """The assertion that failed, on one line, as its file has it; empty for other errors.

    ``torch._assert``, which timm uses, counts as the statement: the condition is in the line that calls it.
    """
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, AssertionError) else []
    own = torch._assert.__code__.co_filename  # noqa: SLF001 - others are in files of other names
    called = next((at for at, frame in enumerate(frames) if (frame.name, frame.filename) == ("_assert", own)), None)
    frames = frames[:called]
    if not frames or frames[-1].lineno is None:
        return ""
    filename, line = frames[-1].filename, frames[-1].lineno
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # the file may have changed
        tree = ast.parse("".join(linecache.getlines(filename)))
        for node in ast.walk(tree):
            if (test := _asserted(node, line)) is not None:
                return shown(f"assert {ast.unparse(test)}")
    return shown(frames[-1].line or "")


def _asserted(node: ast.AST, line: int) -> ast.expr | None:
    """The condition of an assertion, or of a call of ``torch._assert``, at a line; None for other code."""
    if not isinstance(node, ast.Assert | ast.Call) or not node.lineno <= line <= (node.end_lineno or line):
        return None
    if isinstance(node, ast.Assert):
        return node.test
    return node.args[0] if node.args and ast.unparse(node.func) in {"_assert", "torch._assert"} else None


def _fitting_input(network: nn.Module, error: BaseException, size: Sequence[int]) -> str:
    """A hint at an input that fits the layer in which a forward pass broke, if that reads the input itself."""
    _, layer, tensors = _broken_at(network, error)
    shape = tuple(tensors[0].shape) if tensors else ()
    if fitting := _fitting_argument(network, error, layer, tensors):
        return fitting
    if layer is None:  # the network is a single layer, or its own forward broke
        layer, shape = network, tuple(size)
    named = re.search(r"(?:Conv|Pool|Norm)\w*([123])d$", type(layer).__name__)
    axes = int(named[1]) if named else len(size) - 1
    if axes != len(size) - 1 and shape[-len(size) :] == tuple(size):
        return f"The network reads {READS[axes]}: give one, {form_of(axes)}."
    channels = _channels_of(layer)
    if channels and len(size) - 1 in AXES and shape[-len(size) :] == tuple(size) and size[0] != channels:
        form = AXES[len(size) - 1].replace("C", str(channels))
        return f"The network reads {counted(channels, 'channel')}: give ({form}) or (1, {form})."
    hint = "Give the input size that the network was built for"
    taken = shape[-len(size)] if len(shape) >= len(size) else None
    if not re.search(r"(?<!per )channels?\b|(shape\[|size\()(1|-3)\b", _text_of(error)):
        return f"{hint}."
    guess = size[0] - (taken - channels) if channels and taken and taken != channels else 0
    example = f", for example {','.join(map(str, (guess, *size[1:])))}" if guess > 0 else ""
    return f"{hint}, with its channels: --input-size {AXES[len(size) - 1].replace(' ', '')}{example}."


def _fitting_argument(network: nn.Module, error: BaseException, layer: Any, tensors: Sequence[torch.Tensor]) -> str:
    """A hint at the argument of several that has other channels than the layer that reads it; empty if there is none."""
    channels = _channels_of(layer)
    given = _named_inputs(network, error)
    if channels is None or not tensors or len(given) < 2:
        return ""
    for name, tensor in given.items():
        axes = tensor.ndim - 2
        if tensor is tensors[0] and axes in AXES and tensor.shape[1] != channels:
            form = AXES[axes].replace("C", str(channels))
            return (
                f"The input {name} must have {counted(channels, 'channel')}: give ({form}) or (1, {form}) for {name}."
            )
    return ""


def _named_inputs(network: nn.Module, error: BaseException) -> dict[str, torch.Tensor]:
    """The tensors that the network was called with, by the names of its parameters."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_call_impl" and frame.f_locals.get("self") is network:
            with contextlib.suppress(TypeError, ValueError):
                bound = inspect.signature(network.forward).bind(*frame.f_locals["args"], **frame.f_locals["kwargs"])
                return {name: each for name, each in bound.arguments.items() if isinstance(each, torch.Tensor)}
    return {}


def _channels_of(layer: Any) -> int | None:
    """How many channels a convolution or a norm reads; None for other layers."""
    facts = {} if layer is None else vars(layer)
    channels = facts.get("in_channels", facts.get("num_features"))
    return channels if isinstance(channels, int) else None


def failure_texts(what: str, network: nn.Module, error: BaseException, *, with_type: bool = False) -> tuple[str, str]:
    """``what`` with the layer in which a forward pass failed, and the text of the error with the line that raised it.

    ``with_type`` puts the type of the error before its text.
    """
    layer, where, reason = broken_layer(network, error), raised_at(error), reason_text(error, with_type=with_type)
    if reason == type(error).__name__ and (condition := _condition(error)):  # it has no text
        reason = f"{reason}: {condition}"
    return (
        f"{what}: {layer}." if layer else f"{what}.",
        f"{reason.rstrip('.')}. Raised in {where}." if where else reason,
    )


def broken_layer(network: nn.Module, error: BaseException) -> str:
    """``4 (Linear 2048 → 10) got 1,800 values``: the innermost module whose forward pass raised the error, and its input.

    Empty if it is the network itself, or unknown.
    """
    name, layer, tensors = _broken_at(network, error)
    return "" if layer is None else f"{shown(name)} ({_kind(layer)}){_got(layer, tensors)}"


def _broken_at(network: nn.Module, error: BaseException) -> tuple[str, Any, list[torch.Tensor]]:
    """The innermost module whose forward pass raised an error: its name, itself, and the tensors that it got."""
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
    return names.get(id(layer), ""), layer, tensors


def _wrong_inputs(network: nn.Module, error: BaseException) -> tuple[str, str, str] | None:
    """``The network takes 2 inputs: x, y.`` if the error is that of a call with other inputs; else None."""
    if not isinstance(error, TypeError):
        return None
    calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "_call_impl"]
    parameters = [
        each
        for each in inspect.signature(network.forward).parameters.values()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    needed = [each.name for each in parameters if each.default is each.empty]
    takes = f"The network takes {counted(len(needed), 'input')}: {', '.join(needed)}"
    reason = reason_text(error)
    if re.match(r"(\S+\.)?forward\(\) (missing|takes|got)", reason, re.IGNORECASE):
        inside = len({id(frame.f_locals.get("self")) for frame in calls}) != 1  # it is a module inside
        return None if inside else (f"{takes}.", f"{reason.rstrip('.')}.", SEVERAL_INPUTS)
    arguments: list[Any] = [frame.f_locals.get("args") or (None,) for frame in calls] or [(None,)]
    first, last = arguments[0][0], arguments[-1][0]
    if isinstance(first, tuple | list | dict) and first is last and _is_of_torch(calls[-1].f_locals.get("self")):
        kind = type(first).__name__  # that a layer of torch got as it is
        what = f"{takes}. It is a tensor, but got a {kind} of {len(first)}."
        return what, "", "Give the tensor alone, or a tuple of the arguments of forward; a list is one argument."
    return None


def _is_of_torch(module: object) -> bool:
    return type(module).__module__.startswith("torch.nn.")


SEVERAL_INPUTS = "In Python, give a tuple of them, or a dict by name; to trace, a tuple of their sizes."


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
