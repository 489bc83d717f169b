import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kernelviz

ROOT = Path(kernelviz.__file__).parent
MODULES = {
    ".".join(("kernelviz", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def fresh(code):
    """What a fresh Python prints, with warnings as errors."""
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.strip()


def imports_of(module):
    """Every module that a module imports, at its top or in a function, except for type checkers alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def importers(*packages):
    """The modules of kernelviz that import one of these packages, or a part of one."""
    return {
        module
        for module in MODULES
        for name in imports_of(module)
        if any(name == package or name.startswith(package + ".") for package in packages)
    }


def within(room):
    """The modules of a room."""
    return {module for module in MODULES if module == room or module.startswith(room + ".")}


def test_the_package_imports_no_library():
    """``import kernelviz`` costs no import of torch, matplotlib, timm or NumPy."""
    heavy = {"torch", "matplotlib", "timm", "numpy", "PIL", "huggingface_hub", "typer", "rich"}
    assert fresh(f"import sys, kernelviz; print(sorted({heavy} & set(sys.modules)))") == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "views.kernel_views",
        "records",
        "filters.matching",
        "filters.filtering",
        "drawing.sheets",
        "drawing.mosaic",
        "files.images",
        "files.finding",
    ],
)
def test_pixels_are_made_without_torch_and_matplotlib(module):
    """What turns weights into tiles and tiles into pixels needs NumPy alone."""
    code = f"import sys, kernelviz.{module}; print(sorted({{'torch', 'matplotlib', 'timm'}} & set(sys.modules)))"
    assert fresh(code) == "[]"


def test_a_mosaic_is_made_without_torch_and_matplotlib():
    """A signed mosaic in the default colours comes out of an array with neither library loaded."""
    code = (
        "import sys, numpy as np, kernelviz as kv\n"
        "kv.make_mosaic(kv.make_sheet(np.ones((4, 2, 3, 3)), style='bare')).rgb\n"
        "print(sorted({'torch', 'matplotlib', 'timm'} & set(sys.modules)))"
    )
    assert fresh(code) == "[]"


def test_every_public_name_is_there_and_listed():
    """Each name of ``__all__`` resolves to one thing and is listed by ``dir``."""
    assert set(kernelviz.__all__) <= set(dir(kernelviz))
    for name in kernelviz.__all__:
        assert getattr(kernelviz, name) is getattr(kernelviz, name)
    assert len(kernelviz.__all__) == len(set(kernelviz.__all__))
    assert "plot_kernels" in fresh("import kernelviz; print(dir(kernelviz))")


def test_an_unknown_name_is_an_attribute_error():
    """What the package does not have is said as Python says it."""
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = kernelviz.nosuch


def test_every_module_imports_alone():
    """Each module can be the first of the package to be imported: there is no cycle."""
    names = [name for name in MODULES if not name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    for loaded in [key for key in sys.modules if key.partition('.')[0] == 'kernelviz']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_errors_import_nothing_of_the_package():
    """The errors stand at the bottom."""
    assert not {name for name in imports_of("kernelviz.errors") if name.startswith("kernelviz")}


def test_records_and_views_stand_on_errors_and_numpy():
    """The values that cross rooms, and the views, import no room."""
    assert importers("kernelviz.network", "kernelviz.drawing", "kernelviz.files").isdisjoint(
        {"kernelviz.records", "kernelviz.views.kernel_views", "kernelviz.errors"}
    )


def test_torch_is_said_in_the_network_room_only():
    """Outside ``network`` no module imports torch; in it, some do."""
    found = importers("torch", "torchvision", "safetensors")
    assert found
    assert found <= within("kernelviz.network")


def test_timm_and_the_hub_are_said_in_few_files():
    """Only models, weights and the names of classes import timm, and only the hub's own modules its client."""
    hub = {"kernelviz.network"} | within("kernelviz.network.weights")
    assert importers("timm") == {f"kernelviz.network.{name}" for name in ("classes", "model", "weights.checkpoints")}
    assert importers("huggingface_hub") <= hub


def test_network_and_drawing_do_not_know_each_other():
    """What computes never imports what draws, nor the other way round."""
    assert importers("kernelviz.drawing").isdisjoint(within("kernelviz.network"))
    assert importers("kernelviz.network").isdisjoint(within("kernelviz.drawing"))


def test_only_files_come_behind_drawing():
    """Drawing and the network never import ``files``, and ``files`` not the network."""
    assert importers("kernelviz.files").isdisjoint(within("kernelviz.drawing") | within("kernelviz.network"))
    assert importers("kernelviz.network").isdisjoint(within("kernelviz.files"))


def test_nothing_imports_the_command():
    """The command adds nothing: only itself and ``python -m`` import it."""
    assert importers("kernelviz.cli") <= within("kernelviz.cli") | {"kernelviz.__main__"}


def test_pyplot_is_imported_nowhere():
    """No module touches pyplot."""
    assert not importers("matplotlib.pyplot", "pylab")


def test_the_command_never_imports_click():
    """Typer carries its own click; a second one would not know its exceptions."""
    assert not importers("click")
