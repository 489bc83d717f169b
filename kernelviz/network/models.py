"""From a name to a network: which architecture, which weights, what it expects of an image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import get_arch_pretrained_cfgs, get_deprecated_models, is_model
from torch import Tensor, nn

from kernelviz.errors import KernelvizError, NoWeightsError, UnknownModelError, UsageError
from kernelviz.network.checkpoints import read_checkpoint, shown
from kernelviz.network.nearest import nearest_names
from kernelviz.network.weights import BUNDLED_LICENCE, BUNDLED_MODEL, bundled_checkpoint, bundled_path, fit
from kernelviz.records import Source, Weights

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

_INSTALL_BUNDLED = 'Type `pip install "kernelviz[offline]"`'
_OTHER_WEIGHTS = f"Try `kernelviz kernels {BUNDLED_MODEL}`, `--weights random`, or `--weights FILE`."
_TAGS_TOLD = 12
_AS_IT_IS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Model:
    """A network in eval mode, with what is known about it.

    ``input_size`` is (C, H, W). ``stages`` are the modules that ``stage:0``, ``stage:1``, ... mean; empty where the
    architecture names none.
    """

    module: nn.Module
    source: Source
    input_size: tuple[int, int, int]
    stages: tuple[str, ...] = ()


def find_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """The architectures of timm that match a shell pattern; with ``pretrained`` those with weights, with their tags."""
    return list(timm.list_models(pattern, pretrained=pretrained))


def load_model(name: str, *, weights: str | os.PathLike[str] | None = "auto", seed: int = 0) -> Model:
    """Build the network called ``name``, a timm architecture or ``architecture.tag``, with weights.

    Args:
        name: The tag only says which variant is built (its classes, its input).
        weights: ``"auto"`` (what is there without asking the network), ``"bundled"`` (pip's EfficientNet-Lite0),
            ``"random"``, ``"hub"``, a file, or None: the architecture alone, on ``meta``, without memory for weights.
            From a file the network gets the class count and the input channels that the file shows.
        seed: For random weights; the caller's own random state does not move.

    Raises:
        UnknownModelError: timm knows no such architecture, or no such tag of it.
        NoWeightsError: there are no weights of the wanted kind.
        BadWeightsError: the file cannot be read, or holds the weights of another network.
        KernelvizError: timm cannot build the architecture here.
    """
    architecture, tag = _resolved(name)
    built_as = f"{architecture}.{tag}" if tag else architecture
    if weights is None:
        module = _built(built_as, device="meta")
        return _model(module, architecture, "architecture alone", "architecture")
    if weights == "random":
        module = _built(built_as, seed=seed)
        stem = f"random{seed or ''}"
        return _model(module, architecture, f"random weights (seed {seed})", stem, Weights("random", f"seed {seed}"))
    if weights in {"auto", "bundled", "hub"}:
        return _bundled_model(architecture, built_as, str(weights))
    checkpoint = read_checkpoint(weights)
    choices = _choices_shown(built_as, checkpoint.tensors)
    module = _built(built_as, choices)
    fit(module, checkpoint, architecture)
    label, stem = f"weights of {shown(checkpoint.weights.name)}", Path(checkpoint.weights.name).stem
    if checkpoint.wrapper is not None and checkpoint.wrapper.endswith("_ema"):
        label += f" ({checkpoint.wrapper})"
    return _model(module, architecture, label, stem, checkpoint.weights, channels=choices.get("in_chans"))


def stage_names(module: nn.Module) -> tuple[str, ...]:
    """The modules that timm's ``feature_info`` calls the ends of the stages; empty where there is none."""
    stages: Any = getattr(module, "feature_info", None) or ()
    return tuple(str(stage["module"]) for stage in stages if isinstance(stage, dict) and "module" in stage)


def _bundled_model(architecture: str, built_as: str, wanted: str) -> Model:
    _require_bundled(architecture, wanted)
    module = _built(built_as)
    checkpoint = bundled_checkpoint(module)
    if checkpoint is None:
        raise _no_bundled_package(architecture)
    fit(module, checkpoint, architecture)
    label = f"bundled weights ({checkpoint.weights.name})"
    return _model(module, architecture, label, "bundled", checkpoint.weights, licence=BUNDLED_LICENCE)


def _require_bundled(architecture: str, wanted: str) -> None:
    """Pass only where the bundled weights are what is wanted, and are there."""
    if wanted == "hub":
        raise NoWeightsError("This version of kernelviz does not download weights yet.", hint=_OTHER_WEIGHTS)
    if architecture == BUNDLED_MODEL:
        if bundled_path() is None:
            raise _no_bundled_package(architecture)
        return
    if wanted == "bundled":
        raise NoWeightsError(
            f"There are no bundled weights for {architecture}.",
            f"They are those of {BUNDLED_MODEL} alone.",
            _OTHER_WEIGHTS,
        )
    if not any(cfg.has_weights for cfg in get_arch_pretrained_cfgs(architecture).values()):
        raise NoWeightsError(f"timm has no weights for {architecture}.", hint=_OTHER_WEIGHTS)
    raise NoWeightsError(
        f"There are no weights for {architecture} here.",
        "This version of kernelviz does not download weights yet.",
        _OTHER_WEIGHTS,
    )


def _no_bundled_package(architecture: str) -> NoWeightsError:
    return NoWeightsError(
        f"There are no weights for {architecture} here.",
        "The package that holds them is not installed.",
        f"{_INSTALL_BUNDLED}, or give `--weights random` or `--weights FILE`.",
    )


def _resolved(name: str) -> tuple[str, str]:
    """Architecture and tag (empty for none) that timm knows; an old name gives the one it has now."""
    architecture, dot, tag = name.partition(".")
    renamed = get_deprecated_models().get(architecture)
    if renamed:
        return _resolved(f"{renamed.partition('.')[0]}.{tag}" if dot else renamed)
    if not is_model(architecture) or architecture in get_deprecated_models():
        raise _unknown_model(name)
    names = list(get_arch_pretrained_cfgs(architecture))
    if dot and f"{architecture}.{tag}" not in names:
        raise _unknown_tag(architecture, tag, [known.partition(".")[2] for known in names if "." in known])
    return architecture, tag


def _unknown_model(name: str) -> UnknownModelError:
    nearest = nearest_names(timm.list_models(), name, name.partition(".")[0])
    what = f"There is no model called {shown(name)}." if name else "The model's name is empty."
    why = f"Nearest: {', '.join(nearest)}." if nearest else ""
    return UnknownModelError(what, why, f"Try `kernelviz kernels {nearest[0] if nearest else BUNDLED_MODEL}`.")


def _unknown_tag(architecture: str, tag: str, tags: list[str]) -> UnknownModelError:
    more = f" and {len(tags) - _TAGS_TOLD} more" if len(tags) > _TAGS_TOLD else ""
    why = f"Its tags: {', '.join(tags[:_TAGS_TOLD])}{more}." if tags else "It has no tags."
    nearest = nearest_names(tags, tag, count=1)
    hint = f"Try {'.'.join([architecture, *nearest])}."
    return UnknownModelError(f"The model {architecture} has no tag {shown(tag) or '(empty)'}.", why, hint)


def _built(name: str, choices: Mapping[str, int] = _AS_IT_IS, *, device: str = "cpu", seed: int = 0) -> nn.Module:
    """The network in eval mode, its random numbers drawn from ``seed`` beside the caller's random state."""
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"The seed must fit into 64 bits, but got {seed}.")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device(device):
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)
        try:
            module: nn.Module = timm.create_model(name, pretrained=False, **choices)
        except Exception as error:  # noqa: BLE001 - each architecture raises what it likes
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            changed = "".join(f", {key}={value}" for key, value in choices.items())
            raise KernelvizError(f"timm could not build {name}{changed}.", reason, "Try another model.") from None
    return module.eval()


