"""Tallies of parts of the images, merged in any order, equal one tally of all of them to the last bit."""

import math
import pickle
import random
from dataclasses import fields, replace

import numpy as np
import pytest
from patch_maps import make_image, make_maps
from threadpoolctl import threadpool_limits

from kernelviz.drawing.contact import MOST_ROWS, ContactSheet
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps
from kernelviz.views import components
from kernelviz.views.components import CHUNK, CovarianceTally
from kernelviz.views.patches import PatchTally
from kernelviz.views.statistics import ChannelTally

IMAGES = 200


@pytest.fixture(scope="module")
def images():
    """Maps of 200 images: channels far from zero, of many scales, dead ones, equal maxima, and values not finite."""
    numbers = np.random.default_rng(0)
    scale = np.geomspace(1e-6, 1e6, 8)[:, None, None]
    found = []
    for number in range(IMAGES):
        values = numbers.standard_normal((8, 6, 6)) * scale * numbers.lognormal(0, 2)
        values[1] = np.maximum(values[1], 0)
        values[2] = np.floor(numbers.standard_normal((6, 6)))
        values[3], values[4] = 0.1, 1000 + numbers.standard_normal((6, 6)) * 1e-3
        values[5, 0, 0] = np.nan if number % 7 == 0 else np.inf if number % 7 == 1 else 1
        found.append(make_maps(values.astype(np.float32), number))
    return found


def in_parts(new, images, order, seed):
    """The tally that a random tree merges out of random parts of the images in this order."""
    chance = random.Random(seed)
    parts, left = [], list(order)
    while left:
        size = chance.randint(1, 64)
        tally = new()
        for number in left[:size]:
            tally.add(images[number], place=number)
        parts.append(pickle.loads(pickle.dumps(tally)))
        left = left[size:]
    while len(parts) > 1:
        part = parts.pop(chance.randrange(len(parts)))
        chance.choice(parts).merge(part)
    return parts[0]


def check_equal(one, other):
    """Two results have the same bits in all of their fields."""
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, np.ndarray):
            assert (first.dtype, first.tobytes()) == (second.dtype, second.tobytes()), field.name
        elif field.name in ("highest", "lowest") and first is not None:
            check_equal(first, second)
        else:
            assert first == second, field.name


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 50))])
def test_statistics_and_patches_are_the_same_bits_in_any_order_and_tree(images, seed):
    """200 images in a random order, in random parts, merged by a random tree: the same bits as one tally in order."""
    order = list(range(IMAGES))
    random.Random(seed).shuffle(order)
    for new in (ChannelTally, lambda: PatchTally(lowest=True)):
        whole = new()
        for number, maps in enumerate(images):
            whole.add(maps, place=number)
        check_equal(in_parts(new, images, order, seed).result(), whole.result())


@pytest.mark.parametrize("new", [ChannelTally, lambda: PatchTally(lowest=True)], ids=["statistics", "patches"])
def test_a_tally_that_was_merged_may_go_on(images, new):
    """What is added to a tally after it was merged into another one changes the other one in nothing."""
    first, second, whole = new(), new(), new()
    for number in range(40):
        (first if number < 20 else second).add(images[number], place=number)
        whole.add(images[number], place=number)
    first.merge(second)
    for number in range(40, 80):
        second.add(images[number], place=number)
    check_equal(first.result(), whole.result())


def test_statistics_equal_exact_sums(images):
    """Means and deviations are those of ``math.fsum`` over all values, up to the rounding of one operation."""
    tally = ChannelTally()
    for maps in images:
        tally.add(maps)
    found = tally.result()
    for channel in range(8):
        values = np.concatenate([maps.values[channel].ravel() for maps in images]).astype(np.float64)
        values = values[np.isfinite(values)]
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((values - found.mean[channel]) ** 2) / len(values))
        assert found.mean[channel] == pytest.approx(mean, rel=2.3e-16, abs=0)
        assert found.deviation[channel] == pytest.approx(spread, rel=2.3e-16, abs=0)


