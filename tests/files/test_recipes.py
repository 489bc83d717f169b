import io
import json
import os
import pickle
import struct
import threading
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kernelviz.errors import RecipeError
from kernelviz.files.encoding import encode_picture, npz_bytes, png_bytes
from kernelviz.files.recipes import read_recipe, recipe_text

KINDS = ("mosaic", "png", "svg", "pdf", "npz", "gif")


@pytest.fixture(scope="module")
def samples():
    """One small file of each kind, as bytes."""
    from sample_pictures import RECIPE, make_figure, make_mosaic

    buffer = io.BytesIO()
    frames = [Image.new("P", (8, 8), colour) for colour in (0, 1)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], comment=recipe_text(RECIPE).encode())
    figures = {each: encode_picture(make_figure(), each) for each in ("png", "svg", "pdf")}
    npz = npz_bytes({"a": np.arange(3.0)}, RECIPE)
    return {"mosaic": encode_picture(make_mosaic(), "png"), "npz": npz, "gif": buffer.getvalue(), **figures}


@pytest.fixture
def read(tmp_path):
    """A function that reads the recipe of bytes, from a file with a wrong suffix."""
    path = tmp_path / "picture.txt"

    def read_bytes(data):
        path.write_bytes(data)
        return read_recipe(path)

    return read_bytes


def test_the_text_is_compact_ascii_with_sorted_keys():
    """Equal recipes have equal text."""
    assert recipe_text({"b": (1, 2), "a": "é"}) == '{"a":"\\u00e9","b":[1,2]}'


@pytest.mark.parametrize("kind", KINDS)
def test_recipes_come_back_from_every_format(samples, read, recipe, kind):
    """What is put into a file is read from it, by content and not by suffix."""
    assert read(samples[kind]) == recipe


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_without_a_recipe_has_none(new_figure, read, kind):
    """A figure without a recipe has none in its file."""
    with pytest.raises(RecipeError, match="contains no recipe"):
        read(encode_picture(new_figure(recipe=None), kind))


def test_arrays_of_others_have_no_recipe(read):
    """An npz of another program has no recipe, even with a key of that name."""
    for arrays in ({"a": np.ones(3)}, {"recipe": np.ones(3)}, {"recipe": np.array(["{}"])}):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        with pytest.raises(RecipeError, match="contains no recipe"):
            read(buffer.getvalue())


def test_a_recipe_that_others_moved_or_packed_is_found(read, recipe):
    """Another program may compress the text, or put it behind the pixels."""
    texts = PngInfo()
    texts.add_itxt("Comment", "first")
    texts.add_itxt("kernelviz", recipe_text(recipe), zip=True)
    buffer = io.BytesIO()
    Image.new("L", (3, 3)).save(buffer, "PNG", pnginfo=texts)
    assert read(buffer.getvalue()) == recipe
    pixels = (np.zeros((2, 2), np.uint8), np.zeros((1, 3), np.uint8))
    plain, ours = png_bytes(*pixels, {}), png_bytes(*pixels, {"kernelviz": recipe_text(recipe)})
    moved = plain[:-12] + ours[33 : 33 + len(ours) - len(plain)] + plain[-12:]
    assert read(moved) == recipe


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_raises_anything_else(samples, read, kind, capfd, caplog):
    """A truncated or changed file has a recipe or raises a RecipeError; nothing is printed, logged or warned."""
    rng = np.random.default_rng(0)
    data = samples[kind]
    damaged = [data[:end] for end in {*range(40), *rng.integers(0, len(data), 60).tolist()}]
    for _ in range(250):
        changed = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[position] = rng.integers(0, 256)
        damaged.append(bytes(changed))
    where = data.find(b"command")
    for offset in range(-200, 60):  # the bytes round the recipe itself
        changed = bytearray(data)
        changed[max(0, where + offset)] ^= 1 << int(rng.integers(0, 8))
        damaged.append(bytes(changed))
    for each in damaged:
        try:
            assert isinstance(read(each), dict)
        except RecipeError as error:
            assert "picture.txt" in error.what  # noqa: PT017
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(
    "text", ["[1]", "1", "null", '{"a":NaN}', '{"a":Infinity}', "{", "", "[" * 100_000, '{"a":' + "9" * 5000 + "}"]
)
def test_a_text_that_is_no_object_is_no_recipe(read, text):
    """Only a JSON object is a recipe, and only finite numbers are JSON."""
    with pytest.raises(RecipeError):
        read(png_bytes(np.zeros((1, 1), np.uint8), np.zeros((1, 3), np.uint8), {"kernelviz": text}))


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x89PNG", b"GIF89a", b"%PDF-1.4", b"PK\x03\x04", b"<", b"<html/>", b"\xff" * 2000]
)
def test_other_files_hold_no_recipe(read, data):
    """Files of any other kind are rejected with a message."""
    with pytest.raises(RecipeError, match=r"picture\.txt"):
        read(data)


