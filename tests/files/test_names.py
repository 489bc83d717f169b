import sys
import unicodedata
from itertools import permutations

import pytest

from kernelviz.files.names import LONGEST, file_stems, safe_part

HOSTILE = [
    "..",
    ".",
    "",
    "CON",
    "con.txt",
    "Lpt9.conv",
    "NUL",
    "nul ",
    "a/b",
    "a:b",
    "a\\b",
    "/etc/passwd",
    "../../x",
    "C:\\x",
    "-rf",
    ".hidden",
    "dot.",
    "[1]",
    "[/bold]",
    "$\\foo$",
    "new\nline",
    "\x1b[31mred",
    "\0",
    "😀",
    "模型",
    "层",
    "Layer",
    "layer",
    "LAYER",
    "x" * 300,
    "x" * 301,
    "X" * 300,
    "a" * 149 + ".b",
    "\udcff",
    "İ",
    "ſ",
    "\u212a",  # the Kelvin sign, which is a K in NFC
    "k",
    "模" * 300,
    "и\u0306",  # й as macOS writes it, in two characters
    "й",
    "ﬁ",
    "fi",
    "COM²",
    "\u202egnp",
]
KEPT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_part_is_safe(text):
    """A part has only letters, digits and harmless signs, a harmless beginning and end, and a bound in bytes."""
    part = safe_part(text)
    assert part
    assert all(char in KEPT or (not char.isascii() and unicodedata.category(char)[0] in "LMN") for char in part)
    assert unicodedata.is_normalized("NFC", part)
    assert part[0] not in ".-"
    assert part[-1] != "."
    assert len(part.encode()) <= LONGEST
    assert part.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "COM²", "LPT9"}
    assert safe_part(part) == part


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("tf_efficientnet_lite0.in1k+x", "tf_efficientnet_lite0.in1k+x"),
        ("my  photo (1).final", "my_photo_1_.final"),
        ("..", "_"),
        ("CON", "_CON"),
        ("com1.conv", "_com1.conv"),
        ("COMPUTE", "COMPUTE"),
        ("name#2", "name_2"),
        ("犬", "犬"),
        ("кошка (1)", "кошка_1_"),
        ("и\u0306", "й"),
        ("हिन्दी 2", "हिन्दी_2"),
        ("כלב\u200f.תמונה", "כלב_.תמונה"),
        ("犬 😀、猫", "犬_猫"),
    ],
)
def test_a_part_reads_like_the_text(text, part):
    """What is safe stays as it is, and a run of other characters becomes one underscore."""
    assert safe_part(text) == part


def test_letters_that_files_cannot_be_named_with_become_an_underscore(monkeypatch):
    """Where the encoding of file names lacks a letter, it is not kept."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "latin-1")
    assert safe_part("犬 Übung") == "_Übung"


def test_stems_join_their_parts():
    """Names that are short and alone carry no hash."""
    names = [("resnet18d.random", "layer1.0.conv1", "kernels", "sum"), ("resnet18d.random", "conv1", "kernels", "sum")]
    assert file_stems(names) == [
        "resnet18d.random-layer1.0.conv1-kernels-sum",
        "resnet18d.random-conv1-kernels-sum",
    ]
    assert file_stems([]) == []


def test_every_stem_that_meets_another_gets_a_hash_whatever_the_order():
    """All colliding names are distinguished by a hash each, in every order."""
    names = [("a/b",), ("a:b",), ("A_b",), ("c",)]
    expected = dict(zip(names, file_stems(names), strict=True))
    assert expected["c",] == "c"
    for name in names[:3]:
        assert expected[name].casefold().startswith("a_b-")
        assert len(expected[name]) == len("a_b-") + 8
    for order in permutations(names):
        assert dict(zip(order, file_stems(order), strict=True)) == expected


def test_parts_are_distinguished_from_their_joint():
    """Full names that differ only in where the parts end have different stems."""
    stems = file_stems([("a-b",), ("a", "b"), ("a", "-b")])
    assert len(set(stems)) == 3


def test_hostile_names_share_no_file():
    """Stems differ even ignoring case, are bounded, and name a file directly in their directory."""
    names = [(text,) for text in HOSTILE] + [("m", text) for text in HOSTILE] + [(text, "m") for text in HOSTILE]
    stems = file_stems(names)
    assert len({unicodedata.normalize("NFKC", stem.casefold()) for stem in stems}) == len(names)
    for stem in stems:
        assert len(stem.encode()) <= LONGEST
        assert safe_part(stem) == stem


def test_a_name_that_looks_like_a_hashed_one_is_distinguished():
    """A name may hold another one's hash; the stems still differ."""
    first = file_stems([("a/b",), ("a:b",)])
    stems = file_stems([("a/b",), ("a:b",), (first[0],), (first[1],)])
    assert len(set(stems)) == 4


def test_a_long_name_carries_a_hash_even_when_alone():
    """Two runs with different long names do not meet in one file."""
    (first,), (second,) = file_stems([("x" * 300,)]), file_stems([("x" * 301,)])
    assert first != second
    assert len(first) == LONGEST


def test_taken_stems_are_avoided():
    """A stem in ``taken`` is given a hash."""
    assert file_stems([("Names",)], taken={"names"})[0].startswith("Names-")


def test_the_same_full_name_twice_is_refused():
    """A name given twice is a fault of the program."""
    with pytest.raises(ValueError, match="once"):
        file_stems([("a", "b"), ("a", "b")])