def test_chunks_of_a_covariance_are_joined_in_their_order(images):
    """Chunks of 32 places merged in any order, and by any tree, have the components of one tally to the last bit."""
    values = [FeatureMaps(np.where(np.isfinite(maps.values), maps.values, 0)) for maps in images]
    whole = CovarianceTally()
    for maps in values:
        whole.add(maps)
    for seed in range(4):
        chance = random.Random(seed)
        parts = []
        for first in range(0, IMAGES, CHUNK):
            tally = CovarianceTally()
            for number in range(first, min(first + CHUNK, IMAGES)):
                tally.add(values[number], place=number)
            parts.append(pickle.loads(pickle.dumps(tally)))
        while len(parts) > 1:
            part = parts.pop(chance.randrange(len(parts)))
            chance.choice(parts).merge(part)
        assert parts[0].basis().digest == whole.basis().digest
        assert parts[0].positions == whole.positions


def test_chunks_that_wait_take_bounded_memory(images, monkeypatch):
    """If the chunks before are missing, only so many wait; then they are joined, and nothing is lost."""
    monkeypatch.setattr(components, "MOST_BYTES", 3 * 8 * 8**2)
    tally = CovarianceTally()
    for number, maps in enumerate(images):
        tally.add(maps, place=number + 10 * CHUNK)
        assert len(tally._chunks) <= 4
    assert tally.positions == sum(np.isfinite(maps.values).all(axis=0).sum() for maps in images)


def test_components_do_not_depend_on_the_threads_of_linear_algebra():
    """The basis of 300 channels is the same to the last bit with one and with two threads."""
    numbers = np.random.default_rng(1)
    parts = [numbers.standard_normal((300, 40, 40)) for _ in range(3)]
    digests = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            tally = CovarianceTally()
            for part in parts:
                tally.add(part)
            digests.add(tally.basis().digest)
    assert len(digests) == 1


def sheet_of(numbers, channels=None):
    """A sheet of some images."""
    sheet = ContactSheet(channels, count=2)
    for number in numbers:
        values = np.random.default_rng(number).standard_normal((4, 3, 3)).astype(np.float32)
        image, seen = make_image(number)
        sheet.add(FeatureMaps(values, layer="a", image=image, seen=seen), place=number)
    return sheet


def test_contact_sheets_keep_the_first_rows_in_the_order_of_the_images():
    """Sheets of parts, merged in any order: the first 120 rows, and all images counted."""
    whole = sheet_of(range(150))
    merged = whole.fresh()
    assert merged.channels is None
    assert merged.wanted == whole.channels
    merged = ContactSheet(whole.channels)
    for part in (range(100, 150), range(40), range(40, 100)):
        merged.merge(pickle.loads(pickle.dumps(sheet_of(part, whole.channels))))
    assert (merged.total, len(merged.rows), merged.images.names) == (150, MOST_ROWS, whole.images.names)
    for one, other in zip(merged.rows, whole.rows, strict=True):
        assert one.values.tobytes() == other.values.tobytes()
        assert one.thumbnail.tobytes() == other.thumbnail.tobytes()
    assert merged.images.as_recipe() == whole.images.as_recipe()
    assert merged.fresh()._most_rows == 0


def test_what_does_not_belong_together_is_not_merged(images):
    """Tallies with a common image, of other layers or channels, are rejected and stay as they were."""
    for new in (ChannelTally, CovarianceTally, PatchTally, lambda: ContactSheet([0])):
        one = in_parts(new, images, range(3), 0)
        for other, message in (
            (in_parts(new, images, range(2, 5), 0), "an image with the number 2"),
            (new(), "of one layer are merged, but got layer1 and layer2"),
            (new(), "had 8 channels"),
            (PatchTally() if new is ChannelTally else ChannelTally(), "of one kind are merged, but got .* and .*Tally"),
        ):
            if "number" not in message and "kind" not in message:
                maps = make_maps(np.ones((3, 6, 6), np.float32), 9, layer="layer2" if "layer2" in message else "layer1")
                other.add(maps, place=9)
            with pytest.raises(UsageError, match=message):
                one.merge(other)
            assert len(one.images) == 3
        one.merge(new())
        assert len(one.images) == 3
        with pytest.raises(UsageError, match="number 2 already"):
            one.add(images[2], place=2)
    with pytest.raises(UsageError, match="same channels"):
        sheet_of([0], [0]).merge(sheet_of([1], [1]))


