"""The picture of a line of Keras or torch: its texts legible, its letters and sizes those of the line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from page_checks import check_page

import kernelviz
from kernelviz.errors import UsageError
from kernelviz.explain.call_page import MOST_PLANES, _activated, _Page, _with_results
from kernelviz.explain.calls import ACTIVATIONS, KERAS_SLOPE

LINES = {
    "articles": ('Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))', None),
    "stride and padding": ("nn.Conv2d(3, 32, 3, stride=2, padding=1)", 150),
    "uneven padding": ('layers.Conv2D(32, 3, strides=2, padding="same", input_shape=(224, 160, 3))', None),
    "digits": ('Conv2D(64, 5, padding="same", use_bias=False, input_shape=(28, 28, 1))', None),
    "deep": ("nn.Conv2d(512, 512, 3, padding=1), nn.GELU()", 14),
    "no size": ("Conv2D(16, 3)", None),
    "no size in torch": ("nn.Conv2d(3, 32, 3)", None),
    "one of each": ('Conv2D(1, 1, activation="sigmoid", input_shape=(5, 5, 1))', None),
    "everything": (
        'nn.Conv2d(16, 4096, (1, 7), 1, (0, 3), (1, 2), groups=8, bias=False, padding_mode="reflect"), nn.Softmax(dim=1)',
        (20, 60),
    ),
    "undrawn": ('Conv2D(8, 3, kernel_initializer="he_normal", name="first", data_format="channels_first")', (3, 9, 200)),
    "thin": ("nn.Conv2d(1, 2, (9, 1))", (4000, 3)),
    "large": ('Conv2D(100000, 11, strides=(4, 3), activation="log_softmax", input_shape=(9000, 12000, 2048))', None),
    "long": (f"Conv2D(8, 3, name={'n' * 300!r}, kernel_initializer={'模型' * 20!r})", 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def photo():
    """Noise in the shape of a photograph."""
    return np.random.default_rng(0).integers(0, 255, (120, 90, 3)).astype(np.uint8)


def texts(figure):
    """The texts of a page."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.sampled
@pytest.mark.parametrize("name", LINES)
def test_every_line_is_drawn_legibly(name, photo):
    """No text overlaps another, leaves the page or is too small, whatever the layer."""
    line, size = LINES[name]
    call = kernelviz.read_call(line, input_size=size)
    figure = kernelviz.plot_call(call, image=photo)
    check_page(figure)
    assert figure.recipe["layer"] == call.text


def test_letters_join_both_lines(photo):
    """Each argument has one letter, which is at its part and in the other framework's line."""
    call = kernelviz.read_call(LINES["articles"][0])
    found = texts(kernelviz.plot_call(call, image=photo))
    assert [found.count(letter) for letter in "abcde"] == [3, 3, 3, 3, 0]  # the line, the part, the other line
    assert "896 parameters" in found
    assert "150 − 3 + 1 = 148" in found
    assert {"150 × 150 × 3", "148 × 148 × 32", "3 × 3 × 3", "nn.ReLU()", "max(0, x):"} <= set(found)


def test_the_map_is_what_torch_computes(photo):
    """With kernels and an image the map is the convolution of the resized image with stride, padding and activation."""
    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3))
    line = "nn.Conv2d(3, 4, 3, stride=2, padding=(1, 2), dilation=(2, 1)), nn.ReLU()"
    call = kernelviz.read_call(line, input_size=(30, 40))
    from kernelviz.explain.call_page import _Page
    from kernelviz.records import as_bank

    page = _Page(call, photo, as_bank(weight), 2)
    data = torch.from_numpy(page.photo / 255.0).permute(2, 0, 1)[None]
    module = torch.nn.Conv2d(3, 4, 3, 2, (1, 2), (2, 1), bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        theirs = torch.relu(module(data))[0, 2]
    np.testing.assert_allclose(page.map, theirs.numpy(), atol=1e-12)
    figure = kernelviz.plot_call(call, image=photo, kernels=weight, kernel=2)
    assert "enlarged: kernel 2; its map is shown" in "; ".join(figure.recipe["notes"])
    assert figure.recipe["limits"][1] == pytest.approx(max(abs(weight).max(), abs(weight.sum(axis=1)).max()))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "softmax" not in name])
