"""A copy of a network in which each activation hands on a fixed share of its input, up to one layer: an affine function.

The copy runs the network's own ``forward``. Calls of torch in it are intercepted: those of activations are replaced by
z ↦ s·z, those of max pools by mean pools, and those that are affine in what depends on the image stay. All others are
rejected, with the name of the module that called them. What is not called through torch's functions, such as the
``apply`` of a custom autograd function, is found by a comparison of values.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kernelviz.errors import BrokenPassError, KernelvizError
from kernelviz.network.capture import StopPassError
from kernelviz.network.failures import broken_pass
from kernelviz.network.snapshot import exclusive
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.wording import reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernelviz.network.taps import Tap


Kind: TypeAlias = Literal["real", "measured", "affine"]
"""How a forward pass of the copy treats activations: as they are, with their slopes measured, or replaced."""

_ACTIVATIONS = frozenset({
    "relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish",
    "hardsigmoid", "tanh", "sigmoid", "softsign", "logsigmoid", "log_sigmoid", "softshrink", "hardshrink", "tanhshrink",
    "prelu", "rrelu", "threshold", "clamp", "clamp_min", "clamp_max", "clip", "abs", "absolute", "exp", "expm1", "log1p",
    "square", "pow", "ipow", "sin", "cos", "erf", "sqrt", "atan", "arctan", "asinh", "special_expit", "expit",
})  # fmt: skip
_PRODUCTS = frozenset({
    "mul", "imul", "rmul", "multiply", "matmul", "imatmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "linear",
    "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
    "tensordot", "addcmul",
})  # fmt: skip
_QUOTIENTS = frozenset({"div", "truediv", "itruediv", "divide", "true_divide", "idiv"})
_AFFINE = frozenset({
    "add", "iadd", "radd", "sub", "isub", "rsub", "subtract", "neg", "pos", "positive", "negative", "sum", "mean", "cat",
    "concat", "concatenate", "stack", "hstack", "vstack", "reshape", "reshape_as", "view", "view_as", "permute",
    "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "flatten", "unflatten", "ravel", "squeeze",
    "unsqueeze", "expand", "expand_as", "repeat", "repeat_interleave", "tile", "getitem", "setitem", "narrow", "select",
    "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "index_select", "gather", "roll", "flip", "rot90",
    "pad", "interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold", "fold",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "clone",
    "contiguous", "cuda", "cpu", "identity", "requires_grad", "copy", "triu", "tril",
    "zero", "fill", "masked_fill", "broadcast_to", "diagonal", "cumsum",
})  # fmt: skip
_RANDOM = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
                     "feature_dropout"})  # fmt: skip
_NORMS = frozenset({"group_norm", "layer_norm", "native_layer_norm", "instance_norm", "rms_norm", "local_response_norm",
                    "normalize", "norm", "vector_norm", "var", "std", "var_mean", "std_mean"})  # fmt: skip
_ATTENTION = frozenset({"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"})
_POOLS = {"max_pool1d": functional.avg_pool1d, "max_pool2d": functional.avg_pool2d, "max_pool3d": functional.avg_pool3d}
_ADAPTIVE_POOLS = {
    "adaptive_max_pool1d": functional.adaptive_avg_pool1d,
    "adaptive_max_pool2d": functional.adaptive_avg_pool2d,
    "adaptive_max_pool3d": functional.adaptive_avg_pool3d,
}
_STAYING = _AFFINE | {*_POOLS, *_ADAPTIVE_POOLS}
_VALUES = frozenset({"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "equal", "allclose",
                     "is_nonzero", "__contains__"})  # fmt: skip
_CASTS = frozenset({"to", "type", "type_as", "float", "half", "bfloat16", "double"})
_QUESTIONS = frozenset({
    "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "get_device", "element_size", "len",
    "data_ptr", "storage_offset", "is_floating_point", "is_complex", "is_tensor", "sizes", "get", "set", "repr", "hash",
    "is_inference", "is_same_size", "is_neg", "is_conj", "retain_grad", "format", "dir", "result_type", "untyped_storage",
    "deepcopy", "is_signed",
})  # fmt: skip
_ALIKE = 1e-9
"""The largest difference, of the largest value, of two float64 results that are equal in exact arithmetic."""
_LEAVES = 64
"""How many modules may be found to be activations one by one."""


class _NotAffineError(Exception):
    """A call without a linear stand-in, in the module of this name; ``given`` is that module's input, if it is one map."""

    def __init__(self, why: str, name: str, given: Tensor | None = None) -> None:
        super().__init__(why)
        self.why, self.name, self.given = why, name, given


