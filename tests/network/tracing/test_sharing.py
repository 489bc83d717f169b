import pytest
import torch
from torch import nn

from kernelviz.network.tracing.trace import trace
from tests.support.gradient_boxes import compare


class _Written(nn.Module):
    """A small convolution, a large one, and a write of the large one's map into the small one's memory."""

    def __init__(self, write):
        super().__init__()
        self.small, self.large = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 7, padding=3)
        self.out = nn.Identity()
        self.write = write

    def forward(self, image):
        return self.out(self.write(self.small(image), self.large(image)))


def _through_a_view(small, large):
    small.view(small.shape).add_(large)
    return small


def _through_a_slice_of_all(small, large):
    small[:, 0:4].add_(large)
    return small


def _through_an_alias(small, large):
    view = small.view_as(small)
    view += large
    return small


def _through_the_base(small, large):
    view = small.view_as(small)
    small.add_(large)
    return view


def _through_a_twin(small, large):
    one, other = small[:, :2], small[:, :2]
    one.add_(large[:, :2])
    return torch.cat([other, other], 1)


def _read_through_a_part(small, large):
    part = small[:, 1:3, 2:, :-3]
    small.add_(large)
    return part


def _channels_of_another(small, large):
    view = small[:, 1:3]
    view += large[:, 1:3]
    return small


def _beside_a_write(small, large):
    one, other = small[:, :2], small[:, 2:]
    one.add_(large[:, :2])
    return other


def _over_all(small, large):
    small.transpose(2, 3).add_(large)
    small.copy_(large)
    return small


KNOWN = [
    _through_a_view, _through_a_slice_of_all, _through_an_alias, _through_the_base, _through_a_twin,
    _read_through_a_part, _channels_of_another, _beside_a_write, _over_all,
]  # fmt: skip


@pytest.mark.parametrize("write", KNOWN)
def test_a_write_updates_all_that_share_the_memory(write):
    """What is written through one tensor is read through every other tensor in its memory, and nowhere else."""
    checked, wrong = compare(_Written(write), (4, 15, 15), units=6)
    assert checked >= 27
    assert not wrong


def _turned(small, large):
    small.transpose(2, 3).add_(large)
    return small


def _flattened_before(small, large):
    view = small.flatten(2)
    small.add_(large)
    return view.view(small.shape)


def _laid_out_anew(small, large):
    strides = small.stride()
    return small.as_strided_(small.shape, (*strides[:2], strides[3], strides[2])) + large


@pytest.mark.parametrize("write", [_turned, _flattened_before, _laid_out_anew])
def test_a_write_that_is_not_followed_is_reported(write):
    """Where a write lies in another tensor in a way that is not followed, that tensor's fields are unknown."""
    layer = trace(_Written(write), (4, 15, 15)).layer("out")
    assert layer.field is None
    assert "overwrites part" in layer.lost or "lays the elements" in layer.lost


def test_what_is_set_to_a_constant_reads_nothing():
    """zero_ and fill_ leave nothing of what a tensor read."""

    def cleared(small, large):
        small.fill_(3.0)
        large[:, :, :, 5:].zero_()
        return small + large

    found = trace(_Written(cleared), (4, 15, 15))
    box = found.field_of("out", 7, 9)
    assert box.top > box.bottom or box.left > box.right
    assert (found.field_of("out", 7, 4).left, found.field_of("out", 7, 4).right) == (1, 7)


def test_circular_padding_is_followed():
    """Circular padding copies slices into fresh memory: border units read the far side of the image."""
    network = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"))
    checked, wrong = compare(network, (2, 11, 9), units=10)
    assert checked >= 26
    assert not wrong
