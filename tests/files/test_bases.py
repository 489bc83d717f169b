"""A basis is read back as written; anything else is rejected."""

import numpy as np
import pytest
from restraints import bounds

from kernelviz.errors import FileInTheWayError, UsageError
from kernelviz.files.recipes import read_recipe
from kernelviz.files.writing import read_basis, save_basis
from kernelviz.records import FeatureMaps, Image, Source, Weights
from kernelviz.views.components import CovarianceTally

SOURCE = Source("net", "net, random weights (seed 0)", "net.random", 1, Weights("random", "seed 0"))


def fitted(seed=0, name="a.png"):
    """The basis of one image of seeded numbers."""
    tally = CovarianceTally()
    values = np.random.default_rng(seed).normal(size=(5, 6, 6))
    image = Image(np.zeros((1, 1, 3), np.uint8), name, "a", name, f"{seed:064d}", "PNG", "RGB")
    tally.add(FeatureMaps(values, layer="layer1", source=SOURCE, image=image))
    return tally.basis()


def test_what_is_written_comes_back(tmp_path):
    """All numbers to the last bit, with the layer, the counts, and what the network and the images are."""
    basis = fitted()
    path = save_basis(basis, tmp_path / "basis.npz")
    found = read_basis(path)
    assert found.digest == basis.digest
    np.testing.assert_array_equal(found.share, basis.share)
    assert (found.layer, found.images, found.positions) == ("layer1", 1, 36)
    assert found.model == basis.model == SOURCE.as_recipe()
    assert found.identity == basis.identity == read_recipe(path)["image"]


def test_a_basis_of_other_images_is_in_the_way(tmp_path):
    """The same images replace their own, others only by force."""
    path = save_basis(fitted(), tmp_path / "basis.npz")
    save_basis(fitted(), path)
    with pytest.raises(FileInTheWayError):
        save_basis(fitted(1), path)
    save_basis(fitted(1), path, force=True)
    assert read_basis(path).digest == fitted(1).digest


def test_what_is_no_basis_is_refused(tmp_path):
    """No file, text, arrays that are missing, of other shapes, of objects, or not finite: one sentence with the path."""
    good = save_basis(fitted(), tmp_path / "good.npz")
    with np.load(good) as file:
        arrays = dict(file)
    spoilt = {
        "missing": {key: value for key, value in arrays.items() if key != "share"},
        "shape": {**arrays, "components": arrays["components"][:, :3]},
        "words": {**arrays, "mean": np.array(["a"] * 5)},
        "finite": {**arrays, "mean": arrays["mean"] * np.inf},
        "empty": {**arrays, "mean": np.zeros(0), "components": np.zeros((3, 0))},
    }
    paths = [tmp_path / "none.npz", tmp_path / "text.npz", tmp_path / "cut.npz"]
    paths[1].write_text("text")
    paths[2].write_bytes(good.read_bytes()[:-100])
    for name, content in spoilt.items():
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], **content)
    for path in paths:
        with pytest.raises(UsageError, match="is not a basis") as caught:
            read_basis(path)
        assert str(path) in caught.value.what


def test_a_basis_that_grows_is_refused(tmp_path):
    """An array that a small file inflates to more than 64 MiB is rejected before it takes memory."""
    good = save_basis(fitted(), tmp_path / "good.npz")
    with np.load(good) as file:
        arrays = dict(file)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **{**arrays, "mean": np.zeros(9 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UsageError, match="is not a basis") as caught, bounds(5, memory=32 << 20):
        read_basis(path)
    assert "more than 64 MiB" in caught.value.why