def copied(module: nn.Module) -> nn.Module:
    """A copy of a network in float64 and in eval mode, whose parameters need no gradients.

    Raises:
        KernelvizError: the network cannot be copied.
    """
    memo: dict[int, Any] = {}
    with exclusive(module):
        for part in module.modules():
            for value in vars(part).values():
                if isinstance(value, Tensor) and value.grad_fn is not None:
                    memo[id(value)] = value.detach().clone()  # such as the weight that a hook computes
        try:
            found = copy.deepcopy(module, memo).eval().requires_grad_(requires_grad=False).double()
        except Exception as error:  # noqa: BLE001 - a module may contain anything
            raise KernelvizError("The network could not be copied.", reason_text(error)) from None
    for part in found.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                vars(part)[name] = value.detach().double()
        if isinstance(part, nn.DataParallel):
            part.device_ids = []
    devices = {tensor.device for tensor in (*found.parameters(), *found.buffers())}
    return found.cpu() if any(device.type == "mps" for device in devices) else found  # it has no float64


class AffineCopy:
    """A copy of a network up to the tensors of some ``taps``, the last of which ends each forward pass.

    ``slopes`` holds s for each channel of each activation, in the order of their calls; without it s is 1.
    """

    def __init__(self, module: nn.Module, taps: Sequence[Tap]) -> None:
        self.module, self.taps = copied(module), tuple(taps)
        self.names = {part: name or type(module).__name__ for name, part in self.module.named_modules()}
        like = next((tensor for tensor in self.module.parameters()), None)
        self.device = like.device if like is not None else torch.device("cpu")
        self.slopes: dict[int, Tensor] = {}
        self.sums: dict[int, tuple[Tensor, int]] = {}
        self.pools: dict[str, None] = {}
        self.replaced: dict[int, str] = {}
        self._mode = _Intercepting(self)
        self._wrapped: set[str] = set()

    def check(self, size: Sequence[int]) -> None:
        """Find the activations, and reject a network that is not affine without them, for images of this size.

        Raises:
            KernelvizError: something between the image and the layer has no linear stand-in.
        """
        generator = torch.Generator().manual_seed(0)
        pair = torch.randn(2, *size, generator=generator, dtype=torch.float64)
        batch = torch.stack([pair[0], pair[1], pair.mean(0)])
        for _ in range(_LEAVES):
            self._mode.found, self.replaced = {}, {}
            try:
                outputs = self._checked(batch)
            except _NotAffineError as error:
                self._mode.checking = False
                self._check_finite(error.name)
                if error.name in self._wrapped or not self._wrap(error):
                    raise KernelvizError(
                        f"{shown(error.name)} has no linear stand-in: it {error.why}.",
                        f"It is between the image and {shown(self.taps[-1].name)}.",
                        "Choose a layer before it.",
                    ) from None
                continue
            if not _is_midpoint(outputs):
                for name in self.names.values():
                    self._check_finite(name)
                what = f"{shown(self.taps[-1].name)} is not an affine function of the image without its activations."
                raise KernelvizError(what, "Something before it does not call torch's functions.")
            self.replaced = {call: name for call, (depends, name) in self._mode.found.items() if depends}
            return
        raise KernelvizError("Too many modules of this network would have to be replaced.")

    def _check_finite(self, name: str) -> None:
        """Reject a module with weights that are not finite.

        Raises:
            KernelvizError: it has some.
        """
        part = next((part for part, each in self.names.items() if each == name), None)
        own = [] if part is None else [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in own):
            why = f"{shown(self.taps[-1].name)} has no linear weights on the pixels for that reason."
            raise KernelvizError(f"The weights of {shown(name)} are not finite.", why)

    def _checked(self, batch: Tensor) -> Tensor:
        """The outputs for a batch of three while each call is checked; one by one if the network takes no such batch."""
        with contextlib.suppress(BrokenPassError):
            outputs = self._run(batch, "affine", checking=True)[-1]
            if len(outputs) % len(batch) == 0:
                return outputs.reshape(len(batch), -1)
        return torch.stack([self._run(one[None], "affine", checking=True)[-1] for one in batch])

    def run(self, batch: Tensor, kind: Kind) -> list[Tensor]:
        """The maps (N, C, H, W) of each tap for a batch (N, C, H, W)."""
        plain = all(is_plain(tap) for tap in self.taps)
        if plain or len(batch) == 1:
            tensors = self._run(batch, kind)
            if plain and all(len(one) == len(batch) for one in tensors):
                return tensors
            if len(batch) == 1:
                return [tap.layout.maps(one)[None] for tap, one in zip(self.taps, tensors, strict=True)]
        each = [self.run(one[None], kind) for one in batch]
        return [torch.cat(maps) for maps in zip(*each, strict=True)]

    def measure(self, batch: Tensor) -> None:
        """Add the slopes of all activations for an image (1, C, H, W) to ``sums``, as sum and count for each channel."""
        with torch.no_grad():
            self._run(batch, "measured")

    def set_mean_slopes(self) -> None:
        """Use the means of what was measured as slopes."""
        self.slopes = {call: total / count for call, (total, count) in self.sums.items()}

    def _run(self, batch: Tensor, kind: Kind, *, checking: bool = False) -> list[Tensor]:
        """The tensor of each tap."""
        found: dict[int, Tensor] = {}
        batch = batch.to(self.device, torch.float64)
        if checking:
            batch = batch.requires_grad_()
        self._mode.start(kind, checking=checking)
        with self._named(comparing=checking and len(batch) == 3), self._taking(found), self._mode:
            try:
                self.module(batch * 1)
            except StopPassError:
                pass
            except (KernelvizError, _NotAffineError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise broken_pass(error, self.module, tuple(batch.shape[1:])) from error
        missing = [tap.name for at, tap in enumerate(self.taps) if at not in found]
        if missing:
            raise KernelvizError(f"The layer {shown(missing[0])} did not run.")
        return [found[at] for at in range(len(self.taps))]

    @contextlib.contextmanager
    def _taking(self, found: dict[int, Tensor]) -> Iterator[None]:
        """Keep the tensor of each tap, and end the forward pass after the last of them."""
        runs: Counter[str] = Counter()
        parts = dict(self.module.named_modules())

        def take(name: str, output: Any) -> None:
            run = runs[name]
            runs[name] += 1
            self._mode.inside = True
            for at, tap in enumerate(self.taps):
                if (tap.module, tap.run) == (name, run):
                    found[at] = tensors_in(output)[tap.part] * 1  # a later module may overwrite it
            self._mode.inside = False
            if len(found) == len(self.taps):
                raise StopPassError

        with contextlib.ExitStack() as stack:
            for name in {tap.module for tap in self.taps}:
                stack.enter_context(parts[name].register_forward_hook(_taken(take, name)))
            yield

    @contextlib.contextmanager
    def _named(self, *, comparing: bool) -> Iterator[None]:
        """Keep the names of the modules that are running; with ``comparing``, reject the first that is not affine."""
        mode = self._mode
        mode.running = []

        def enter(part: nn.Module, given: Any) -> None:
            mode.running.append((self.names.get(part, ""), given))

        def leave(part: nn.Module, _given: Any, output: Any) -> None:
            name, given = mode.running.pop() if mode.running else (self.names.get(part, ""), ())
            if comparing:
                mode.inside = True
                before, after = (all(map(_is_midpoint, _of_batch(each))) for each in (given, output))
                mode.inside = False
                if not before and mode.running:
                    name, given = mode.running[-1]
                if not (before and after):
                    raise _NotAffineError("is no affine function of its input", name, _only(given))

        with contextlib.ExitStack() as stack:
            for part in self.module.modules():
                stack.enter_context(part.register_forward_pre_hook(enter, prepend=True))
                stack.enter_context(part.register_forward_hook(leave))
            yield

    def _wrap(self, error: _NotAffineError) -> bool:
        """Whether the module that was rejected is an elementwise activation; it is replaced as a whole from now on."""
        part = next((part for part, name in self.names.items() if name == error.name), None)
        if part is None or error.given is None or any(part.children()):
            return False
        forward = part.forward
        with torch.no_grad():
            if not _is_elementwise(forward, error.given):
                return False
        self._wrapped.add(error.name)
        part.forward = lambda given: self._mode.activation(forward, given)
        return True


def is_plain(tap: Tap) -> bool:
    """Whether a tensor is (N, C, H, W), in order."""
    layout = tap.layout
    return layout.positions is None and layout.order == (0, 1, 2, 3) and len(layout.size) == 3 and layout.rows == 1


def _taken(take: Callable[[str, Any], None], name: str) -> Any:
    return lambda _part, _given, output: take(name, output)


def _of_batch(values: Any) -> list[Tensor]:
    """The tensors with one row for each of the three images that are compared."""
    return [tensor for tensor in tensors_in(values) if tensor.ndim and len(tensor) == 3]


def _only(given: Any) -> Tensor | None:
    return given[0] if isinstance(given, tuple) and len(given) == 1 and isinstance(given[0], Tensor) else None


def _is_midpoint(outputs: Tensor) -> bool:
    """Whether the last of three results is the mean of the first two."""
    values = outputs.detach()
    if not values.numel() or not values.is_floating_point():
        return True
    return bool((values[2] - (values[0] + values[1]) / 2).abs().max() <= _ALIKE * values.abs().max())


def _is_elementwise(function: Callable[[Tensor], Any], like: Tensor) -> bool:
    """Whether each value of the result depends on the value in the same place alone, everywhere in the same way."""
    generator = torch.Generator().manual_seed(1)
    given = torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like.device)
    order = torch.randperm(like.numel(), generator=generator).to(like.device)
    other = given.clone()
    other[::2] = 3 * other[::2] - 1
    try:
        one, permuted, changed = (function(each.reshape(like.shape).clone()) for each in (given, given[order], other))
        alike = isinstance(one, Tensor) and one.shape == like.shape
        return (
            alike
            and torch.allclose(one.reshape(-1)[order], permuted.reshape(-1), rtol=0, atol=1e-12)
            and torch.allclose(one.reshape(-1)[1::2], changed.reshape(-1)[1::2], rtol=0, atol=1e-12)
        )
    except Exception:  # noqa: BLE001 - a module may raise anything
        return False


