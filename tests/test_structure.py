"""The structure of the package: which module may import which, and what an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kernelviz

ROOT = Path(kernelviz.__file__).parent
MODULES = {
    ".".join(("kernelviz", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}

FLOORS = [
    ["errors", "version", "wording", "threads"],
    ["storage"],
    ["reading", "notebook"],
    ["records", "arithmetic"],
    ["traces", "views"],
    ["network", "drawing"],
    ["files", "explain", "filters", "report"],
    ["streaming"],
    ["exploring"],
    ["distributed"],
    ["cli", ""],
    ["__main__"],
]
"""The rooms of the package from the ground up; the face of the package is ``""``."""

NETWORK_FLOORS = [
    ["weights", "snapshot", "selection", "failures", "freed_memory"],
    ["stored_kernels", "architecture"],
    ["own_code", "torchvision_models"],
    ["model"],
    ["convolutions", "preprocessing", "classes"],
    ["inputs"],
    ["tracing"],
    ["named"],
    ["kernels"],
    [
        "taps",
        "capture",
        "units",
        "layer_operation",
        "shift",
        "effective_field",
        "comparing",
        "terms",
        "makers",
        "affine",
        "linear_weights",
        "history",
    ],
]
"""The same inside ``network``. In the last floor neighbours may import each other: a capture is made of taps."""

MOST_AT_THE_ROOT = 12


def imported_names(tree):
    """Every dotted name that a module imports: at its top, in functions, and for type checkers alone."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(tree):
    """Those modules of the package that a module imports itself; their parents are not counted."""
    return {
        next(
            ".".join(parts[:length])
            for parts in [name.split(".")]
            for length in range(len(parts), 0, -1)
            if ".".join(parts[:length]) in MODULES
        )
        for name in imported_names(tree)
        if name.split(".")[0] == "kernelviz"
    }


def importers(*packages):
    """The modules of kernelviz that import one of these packages, or a part of one."""
    return {
        module
        for module, tree in TREES.items()
        for name in imported_names(tree)
        if any(f"{name}.".startswith(f"{package}.") for package in packages)
    }


def within(room):
    """The modules of a room."""
    return {module for module in MODULES if f"{module}.".startswith(f"{room}.")}


def level(module, floors, parent="kernelviz"):
    """The room of a module and the number of its floor."""
    room = module.removeprefix(parent).removeprefix(".").split(".")[0]
    return room, next(number for number, rooms in enumerate(floors) if room in rooms)


def upward(floors, modules, parent="kernelviz"):
    """The imports among ``modules`` that do not lead to a lower floor or stay within their room."""
    return {
        (module, other)
        for module in modules
        for other in imported_modules(TREES[module]) & modules
        if level(other, floors, parent)[1] >= level(module, floors, parent)[1]
        and level(other, floors, parent)[0] != level(module, floors, parent)[0]
    }


def fresh(code):
    """What a fresh Python prints, with warnings as errors."""
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.strip()


