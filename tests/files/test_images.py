import hashlib
import io
import os
import sys

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from sample_images import ALPHA, GREY, RGB, RNG, WIDE, close, encoded, grey3, over_white

from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.images import read_image


def test_a_photograph_comes_as_it_is(tmp_path):
    """A plain file has Pillow's pixels, its name, its stem and the hash of its bytes, and no notes."""
    path = tmp_path / "a photo.v2.png"
    path.write_bytes(encoded(RGB))
    image = read_image(path)
    assert np.array_equal(image.pixels, RGB)
    assert image.pixels.dtype == np.uint8
    assert (image.name, image.stem, image.path) == ("a photo.v2.png", "a photo.v2", str(path))
    assert (image.format, image.mode, image.notes, image.size) == ("PNG", "RGB", (), (13, 17))
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.as_recipe() == {"name": "a photo.v2.png", "sha256": image.sha256}


def test_the_sample_is_matplotlibs():
    """``sample:grace_hopper`` is the photograph, as Pillow reads it."""
    image = read_image("sample:grace_hopper")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        assert np.array_equal(image.pixels, np.asarray(picture))
    assert (image.name, image.stem, image.path) == ("sample:grace_hopper", "grace_hopper", None)


@pytest.mark.parametrize("size", [(1, 1), (7, 7)])
def test_tiny_pictures_are_read(size):
    """One pixel is a picture."""
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.array_equal(read_image(encoded(pixels)).pixels, pixels)


def test_too_many_bytes_are_refused(tmp_path, monkeypatch):
    """A file, a stream and bytes beyond the limit are rejected, and no more than the limit is read."""
    monkeypatch.setattr("kernelviz.files.images.MOST_BYTES", 1 << 20)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(1 << 20) + b"x")

    class Endless(io.RawIOBase):
        requested = 0

        def read(self, size=-1):
            """As many zeros as requested."""
            assert size >= 0
            self.requested += size
            return bytes(size)

    endless = Endless()
    for source in (path, path.read_bytes(), endless):
        with pytest.raises(BadImageError, match="too large"):
            read_image(source)
    assert endless.requested == (1 << 20) + 1


def test_missing_empty_and_irregular_files_are_named(tmp_path):
    """Irregular and missing files have their own messages; pipes and devices never block."""
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    cases = {
        tmp_path / "nosuch.png": "no file",
        tmp_path / "empty.png" / "below.png": "no file",
        tmp_path: "is a directory",
        tmp_path / "empty.png": "is empty",
        tmp_path / "pipe.png": "not a regular file",
        "/dev/zero": "not a regular file",
        "": "no file",
        "a\0b": "cannot be read",
        "x" * 5000: "cannot be read",
    }
    for path, word in cases.items():
        with pytest.raises(BadImageError, match=word) as caught:
            read_image(path)
        assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["with space.png", "[1].png", "[bold].png", "$\\foo$.png", "a\nb.png", "\x1b[1m.png", "😀文.png"]
)
def test_awkward_names_are_read(tmp_path, name):
    """Files of any name are read and keep their name."""
    (tmp_path / name).write_bytes(encoded(RGB))
    image = read_image(tmp_path / name)
    assert (image.name, image.stem) == (name, name.removesuffix(".png"))


class Stdin(io.TextIOWrapper):
    """A standard input with these bytes; on a terminal or not."""

    def __init__(self, data, *, terminal=False):
        super().__init__(io.BytesIO(data))
        self.terminal = terminal

    def isatty(self):
        """Whether it claims to be a terminal."""
        return self.terminal


def test_standard_input_is_read(monkeypatch):
    """``-`` reads what is piped in, and never waits for a terminal."""
    monkeypatch.setattr(sys, "stdin", Stdin(encoded(RGB)))
    image = read_image("-")
    assert np.array_equal(image.pixels, RGB)
    assert (image.name, image.stem, image.path) == ("standard input", "stdin", None)
    for stdin in (Stdin(b"", terminal=True), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(BadImageError, match="standard input"):
            read_image("-")
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    with pytest.raises(BadImageError, match="standard input is empty"):
        read_image("-")


def test_pictures_in_memory_are_read(tmp_path):
    """Bytes, open files, Pillow images and arrays result in the same pixels; the caller's objects are unchanged."""
    data = encoded(RGB)
    (tmp_path / "x.png").write_bytes(data)
    with (tmp_path / "x.png").open("rb") as file:
        image = read_image(file)
    assert (image.name, image.stem) == ("x.png", "x")
    picture = Image.fromarray(np.dstack([RGB, ALPHA]))
    before = picture.tobytes()
    sources = [data, bytearray(data), memoryview(data), io.BytesIO(data), Image.fromarray(RGB), RGB]
    for source in sources:
        assert np.array_equal(read_image(source).pixels, RGB)
    assert close(read_image(picture), over_white(RGB, ALPHA))
    assert picture.tobytes() == before
    assert read_image(RGB, name="mine").name == "mine"
    copy = read_image(RGB).pixels
    assert not np.shares_memory(copy, RGB)


def test_arrays_are_taken_by_their_type():
    """The type of an array, not its range, determines the conversion to 8 bits; others are rejected with their shape."""
    assert close(read_image(RGB / np.float32(255)), RGB)
    assert close(read_image(WIDE), grey3(WIDE / 257))
    assert close(read_image(GREY > 127), grey3((GREY > 127) * 255))
    assert close(read_image(GREY[..., None]), grey3(GREY))
    assert np.array_equal(read_image(np.dstack([RGB, ALPHA])).values, np.dstack([RGB, ALPHA]))
    assert close(read_image(Image.fromarray(np.dstack([RGB, ALPHA]))), over_white(RGB, ALPHA))
    assert close(read_image(RGB[:, ::-1]), RGB[:, ::-1])
    for wrong in (
        RGB.transpose(2, 0, 1),
        np.zeros(3),
        np.zeros((0, 3, 3)),
        RGB.astype(int),
        RGB.astype(float),
        np.full((2, 2), np.nan),
    ):
        with pytest.raises(UsageError):
            read_image(wrong)
    for wrong in (None, 3, [[1, 2]], io.StringIO("x")):
        with pytest.raises(UsageError):
            read_image(wrong)


def test_equal_pixels_have_equal_hashes():
    """Images without a file are identified by their pixels and their shape."""
    assert read_image(RGB).sha256 == read_image(Image.fromarray(RGB)).sha256
    assert read_image(RGB).sha256 != read_image(RGB.reshape(17, 13, 3)).sha256


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.float32, torch.bfloat16, torch.uint16])
def test_tensors_are_taken_by_their_type(kind):
    """A tensor is read like the array of its type."""
    values = np.arange(24).reshape(4, 6) / 23
    top = {torch.uint8: 255, torch.uint16: 65535}.get(kind, 1)
    tensor = torch.tensor(np.rint(values * top) if kind in (torch.uint8, torch.uint16, torch.bool) else values).to(kind)
    array = tensor.float().numpy() if kind is torch.bfloat16 else tensor.numpy()
    assert np.array_equal(read_image(tensor).pixels, read_image(array).pixels)
    assert read_image(tensor).pixels.max() == 255
