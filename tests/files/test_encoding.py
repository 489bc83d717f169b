import io
import json
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from kernelviz.errors import UsageError
from kernelviz.files.encoding import FORMATS, encode_picture, npz_bytes

ARRAYS = {"layer1.0.conv1": np.arange(24.0).reshape(2, 3, 4), "a/b": np.zeros((1, 2, 2, 3), np.float32)}
OUTPUT_RC = {
    "savefig.bbox": "tight",
    "savefig.facecolor": "black",
    "savefig.transparent": True,
    "savefig.dpi": 37,
    "savefig.pad_inches": 2,
    "svg.fonttype": "none",
    "svg.hashsalt": None,
    "svg.id": "mine",
    "svg.image_inline": True,
    "pdf.fonttype": 3,
    "pdf.compression": 0,
    "image.composite_image": False,
}
DRAWING_RC = {
    "font.sans-serif": ["DejaVu Serif"],
    "mathtext.fontset": "stix",
    "text.hinting": "none",
    "path.simplify": False,
    "image.resample": False,
    "figure.dpi": 300,
    "axes.edgecolor": "pink",
}
DIGESTS = """
import hashlib, sys
from sample_pictures import make_figure, make_mosaic
from kernelviz.files.encoding import encode_picture, npz_bytes
import numpy as np
pictures = [(make_mosaic(), "png"), (make_figure(), "png"), (make_figure(), "svg"), (make_figure(), "pdf")]
all_bytes = [encode_picture(*each) for each in pictures]
all_bytes.append(npz_bytes({"a": np.arange(6.0)}, make_mosaic().recipe))
print(*(hashlib.sha256(each).hexdigest() for each in all_bytes))
"""


def pixels_of(data):
    """The pixels of a PNG as RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("rgb", [False, True])
def test_a_mosaic_decodes_to_its_colours(new_mosaic, rgb):
    """The PNG of a mosaic shows palette[pixels], or the pixels if they are RGB."""
    mosaic = new_mosaic(rgb=rgb)
    expected = mosaic.pixels if rgb else mosaic.palette[mosaic.pixels]
    assert np.array_equal(pixels_of(encode_picture(mosaic, "png")), expected)


def test_a_mosaic_needs_neither_matplotlib_nor_pillow(run):
    """Bare pictures and arrays are made without the libraries that only figures need."""
    code = """
import sys
import kernelviz.files.names, kernelviz.files.recipes, kernelviz.files.writing
from sample_pictures import make_mosaic
from kernelviz.files.encoding import encode_picture, npz_bytes
encode_picture(make_mosaic(), "png"), npz_bytes({}, None)
print(sorted({"matplotlib", "PIL", "pypdf", "torch"} & set(sys.modules)))
"""
    assert run(code) == "[]\n"


@pytest.mark.parametrize("file_format", ["svg", "pdf"])
def test_a_mosaic_is_png_only(mosaic, file_format):
    """Pixels alone are no drawing."""
    with pytest.raises(UsageError, match="PNG"):
        encode_picture(mosaic, file_format)


def test_unknown_formats_and_pictures_are_refused(mosaic, new_figure):
    """The formats there are, and the kind that was given, are named."""
    with pytest.raises(UsageError, match="png, svg, pdf, but got 'tiff'"):
        encode_picture(mosaic, "tiff")
    with pytest.raises(UsageError, match="Axes"):
        encode_picture(new_figure().axes[0], "png")


def test_a_figure_is_drawn_at_its_own_size(new_figure):
    """The PNG of a figure has its size in inches times its dpi, and records the dpi."""
    with Image.open(io.BytesIO(encode_picture(new_figure(), "png"))) as image:
        assert image.size == (200, 150)
        assert image.mode == "RGB"
        assert image.info["dpi"] == pytest.approx((100, 100), abs=0.01)


def test_a_transparent_page_is_white():
    """A PNG has no alpha; transparent parts are blended with white."""
    figure = Figure(figsize=(1, 1), facecolor=(1, 0, 0, 0.2))
    assert pixels_of(encode_picture(figure, "png"))[0, 0].tolist() == pytest.approx([255, 204, 204], abs=1)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_figure_comes_back_with_its_canvas(new_figure, file_format):
    """Encoding leaves the figure's canvas, size, dpi and colours alone."""
    figure = new_figure()
    canvas = FigureCanvasAgg(figure)
    encode_picture(figure, file_format)
    assert figure.canvas is canvas
    assert (figure.dpi, figure.get_size_inches().tolist()) == (100, [2, 1.5])
    assert figure.get_facecolor() == (1, 1, 1, 1)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_figure_gives_the_same_bytes(new_figure, file_format):
    """A figure encoded twice, or made twice, has the same bytes."""
    figure = new_figure()
    assert encode_picture(figure, file_format) == encode_picture(figure, file_format)
    assert encode_picture(figure, file_format) == encode_picture(new_figure(), file_format)


