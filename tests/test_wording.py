import pytest

from kernelviz.views.kernel_views import parse_channels
from kernelviz.wording import naming, number_text, numbers_text, runs_text, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5.9, "5.90"),
        (-1.4159, "−1.42"),
        (0.112, "0.112"),
        (0.001, "0.00100"),
        (0.00099949, "9.99×10⁻⁴"),
        (0.0009999, "0.00100"),
        (1.83, "1.83"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234.5, "1,230"),
        (99949, "99,900"),
        (99999, "1.00×10⁵"),
        (-2.5e-31, "−2.50×10⁻³¹"),
        (5e-324, "4.94×10⁻³²⁴"),
        (1e308, "1.00×10³⁰⁸"),
        (float("inf"), "inf"),
        (float("-inf"), "−inf"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    """Three digits with zeros, a true minus, and a power of ten for numbers far from one."""
    assert number_text(value) == text


def test_a_plus_is_written_on_request():
    """The upper end of a bar carries its sign; zero and negative numbers are as before."""
    assert [number_text(value, plus=True) for value in (1, -1, 0, 1e9)] == ["+1.00", "−1.00", "0", "+1.00×10⁹"]


@pytest.mark.parametrize("value", [1.2345e-7, 0.0123456, 0.5, 3.14159, 271.8, 99949.0, 1.5e12])
def test_a_number_reads_back_to_three_digits(value):
    """What is written is within half a unit of the third digit of the value."""
    text = number_text(-value).translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-", ",")).replace("×10", "e")
    assert float(text) == float(f"{-value:.2e}")


def test_at_most_twelve_numbers_are_listed():
    """Up to twelve numbers are listed, and the rest is counted."""
    assert numbers_text(range(12)) == ", ".join(map(str, range(12)))
    assert numbers_text(range(14)) == ", ".join(map(str, range(12))) + " and 2 more"


@pytest.mark.parametrize("numbers", [(0,), (0, 1, 2, 3), (5, 0, 1, 2), (3, 2, 1), (7, 8, 40, 41, 42, 3)])
def test_runs_read_back(numbers):
    """A list of runs names the same numbers in the same order to the parser of channels."""
    assert parse_channels(runs_text(numbers), 50) == numbers


def test_runs_are_drawn_together():
    """Ascending neighbours become one range, independently of their neighbours."""
    assert runs_text((0, 1, 2, 9, 8, 4, 5)) == "0-2,9,8,4-5"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1 – ü 模型 🦜", "conv1 – ü 模型 🦜"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_would_leave_its_line_is_escaped(text, shown):
    """Control, direction and surrogate characters are written out; all others stay."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("photos/x", "photos/x is not an image.", "photos/x is not an image."),
        ("photos/x", "There is no file photos/x.", "There is no file photos/x."),
        ("a\nb.png", "a\\nb.png is empty.", "a\\nb.png is empty."),
        ("at-9.pt", "The weights file run/at-9.pt holds no weights.", "The weights file run/at-9.pt holds no weights."),
        (
            "9.pt",
            "3 of 60 tensors match: 9.pt does not hold these.",
            "3 of 60 tensors match: 9.pt does not hold these.",
        ),
        ("photos/x", "photos/xy is not an image.", "photos/x: photos/xy is not an image."),
        ("x.png", "The forward pass failed in conv1.", "x.png: The forward pass failed in conv1."),
        ("0", "The layer 0 did not run.", "The layer 0 did not run."),
        ("0", "There are 0 maps.", "0: There are 0 maps."),
    ],
)
def test_a_message_contains_its_name_once(name, text, message):
    """A name is put in front of a message only if the message does not contain it."""
    assert naming(name, text) == message
