"""The models of torchvision: their names, their published weights, and what these expect of an image."""

from __future__ import annotations

import inspect
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from kernelviz.errors import KernelvizError
from kernelviz.network.weights.names import TORCHVISION, Entry, Registry, WeightsLocation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

_LOCK = threading.Lock()


@cache
def read_torchvision_registry() -> Registry:
    """All models of torchvision, with the prefix, and the link of each of their weights; the default ones first.

    Raises:
        KernelvizError: torchvision is not installed.
    """
    models = _models()
    names = {}
    for name in models.list_models():
        weights = models.get_model_weights(name)
        ordered = list(weights)
        if ordered:
            ordered.remove(weights.DEFAULT)
            ordered.insert(0, weights.DEFAULT)
        names[TORCHVISION + name] = tuple(Entry(each.name, None, WeightsLocation(url=each.url)) for each in ordered)
    return Registry(names, {})


def build_torchvision(
    architecture: str, tag: str | None, arguments: Mapping[str, Any], *, pretrained: bool = False
) -> nn.Module:
    """A network of torchvision; without ``pretrained`` no weights are downloaded, those of a backbone neither."""
    models = _models()
    name = architecture.removeprefix(TORCHVISION)
    weights = _weights(architecture, tag)
    choices: dict[str, Any] = {"weights": weights if pretrained else None}
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        choices["weights_backbone"] = None
    if name.startswith("vit_") and weights is not None and not pretrained:  # the grid of positions is for one size
        choices["image_size"] = weights.meta["min_size"][0]
    module: nn.Module = models.get_model(name, **{**choices, **arguments})
    return module


@contextmanager
def loading_tensors(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """While a network is built in this thread, torchvision gets these tensors instead of downloading a file."""
    from torchvision.models import _api

    thread = threading.get_ident()
    with _LOCK:
        load = _api.WeightsEnum.get_state_dict

        def given(weights: Any, *args: Any, **choices: Any) -> Any:
            return load(weights, *args, **choices) if threading.get_ident() != thread else dict(tensors)

        _api.WeightsEnum.get_state_dict = given
        try:
            yield
        finally:
            _api.WeightsEnum.get_state_dict = load


def torchvision_preprocessing(architecture: str, tag: str | None) -> dict[str, Any]:
    """Size, mean, std, interpolation and crop of the images that the weights were evaluated on; {} if unknown."""
    weights = _weights(architecture, tag)
    if weights is None:
        return {}
    preset = weights.transforms()
    mean, std = getattr(preset, "mean", None), getattr(preset, "std", None)
    if mean is None or std is None:  # of detectors, which normalise images themselves
        return {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    resized, crop = (_side(getattr(preset, key, None)) for key in ("resize_size", "crop_size"))
    side = crop or resized
    facts: dict[str, Any] = {"mean": tuple(mean), "std": tuple(std)}
    if side:
        frames = (max(16, weights.meta.get("min_temporal_size", 0)),) if _is_of_video(architecture) else ()
        facts |= {"input_size": (3, *frames, side, side), "crop_pct": side / (resized or side)}
    if interpolation := getattr(getattr(preset, "interpolation", None), "value", None):
        facts["interpolation"] = interpolation
    return facts


def _is_of_video(architecture: str) -> bool:
    models = _models()
    return architecture.removeprefix(TORCHVISION) in models.list_models(module=models.video)


def torchvision_classes(architecture: str, tag: str | None) -> tuple[str, ...]:
    """The names of the classes that the weights were trained on; () if there are none."""
    weights = _weights(architecture, tag)
    return tuple(weights.meta.get("categories") or ()) if weights is not None else ()


def _weights(architecture: str, tag: str | None) -> Any:
    """One of torchvision's enumerations of weights; None if there are none."""
    weights = _models().get_model_weights(architecture.removeprefix(TORCHVISION))
    return weights[tag] if tag else None


def _side(value: Any) -> int | None:
    """The side of a square; None if it is anything else."""
    sides = set(value) if isinstance(value, (list, tuple)) else {value}
    side = sides.pop() if len(sides) == 1 else None
    return side if isinstance(side, int) else None


def _models() -> Any:
    try:
        from torchvision import models
    except ImportError as error:
        hint = "Type `pip install torchvision`."
        raise KernelvizError("torchvision is not installed, or does not work.", f"{error}.", hint) from error
    return models
