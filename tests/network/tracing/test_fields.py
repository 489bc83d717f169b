"""The box that we say a unit reads is the box of its gradient on the image."""

from __future__ import annotations

import pytest
import timm
import torch
from gradient_boxes import compare
from torch import nn
from torch.nn import functional

from kernelviz.network.tracing.trace import trace

FAMILIES = [
    ("resnet18d", (64, 96)), ("test_resnet", (97, 81)), ("test_efficientnet", (97, 81)),
    ("mobilenetv1_100", (65, 81)), ("mobilenetv3_small_050", (97, 81)), ("ghostnet_050", (97, 81)),
    ("test_convnext", (97, 81)), ("repvgg_a0", (64, 64)), ("regnety_002", (64, 64)), ("starnet_s050", (64, 64)),
    ("dla46x_c", (96, 64)), ("skresnet18", (64, 64)),
    ("resnest14d", (64, 64)), ("hgnetv2_b0", (64, 64)), ("cs3darknet_focus_s", (64, 64)),
    ("tf_efficientnet_lite0", (65, 81)),
]  # fmt: skip
LONGER = [
    ("vgg11", (64, 64)), ("res2next50", (64, 64)), ("selecsls42", (64, 64)), ("rexnet_100", (64, 64)),
    ("hrnet_w18_small", (64, 96)),
    ("densenet121", (64, 64)), ("dpn48b", (96, 64)), ("inception_v3", (96, 128)), ("xception41p", (64, 64)),
    ("tresnet_m", (64, 64)), ("poolformerv2_s12", (97, 81)), ("convmixer_768_32", (64, 64)),
    ("legacy_xception", (97, 81)), ("lcnetv2_small", (64, 64)), ("vovnet39a", (64, 64)), ("repghostnet_050", (97, 81)),
]  # fmt: skip


def check(name, size, *, layers, units):
    """No unit's box differs from its gradient's, and there were some."""
    choices = {"mlp_ratio": 0.1} if name == "vgg11" else {}  # its head of a hundred million numbers is not compared
    checked, wrong = compare(timm.create_model(name, **choices), (3, *size), layers=layers, units=units)
    assert not wrong
    assert checked


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_boxes_are_those_of_the_gradient(name, size):
    """In corners and inside, in random layers of sixteen families."""
    check(name, size, layers=2, units=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), FAMILIES + LONGER)
def test_many_boxes_are_those_of_the_gradient(name, size):
    """In more layers, and in more families."""
    check(name, size, layers=10, units=3)


class Shapes(nn.Module):
    """Down and up again, with everything that moves rows."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2)
        self.grouped = nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=2)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.mix = nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect")
        self.unshuffle = nn.PixelUnshuffle(2)
        self.adaptive = nn.AdaptiveAvgPool2d((5, 3))
        self.last = nn.Conv2d(16, 2, 2)
        self.turned = nn.Conv2d(2, 2, (1, 2))

    def forward(self, x):
        """Every step is a layer, so that each is compared."""
        x = self.up(self.grouped(self.down(x)))
        x = self.mix(self.shuffle(x))
        x = functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        x = functional.pad(x, (1, 0, 0, 3))[:, :, 1:]
        x = self.unshuffle(functional.interpolate(x, size=(26, 38), mode="nearest"))
        x = self.last(self.adaptive(torch.cat([x[:, 8:].flip(2), x[:, :8].roll(3, 3)], 1)))
        return self.turned(x.transpose(2, 3))


def test_everything_that_moves_rows():
    """Dilation, groups, transposed, enlarged, shuffled, padded, cut, turned, rolled: all by their gradient."""
    checked, wrong = compare(Shapes(), (3, 27, 35), layers=9, units=12)
    assert not wrong
    assert checked == 9 * 15


class Step(nn.Module):
    """A function as a layer."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        """Applies it."""
        return self.step(x)


@pytest.mark.parametrize(
    "step",
    [lambda x: x.flip(2), lambda x: x.roll(3, 2), lambda x: x + x.flip(3), lambda x: x.roll(2, 3) + x,
     lambda x: torch.cat([x[:, :, 4:], x[:, :, :4]], 2), lambda x: torch.cat([x, x.flip(2)], 2),
     lambda x: x.repeat(1, 1, 2, 1), lambda x: x.repeat_interleave(2, 2),
     lambda x: x[:, :, ::2] + x[:, :, 1::2], lambda x: x.transpose(2, 3)],
)  # fmt: skip
def test_rows_are_counted_as_they_stand(step):
    """Row 0 of what was turned, moved or joined is its first row, whatever row of the image that was."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, stride=2), Step(step), nn.Conv2d(4, 2, 3, padding=1))
    checked, wrong = compare(network, (3, 32, 32), layers=3, units=6)
    assert not wrong
    assert checked == 27


