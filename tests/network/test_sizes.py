"""An input of a size that the network does not take: the error contains the next size that it does take."""

import pytest
import torch
from torch import nn

from kernelviz.errors import BrokenPassError, InputSizeError, UsageError
from kernelviz.network.capture import capture_features
from kernelviz.network.layer_operation import layer_operation
from kernelviz.network.model import Model, load_model
from kernelviz.network.tracing import next_size, watch
from kernelviz.network.tracing.trace import trace
from kernelviz.network.units import trace_unit
from kernelviz.records import Source


def refusal(model, *sides):
    """The hint of the error for an image of these sides; empty if the network takes it."""
    try:
        trace(model, (3, *sides))
    except InputSizeError as error:
        return error.hint
    return ""


def takes(model, side):
    """Whether the network takes a square of this side."""
    try:
        watch.observe_pass(model.module, (3, side, side))
    except InputSizeError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "given", "smallest"),
    [
        pytest.param("inception_v3", (20, 20), 75, marks=pytest.mark.slow),
        pytest.param("inception_v3", (300, 74), 75, marks=pytest.mark.slow),
        pytest.param("densenet121", (20, 20), 29, marks=pytest.mark.slow),
        pytest.param("hieradet_small", (100, 100), 125, marks=pytest.mark.slow),  # takes 29 to 32, 61 to 64, ...
        ("vit_tiny_patch16_224", (200, 200), 224),
        pytest.param("halonet26t", (300, 300), None, marks=pytest.mark.slow),  # takes 241 to 256 only
    ],
)
def test_the_smallest_larger_size_is_reported(name, given, smallest):
    """The reported side works, and the one before it does not."""
    model = load_model(name, weights=None)
    hint = refusal(model, *given)
    if smallest is None:
        assert hint == f"It takes {model.input_size[1]} × {model.input_size[2]}."
        return
    assert hint == f"The smallest side above {min(given)} that it takes is {smallest}."
    assert takes(model, smallest)
    assert not takes(model, smallest - 1)


class Picky(nn.Module):
    """Takes the sides that are listed."""

    def __init__(self, sides):
        super().__init__()
        self.conv, self.sides = nn.Conv2d(3, 2, 1), sides

    def forward(self, image):
        """Refuse other sides."""
        if image.shape[2] not in self.sides:
            raise ValueError("not this side")
        return self.conv(image)


def picky(*sides):
    """A model whose own side is the last one."""
    own = sides[-1]
    return Model(Picky(set(sides)), Source("picky", "picky", "picky", 0), (3, own, own))


def test_sides_that_work_need_not_be_adjacent():
    """The smallest one is found where bisection between a side that fails and one that works finds another."""
    assert refusal(picky(8, 17, 64, 96, 224), 9, 9) == "The smallest side above 9 that it takes is 17."
    assert refusal(picky(8, 17, 64, 96, 224), 18, 18) == "The smallest side above 18 that it takes is 64."
    assert refusal(picky(250, 224), 225, 225) == "The smallest side above 225 that it takes is 250."
    assert refusal(picky(224), 225, 225) == "It takes 224 × 224."


def test_a_search_that_takes_long_reports_only_what_was_tried(monkeypatch):
    """Without time the sides that are known to work are reported, and none is called the smallest."""
    monkeypatch.setattr(next_size, "_SECONDS", -1.0)
    assert refusal(picky(*range(70, 225)), 20, 20) == "It takes 224 × 224 and 70 × 70."


def test_every_function_reports_the_size():
    """Also those that run the forward pass itself."""
    model = picky(17, 32)
    image = torch.zeros(3, 9, 9)
    for call in (
        lambda: trace(model, (3, 9, 9)),
        lambda: layer_operation(model, "conv", (3, 9, 9)),
        lambda: capture_features(model, image, "conv"),
        lambda: trace_unit(model, image, "conv", (0, 0, 0)),
    ):
        with pytest.raises(InputSizeError, match="does not take an input of 3 × 9 × 9") as caught:
            call()
        assert caught.value.hint == "The smallest side above 9 that it takes is 17."


def test_a_failure_for_another_reason_reports_no_size():
    """A network that fails at its own size, or with another number of channels, is given no size."""
    assert refusal(picky(8), 9, 9) == "It takes 8 × 8."
    broken = Model(Picky(set()), Source("picky", "picky", "picky", 0), (3, 8, 8))
    with pytest.raises(BrokenPassError, match="ValueError: not this side") as failed:
        trace(broken, (3, 8, 8))
    assert (failed.type, failed.value.hint) == (BrokenPassError, "")
    with pytest.raises(InputSizeError, match="5 × 9 × 9") as caught:
        trace(picky(9), (5, 9, 9))
    assert caught.value.hint == "The network reads 3 channels: give (3, H, W) or (1, 3, H, W)."


def test_the_largest_size_is_reported():
    """A size beyond the limit of a trace is wrong usage, and the limit is in the message."""
    with pytest.raises(UsageError) as caught:
        trace(picky(8), (3, 10**6, 8))
    assert "65536" in caught.value.why
