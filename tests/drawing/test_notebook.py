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
    """A function that runs cells in one fresh kernel of this very Python and returns their PNG outputs."""
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

    def execute(*sources):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            NotebookClient(notebook, kernel_name="tested", timeout=120).execute()
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
