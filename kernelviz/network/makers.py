"""Which layer made each input channel of another one: channels are followed through a forward pass on ``meta``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kernelviz.network.snapshot import PreservedModule
from kernelviz.network.tracing.meta import run_operation
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.threads import no_warnings
from kernelviz.traces import Maker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input


_KEEPING = frozenset({
    "relu", "relu_", "relu6", "silu", "silu_", "gelu", "gelu_", "hardswish", "hardswish_", "hardtanh", "hardtanh_",
    "hardsigmoid", "hardsigmoid_", "sigmoid", "sigmoid_", "tanh", "tanh_", "leaky_relu", "leaky_relu_", "elu", "elu_",
    "selu", "mish", "softplus", "prelu", "_prelu_kernel", "clamp", "clamp_", "clamp_min", "clamp_min_", "abs", "neg",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm",
    "native_layer_norm", "native_group_norm", "dropout", "native_dropout", "bernoulli_", "clone", "contiguous", "_to_copy",
    "detach", "alias", "lift_fresh", "div", "div_", "pow", "sqrt", "rsqrt", "rsub", "sub", "sub_",
    "max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "avg_pool1d", "max_pool1d_with_indices",
    "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool1d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "mean", "amax", "sum",
})  # fmt: skip
"""Operations whose channel c is computed from channel c of their first input, perhaps with numbers of other channels."""

_RESHAPING = frozenset({"view", "_unsafe_view", "reshape"})


@dataclass(frozen=True)
class _Channels:
    """What is known of the channels along one dimension of a tensor; the makers' ``first`` is the position along it."""

    dim: int
    makers: tuple[Maker, ...]


