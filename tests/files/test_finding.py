import os
from pathlib import Path

import pytest

from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.finding import find_images
from kernelviz.files.images import read_image


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with images, other files, hidden ones, folders and a link that goes round."""
    monkeypatch.chdir(tmp_path)
    names = [
        "b.png",
        "a.JPG",
        "c.txt",
        "notes",
        ".hidden.png",
        "sub/d.webp",
        "sub/deep/e.tif",
        ".git/x.png",
        "sub/f[1].png",
    ]
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "photos" / "sub" / "round").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "empty").mkdir()
    return tmp_path


def slashed(found):
    """The paths with forward slashes."""
    return [path.replace(os.sep, "/") for path in found.images]


def test_a_folder_gives_its_images_sorted(tree):
    """With -r all images below, folder by folder and sorted; hidden files, others and links that go round are not."""
    found = find_images(["photos"], recursive=True)
    wanted = ["a.JPG", "b.png", "sub/d.webp", "sub/f[1].png", "sub/deep/e.tif"]
    assert slashed(found) == [f"photos/{name}" for name in wanted]
    assert found.notes == ("photos: 2 files left out, not images by their suffixes",)
    assert find_images([tree / "photos" / "sub"], recursive=True).notes == ()


def test_what_is_below_the_output_is_left_out(tree):
    """Every file below an output inside the folder is left out and counted, never the folder itself."""
    (tree / "link").symlink_to(tree / "photos")
    for output in ("photos/sub", tree / "link" / "sub"):
        found = find_images(["photos"], recursive=True, output=output)
        assert slashed(found) == ["photos/a.JPG", "photos/b.png"]
        assert found.notes[0] == f"photos: 3 files left out, below {output}"
    for output in ("photos", ".", "elsewhere", "photos/su"):
        assert len(find_images(["photos"], recursive=True, output=output).images) == 5
    assert slashed(find_images(["photos/*/d.*"], output="photos/sub/deep")) == ["photos/sub/d.webp"]
    with pytest.raises(BadImageError, match=r"No image matches photos/\*/d"):
        find_images(["photos/*/d.*"], output="photos/sub")


@pytest.mark.usefixtures("tree")
def test_a_folder_needs_the_option():
    """Without -r a folder is left to the reader, whose error has the option."""
    assert find_images(["photos"]).images == ("photos",)
    with pytest.raises(BadImageError, match="photos is a directory") as caught:
        read_image("photos")
    assert "-r" in caught.value.hint


def test_a_folder_without_images_is_an_error(tree):
    """An empty folder, or one without images, is an error that describes its content."""
    with pytest.raises(BadImageError, match="It is empty"):
        find_images(["empty"], recursive=True)
    (tree / "empty" / "a.txt").touch()
    with pytest.raises(BadImageError, match="1 other file is in it"):
        find_images(["empty"], recursive=True)


@pytest.mark.usefixtures("tree")
def test_a_folder_that_cannot_be_read_is_an_error(monkeypatch):
    """An unreadable folder is not treated as empty; beside others it is returned with its error, alone it is raised."""
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for arguments, count in (["photos"], 2), (["photos/sub", "photos/b.png"], 1):
        found = find_images(arguments, recursive=True)
        assert len(found.images) == count
        assert list(found.unreadable) == [str(Path("photos/sub"))]
        assert found.unreadable[str(Path("photos/sub"))].why == "Permission denied."
    with pytest.raises(BadImageError, match="sub cannot be read"):
        find_images(["photos/sub"], recursive=True)


@pytest.mark.usefixtures("tree")
def test_patterns_are_expanded_and_exact_names_come_first():
    """A glob finds the sorted matches; a file whose name is the pattern is that file."""
    assert slashed(find_images(["photos/*.png"])) == ["photos/b.png"]
    assert slashed(find_images(["photos/*/*.[tw]*"])) == ["photos/sub/d.webp"]
    assert slashed(find_images(["photos/sub/f[1].png"])) == ["photos/sub/f[1].png"]
    found = find_images(["photos/*"])
    assert slashed(found) == ["photos/a.JPG", "photos/b.png", "photos/c.txt", "photos/notes"]
    assert found.notes == ("photos/*: 1 folder left out",)


@pytest.mark.usefixtures("tree")
def test_a_pattern_that_matches_nothing_is_an_error():
    """A pattern without matches is an error; folders alone are no match."""
    with pytest.raises(BadImageError, match=r"No file matches photos/\*\.gif"):
        find_images(["photos/*.gif"])
    with pytest.raises(BadImageError, match="1 folder does"):
        find_images(["photos/s*"])


@pytest.mark.usefixtures("tree")
def test_what_is_named_is_left_to_the_reader():
    """Files of another suffix, missing files, unusual and empty names are reported when they are read."""
    names = ["photos/c.txt", "nosuch.png", "a\0b.png", "", "-", "sample:grace_hopper"]
    assert find_images(names).images == tuple(names)


@pytest.mark.usefixtures("tree")
def test_the_order_is_that_of_the_arguments_and_each_comes_once():
    """What is named twice, or named and in a folder, is read once."""
    arguments = [
        "photos/b.png",
        "-",
        "./photos/b.png",
        Path("photos/b.png").absolute(),
        "photos/*.png",
        "-",
        "photos/a.JPG",
    ]
    assert slashed(find_images(arguments)) == ["photos/b.png", "-", "photos/a.JPG"]


def test_nothing_is_wrong_usage():
    """Without an argument there is nothing to draw."""
    with pytest.raises(UsageError, match="No image"):
        find_images([])


def test_a_file_called_like_a_word_is_that_file(tree):
    """An exact file name precedes the sample of that name; ``./-`` is a file called minus."""
    (tree / "sample:grace_hopper").touch()
    (tree / "-").touch()
    assert find_images(["sample:grace_hopper", "./-"]).images == ("sample:grace_hopper", "./-")