def _choices_shown(name: str, tensors: dict[str, Tensor]) -> dict[str, int]:
    """What the network must be built with so that the tensors of a file fit: class count and input channels."""
    cfg = timm.get_pretrained_cfg(name, allow_unregistered=True)
    facts: dict[str, Any] = getattr(_built(name, device="meta"), "pretrained_cfg", {}) if cfg is None else cfg.to_dict()
    classifier, first = (_first(facts.get(key)) for key in ("classifier", "first_conv"))
    choices = {}
    weight = tensors.get(f"{first}.weight")
    if weight is not None and weight.ndim == 4 and weight.shape[1] != facts["input_size"][0]:
        # Some stems fold pixels into channels, so the file's count is compared with that of the default network.
        default = _built(name, device="meta").get_parameter(f"{first}.weight").shape[1]
        choices["in_chans"] = weight.shape[1] * facts["input_size"][0] // default
    head = tensors.get(f"{classifier}.weight", tensors.get(f"{classifier}.bias"))
    if head is not None and head.ndim:
        choices["num_classes"] = head.shape[0]
    elif classifier and weight is not None:
        choices["num_classes"] = 0
    return choices


def _first(names: str | Sequence[str] | None) -> str | None:
    """The first of the modules that timm names, be they one, several or none."""
    return names if isinstance(names, str) else next(iter(names or ()), None)


def _model(
    module: nn.Module,
    architecture: str,
    label: str,
    stem: str,
    weights: Weights | None = None,
    *,
    licence: str | None = None,
    channels: int | None = None,
) -> Model:
    """Put together what is known of a network; ``channels`` are those of its input where timm's facts say others."""
    config = resolve_model_data_config(module)
    default_channels, height, width = config["input_size"]
    channels = channels or default_channels
    input_size = (channels, height, width)
    preprocessing = {
        "input_size": input_size,
        "mean": _for_channels(config["mean"], channels),
        "std": _for_channels(config["std"], channels),
        "interpolation": config["interpolation"],
        "crop_pct": config["crop_pct"],
    }
    source = Source(
        model=architecture,
        label=f"{architecture}, {label}",
        stem=f"{architecture}.{stem}",
        params=sum(parameter.numel() for parameter in module.parameters()),
        weights=weights,
        licence=licence,
        preprocessing=preprocessing,
        versions={"torch": torch.__version__, "timm": timm.__version__},
        threads=torch.get_num_threads(),
    )
    return Model(module, source, input_size, stage_names(module))


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values as they are, or their mean for each of another number of channels."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
