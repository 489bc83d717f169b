"""One pass of an image through a network, and the maps that its layers really gave."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.catching import Catcher, EnoughError, Input, Tapped, module_of
from kernelviz.network.classes import first_classes
from kernelviz.network.models import Model
from kernelviz.network.preprocessing import prepare
from kernelviz.network.state import Lent, refuse_unready
from kernelviz.network.taps import choose_taps
from kernelviz.network.trace import as_trace, watched
from kernelviz.records import ClassScore, FeatureMaps, Image, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from kernelviz.network.catching import OnBatchMap
    from kernelviz.network.taps import Side

    OnMap = Callable[[FeatureMaps], object]


def capture_features(
    network: Model | nn.Module,
    image: Image | Tensor,
    layers: str | Sequence[str] | None = None,
    *,
    on_map: OnMap | None = None,
    kind: str = "all",
    tap: Literal["output", "input"] = "output",
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[FeatureMaps, ...]:
    """What the chosen layers really gave for one image, at that point of the pass, before anything overwrote it.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: What ``read_image`` gives (the model's own preprocessing follows), or a ready tensor (C, H, W) or
            (1, C, H, W).
        layers: Names (``layer1.0.act1``, ``name#2`` for a second run, ``name:0`` for a part of a tuple), shell patterns,
            or ``stage:0``; without them the first convolution and the stages.
        on_map: Called with each ``FeatureMaps`` inside the pass; nothing is kept then, and () comes back. The pass ends
            behind the last layer asked for.
        kind: Only layers of this kind: conv, norm, act, pool, linear, or all; those inside the modules that were named
            too, and without ``layers`` all of the network.
        tap: ``"input"`` catches what goes into the layers.
        input_size: Side, or (H, W), of the input where it is not the model's own.
        crop: Whether the image is cropped as the model's preprocessing says; None for its own rule.

    Returns:
        The maps, (C, H, W) each, in the order of the pass.

    The network is afterwards as it was: hooks, modes, buffers, grad mode, and the random state.

    Raises:
        UnknownLayerError: no such layer.
        UsageError: a layer that was named has no map; or no image, or one that the network cannot take.
        KernelvizError: the pass failed, or a layer that was named did not run.
    """
    given = as_input(network, image, input_size=input_size, crop=crop)
    tapped = make_taps(network, given.size, layers, kind=kind, tap=tap, batch=given.batch)
    kept: list[FeatureMaps] = []
    run(tapped, given, on_map or kept.append, to_the_end=False)
    return tuple(kept)


def as_input(
    network: Model | nn.Module,
    image: object,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Input:
    """What a network takes for an image.

    Raises:
        UsageError: neither image nor tensor, another rank, or an image for a network without known preprocessing.
    """
    if isinstance(image, Image):
        if not isinstance(network, Model):
            hint = "Give a ready tensor (C, H, W), or the Model that load_model gives."
            raise UsageError("How this network wants its images is not known.", hint=hint)
        batch, seen = prepare(network, image, input_size=input_size, crop=crop)
        return Input(batch, image, seen)
    if not isinstance(image, Tensor):
        hint = "kernelviz.read_image(path) reads one."
        raise UsageError(f"An image or a ready tensor is wanted, but got {type(image).__name__}.", hint=hint)
    batch = image if image.ndim == 4 else image[None]
    if batch.ndim not in (3, 4) or batch.shape[0] != 1 or 0 in batch.shape:
        raise UsageError(f"A ready tensor is (C, H, W) or (1, C, H, W), but the shape is {shape_text(image.shape)}.")
    return Input(batch)


def make_taps(
    network: Model | nn.Module,
    input_size: tuple[int, ...],
    layers: str | Sequence[str] | None = None,
    *,
    kind: str = "all",
    tap: Side = "output",
    batch: Tensor | None = None,
) -> Tapped:
    """Watch one pass of an image of ``input_size`` (C, H, W), and find what the patterns mean in it.

    A network that cannot be watched without numbers is watched with those of ``batch``, where it is given.

    Raises:
        KernelvizError: as ``capture_features``.
    """
    module = module_of(network)
    seen = watched(module, input_size, None if batch is None else _fitting(batch, module))
    trace = as_trace(network, seen, input_size, fields=False)
    taps = choose_taps(seen, trace, layers, kind=kind, side=tap)
    return Tapped(network, input_size, taps, tap, seen, trace, Lent(module))


def blank(size: Sequence[int]) -> Tensor:
    """A batch of one image without content, (C, H, W): for networks that cannot be watched without numbers."""
    return torch.zeros(1, *size)


def tap_also(tapped: Tapped) -> tuple[Tapped, frozenset[str]]:
    """The same with the first convolution and the stages, and the names of these."""
    more = choose_taps(tapped.seen, tapped.trace, None, side=tapped.side)
    every = {tap.name: tap for tap in (*tapped.taps.taps, *more.taps)}
    return replace(tapped, taps=replace(tapped.taps, taps=tuple(every.values()))), frozenset(
        tap.name for tap in more.taps
    )


def run(tapped: Tapped, given: Input, on_map: OnMap, *, to_the_end: bool = True) -> tuple[ClassScore, ...]:
    """Pass one image through the network; each map goes to ``on_map`` inside the pass.

    The first five classes come back where the pass goes ``to_the_end`` and the network has classes.

    Raises:
        KernelvizError: the pass failed, or a tapped layer did not run.
    """
    return run_batch(tapped, [given], lambda _, maps: on_map(maps), to_the_end=to_the_end)[0]


def run_batch(
    tapped: Tapped, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> tuple[tuple[ClassScore, ...], ...]:
    """Pass images of one size through the network at once; each map goes to ``on_map`` with its image's place in the batch.

    The first five classes of each come back, as from ``run``. All maps of a layer come before those of the next.

    Raises:
        KernelvizError: the pass failed, a tapped layer did not run, or its output is not one part for each image.
    """
    watch = Catcher(tapped, given, on_map, to_the_end=to_the_end)
    whole = given[0] if len(given) == 1 else Input(torch.cat([each.batch for each in given]))
    output = run_through(tapped.lent, whole, watch.hooks(tapped.module), ours=lambda: watch.failed_outside)
    watch.check_all_ran()
    if not isinstance(tapped.network, Model):
        return tuple(() for _ in given)
    return tuple(first_classes(tapped.network, output, number) for number in range(len(given)))


def run_each(
    tapped: Tapped, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> list[tuple[ClassScore, ...] | KernelvizError]:
    """As ``run_batch``; where that fails, the images pass one by one, and the error of each that fails stands in its place.

    No map is handed on twice: a second time only where ``on_map`` itself failed.
    """
    handed: set[tuple[int, str | None]] = set()

    def once(number: int, maps: FeatureMaps) -> None:
        if (number, maps.layer) not in handed:
            on_map(number, maps)
            handed.add((number, maps.layer))

    try:
        return list(run_batch(tapped, given, once, to_the_end=to_the_end))
    except KernelvizError as error:
        if len(given) == 1:
            return [error]
    results: list[tuple[ClassScore, ...] | KernelvizError] = []
    for number, one in enumerate(given):
        try:
            results += run_batch(tapped, [one], partial(_of, once, number), to_the_end=to_the_end)
        except KernelvizError as error:
            results.append(error)
    return results


def _of(on_map: OnBatchMap, number: int, _: int, maps: FeatureMaps) -> None:
    """Hand on the maps of an image that passes alone."""
    on_map(number, maps)


def run_through(
    network: Model | nn.Module | Lent,
    given: Input,
    hooks: AbstractContextManager[object] | None = None,
    *,
    ours: Callable[[], bool] = lambda: False,
) -> Any:
    """What the network gives for an input; None where one of the ``hooks`` raised ``EnoughError``. It is left as it was.

    ``ours`` says whether an error came from outside of the network, and goes on as it is.

    Raises:
        KernelvizError: the pass failed.
    """
    lent = network if isinstance(network, Lent) else Lent(module_of(network))
    module = lent.module
    if lent is not network:  # what was lent was watched before, which refuses it
        refuse_unready(module)
    batch = _fitting(given.batch, module)
    with lent.undisturbed(), hooks or nullcontext():
        try:
            return module(batch)
        except EnoughError:
            return None
        except (KernelvizError, KeyboardInterrupt):
            raise
        except Exception as error:
            if ours():
                raise
            raise _pass_failed(error, given.size) from error


def _fitting(batch: Tensor, module: nn.Module) -> Tensor:
    """A copy of the batch on the network's device and in its numbers: the first module may overwrite it.

    Raises:
        UsageError: the network has no numbers.
    """
    like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    if like is None:
        return batch.detach().clone()
    if like.is_meta:
        what = "The network has no numbers: it was built without weights."
        raise UsageError(what, hint='Load it with weights, `load_model(name, weights="random")` for one.')
    return batch.detach().to(device=like.device, dtype=like.dtype, copy=True)


def _pass_failed(error: Exception, size: tuple[int, ...]) -> KernelvizError:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return KernelvizError("There is not enough memory for this pass.", hint="Give a smaller --input-size.")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    what = f"The pass of an input of {' × '.join(map(str, size))} failed."
    return KernelvizError(what, f"{reason[0].upper()}{reason[1:]}")
