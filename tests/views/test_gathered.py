"""The names and the identity of images that were added."""

import gc
import hashlib
import pickle
import tracemalloc

import numpy as np
import pytest

from kernelviz.records import FeatureMaps, Image
from kernelviz.views.gathered import Gathered, ImageList


def maps_of(path):
    """The maps of an image at this path; None is one that is not known."""
    name = path and path.rpartition("/")[2]
    digest = path and hashlib.sha256(path.encode()).hexdigest()
    image = path and Image(np.zeros((1, 1, 3), np.uint8), name, name, path, digest, "PNG", "RGB")
    return FeatureMaps(np.zeros((1, 1, 1)), image=image)


def gathered(*paths):
    """Images at these paths."""
    found = Gathered()
    for path in paths:
        found.add(maps_of(path))
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
    assert images.notes() == ("from 0 to 10 (and others)", "turned (2 of 3 images)")


def test_images_of_a_run_are_kept_once_in_little_memory():
    """Six tallies that share their images keep less than 100 bytes of each, besides the paths that were given."""
    paths = [f"/data/photographs/of/a/long/day/{number:06d}.jpeg" for number in range(2000)]
    listed = ImageList(paths)
    tallies = [Gathered(listed) for _ in range(6)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for place in range(len(paths)):
        maps = maps_of("".join(paths[place]))
        for tally in tallies:
            tally.add(maps, place=place)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100 * len(paths)
    assert tallies[0].names[:2] == ("000000.jpeg", "000001.jpeg")
    assert len(pickle.dumps(Gathered(ImageList(paths)))) < 1000


def test_images_added_in_any_order_are_in_the_order_of_their_places():
    """Names, notes, identity and places are those of images that were added in order, also after merging."""
    paths = ["a/x.png", "b/x.png", "a/y.png", "c/z.png"]
    whole, one, other = gathered(*paths), Gathered(), Gathered(ImageList(paths))
    for tally, place in ((other, 3), (one, 2), (one, 0), (other, 1)):
        tally.add(maps_of(paths[place]), place=place)
    one.merge(pickle.loads(pickle.dumps(other)))
    assert (one.names, one.as_recipe(), list(one.places)) == (whole.names, whole.as_recipe(), [0, 1, 2, 3])
