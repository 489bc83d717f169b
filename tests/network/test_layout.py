"""Maps from tensors of every arrangement: each unit at its own place, counted out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.network.model import load_model
from kernelviz.network.taps import NoMapError, layout_of
from kernelviz.network.tracing.watch import observe_pass

SIZE = (3, 4, 6)
PLAIN = np.arange(72.0).reshape(SIZE)


class Through(nn.Module):
    """A network that only rearranges."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, image):
        """The image, rearranged."""
        return self.change(image)


def found_after(change, size=SIZE):
    """What is known after a change, and the changed tensor."""
    network = Through(change)
    image = torch.arange(float(np.prod(size))).reshape(1, *size)
    ((shape, found),) = observe_pass(network, size).visits[""].given[0].tensors
    return found, shape, change(image)


def windows(image, side=2):
    """(N, C, H, W) -> (windows, side · side, C), as Swin has them."""
    n, c, h, w = image.shape
    image = image.permute(0, 2, 3, 1).reshape(n, h // side, side, w // side, side, c)
    return image.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, c)


ARRANGEMENTS = {
    "as it is": lambda image: image,
    "channels last": lambda image: image.permute(0, 2, 3, 1),
    "turned": lambda image: image.transpose(2, 3),
    "tokens": lambda image: image.flatten(2).transpose(1, 2),
    "channels of tokens": lambda image: image.flatten(2),
    "prefix": lambda image: torch.cat([image.new_zeros(1, 2, 3), image.flatten(2).transpose(1, 2)], 1),
    "windows": windows,
    "shifted windows": lambda image: windows(torch.roll(image, (-1, -1), (2, 3))),
    "padded": lambda image: nn.functional.pad(image.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2)),
    "padded windows": lambda image: windows(
        nn.functional.pad(image.permute(0, 2, 3, 1), (0, 0, 0, 2)).permute(0, 3, 1, 2), 4
    ),
    "rows as tokens": lambda image: image.permute(0, 2, 3, 1).reshape(4, 6, 3),
    "columns in the batch": lambda image: image.permute(0, 3, 2, 1).reshape(6, 4, 3),
    "no batch": lambda image: image[0],
    "rolled": lambda image: torch.roll(image, (1, 2), (2, 3)),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_every_arrangement_comes_back(name):
    """Whatever was rearranged, the maps are the image's own."""
    found, shape, value = found_after(ARRANGEMENTS[name])
    layout = layout_of(found, shape)
    assert layout.size == SIZE
    np.testing.assert_array_equal(layout.maps(value).numpy(), PLAIN)


def test_heads_are_channels():
    """(N, heads, tokens, dim): the channels of each head follow one another."""
    found, shape, value = found_after(lambda image: image.flatten(2).reshape(1, 3, 2, 24).transpose(2, 3), (6, 4, 6))
    layout = layout_of(found, shape)
    np.testing.assert_array_equal(layout.maps(value).numpy(), np.arange(144.0).reshape(6, 4, 6))


def test_strides_and_merged_patches():
    """Every second row is a map of half as many; four neighbours side by side are channels at one place."""
    found, shape, value = found_after(lambda image: image[:, :, ::2, 1::2])
    np.testing.assert_array_equal(layout_of(found, shape).maps(value).numpy(), PLAIN[:, ::2, 1::2])

    def merged(image):
        image = image.permute(0, 2, 3, 1)
        parts = [image[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.cat(parts, -1)

    found, shape, value = found_after(merged)
    maps = layout_of(found, shape).maps(value).numpy()
    assert maps.shape == (12, 2, 3)
    np.testing.assert_array_equal(maps[3:6], PLAIN[:, ::2, 1::2])


def test_one_row_and_one_position():
    """A mean over rows is a map of one row; over both, a map of one place."""
    found, shape, value = found_after(lambda image: image.mean(2, keepdim=True))
    layout = layout_of(found, shape)
    assert layout.size == (3, 1, 6)
    np.testing.assert_allclose(layout.maps(value).numpy(), PLAIN.mean(1, keepdims=True))
    found, shape, value = found_after(lambda image: image.mean((2, 3), keepdim=True))
    assert layout_of(found, shape).size == (3, 1, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda image: image.mean((2, 3)), "vector of 3 numbers"),
        (lambda image: image.flatten(1), "none of its dimensions|vector"),
        (lambda _: torch.zeros(1, 3, 4, 6), "does not depend"),
        (lambda image: image.flatten(2).transpose(1, 2) @ image.flatten(2), "neither|lost|one value"),
        (lambda image: torch.sort(image, dim=3).values, "lost"),
    ],
)
def test_what_is_no_map_is_refused(change, why):
    """Vectors, constants, similarities and what is out of order: the reason is told."""
    found, shape, _ = found_after(change)
    with pytest.raises(NoMapError, match=why):
        layout_of(found, shape)


def test_padding_of_a_map():
    """Padding for a convolution is part of the map, as it is of the tensor."""
    found, shape, value = found_after(lambda image: nn.functional.pad(image, (1, 1, 1, 1)))
    assert layout_of(found, shape).maps(value).shape == (3, 6, 8)


def test_a_weight_along_tokens_leaves_no_map_and_its_sum_has_one():
    """What a Linear over tokens gives has no places; added to what has, it leaves a map; merged patches stay one too."""
    mixer = observe_pass(load_model("mixer_s32_224", weights=None).module, (3, 224, 224))
    shape, known = mixer.visits["blocks.0.mlp_tokens.fc2"].given[0].tensors[0]
    with pytest.raises(NoMapError, match="rows or columns"):
        layout_of(known, shape)
    shape, known = mixer.visits["blocks.0"].given[0].tensors[0]
    assert layout_of(known, shape).size == (512, 7, 7)
    swin = observe_pass(load_model("swin_tiny_patch4_window7_224", weights=None).module, (3, 224, 224))
    shape, known = swin.visits["layers.1.blocks.0.norm1"].given[0].tensors[0]
    assert layout_of(known, shape).size == (192, 28, 28)


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_part_may_be_empty(prefix):
    """Tokens of which none, or one, is set aside before they are joined again are as they were."""

    def rejoin(image):
        tokens = image.flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :prefix], tokens[:, prefix:] * 2], dim=1)

    shape, known = observe_pass(Through(rejoin), SIZE).visits[""].given[0].tensors[0]
    assert layout_of(known, shape).size == SIZE


class Recurrent(nn.Module):
    """A recurrent layer along the rows of each column, as Sequencer has them; its states or its outputs."""

    def __init__(self, given, *, both):
        super().__init__()
        self.given = given
        self.layer = nn.LSTM(3, 5, bidirectional=both, batch_first=True)

    def forward(self, image):
        """(columns, rows, 5) or the last states (directions, columns, 5)."""
        outputs, states = self.layer(image[0].permute(2, 1, 0))
        return {"outputs": outputs, "states": states[0]}[self.given]


@pytest.mark.parametrize("given", ["outputs", "states"])
@pytest.mark.parametrize("both", [True, False])
def test_states_of_a_recurrent_layer_have_no_rows(given, both):
    """What read one row after the other lies at none of them; the two directions are no rows either."""
    ((shape, found),) = observe_pass(Recurrent(given, both=both), SIZE).visits[""].given[0].tensors
    with pytest.raises(NoMapError, match="put together from several places"):
        layout_of(found, shape)
