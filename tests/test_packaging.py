"""What is published: the contents of the wheel and of the source archive, and their metadata."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest

from kernelviz.cli.env import PACKAGES
from kernelviz.version import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kernelviz"
MEGABYTE = 10**6

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and a source archive of the working tree, made without network by the backend that pyproject.toml names."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel."""
    with zipfile.ZipFile(built / f"kernelviz-{__version__}-py3-none-any.whl") as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel):
    """The fields that an index shows."""
    return Parser().parsestr(wheel.read(f"kernelviz-{__version__}.dist-info/METADATA").decode())


def source_files():
    """Every file of the package in the working tree."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package_and_nothing_else(wheel):
    """Every module, the marker of types, scripts, styles and templates of pages; no tests; below 2 MB."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == source_files()
    assert "kernelviz/py.typed" in names
    assert {".js", ".css", ".jinja"} <= {PurePosixPath(name).suffix for name in names}
    assert Path(wheel.filename).stat().st_size < 2 * MEGABYTE


def test_the_source_archive_holds_package_and_tests(built):
    """The package, its tests, examples and texts, nothing that was built or installed; below 30 MB."""
    path = built / f"kernelviz-{__version__}.tar.gz"
    with tarfile.open(path) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    top = {name.partition("/")[0] for name in names}
    assert source_files() <= names
    assert {
        "tests/conftest.py",
        "examples/README.md",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    } <= names
    assert top == {
        "kernelviz",
        "tests",
        "examples",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        ".gitignore",
    }
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]
    assert path.stat().st_size < 30 * MEGABYTE


def test_the_metadata_names_licence_and_versions(metadata):
    """A licence expression (PEP 639) with its text and no classifier of a licence, and every Python that is supported."""
    classifiers = metadata.get_all("Classifier")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert not [line for line in classifiers if line.startswith("License ::")]
    assert metadata["Requires-Python"] == ">=3.11"
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert metadata["Description-Content-Type"] == "text/markdown"


def imported(path):
    """The packages that a module imports, also within functions and by name, without those of Python itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func) and node.args:
            modules = [node.args[0].value] if isinstance(node.args[0], ast.Constant) else []
        yield from {module.partition(".")[0] for module in modules} - sys.stdlib_module_names


def test_every_imported_package_is_declared(metadata):
    """What the package imports is a dependency or in an extra, and every dependency is imported."""
    modules = {name for path in PACKAGE.rglob("*.py") for name in imported(path)}
    modules -= {
        "kernelviz",
        "_typeshed",  # for type checkers only
        "torchvision",  # only for the models that a user names with it
    }
    distributions = packages_distributions()
    used = {_normal(distributions.get(module, [module])[0]) for module in modules}
    required = metadata.get_all("Requires-Dist")
    assert used <= {_normal(line) for line in required}
    assert {_normal(line) for line in required if "extra ==" not in line} <= used


def test_env_lists_every_dependency(metadata):
    """A report of a fault has the versions of all that the package and its extras install."""
    required = metadata.get_all("Requires-Dist")
    assert {_normal(line) for line in required if "extra == 'dev'" not in line} <= set(PACKAGES)


def _normal(requirement):
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")
