"""The names and the identity of images that were added."""

import hashlib

import numpy as np
import pytest

from kernelviz.records import FeatureMaps, Image
from kernelviz.views.statistics import Gathered


def gathered(*paths):
    """Images at these paths; None is one that is not known."""
    found = Gathered()
    for path in paths:
        name = path and path.rpartition("/")[2]
        digest = path and hashlib.sha256(path.encode()).hexdigest()
        image = path and Image(np.zeros((1, 1, 3), np.uint8), name, name, path, digest, "PNG", "RGB")
        found.add(FeatureMaps(np.zeros((1, 1, 1)), image=image))
    return found


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/x.png", "a/y.png"), ("x.png", "y.png")),
        (("a/x.png", "b/x.png", "b/y.png"), ("a/x.png", "b/x.png", "y.png")),
        (("/home/me/a/x.png", "/home/me/b/c/x.png"), ("a/x.png", "b/c/x.png")),
        (("x.png", "b/x.png"), ("x.png", "b/x.png")),
        (("a/x.png", "/b/x.png"), ("a/x.png", "/b/x.png")),
        (("a/x.png", "a/x.png"), ("x.png", "x.png")),
        ((None, "a/x.png", None), ("image 0", "x.png", "image 2")),
    ],
    ids=str,
)
def test_images_of_one_name_have_their_folders_in_front(paths, names):
    """Names have as much of the path as distinguishes them, and none if the name is unique."""
    assert gathered(*paths).names == names


def test_the_digest_is_of_the_images_in_their_order():
    """Other images, fewer of them, or another order have another digest; an unknown image has none."""
    sets = [("a", "b"), ("a",), ("b", "a"), ("a", "c")]
    recipes = [gathered(*paths).as_recipe() for paths in sets]
    assert len({recipe["sha256"] for recipe in recipes}) == 4
    assert [recipe["name"] for recipe in recipes] == ["2 images", "1 image", "2 images", "2 images"]
    assert gathered("a", "b").as_recipe() == recipes[0]
    assert gathered("a", None).as_recipe() is None
    assert gathered().as_recipe() is None


def test_notes_on_reading_are_counted():
    """Notes of images that differ in their numbers alone are one note, with the number of images that it is about."""
    images = Gathered()
    for number, notes in enumerate([("from 0 to 10", "turned"), ("from 0 to 20",), ("turned", "from -1 to 3")]):
        image = Image(np.zeros((2, 2, 3), np.uint8), str(number), "x", None, "x", None, "RGB", notes)
        images.add(FeatureMaps(np.zeros((1, 2, 2)), image=image))
    assert images.notes() == ("from 0 to 10 (and alike)", "turned (2 of 3 images)")