@pytest.mark.slow  # a sample: the pictures of ``kernelviz kernels`` are compared between two processes
def test_two_processes_give_the_same_bytes(run):
    """Neither the time, nor the hash seed, nor the process is in the bytes."""
    assert run(DIGESTS, PYTHONHASHSEED="1") == run(DIGESTS, PYTHONHASHSEED="2", TZ="Asia/Tokyo")


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_callers_settings_change_nothing(new_figure, file_format):
    """A figure of ours has the same bytes under any rcParams, and leaves them as they were."""
    expected = encode_picture(new_figure(), file_format)
    with mpl.rc_context(), matplotlib.style.context("dark_background"):
        mpl.rcParams.update(OUTPUT_RC)
        assert encode_picture(new_figure(), file_format) == expected
        figure = new_figure()
        mpl.rcParams.update(DRAWING_RC)
        before = dict(mpl.rcParams)
        assert encode_picture(figure, file_format) == expected
        assert dict(mpl.rcParams) == before


def test_the_users_own_figure_keeps_the_users_fonts(new_figure):
    """A figure without a recipe is drawn under the caller's settings; only those of the output are ours."""
    plain = encode_picture(new_figure(recipe=None), "svg")
    with mpl.rc_context(OUTPUT_RC):
        assert encode_picture(new_figure(recipe=None), "svg") == plain
    figure = new_figure(recipe=None)
    with mpl.rc_context(DRAWING_RC):
        assert encode_picture(figure, "svg") != plain


@pytest.mark.parametrize("file_format", FORMATS)
def test_settings_are_as_before_when_drawing_fails(new_figure, file_format):
    """An artist that raises leaves rcParams and the canvas as they were."""
    figure = new_figure()
    figure.texts[0].draw = lambda _renderer: 1 / 0
    before, canvas = dict(mpl.rcParams), figure.canvas
    with pytest.raises(ZeroDivisionError):
        encode_picture(figure, file_format)
    assert dict(mpl.rcParams) == before
    assert figure.canvas is canvas


@pytest.mark.parametrize("file_format", FORMATS)
def test_threads_do_not_mix(new_figure, file_format):
    """Several threads at once produce the same bytes as one, and preserve rcParams."""
    expected, before = encode_picture(new_figure(), file_format), dict(mpl.rcParams)
    figures = [new_figure() for _ in range(12)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda figure: encode_picture(figure, file_format), figures))
    finally:
        sys.setswitchinterval(interval)
    assert all(each == expected for each in results)
    assert dict(mpl.rcParams) == before


def test_vectors_carry_no_date(new_figure):
    """SVG and PDF name the program, and no day."""
    svg, pdf = (encode_picture(new_figure(), each) for each in ("svg", "pdf"))
    assert b"dc:date" not in svg
    assert b"/CreationDate" not in pdf
    assert b"kernelviz" in svg
    assert b"kernelviz" in pdf


def test_arrays_are_read_by_numpy(recipe):
    """NumPy reads every array, the true names and the recipe, without pickles."""
    with np.load(io.BytesIO(npz_bytes(ARRAYS, recipe)), allow_pickle=False) as archive:
        assert archive.files == ["layer1.0.conv1", "a_b", "names", "recipe"]
        assert archive["names"].tolist() == list(ARRAYS)
        assert json.loads(str(archive["recipe"])) == recipe
        for key, array in zip(archive.files, ARRAYS.values(), strict=False):
            assert np.array_equal(archive[key], array)
            assert archive[key].dtype == array.dtype


def test_keys_of_arrays_never_meet():
    """Names that meet each other, our own two keys, or NumPy's suffix each keep their array."""
    names = ["names", "recipe", "a/b", "a:b", "A_B", "x", "x.npy", "names.npy", "", "recipe.npy", "模型", "模"]
    arrays = {name: np.array([index]) for index, name in enumerate(names)}
    with np.load(io.BytesIO(npz_bytes(arrays, {})), allow_pickle=False) as archive:
        assert archive["names"].tolist() == names
        assert str(archive["recipe"]) == "{}"
        assert [int(archive[key][0]) for key in archive.files[:-2]] == list(range(len(names)))


def test_arrays_have_no_date_and_no_order_in_memory():
    """Equal numbers result in equal bytes, independently of the date and the layout in memory."""
    array = np.arange(6.0).reshape(2, 3)
    data = npz_bytes({"a": array}, None)
    assert data == npz_bytes({"a": np.asfortranarray(array)}, None)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_arrays_of_objects_are_refused():
    """Nothing is pickled."""
    with pytest.raises(UsageError, match="objects"):
        npz_bytes({"a": np.array([None])}, None)


def test_a_number_that_json_lacks_is_refused(new_mosaic):
    """A recipe never holds NaN."""
    with pytest.raises(ValueError, match="JSON"):
        encode_picture(new_mosaic(recipe={"limits": [float("nan"), 1]}), "png")
