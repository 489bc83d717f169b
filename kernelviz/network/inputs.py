"""What a network is called with: one image, or the arguments of its ``forward`` with the image among them.

How several inputs are given: a tuple holds the arguments, as ``network(*inputs)`` takes them, and a dict whose keys are
names of parameters holds them by name. A list is one argument if ``forward`` requires only one, as that of torchvision's
detectors does, else it is as a tuple. A tuple for a ``forward`` that takes only one argument, and a dict with other keys,
are that argument. ``([a, b],)`` is a list in any case. Arguments may be numbers, texts, booleans, None, and lists, tuples
and dicts of these.

The image is the first tensor with as many axes as the first convolution reads, with or without that of the batch. If it
lacks that of the batch, it is added to all tensors that are arguments themselves; those in a list or a dict are passed as
they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from kernelviz.errors import UsageError
from kernelviz.network.convolutions import CONVOLUTIONS
from kernelviz.network.model import Model, root_of
from kernelviz.network.preprocessing import prepare
from kernelviz.records import Image, SeenImage, shape_text
from kernelviz.wording import READS, form_of, nearest_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class FurtherInputs:
    """The arguments of a network besides one image: the leaves of their containers, the image among them by its index.

    Without ``structure`` the image is the only argument. If it is ``unbatched``, the network gets it without the axis of
    the batch.
    """

    leaves: tuple[Any, ...] = (None,)
    structure: TreeSpec | None = None
    image: int = 0
    unbatched: bool = False

    def call(self, network: nn.Module, image: Tensor, convert: Callable[[Tensor], Tensor]) -> Any:
        """The output of the network for all inputs; further tensors are converted."""
        if self.structure is None:
            return network(image)
        leaves = [convert(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self._others(None)]
        leaves[self.image] = image[0] if self.unbatched else image
        arguments, named = tree_unflatten(leaves, self.structure)
        return network(*arguments, **named)

    def resized(self, sides: Sequence[int], new_sides: Sequence[int]) -> FurtherInputs:
        """The same inputs for an image of other sides: those of its height and width have ``new_sides``, on ``meta``."""

        def resize(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or tuple(leaf.shape[-len(sides) :]) != tuple(sides):
                return leaf
            return leaf.new_empty((*leaf.shape[: -len(sides)], *new_sides), device="meta")

        return replace(self, leaves=tuple(map(resize, self._others(None))))

    def _others(self, instead: Any) -> list[Any]:
        """The leaves with another value instead of the image."""
        return [instead if at == self.image else leaf for at, leaf in enumerate(self.leaves)]


@dataclass(frozen=True)
class Input:
    """A batch (1, C, H, W) of one image, with the image and the part that the network sees, if there is an image."""

    batch: Tensor
    image: Image | None = None
    seen: SeenImage | None = None
    further: FurtherInputs = field(default_factory=FurtherInputs)

    @property
    def size(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.batch.shape[1:])

    @property
    def noted_image(self) -> Image | None:
        """The image with the notes on how it was read and on what the network sees of it."""
        if self.image is None or self.seen is None:
            return self.image
        return replace(self.image, notes=(*self.image.notes, *self.seen.notes))


class UnknownPreprocessingError(UsageError):
    """It is not known how images are prepared for a network."""


def as_input(
    network: Model | nn.Module,
    image: object,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Input:
    """The input of a network for an image, or for several arguments, as this module describes them.

    Raises:
        UsageError: ``image`` is neither image nor tensor, has another rank, or the preprocessing of the network is unknown.
    """
    if isinstance(image, Image):
        if not isinstance(network, Model):
            raise UnknownPreprocessingError(
                "The preprocessing of this network is not known.",
                hint="Give a tensor (C, H, W), or the Model that load_model returns.",
            )
        image = image.read_by(len(network.source.preprocessing["mean"]))
        batch, seen = prepare(network, image, input_size=input_size, crop=crop)
        return Input(batch, image, seen)
    if isinstance(image, Tensor):
        return Input(_as_batch(network, image))
    if not isinstance(image, tuple | list | Mapping):
        hint = "kernelviz.read_image(path) reads one."
        raise UsageError(f"The image must be an Image or a tensor, but got {type(image).__name__}.", hint=hint)
    arguments = _arguments(network, image)
    leaves, structure = tree_flatten(arguments)
    pictures = [at for at, leaf in enumerate(leaves) if isinstance(leaf, Image)]
    for at in pictures[1:]:
        raise UsageError("Only one of the inputs may be an Image.", hint=f"Give input {at} as a tensor.")
    if pictures:
        one = as_input(network, leaves[pictures[0]], input_size=input_size, crop=crop)
        return replace(one, further=FurtherInputs(tuple(leaves), structure, pictures[0]))
    return _among(network, arguments, leaves, structure)


def as_sizes(network: nn.Module, sizes: Any) -> tuple[Any, FurtherInputs | None]:
    """The size of the image and the further inputs for sizes of one or several inputs; sizes become tensors on ``meta``.

    One size is returned as it is. Among several, a tensor is itself, with its axis of the batch.

    Raises:
        UsageError: a size is not valid, or there is none.
    """
    if isinstance(sizes, Tensor):
        sizes = (sizes,)
    if not isinstance(sizes, Sequence | Mapping) or isinstance(sizes, str):
        return sizes, None
    if not isinstance(sizes, Mapping) and all(isinstance(side, int | float) for side in sizes):
        return sizes, None  # ``checked_size`` rejects what is not whole
    arguments = _arguments(network, sizes)
    leaves, structure = tree_flatten(arguments, is_leaf=_is_size)
    for leaf in leaves:
        if _is_size(leaf) and not all(0 < side < _LARGEST for side in leaf):
            raise UsageError(f"The size of an input must be whole numbers without the batch, but got {leaf}.")
    if not any(isinstance(leaf, Tensor) or _is_size(leaf) for leaf in leaves):
        raise UsageError("The sizes of the inputs are missing.", hint="For example [(3, 32, 32), (3, 32, 32)].")
    leaves = [torch.empty(1, *leaf, device="meta") if _is_size(leaf) else leaf for leaf in leaves]
    given = _among(network, tree_unflatten(leaves, structure), leaves, structure)
    return given.size, given.further


_LARGEST = 2**20


def _is_size(value: object) -> bool:
    """Whether a value is the size of an input, (C, H, W)."""
    return isinstance(value, tuple | list | torch.Size) and bool(value) and all(_is_whole(side) for side in value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _arguments(network: Model | nn.Module, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Several inputs as the arguments of ``forward``, by position and by name, as this module describes it.

    Raises:
        UsageError: a dict has other keys than the names of the several inputs that are required.
    """
    kinds = inspect.Parameter
    parameters = _parameters(root_of(network))
    any_number = any(each.kind is kinds.VAR_POSITIONAL for each in parameters)
    if isinstance(given, Mapping):
        any_name = any(each.kind is kinds.VAR_KEYWORD for each in parameters)
        known = {each.name for each in parameters if each.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
        unknown = [key for key in given if not isinstance(key, str) or not (any_name or key in known)]
        named = [each.name for each in parameters if each.name in known]
        if unknown and sum(each.default is kinds.empty for each in parameters if each.name in known) > 1:
            what = f"The network takes no input {', '.join(map(shown, unknown))}."  # it cannot be one argument
            raise UsageError(what, f"It takes {', '.join(named)}.", nearest_text(named, str(unknown[0]), least=0.5))
        return ((), dict(given)) if not unknown else ((given,), {})
    by_position = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    required = [each for each in by_position if each.default is kinds.empty]
    if isinstance(given, tuple):
        alone = not any_number and len(by_position) == 1 and len(given) != 1
    else:
        alone = not any_number and len(required) == 1
    return ((given,) if alone else tuple(given), {})


def _parameters(network: nn.Module) -> list[inspect.Parameter]:
    """The parameters of ``forward``; of a wrapper that passes on any arguments those of the module in it."""
    try:
        found = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):  # written in C
        return [inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)]
    if isinstance(inner := network._modules.get("module"), nn.Module) and all(  # noqa: SLF001
        each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in found
    ):
        return _parameters(inner)
    return found


