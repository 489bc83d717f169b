"""A real kernel runs the cells that people write."""

import base64
import io
import json
import os
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import kernelviz
from kernelviz import plot_features, plot_kernels

WEIGHT = (
    "import kernelviz, numpy as np\nfrom kernelviz import plot_kernels\n"
    "weight = np.random.default_rng(0).random((8, 3, 3, 3))"
)
SHOWN = "plot_kernels(weight)"
MAPS = "kernelviz.plot_features(weight[:, 0], reduce='norm')"
TWICE = "figure = plot_kernels(weight)\nfigure.set_dpi(200)\nfigure"
INTO = "import matplotlib.pyplot as plt\nfigure, ax = plt.subplots()\nax.set_title('mine')\nplot_kernels(weight, ax=ax)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs cells in one fresh kernel of this very Python.

    It returns their PNG outputs, or with ``data`` all that they show, by media type.
    """
    home = tmp_path_factory.mktemp("jupyter")
    spec = home / "kernels" / "tested"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "tested", "language": "python"}))
    paths = [str(Path(kernelviz.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        "JUPYTER_PATH": str(home),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }

    def execute(*sources, data=False):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            NotebookClient(notebook, kernel_name="tested", timeout=120).execute()
        if data:
            return [[each.get("data", {}) for each in cell.outputs] for cell in notebook.cells]
        pictures = [[each for each in cell.outputs if "image/png" in each.get("data", {})] for cell in notebook.cells]
        return [list(map(pixels, outputs)) for outputs in pictures]

    return execute


def pixels(output):
    """The picture of an output, as RGB."""
    with Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def page():
    """The page as the library draws it, at 100 and at 200 dpi, and that of maps."""
    weight = np.random.default_rng(0).random((8, 3, 3, 3))

    def draw(dpi, figure=None):
        figure = figure or plot_kernels(weight)
        figure.set_dpi(dpi)
        with Image.open(io.BytesIO(figure._repr_png_())) as image:
            return np.asarray(image.convert("RGB"))

    return {100: draw(100), 200: draw(200), "maps": draw(100, plot_features(weight[:, 0], reduce="norm"))}


def check_shown_once(outputs, page):
    """One picture came out of a cell, and it is this page, uncropped, with nothing but an even white rim around it."""
    assert len(outputs) == 1
    rim = (len(outputs[0]) - len(page)) // 2
    assert 0 <= rim <= 0.02 * len(page)
    assert np.array_equal(outputs[0], np.pad(page, ((rim, rim), (rim, rim), (0, 0)), constant_values=255))


def test_the_last_line_of_a_cell_shows_the_whole_page_once(run, page):
    """Without any magic the figure shows itself once, at 100 and at 200 dpi; into an Axes it shows once too."""
    _, shown, maps, twice, into = run(WEIGHT, SHOWN, MAPS, TWICE, INTO)
    check_shown_once(shown, page[100])
    check_shown_once(maps, page["maps"])
    check_shown_once(twice, page[200])
    assert len(into) == 1


def test_inline_figures_show_the_whole_page_once(run, page):
    """With ``%matplotlib inline``, which shows and crops in its own way, the same pages come out, each once."""
    inline = "%matplotlib inline\n" + WEIGHT
    retina = "%config InlineBackend.figure_format = 'retina'\n" + SHOWN
    _, shown, twice, into, sharp = run(inline, SHOWN, TWICE, INTO, retina)
    check_shown_once(shown, page[100])
    check_shown_once(twice, page[200])
    check_shown_once(sharp, page[200])
    assert len(into) == 1


LESSON = """
import kernelviz
worked = kernelviz.work_out(kernelviz.Convolution(3, 2), [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -1.5]])
image = kernelviz.read_image("sample:grace_hopper")
"""
MODEL = """
model = kernelviz.load_model("test_resnet", weights="random")
bank = kernelviz.read_kernels(model, "conv1.0")
maps = kernelviz.capture_features(model, image, "layer1")[0]
"""
SHOWS = {
    "kernelviz.animate_convolution(worked)": "image/gif",
    "worked": "table",
    "worked.step(1, 0)": "table",
    "kernelviz.plot_convolution(worked, at=(1, 0))": "image/png",
    "kernelviz.plot_filter(image, ['sobel-x', 'laplacian'])": "image/png",
    "image": "text",
    "kernelviz.find_filter('sobel-x')": "text",
    "kernelviz.apply_filter(image, 'sobel-x')": "text",
}
OF_MODEL = {
    "kernelviz.trace(model)": "table",
    **dict.fromkeys(
        ("model", "model.source", "bank", "maps", "kernelviz.match_kernels(bank)", "kernelviz.make_sheet(bank)",
         "kernelviz.make_mosaic(kernelviz.make_sheet(bank))", "kernelviz.trace_unit(model, image, 'conv1.0', (0, 5, 5))"),
        "text",
    ),
}  # fmt: skip
"""What a learner types as the last line of a cell, and what the cell has to show."""


def check_short(sources, cells):
    """Each cell has one output whose text is below 300 characters, and shows what it has to."""
    for (source, kind), outputs in zip(sources.items(), cells, strict=True):
        (shown,) = outputs
        assert len(shown["text/plain"]) < 300, source
        html = shown.get("text/html", "")
        if kind == "image/png":
            assert kind in shown, source
        elif kind == "table":
            assert html.count("<table>") == html.count("</table>") > 0, source
        elif kind == "image/gif":
            assert durations_of(html) == [900, 900, 900, 3000]  # a pause at the end
        else:
            assert set(shown) == {"text/plain"}, source


def durations_of(html):
    """The durations of the frames of the GIF in a page, which repeats forever."""
    data = html.partition('src="data:image/gif;base64,')[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.info["loop"] == 0
        found = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            found.append(picture.info["duration"])
    return found


def test_no_cell_prints_the_insides_of_a_value(run):
    """An animation plays, a walkthrough and a step show tables, everything else one line of less than 300 characters."""
    _, *cells = run(LESSON, *SHOWS, data=True)
    check_short(SHOWS, cells)


@pytest.mark.slow
def test_no_cell_prints_the_insides_of_a_network(run):
    """A trace shows its table; models, sources, kernels, maps and matches one line of less than 300 characters."""
    _, *cells = run(LESSON + MODEL, *OF_MODEL, data=True)
    check_short(OF_MODEL, cells)
