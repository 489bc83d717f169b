"""What a network takes an image for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.errors import UsageError
from kernelviz.network.classes import first_classes
from kernelviz.network.features import as_input, run_through
from kernelviz.network.models import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kernelviz.records import ClassScore, Image


def classify(
    model: Model | nn.Module,
    image: Image | Tensor,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[ClassScore, ...]:
    """The five likeliest classes of an image, the likeliest first, by softmax; () where the classes mean nothing.

    That is with random weights, and for networks without a classifier. Labels are None where the names of the classes
    are not known. ``image`` is what ``read_image`` gives, or a ready tensor (C, H, W) or (1, C, H, W); ``input_size`` and
    ``crop`` are those of ``capture_features``. The network is afterwards as it was.

    Raises:
        UsageError: no ``Model``, no image, or one that the network cannot take.
        KernelvizError: the pass failed.
    """
    if not isinstance(model, Model):
        what = f"The classes of a Model are known, but got {type(model).__name__}."
        raise UsageError(what, hint="kernelviz.load_model(name) gives one.")
    return first_classes(model, run_through(model, as_input(model, image, input_size=input_size, crop=crop)))