class _Intercepting(TorchFunctionMode):
    """Intercepts the calls of torch during a forward pass of the copy."""

    def __init__(self, owner: AffineCopy) -> None:
        super().__init__()
        self.owner, self.inside, self.checking = owner, False, False
        self.kind: Kind = "real"
        self.call = -1
        self.running: list[tuple[str, Any]] = []
        self.found: dict[int, tuple[bool, str]] = {}

    def start(self, kind: Kind, *, checking: bool) -> None:
        """Begin a forward pass: count activations from 0."""
        self.kind, self.call, self.inside, self.checking = kind, -1, False, checking

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        name = str(getattr(func, "__name__", func))
        plain = name.strip("_")
        if name in _CASTS and args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            return args[0]  # everything stays in float64
        if self.inside or (self.kind != "affine" and plain not in _ACTIVATIONS):
            return func(*args, **kwargs)
        if plain in _ACTIVATIONS and not _reads_exponent(plain, args, kwargs):
            given = args[0] if args else kwargs.pop("input")
            overwrites = name.endswith("_") and not name.startswith("__")
            overwrites = overwrites or kwargs.get("inplace") is True or any(each is True for each in args[1:])
            return self.activation(lambda each: func(each, *args[1:], **kwargs), given, overwrites=overwrites)
        if self.checking:
            self._check(name, args, kwargs)
        if plain in _POOLS or plain in _ADAPTIVE_POOLS:
            return self._mean_pool(plain, args, kwargs)
        result = func(*args, **kwargs)
        depends = self.checking and plain in _QUESTIONS and any(each.requires_grad for each in tensors_in(args))
        if depends and any(each.is_floating_point() and not each.requires_grad for each in tensors_in(result)):
            raise self._refused("takes values without their derivative")
        return result

    def activation(self, function: Callable[[Tensor], Any], given: Tensor, *, overwrites: bool = False) -> Any:
        """The result of an activation in this forward pass: its own, or a share of its input."""
        self.call += 1
        call = self.call
        if self.checking:
            self.found[call] = given.requires_grad, self.running[-1][0] if self.running else ""
        if self.kind == "affine":
            if not self.found.get(call, (False, ""))[0]:
                return function(given)
            slope = self.owner.slopes.get(call)
            share: Any = 1.0 if slope is None else slope.reshape(-1, *[1] * (given.ndim - 2))
            return given.mul_(share) if overwrites else given * share
        before, self.inside = self.inside, True
        try:
            if self.kind == "measured" and self.found.get(call, (False, ""))[0]:
                self._measure(call, function, given)
            return function(given)
        finally:
            self.inside = before

    def _measure(self, call: int, function: Callable[[Tensor], Any], given: Tensor) -> None:
        """Add the derivative of an activation at all values of its input."""
        with torch.enable_grad():
            start = given.detach().clone().requires_grad_()
            output = function(start * 1)
            (slopes,) = torch.autograd.grad(output.sum(), start, allow_unused=True)
        slopes = torch.zeros_like(given) if slopes is None else slopes
        total = slopes.sum(dim=[dim for dim in range(given.ndim) if dim != 1]) if given.ndim > 1 else slopes
        count = given.numel() // max(1, total.numel())
        known = self.owner.sums.get(call)
        self.owner.sums[call] = (total, count) if known is None else (known[0] + total, known[1] + count)

    def _check(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Reject a call that is not affine in what depends on the image.

        Raises:
            _NotAffineError: it is not.
        """
        plain = name.strip("_")
        depending = sum(each.requires_grad for each in (*tensors_in(args), *tensors_in(kwargs)))
        first = bool(args) and isinstance(args[0], Tensor) and args[0].requires_grad
        if not depending or plain in _STAYING or (plain == "where" and not first):
            return
        if plain == "batch_norm":
            stored = (kwargs.get("running_mean", args[1] if len(args) > 1 else None)) is not None
            batch = kwargs.get("training", args[5] if len(args) > 5 else False)
            why = (
                "" if stored and not batch else "normalises by the values of the image (batch norm without statistics)"
            )
        elif plain in _RANDOM:
            why = "drops values at random" if kwargs.get("training", args[2] if len(args) > 2 else True) else ""
        elif plain in _PRODUCTS:
            why = "multiplies values that both depend on the image, as gates and attention do" if depending > 1 else ""
        elif plain in _QUOTIENTS:
            why = "" if depending == 1 and first else "divides by values that depend on the image"
        else:
            why = _why_not(name)
        if why:
            raise self._refused(why)

    def _mean_pool(self, plain: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if plain in _ADAPTIVE_POOLS:
            given, size = (*args, *kwargs.values())[:2]
            self.owner.pools[self.running[-1][0]] = None
            return _ADAPTIVE_POOLS[plain](given, size)
        names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        typed = {**dict(zip(names, args, strict=False)), **kwargs}
        dilation = typed.get("dilation", 1)
        if typed.get("return_indices") or any(
            each != 1 for each in (dilation if isinstance(dilation, tuple) else (dilation,))
        ):
            raise self._refused("takes maxima with indices or dilation")
        self.owner.pools[self.running[-1][0]] = None
        pool: Any = _POOLS[plain]
        return pool(
            typed["input"], typed["kernel_size"], typed.get("stride"), typed.get("padding", 0),
            ceil_mode=typed.get("ceil_mode", False), count_include_pad=False,
        )  # fmt: skip

    def _refused(self, why: str) -> _NotAffineError:
        name, given = self.running[-1] if self.running else (type(self.owner.module).__name__, ())
        return _NotAffineError(why, name, _only(given))


def _why_not(name: str) -> str:
    """Why a function of torch, called with what depends on the image, has no linear stand-in; empty for a question."""
    plain = name.strip("_")
    if plain in _NORMS:
        return f"normalises by the values of the image ({plain})"
    if plain in _ATTENTION:
        return f"weighs places by the values of the image, as attention does ({plain})"
    if name in _VALUES:
        return "takes another path for other values of the image"
    return "" if plain in _QUESTIONS else f"calls {plain}"


def _reads_exponent(plain: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a power or a bound is itself a tensor that depends on the image."""
    others = tensors_in([*args[1:], *(value for key, value in kwargs.items() if key != "input")])
    return plain != "prelu" and any(each.requires_grad for each in others)