def _among(network: Model | nn.Module, arguments: Any, leaves: Sequence[Any], structure: TreeSpec) -> Input:
    """The input with the image that is found among the leaves of the arguments.

    Raises:
        UsageError: none of them is a tensor, or the image is a batch of several.
    """
    tensors = {at: leaf for at, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    if not tensors:
        kinds = ", ".join(type(leaf).__name__ for leaf in leaves) or "none"
        what = f"One of the inputs must be a tensor, the image, but got {kinds}."
        raise UsageError(what, hint='Give (tensor, 0.5), or by name {"x": tensor, "t": 0.5}.')
    rank = axes_read(network)
    ranked = [at for more in (2, 1) for at, leaf in tensors.items() if leaf.ndim == rank + more]
    image = next(iter(ranked), max(tensors, key=lambda at: tensors[at].ndim))
    given, direct = tensors[image], [*arguments[0], *arguments[1].values()]
    batch = _as_batch(network, given)
    is_argument = any(given is each for each in direct)
    added = batch.ndim != given.ndim
    if added and is_argument:
        leaves = [
            leaf[None] if isinstance(leaf, Tensor) and any(leaf is each for each in direct) else leaf for leaf in leaves
        ]
    return Input(batch, further=FurtherInputs(tuple(leaves), structure, image, added and not is_argument))


def _as_batch(network: Model | nn.Module, image: Tensor) -> Tensor:
    """A batch of one from a tensor with or without the axis of the batch; the first convolution shows how many axes it has.

    A batch of one with other axes, such as a clip of images or samples (1, L), is taken as it is: the network may make
    images of it.

    Raises:
        UsageError: it is a batch of several, or has too few axes.
    """
    rank, first = axes_read(network), _first_convolution(network)
    full = image.numel() > 0
    if full and (image.ndim == rank + 1 or (first is None and image.ndim == 2)):
        return image[None]
    if full and image.ndim > 1 and image.shape[0] == 1:
        return image
    what = f"The tensor must be {form_of(rank)}, but got {shape_text(image.shape)}."
    why = "" if first is None else f"{_reads_text(first)}."
    if full and image.ndim == rank + 2:
        many = f"A batch of {image.shape[0]:,} has more than one {READS[rank].removesuffix('s')}."
        raise UsageError(what, f"{many} {why}".strip(), "Give one of them, batch[:1], or all to capture_many.")
    raise UsageError(what, why)


def check_batched(network: nn.Module, visits: Mapping[str, Any], size: Sequence[int]) -> None:
    """Check that no convolution took the axis of the batch of the input for that of the channels.

    torch's convolutions take inputs without a batch: an image (1, H, W) would be a volume's slices, (C, D, H, W).

    Raises:
        UsageError: one did.
    """
    for name, module in network.named_modules():
        taken = visits[name].taken if isinstance(module, CONVOLUTIONS) and name in visits else ()
        shape = taken[0].tensors[0][0] if taken and taken[0].tensors else ()
        if tuple(shape) == (1, *size) and len(shape) == len(module.kernel_size) + 1:
            given = shape_text(tuple(size)) if len(size) > 1 else f"({size[0]},)"
            what = f"The input must be {form_of(len(module.kernel_size))}, but got {given}."
            raise UsageError(what, f"{_reads_text(module)}.")


def _reads_text(first: Any) -> str:
    """What a network reads, by its first convolution."""
    what = f"{type(first).__name__} {first.in_channels} → {first.out_channels}"
    return f"The network reads {READS[len(first.kernel_size)]}: its first convolution is {what}"


def axes_read(network: Model | nn.Module) -> int:
    """How many axes the kernels of the first convolution have; 2 without any."""
    convolution = _first_convolution(network)
    return len(convolution.kernel_size) if convolution is not None else 2


def has_axes_of(network: nn.Module, axes: int) -> bool:
    """Whether a convolution of a network, if it has any, moves along so many axes."""
    ranks = {len(each.kernel_size) for each in network.modules() if isinstance(each, CONVOLUTIONS)}
    return not ranks or axes in ranks


def _first_convolution(network: Model | nn.Module) -> Any:
    return next((each for each in root_of(network).modules() if isinstance(each, CONVOLUTIONS)), None)
