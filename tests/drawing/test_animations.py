"""Animations have the right frames, durations and exact colours, and contain their recipe."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kernelviz import (
    Convolution,
    Pooling,
    TransposedConvolution,
    animate_convolution,
    plot_convolution,
    read_recipe,
    save_frames,
    save_picture,
    work_out,
)
from kernelviz.drawing.animations import Film, Palette, changed_boxes, pixels_of, touching
from kernelviz.drawing.figures import draw_page, figure_pixels
from kernelviz.drawing.page import Panel, Shape, Text, paragraphs
from kernelviz.errors import FileInTheWayError, UsageError
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.files.encoding import encode_picture


@pytest.fixture(scope="module")
def animation():
    """Four steps at seven a second."""
    operation = Convolution(3, 2)
    return animate_convolution(work_out(operation, *example_numbers(operation)), fps=7)


@pytest.mark.parametrize("file_format", ["gif", "webp"])
def test_frames_and_durations_come_back(animation, tmp_path, file_format):
    """As many frames as cells, 1/7 of a second within 10 ms each, the last one 3 seconds; white is white."""
    path = save_picture(animation, tmp_path / f"a.{file_format}")
    durations = []
    with Image.open(path) as image:
        assert image.n_frames == 4
        assert image.info["loop"] == 0
        for at in range(4):
            image.seek(at)
            image.load()
            durations.append(image.info["duration"])
            assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert all(abs(each - 1000 / 7) <= 10 for each in durations[:-1])
    assert durations[-1] == 3000
    assert read_recipe(path)["view"].startswith("animation")


def test_the_same_animation_is_the_same_bytes(animation):
    """Nothing in it changes from run to run."""
    assert encode_picture(animation, "gif") == encode_picture(animation, "gif")


def test_lossless_frames_are_what_was_drawn(animation):
    """Each decoded frame of a WebP differs from the one before, and the GIF is close to it everywhere."""
    lossless, indexed = (Image.open(io.BytesIO(encode_picture(animation, kind))) for kind in ("webp", "gif"))
    before = None
    for at in range(4):
        lossless.seek(at)
        indexed.seek(at)
        true, near = (np.asarray(image.convert("RGB")).astype(int) for image in (lossless, indexed))
        assert np.abs(true - near).max() <= 40
        assert np.abs(true - near).mean() < 0.5
        assert before is None or (before != true).any()
        before = true


def test_formats_fit_their_pictures(animation, tmp_path):
    """An animation is no PNG, and a figure no GIF."""
    with pytest.raises(UsageError, match=r"one of \.gif, \.webp"):
        save_picture(animation, tmp_path / "a.png")
    operation = Convolution(3, 2)
    with pytest.raises(UsageError, match=r"one of \.png, \.svg, \.pdf"):
        save_picture(plot_convolution(work_out(operation, *example_numbers(operation))), tmp_path / "a.gif")


def test_frames_are_pages_in_their_own_size(animation, tmp_path):
    """Each frame is a PNG with the pixels of its page drawn alone; nothing is written if one path is taken."""
    paths = save_frames(animation, tmp_path / "a.png")
    assert [path.name for path in paths] == [f"a-frame-{at:03}.png" for at in range(4)]
    with Image.open(paths[2]) as image:
        assert image.text["Description"].endswith(paragraphs(animation.pages[2])[-1])
        np.testing.assert_array_equal(image, figure_pixels(draw_page(animation.pages[2], animation.recipe)))
    with Image.open(paths[0]) as first:
        assert first.text["Title"] == "Convolution"
    (tmp_path / "b-frame-003.png").write_text("mine")
    with pytest.raises(FileInTheWayError):
        save_frames(animation, tmp_path / "b.png")
    assert not (tmp_path / "b-frame-000.png").exists()
    with pytest.raises(UsageError, match=r"one of \.png"):
        save_frames(animation, tmp_path / "a.gif")


def test_a_gif_holds_the_caption_after_the_recipe(animation):
    """A GIF has the title and the caption of its first frame as a second comment."""
    data = encode_picture(animation, "gif")
    assert b"\x21\xfe" in data[-600:]
    assert b"Convolution\nstride" in data[-600:]


def test_the_nearest_colour_is_exactly_the_nearest():
    """By squared distance, for colours that the palette has and for those it lacks."""
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    palette = Palette([frame[:10]])
    found = palette.colours[palette.nearest(frame)].astype(int)
    distances = ((palette.colours[None, None].astype(int) - frame[:, :, None].astype(int)) ** 2).sum(-1)
    np.testing.assert_array_equal(((found - frame) ** 2).sum(-1), distances.min(-1))


@pytest.mark.sampled
@pytest.mark.parametrize(
    "operation",
    [
        Convolution(4, 3, padding=1, bias=True),
        Convolution(7, 2, stride=3, dilation=2),
        Convolution(3, 2, in_channels=3, bias=True),
        Convolution(18, 4, stride=7),
        TransposedConvolution(2, 2, stride=2),
        Pooling(4, 2, padding=1, kind="average"),
    ],
    ids=repr,
)
def test_a_frame_is_the_page_as_it_is_drawn_alone(operation):
    """After any other frame, no pixel of a frame drawn over it differs from a fresh drawing of its page."""
    animation = animate_convolution(work_out(operation, *example_numbers(operation)))
    film, count = Film(animation), len(animation.pages)
    for at in [0, 1, count - 1, count // 2, count // 2 - 1]:
        np.testing.assert_array_equal(film.frame(at), Film(animation).frame(at))


def test_what_changed_is_drawn_and_nothing_else():
    """Two pages that differ in a word differ within its box; only items that overlap it are drawn again."""
    words = [Text(20, 20 + 40 * at, f"line {at}", 20) for at in range(4)]
    before = Panel((*words, Shape(((5, 5), (195, 5), (195, 195), (5, 195)), width=2)), 200, 200)
    after = replace(before, items=(*words[:2], replace(words[2], text="another"), *before.items[3:]))
    boxes = changed_boxes(before, after)
    assert boxes is not None
    region = np.zeros((200, 200), bool)
    for box in boxes:
        region[pixels_of(box, 1.0, region.shape)] = True
    assert region[85:105, 25:60].all()
    assert not region[:60].any()
    assert [item.text for item in touching(after, region, 1.0).items] == ["another"]
    assert changed_boxes(before, replace(before, items=before.items[::-1])) is None


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_progress_hears_of_every_frame(tmp_path, kind):
    """Once for each, in order, up to all of them."""
    operation = Convolution(4, 3)
    animation = animate_convolution(work_out(operation, *example_numbers(operation)))
    heard = []
    save_picture(animation, tmp_path / f"steps.{kind}", progress=lambda *step: heard.append(step))
    assert heard == [("drawing frames", at, 4) for at in range(1, 5)]