def test_what_is_no_box_of_rows_and_columns_is_unknown():
    """Where the rows that are read depend on the column too, nothing is told, and why."""
    traced = trace(nn.Sequential(nn.Conv2d(3, 4, 3), Step(lambda x: x + x.transpose(2, 3))), (3, 16, 16))
    assert traced.layer("0").field
    assert traced.layer("1").field is None
    assert "other one too" in traced.layer("1").lost


class Windowed(nn.Module):
    """Windows of four by four as Swin makes them, with products inside each."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.inside = nn.Linear(16, 16)
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        """Mixes within windows, shifted by one."""
        x = self.stem(x).roll((-1, -1), (2, 3))
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 16)
        x = self.inside(x)
        x = x.view(n, h // 4, w // 4, c, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)
        return self.last(x.roll((1, 1), (2, 3)))


def test_windows_are_followed():
    """A matrix product inside shifted windows reads those windows, and its rows are rows again."""
    checked, wrong = compare(Windowed(), (3, 16, 24), layers=3, units=12)
    assert not wrong
    assert checked == 30


class Gated(nn.Module):
    """A convolution with a gate made of the whole image."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.gate = nn.Conv2d(4, 4, 1)
        self.after = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        """Squeeze and excite."""
        x = self.conv(x)
        return self.after(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())


def test_gates_mark_and_let_the_field_go_on():
    """What a gate reads counts as mixed in; rows are those of the way through convolutions."""
    traced = trace(Gated(), (3, 20, 20))
    assert [axis.size for axis in traced.layer("after").field.axes] == [5, 5]
    assert traced.layer("after").field.mixes_image
    assert not traced.layer("conv").field.mixes_image


class Sorted(nn.Module):
    """Something whose rows cannot be followed."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.after = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        """A skip joins what is known with what is not."""
        x = self.conv(x)
        return self.after(x + x.sort(dim=2).values)


def test_unknown_joined_with_anything_is_unknown():
    """An operation that is not on the list makes unknown all that comes of it, and is named."""
    traced = trace(Sorted(), (3, 9, 9))
    assert traced.layer("conv").field is not None
    assert traced.layer("after").field is None
    assert "sort" in traced.layer("after").lost


class _SeveralPositions(nn.Module):
    """Maps whose channels hold several places: shifted slices, and blocks of pixels turned into channels."""

    def __init__(self):
        super().__init__()
        self.first, self.shifted, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.Identity(), nn.BatchNorm2d(8)
        self.blocks, self.behind = nn.Identity(), nn.Conv2d(32, 4, 3, padding=1)

    def forward(self, image):
        image = self.first(image)
        image = self.norm(self.shifted(torch.cat([image[..., :-2, :], image[..., 2:, :]], 1)))
        _, channels, rows, columns = image.shape
        image = image.view(1, channels, rows // 2, 2, columns // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return self.behind(self.blocks(image.reshape(1, 4 * channels, rows // 2, columns // 2)))


def test_channels_may_hold_several_positions():
    """A unit reads what its channels read together, and the map has as many units as its tensor."""
    blocks = trace(_SeveralPositions(), (4, 22, 16)).layer("blocks")
    assert blocks.layout == "N C H W"
    assert [(len(axis.first), axis.size, axis.jump) for axis in blocks.field.axes] == [(10, 6, 2), (8, 4, 2)]
    checked, wrong = compare(_SeveralPositions(), (4, 22, 16), units=8)
    assert checked >= 44
    assert not wrong


class Patches(nn.Module):
    """Blocks of four by four pixels as channels, their order changed, then convolutions: the first with one tap."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Identity()
        self.one = nn.Conv2d(48, 6, 1)
        self.three = nn.Conv2d(6, 5, 3, padding=1)
        self.five = nn.Conv2d(5, 4, 5, stride=2, padding=2)
        self.order = list(reversed(range(16)))

    def forward(self, x):
        """As networks do that read an image as frequencies of blocks."""
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5)
        x = (x @ x.new_ones(4, 4)).transpose(-1, -2) @ x.new_ones(4, 4)
        x = x.reshape(-1, c, 16)[:, :, self.order].reshape(n, h // 4, w // 4, -1)
        return self.five(self.three(self.one(self.blocks(x.permute(0, 3, 1, 2)))))


def test_blocks_of_pixels_as_channels():
    """A step from block to block is four rows, in the field of a unit without borders too."""
    network = Patches()
    checked, wrong = compare(network, (3, 32, 48), layers=4, units=6)
    assert not wrong
    assert checked >= 18
    fields = {layer.name: layer.field.axes for layer in trace(network, (3, 32, 48)).layers}
    traced = {name: [(axis.size, axis.jump) for axis in axes] for name, axes in fields.items()}
    assert (traced["one"], traced["three"], traced["five"]) == ([(4, 4)] * 2, [(12, 4)] * 2, [(28, 8)] * 2)
