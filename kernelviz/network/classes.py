"""The classes of a prediction, with their names if these are known."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor

from kernelviz.records import ClassScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.network.model import Model


MOST = 5
_PUBLISHED = frozenset({"cache", "bundled", "hub", "url"})


def first_classes(model: Model, output: Any, number: int = 0) -> tuple[ClassScore, ...]:
    """The five likeliest classes of an image of the batch by softmax; empty with random weights or without classes.

    Names are those of the model's configuration, or of the ImageNet subset that timm infers from the number of classes.
    With weights from the user's own file the names are not known.
    """
    weights = model.source.weights
    logits = output[0] if isinstance(output, (tuple, list)) and output else output
    if weights is None or weights.source == "random" or not isinstance(logits, Tensor):
        return ()
    config = {"classifier": True} if model.classes else getattr(model.module, "pretrained_cfg", None) or {}
    count = len(model.classes) or getattr(model.module, "num_classes", 0)
    if logits.ndim != 2 or logits.shape[0] <= number or logits.shape[1] != count or not config.get("classifier"):
        return ()
    labels = class_names(model) if weights.source in _PUBLISHED else None
    if labels is None and weights.source != "file":
        return ()  # an embedding may have as many values as a classifier has classes
    shares = torch.softmax(logits[number].cpu().double(), dim=0)
    if not bool(torch.isfinite(shares).all()):
        return ()
    best = torch.topk(shares, min(MOST, count))
    return tuple(
        ClassScore(index, labels[index] if labels else None, share)
        for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def class_names(model: Model) -> Sequence[str] | None:
    """The name of each class; None if they are not known."""
    if model.classes:
        return model.classes
    config = dict(getattr(model.module, "pretrained_cfg", None) or {})
    count = getattr(model.module, "num_classes", 0)
    names, descriptions = config.get("label_names"), config.get("label_descriptions") or {}
    if names and len(names) == count:
        return [descriptions.get(name, name) for name in names]
    subset = infer_imagenet_subset({"num_classes": count})
    return _imagenet(subset) if subset else None


@cache
def _imagenet(subset: str) -> tuple[str, ...]:
    """The first lemma of each class: ``academic gown`` of ``academic gown, academic robe, judge's robe``."""
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index).partition(",")[0] for index in range(info.num_classes()))