class _Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the channels of the layers called ``order`` through the operations of a forward pass."""

    def __init__(self, order: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.order = {name: number for number, name in enumerate(order)}
        self.known: dict[int, tuple[Tensor, _Channels]] = {}  # with the tensor, so that its id stays its own
        self.inputs: dict[str, tuple[Maker, ...]] = {}

    @contextlib.contextmanager
    def hooks(self, network: torch.nn.Module) -> Iterator[None]:
        """Record what the first run of each layer reads, and name its outputs."""
        modules = dict(network.named_modules())
        with contextlib.ExitStack() as stack:
            for name in self.order:
                stack.enter_context(modules[name].register_forward_pre_hook(self._reads(name)))
                stack.enter_context(modules[name].register_forward_hook(self._makes(name)))
            yield

    def _reads(self, name: str) -> Any:
        def reads(_module: torch.nn.Module, inputs: Any) -> None:
            found = self._of(inputs[0]) if inputs else None
            if name not in self.inputs:
                self.inputs[name] = found.makers if found and found.dim == 1 else ()

        return reads

    def _makes(self, name: str) -> Any:
        met: list[str] = []

        def makes(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            tensors = tensors_in(output)
            if tensors and tensors[0].ndim > 1 and not met:
                self._keep(tensors[0], _Channels(1, (Maker(0, tensors[0].shape[1], name, 0),)))
            met.append(name)

        return makes

    def _of(self, value: Any) -> _Channels | None:
        found = self.known.get(id(value))
        return found[1] if found else None

    def _keep(self, tensor: Tensor, channels: _Channels | None) -> None:
        if channels is None or not channels.makers:
            self.known.pop(id(tensor), None)
        else:
            self.known[id(tensor)] = tensor, channels

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = run_operation(func, args, kwargs or {})
        outputs = tensors_in(output)
        name = func._overloadpacket.__name__  # noqa: SLF001
        found = self._followed(name, args, kwargs or {}, outputs) if outputs else ()
        for at, tensor in enumerate(outputs):
            self._keep(tensor, found[at] if at < len(found) else None)
        return output

    def _followed(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Sequence[Tensor]
    ) -> Sequence[_Channels | None]:
        """What is known of the outputs of an operation."""
        first = self._of(args[0]) if args else None
        if name in {"add", "add_", "mul", "mul_"}:
            return [self._joined(name, args, outputs[0])]
        if name == "cat":
            return [self._concatenated(args, kwargs)]
        if first is None:
            return ()
        if name in {"permute", "transpose"}:
            return [replace(first, dim=_moved(name, args).index(first.dim))]
        if name in {"slice", "split", "split_with_sizes"}:
            return self._parts(name, args, kwargs, outputs, first)
        same = outputs[0].shape if name in _RESHAPING else outputs[0].shape[first.dim : first.dim + 1]
        before = args[0].shape if name in _RESHAPING else args[0].shape[first.dim : first.dim + 1]
        kept = name in _KEEPING | _RESHAPING and outputs[0].ndim == args[0].ndim and same == before
        return [first] if kept else ()

    def _joined(self, name: str, args: tuple[Any, ...], output: Tensor) -> _Channels | None:
        """Of a sum the latest layer in it; of a product with a gate, or with itself, the larger tensor."""
        tensors = [each for each in args[:2] if isinstance(each, Tensor)]
        known = [self._of(each) for each in tensors]
        whole = [at for at, each in enumerate(tensors) if each.shape == output.shape]
        if len(whole) == 1 or (len(whole) == 2 and known[0] == known[1]):  # the other one is spread over it
            found = known[whole[0]]
            spread = tensors[1 - whole[0]] if len(tensors) > 1 and len(whole) == 1 else None
            if name.startswith("mul") or spread is None or self._of(spread) is None:
                return found
            return found and _Channels(found.dim, tuple(replace(maker, added=True) for maker in found.makers))
        either = [each for each in known if each is not None]
        if len(whole) < 2 or not either or name.startswith("mul"):
            return None
        latest = max(either, key=lambda each: max(self.order[maker.layer] for maker in each.makers))
        return _Channels(latest.dim, tuple(replace(maker, added=True) for maker in latest.makers))

    def _concatenated(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Channels | None:
        tensors = list(args[0])
        rank = tensors[0].ndim
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % rank
        known = [self._of(each) for each in tensors]
        if any(each is not None and each.dim != dim for each in known):
            same = all(each == known[0] for each in known)
            return known[0] if same else None
        makers: list[Maker] = []
        start = 0
        for each, tensor in zip(known, tensors, strict=True):
            makers += [replace(maker, first=maker.first + start) for maker in (each.makers if each else ())]
            start += int(tensor.shape[dim])
        return _Channels(dim, tuple(makers))

    @staticmethod
    def _parts(
        name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Sequence[Tensor], first: _Channels
    ) -> Sequence[_Channels | None]:
        """The parts of a tensor, one after the other along a dimension; a slice begins at its third argument."""
        rank = args[0].ndim
        default = 1 if name == "slice" else 2
        dim = (args[default] if len(args) > default else kwargs.get("dim", 0)) % rank
        if dim != first.dim:
            return [first] * len(outputs)
        if name == "slice" and len(args) > 4 and args[4] != 1:
            return ()
        start = int((args[2] if len(args) > 2 else kwargs.get("start")) or 0) if name == "slice" else 0
        start += int(args[0].shape[dim]) if start < 0 else 0
        found = []
        for output in outputs:
            stop = start + int(output.shape[dim])
            found.append(_Channels(dim, tuple(_cut(first.makers, start, stop))))
            start = stop
        return found


def _moved(name: str, args: tuple[Any, ...]) -> list[int]:
    """The dimensions of a tensor in their order after a permutation."""
    rank = args[0].ndim
    if name == "permute":
        return [dim % rank for dim in args[1]]
    order = list(range(rank))
    one, other = args[1] % rank, args[2] % rank
    order[one], order[other] = order[other], order[one]
    return order


def _cut(makers: Sequence[Maker], start: int, stop: int) -> Iterator[Maker]:
    """The makers of the channels from ``start`` to before ``stop``, which are then counted from 0."""
    for maker in makers:
        low, high = max(maker.first, start), min(maker.first + maker.count, stop)
        if low < high:
            yield replace(maker, first=low - start, count=high - low, channel=maker.channel + low - maker.first)


def makers_of(plan: CapturePlan, given: Input) -> dict[str, tuple[Maker, ...]]:
    """Which of the captured layers made the input channels of each of them; nothing if the network has no copy on ``meta``.

    Each has the name of its first run.
    """
    network = plan.observed.network
    if network is plan.module:
        return {}
    names = list(dict.fromkeys(tap.module for tap in plan.taps.taps if tap.module))
    follower = _Follower(names)
    kind = next((tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()), torch.float32)
    image = torch.empty(1, *plan.input_size, dtype=kind, device="meta")
    with (
        no_warnings(),
        PreservedModule(network).undisturbed(),
        follower.hooks(network),
        contextlib.suppress(Exception),  # what was followed until then is known
        follower,
    ):
        given.further.call(network, image, lambda tensor: tensor.to("meta"))
    return {name: _joined_runs(makers) for name, makers in follower.inputs.items()}


def _joined_runs(makers: Sequence[Maker]) -> tuple[Maker, ...]:
    """The makers in the order of channels, neighbours of one layer joined."""
    joined: list[Maker] = []
    for maker in sorted(makers, key=lambda each: each.first):
        last = joined[-1] if joined else None
        follows = last and (last.first + last.count, last.layer, last.channel + last.count, last.added) == (
            maker.first, maker.layer, maker.channel, maker.added
        )  # fmt: skip
        if last and follows:
            joined[-1] = replace(last, count=last.count + maker.count)
        else:
            joined.append(maker)
    return tuple(joined)