def test_activations_are_those_of_torch(name):
    """Each curve is the function of torch's module of that name."""
    values = torch.linspace(-4, 4, 33, dtype=torch.float64)
    module = ACTIVATIONS[name].module
    if not module:
        theirs = values.exp()
    else:
        kind = getattr(torch.nn, module)
        theirs = (kind(KERAS_SLOPE) if name == "leaky_relu" else kind())(values)
    np.testing.assert_allclose(_activated(name, KERAS_SLOPE, values.numpy()), theirs.numpy(), atol=1e-12)


def test_without_kernels_the_page_says_so(photo):
    """Grey kernels are explained, and so is what is left out."""
    call = kernelviz.read_call("nn.Conv2d(512, 4096, 3)", input_size=9)
    notes = "\n".join(kernelviz.plot_call(call, image=photo).recipe["notes"])
    assert "grey kernels: an untrained layer has no kernels to show" in notes
    assert f"{MOST_PLANES} of 512 planes of one kernel are drawn" in notes
    assert "966 of 4,096 kernels are drawn" in notes


@pytest.mark.parametrize(
    ("line", "choices", "message"),
    [
        ("MaxPooling2D(2)", {}, "MaxPooling2D is explained in text only"),
        ("nn.ConvTranspose2d(3, 4, 3)", {}, "ConvTranspose2d is explained in text only"),
        ("nn.Conv2d(3, 4, 3)", {"kernels": np.ones((4, 3, 3, 2))}, "must be 4 × 3 × 3 × 3, but got 4 × 3 × 3 × 2"),
        ("nn.Conv2d(3, 4, 3)", {"kernels": np.ones((4, 3, 3, 3)), "kernel": 4}, "kernels 0 to 3"),
        ("nn.Conv2d(3, 4, 3)", {"image": np.ones((4, 4))}, "image must be"),
    ],
)
def test_what_cannot_be_drawn_is_refused(line, choices, message):
    """Other layers, and kernels or images of another shape."""
    with pytest.raises(UsageError, match=message):
        kernelviz.plot_call(kernelviz.read_call(line), **choices)


def test_captions_are_in_the_order_of_their_letters():
    """Letters ascend in every column; a step is written in rows and columns, and a result beside its ``=``."""
    page = _Page(kernelviz.read_call("nn.Conv2d(4, 8, 3, groups=2, dilation=2)", input_size=9), None, None, None)
    for notes in page._texts().values():
        letters = [note.letter for note in notes]
        assert letters == sorted(letters)
    call = kernelviz.read_call("Conv2D(8, (3, 5), strides=(2, 1), input_shape=(28, 60, 3))")
    output = _Page(call, None, None, None)._texts()["output"]
    assert "the window moves 2 rows and 1 column at a time" in [line for note in output for line in note.rest]
    assert _with_results(["⌊(28 − 3) / 2⌋ + 1 =", "13"]) == ["⌊(28 − 3) / 2⌋ + 1", "= 13"]


def test_a_line_is_drawn_like_its_call():
    """A line of text is read; what is neither text nor a call is refused, without options of the command line."""
    line = "Conv2D(8, 3, input_shape=(9, 9, 1))"
    assert kernelviz.plot_call(line).recipe == kernelviz.plot_call(kernelviz.read_call(line)).recipe
    for wrong in (None, 3, ("Conv2D(8, 3)",)):
        with pytest.raises(UsageError, match="must be text or the result of read_call"):
            kernelviz.plot_call(wrong)
    for other in ("Dense(8)", "MaxPooling2D(2)"):
        with pytest.raises(UsageError, match="explained in text only") as caught:
            kernelviz.plot_call(other)
        assert "-o" not in f"{caught.value.why} {caught.value.hint}".split()
        assert "--" not in f"{caught.value.why} {caught.value.hint}"


def test_the_same_call_gives_the_same_pixels(photo):
    """A picture depends on its arguments alone."""
    call = kernelviz.read_call(LINES["digits"][0])
    first, second = (kernelviz.plot_call(call, image=photo)._repr_png_() for _ in range(2))
    assert first == second