def test_copies_are_counted_once_over_all_parts(images):
    """A copy of an image of another part is reported; counted again without it, the parts have the bits of one tally."""
    copies = [*images[:40], images[3], images[5], images[41]]
    whole = PatchTally()
    for number, maps in enumerate(copies):
        whole.add(maps, place=number)
    one, other = in_parts(PatchTally, copies, range(30), 0), in_parts(PatchTally, copies, range(30, 43), 1)
    assert one.copies_in(other) == (40, 41)
    again = one.fresh(copies=one.copies_in(other))
    for number in range(30, 43):
        again.add(copies[number], place=number)
    one.merge(again)
    check_equal(one.result(), whole.result())
    assert one.result().duplicates == ("image-3.png", "image-5.png")


@pytest.mark.parametrize("new", [ChannelTally, CovarianceTally, PatchTally])
def test_further_copies_in_one_part_are_left_out_at_once(images, new):
    """A part with several copies of an image of another part is counted again once, not copy after copy without end."""
    one, other = in_parts(new, images, range(3), 0), new()
    for place, number in enumerate((5, 1, 1, 6, 1), start=3):
        other.add(images[number], place=place)
    again = one.fresh(copies=one.copies_in(other))
    for place, number in enumerate((5, 1, 1, 6, 1), start=3):
        again.add(images[number], place=place)
    assert one.copies_in(again) == ()
    one.merge(again)
    assert list(one.images.places) == [0, 1, 2, 3, 6]
    assert sorted(one.images.duplicates) == [4, 5, 7]


@pytest.mark.parametrize("new", [ChannelTally, CovarianceTally])
def test_sums_count_files_of_the_same_bytes_once(images, new):
    """The sums are those without the copy, in any order of the images; tallies of a file and its copy are not merged."""
    again = replace(images[1], image=replace(images[1].image, name="again.png"))
    expected = new()
    for maps in images[:5]:
        expected.add(maps)
    orders = ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)) if new is ChannelTally else ((0, 1, 2, 3, 4, 5),)
    for order in orders:
        tally, every = new(), [*images[:4], again, images[4]]
        for place in order:
            tally.add(every[place], place=place)
        if new is CovarianceTally:
            check_equal(tally.basis(), expected.basis())
        else:
            check_equal(replace(tally.result(), notes=()), expected.result())
        assert tally.images.notes() == ("1 image is identical to an earlier image, counted once: again.png",)
    other = new()
    other.add(again, place=9)
    assert tally.copies_in(other) == (9,)
    with pytest.raises(UsageError, match="Both tallies have the image"):
        tally.merge(other)
    part = tally.fresh(copies=(9,))
    part.add(again, place=9)
    tally.merge(part)
    assert (len(tally.images), sorted(tally.images.duplicates), tally.images.next_place) == (5, [4, 9], 10)
    with pytest.raises(UsageError, match="number 9 already"):
        tally.add(images[7], place=9)


def test_the_notes_are_those_of_the_image_that_was_counted(images):
    """A copy at an earlier place that was read in another way, with other notes, changes no note."""
    one, other = (replace(images[0], image=replace(images[0].image, notes=(note,))) for note in ("8 bits", "turned"))
    tally = ChannelTally()
    tally.add(one, place=1)
    tally.add(other, place=0)
    assert tally.images.reading_notes() == ("8 bits",)


def test_copies_have_the_names_they_were_added_with(images):
    """Names given to ``add`` are those of the counted images and of the copies, whichever comes first."""
    for places in ((0, 1), (1, 0)):
        tally = ChannelTally()
        for place in places:
            tally.add(images[0], "first" if place == 0 else "second", place=place)
        assert (tally.result().images, tally.images.duplicate_names) == (("first",), ("second",))


def test_the_first_place_of_equal_maxima_follows_a_copy():
    """An image whose copy is at an earlier place is there; the first image with the largest value is named."""
    tied = [make_maps(np.full((1, 2, 2), 7.0, np.float32), number) for number in range(2)]
    tally = ChannelTally()
    tally.add(tied[1], place=3)
    tally.add(tied[0], place=5)
    tally.add(tied[0], place=1)
    result = tally.result()
    assert (result.images, result.image.tolist()) == (("image-0.png", "image-1.png"), [0])
