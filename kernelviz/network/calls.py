"""What really runs within one module of a pass: its convolutions and pools, with the padding put around their input."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kernelviz.network.catching import EnoughError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


CONVOLVING = frozenset({"convolution", "_convolution"})
MAXIMA = frozenset({"max_pool2d_with_indices", "max_pool2d"})
MEANS = frozenset({"avg_pool2d", "avg_pool1d"})
ADAPTIVE_MEANS = frozenset({"_adaptive_avg_pool2d", "adaptive_avg_pool2d"})
ADAPTIVE_MAXIMA = frozenset({"adaptive_max_pool2d"})
WHOLE = {"mean": "average", "amax": "max"}  # over all rows and columns
_PADDING = {
    "constant_pad_nd": "", "reflection_pad1d": "mirrored", "reflection_pad2d": "mirrored",
    "replication_pad1d": "repeated", "replication_pad2d": "repeated",
}  # fmt: skip
_WATCHED = CONVOLVING | MAXIMA | MEANS | ADAPTIVE_MEANS | ADAPTIVE_MAXIMA | frozenset(WHOLE)


@dataclass(frozen=True)
class WindowCall:
    """One operation as it ran: aten's name and arguments, what it read, and what came out.

    ``added`` is what an operation before it put around the input, in torch's order (the last dimension first), and
    ``filling`` with what: "" for one value, else ``mirrored``, ``repeated`` or ``wrapped`` rows and columns.
    """

    name: str
    source: Tensor
    arguments: tuple[Any, ...]
    output: Tensor
    added: tuple[int, ...] = ()
    filling: str = ""

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return self.name in CONVOLVING

    @property
    def weight(self) -> Tensor:
        """That of a convolution, as it multiplied with it."""
        found: Tensor = self.arguments[0]
        return found

    @property
    def bias(self) -> Tensor | None:
        """That of a convolution."""
        found: Tensor | None = self.arguments[1]
        return found

    def sides(self, place: int) -> tuple[int, ...]:
        """Whole numbers among the arguments behind the input, one an axis; () where they are left out."""
        return tuple(map(int, self.arguments[place])) if len(self.arguments) > place else ()

    def flag(self, place: int, *, default: bool) -> bool:
        """A yes or no among the arguments behind the input."""
        return bool(self.arguments[place]) if len(self.arguments) > place else default

    @property
    def transposed(self) -> bool:
        """Whether a convolution is a transposed one."""
        return self.flag(5, default=False)

    @property
    def groups(self) -> int:
        """Those of a convolution."""
        return int(self.arguments[7])


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the convolutions and pools that run within one module in its first run, and ends the pass behind it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[WindowCall] = []
        self.ran = False
        self.given: Any = None
        self._padded: dict[int, tuple[Tensor, tuple[int, ...], str]] = {}
        self._wrapped: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @contextlib.contextmanager
    def within(self, module: nn.Module) -> Iterator[None]:
        """Watch the first run of this module."""

        def enter(*_: object) -> None:
            self.__enter__()  # type: ignore[no-untyped-call]

        def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.given = output
            self.ran = True
            raise EnoughError

        with contextlib.ExitStack() as hooks:
            for each in module.modules():
                if getattr(each, "padding_mode", "") == "circular":
                    hooks.enter_context(each.register_forward_pre_hook(self._wrap))
            hooks.enter_context(module.register_forward_pre_hook(enter))
            hooks.enter_context(module.register_forward_hook(leave))
            yield

    def _wrap(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note what a convolution will wrap around its input: torch does it by copies, which no operation names."""
        added = tuple(getattr(module, "_reversed_padding_repeated_twice", ()))
        if inputs and any(added):
            sides = tuple(inputs[0].shape)[-(len(added) // 2) :]
            ends = zip(added[-2::-2], added[::-2], strict=True)
            self._wrapped = added, tuple(side + sum(more) for side, more in zip(sides, ends, strict=True))

    def _added_to(self, name: str, source: Tensor) -> tuple[tuple[int, ...], str]:
        """What was put around the input of an operation before, and with what it was filled."""
        wrapped, self._wrapped = (self._wrapped, None) if name in CONVOLVING else (None, self._wrapped)
        if wrapped and tuple(source.shape)[-len(wrapped[1]) :] == wrapped[1]:
            return wrapped[0], "wrapped"
        return self._padded.get(id(source), (None, (), ""))[1:]

    @property
    def convolutions(self) -> list[WindowCall]:
        """The convolutions among them."""
        return [call for call in self.calls if call.convolves]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__  # noqa: SLF001
        if name in _PADDING:
            self._padded[id(output)] = output, tuple(args[1]), _PADDING[name]
        elif name in _WATCHED:
            first = output[0] if isinstance(output, tuple) else output
            around = self._added_to(name, args[0])
            self.calls.append(WindowCall(name, _kept(args[0]), tuple(map(_kept, args[1:])), _kept(first), *around))
        return output


def _kept(value: Any) -> Any:
    """A copy that nothing overwrites."""
    return value.detach().clone() if isinstance(value, Tensor) else value