def test_no_modules_import_each_other():
    """There is no circle of imports of any length, imports in functions and for type checkers included."""
    try:
        TopologicalSorter({module: imported_modules(tree) for module, tree in TREES.items()}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_modules_import_lower_floors_or_their_own_room():
    """A module imports only modules of lower floors or of its own room."""
    assert upward(FLOORS, set(MODULES)) == set()


def test_the_network_room_has_floors_too():
    """Weights know no model, a model no trace, and a trace no capture."""
    modules = within("kernelviz.network") - {"kernelviz.network"}
    last = {
        module for module in modules if level(module, NETWORK_FLOORS, "kernelviz.network")[1] == len(NETWORK_FLOORS) - 1
    }
    found = upward(NETWORK_FLOORS, modules, "kernelviz.network")
    assert {pair for pair in found if not set(pair) <= last} == set()


def test_torch_is_imported_in_the_network_room_only():
    """Only ``network`` imports torch and safetensors, a few modules of it timm, and a few the hub's client."""
    assert importers("torch", "torchvision", "safetensors") <= within("kernelviz.network")
    assert importers("torch")
    assert importers("timm") == {
        "kernelviz.network.model",
        "kernelviz.network.classes",
        "kernelviz.network.weights.checkpoints",
    }
    assert importers("huggingface_hub") <= within("kernelviz.network.weights") | {"kernelviz.network"}


def test_matplotlib_is_imported_in_the_drawing_room_only():
    """Only ``drawing`` imports matplotlib, and ``files.images`` for its sample photograph; nobody imports pyplot."""
    assert importers("matplotlib") <= within("kernelviz.drawing") | {"kernelviz.files.images"}
    assert importers("matplotlib")
    assert not importers("matplotlib.pyplot", "pylab")


def test_other_file_systems_are_known_to_one_module():
    """Only ``storage.objects`` imports fsspec."""
    assert importers("fsspec") == {"kernelviz.storage.objects"}


def test_the_terminal_is_the_commands_alone():
    """Only ``cli`` imports rich and Typer, and nobody click: Typer carries its own, with other exceptions."""
    assert importers("rich", "typer") <= within("kernelviz.cli")
    assert importers("rich", "typer")
    assert not importers("click")


def test_ray_is_imported_by_its_engine_only():
    """Only the engine, what starts Ray and what packs for it import ray, and everything else works without it."""
    names = ("packing", "ray_engine", "ray_runtime")
    assert importers("ray") == {f"kernelviz.distributed.{name}" for name in names}


WRITING = {
    *("link", "mkdir", "mkdtemp", "mkstemp", "makedirs", "rmtree", "symlink", "symlink_to", "touch", "unlink"),
    *("fdopen", "NamedTemporaryFile", "savez", "savez_compressed", "TemporaryDirectory", "TemporaryFile"),
    *("write_bytes", "write_text"),
}
"""Calls that change what is on the disk, whoever's they are."""


def writes(tree):
    """The calls of a module that write files: those above, and ``open`` in a mode other than reading."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if ast.unparse(node.func) in {"os.rename", "os.replace"}:
            yield name
        parts = [*node.args[:2], *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if name in WRITING or (name == "open" and any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)):
            yield name


def test_files_are_written_in_the_files_room_only():
    """Only ``files`` writes files, and the hub's cache the weights that were downloaded."""
    found = {module for module, tree in TREES.items() if list(writes(tree))}
    assert found <= within("kernelviz.files") | {"kernelviz.network.weights.hub_cache"}
    assert "kernelviz.files.writing" in found


def test_what_computes_and_what_draws_do_not_know_each_other():
    """``network`` imports neither what draws nor what writes, and ``drawing`` neither networks nor files."""
    rooms = ("kernelviz.drawing", "kernelviz.explain", "kernelviz.filters", "kernelviz.files")
    assert importers(*rooms).isdisjoint(within("kernelviz.network"))
    assert importers("kernelviz.network", "kernelviz.files").isdisjoint(within("kernelviz.drawing"))


def test_a_report_is_made_of_arrays_alone():
    """``report`` knows no network, file, figure or clock: equal contents make equal pages; networks do not know it."""
    others = ("kernelviz.network", "kernelviz.files", "torch", "matplotlib", "PIL", "time", "datetime", "os", "random")
    assert importers(*others).isdisjoint(within("kernelviz.report"))
    assert importers("kernelviz.report") <= within("kernelviz.report") | {
        "kernelviz.exploring", "kernelviz.cli.report", "kernelviz",
    }  # fmt: skip


def test_the_root_of_the_package_stays_small():
    """At most twelve files stand at the root of the package: a new subject belongs to a room."""
    assert len(list(ROOT.glob("*.py"))) <= MOST_AT_THE_ROOT


def test_nobody_imports_the_face():
    """Nobody but the command's entry points imports the package itself, which hands out what others hold."""
    found = {module for module, tree in TREES.items() if "kernelviz" in imported_modules(tree)}
    assert found <= {"kernelviz.cli.main", "kernelviz.__main__"}


def test_the_package_imports_no_library():
    """``import kernelviz`` costs no import of torch, matplotlib, timm or NumPy."""
    heavy = {"torch", "matplotlib", "timm", "numpy", "PIL", "huggingface_hub", "typer", "rich", "fsspec"}
    assert fresh(f"import sys, kernelviz; print(sorted({heavy} & set(sys.modules)))") == "[]"


WITHOUT = {
    "torch matplotlib timm": (
        "views.kernel_views views.map_views views.components views.statistics filters.matching filters.filtering "
        "drawing.sheets drawing.captions drawing.mosaic files.images files.finding"
    ),
    "torch timm": "network.weights.names network.weights.hub_cache cli.completion",
    "torch timm numpy": (
        "threads wording version errors streaming cli.features cli.report cli.explain cli.completion cli.remembered "
        "cli.training records traces files.facts explain.texts"
    ),
    "timm": "network.history",
}
"""Which libraries some modules must not load, since a command starts with them."""


@pytest.mark.parametrize("libraries", WITHOUT)
def test_what_commands_start_with_loads_no_heavy_library(libraries):
    """Help, the list of models and bare pictures start without torch and matplotlib."""
    code = (
        "import importlib, sys\n"
        f"for module in {WITHOUT[libraries].split()}:\n"
        "    importlib.import_module(f'kernelviz.{module}')\n"
        f"    assert not {set(libraries.split())} & set(sys.modules), module\n"
    )
    assert fresh(code) == ""


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


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10))])
def test_every_module_can_be_imported_first(part):
    """Each module can be the first of the package to be imported."""
    names = [name for name in sorted(MODULES) if not name.endswith("__main__")][part::10]
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    for loaded in [key for key in sys.modules if key.partition('.')[0] == 'kernelviz']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