def test_only_regular_files_are_opened(tmp_path):
    """A directory, a pipe, a dead link, a missing file or an invalid path is rejected without blocking."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to(tmp_path / "nothing")
    for name in (".", "pipe", "dead", "missing", "x" * 300, "pipe/x"):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_recipe(tmp_path / name)
    with pytest.raises(RecipeError):
        read_recipe("nul\0byte")


def test_a_link_is_followed(tmp_path, samples, recipe):
    """Reading through a link is harmless."""
    (tmp_path / "there.png").write_bytes(samples["mosaic"])
    (tmp_path / "link").symlink_to("there.png")
    assert read_recipe(tmp_path / "link") == recipe


def test_entities_are_refused(read, samples):
    """An SVG that declares an entity is not read, and nothing outside the file ever is."""
    svg = samples["svg"].decode()
    start, end = svg.index("<!DOCTYPE"), svg.index("<svg")
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n'
    outside = '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n'
    for doctype in (bomb, outside):
        with pytest.raises(RecipeError, match="no readable recipe"):
            read((svg[:start] + doctype + svg[end:]).encode())
    assert read((svg[:start] + svg[end:]).encode())


def test_large_headers_cost_nothing(read, recipe):
    """Sizes that a header only claims are not believed: no warning, no memory."""
    png = bytearray(png_bytes(np.zeros((1, 1), np.uint8), np.zeros((1, 3), np.uint8), {"kernelviz": "{}"}))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    assert read(bytes(png)) == {}
    claim = struct.pack(">I", 0x7FFFFFFF) + b"iTXtkernelviz"
    with pytest.raises(RecipeError):
        read(png[:33] + claim)
    packed = b"kernelviz\0\1\0\0\0" + zlib.compress(b" " * (1 << 25))
    body = struct.pack(">I", len(packed)) + b"iTXt" + packed + struct.pack(">I", zlib.crc32(b"iTXt" + packed))
    with pytest.raises(RecipeError):
        read(png[:33] + body)
    for content in (b"\0" * (1 << 25), pickle.dumps(recipe)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("recipe.npy", content)
        with pytest.raises(RecipeError):
            read(buffer.getvalue())


def test_pickles_do_not_run(read, tmp_path):
    """An npz whose recipe is a pickle is rejected, and the pickle is not executed."""

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, recipe=np.array(Trap(), dtype=object))
    with pytest.raises(RecipeError):
        read(buffer.getvalue())
    assert not (tmp_path / "ran").exists()


def test_threads_may_read(samples, tmp_path, recipe):
    """Several threads can read PDFs at once, and the level of the log is restored."""
    import logging

    (tmp_path / "a.pdf").write_bytes(samples["pdf"])
    level, found = logging.getLogger("pypdf").level, []
    threads = [threading.Thread(target=lambda: found.append(read_recipe(tmp_path / "a.pdf"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [recipe] * 6
    assert logging.getLogger("pypdf").level == level


def test_the_text_is_what_other_programs_find(samples, recipe):
    """Pillow and NumPy find the recipe in the documented fields."""
    with Image.open(io.BytesIO(samples["png"])) as image:
        assert json.loads(image.info["kernelviz"]) == recipe
    with Image.open(io.BytesIO(samples["gif"])) as image:
        assert json.loads(image.info["comment"]) == recipe
    with np.load(io.BytesIO(samples["npz"])) as archive:
        assert json.loads(str(archive["recipe"])) == recipe
