"""Build a network with Python code of the user: a class, a function, or a network in a file or a module.

The code runs as ``python my_net.py`` would run it. This is the only place that runs code, and it runs what the user named:
neither a download nor a checkpoint leads here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from kernelviz.errors import CodeError, KernelvizError, UnknownModelError, UsageError
from kernelviz.network.failures import raised_at
from kernelviz.network.weights.names import CodeName, python_files, unknown_module
from kernelviz.storage.uris import complete, is_uri
from kernelviz.wording import inflected, nearest_names, nearest_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType


def build_own(code: CodeName, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that a name means: a class is instantiated and a function called with the arguments.

    The directory of the file and the current directory are added to ``sys.path`` and stay there, since code may import
    more when the network runs. A file is read anew each time, a module is imported as usual.

    Raises:
        UnknownModelError: there is no such file, module, or object in it.
        UsageError: the arguments are not those of the class or function.
        CodeError: the code raises an error, or makes something else than a network.
    """
    with _as_program(code):
        module = _run_file(code, code.path) if code.path else _import_module(code)
        found = _find(code, module)
        if isinstance(found, nn.Module):
            if arguments:
                what = f"{code.text} is a network already and takes no arguments."
                raise UsageError(what, hint="Omit --model-arg, or name its class.")
            return found
        _check_arguments(code, found, arguments)
        try:
            made = found(**{name: _complete(value) for name, value in arguments.items()})
        except (Exception, SystemExit) as error:
            raise _failed(code, error, "could not be built") from error
    if not isinstance(made, nn.Module):
        kind = type(made).__name__
        raise CodeError(f"{code.text} returned an object of type {kind}, not a torch.nn.Module.")
    return made


def _complete(value: Any) -> Any:
    """An argument as typed: the command keeps the credentials of URIs apart."""
    return complete(value) if isinstance(value, str) and is_uri(value) else value


def code_hash(code: CodeName) -> str | None:
    """The SHA-256 of the file that was run, None if there is none."""
    file = code.path or getattr(sys.modules.get(code.module), "__file__", None)
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except OSError:
        return None


def _failed(code: CodeName, error: BaseException, what: str, hint: str = "") -> KernelvizError:
    """The error of the user's code in one message: its type, its text, its file and line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())[:300]
    where = raised_at(error)
    return CodeError(
        f"{code.text} {what}: {type(error).__name__}{': ' if text else ''}{text}",
        f"Raised in {where}." if where else "",
        hint or "Run it again with --debug to see the traceback.",
    )


@contextlib.contextmanager
def _as_program(code: CodeName) -> Iterator[None]:
    """Let imports be found and ``sys.argv`` be as for a program without arguments."""
    try:
        directories = [str(code.path.resolve().parent)] if code.path else []
        directories.append(str(Path.cwd()))
    except OSError:  # the current directory was deleted
        directories = []
    present = set(sys.path)
    sys.path[:0] = [each for each in dict.fromkeys(directories) if each not in present]
    arguments, sys.argv = sys.argv, [str(code.path or code.module)]
    try:
        yield
    finally:
        sys.argv = arguments


def _run_file(code: CodeName, path: Path) -> ModuleType:
    """The module of a file. No bytecode is written or read."""
    if not os.path.isfile(path):  # noqa: PTH113  (takes every path)
        nearest = nearest_text(python_files(path.parent), path.name, least=0.5)
        raise UnknownModelError(
            f"There is no file {shown(path)}.", nearest, "Give the path of a Python file, my_net.py:Net."
        )
    path = path.resolve()
    name = path.stem.replace(".", "_")
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) != str(path):
        name += f"_{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:8]}"
    loader = SourceFileLoader(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        exec(loader.source_to_code(loader.get_data(str(path)), str(path)), module.__dict__)  # noqa: S102  (what is asked)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        relative = isinstance(error, ImportError) and "relative import" in str(error)
        hint = f"Name it as a module of its package: package.{path.stem}:{code.attribute}." if relative else ""
        raise _failed(code, error, "could not be imported", hint) from error
    return module


def _import_module(code: CodeName) -> ModuleType:
    try:
        return importlib.import_module(code.module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{code.module}.".startswith(f"{error.name}."):
            parent = error.name.rpartition(".")[0]
            raise unknown_module(code, parent, sys.modules.get(parent)) from error
        raise _failed(code, error, "could not be imported") from error


def _find(code: CodeName, module: ModuleType) -> Any:
    """The class, function or network that the name means.

    Raises:
        UnknownModelError: there is none.
    """
    found: Any = module
    for part in code.attribute.split("."):
        found = getattr(found, part, None)
    whose = code.text.rpartition(":")[0]
    if not callable(found):
        names = [name for name, value in vars(module).items() if _may_build(value, module)]
        what = f"There is no {shown(code.attribute)} in {whose}."
        if found is not None:
            what = f"{code.text} is an object of type {type(found).__name__}, not a network, a class or a function."
        hint = f"It has {', '.join(names[:12])}." if names else "It has neither a class nor a function."
        raise UnknownModelError(what, nearest_text(names, code.attribute, least=0.5), hint)
    return found


def _may_build(value: Any, module: ModuleType) -> bool:
    """Whether a value of a module is a network, a class of networks, or a function of the module itself."""
    if isinstance(value, nn.Module):
        return True
    own = getattr(value, "__module__", None) == module.__name__
    return own and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def _check_arguments(code: CodeName, found: Any, arguments: Mapping[str, Any]) -> None:
    """Check that a class or a function takes these arguments and needs no others.

    Raises:
        UsageError: it does not.
    """
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # written in C
        return
    kinds = inspect.Parameter
    named = [each for each in parameters.values() if each.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    known = [each.name for each in named]
    takes_any = any(each.kind is kinds.VAR_KEYWORD for each in parameters.values())
    missing = [each.name for each in named if each.default is kinds.empty and each.name not in arguments]
    if missing:
        hint = f"Add {' '.join(f'--model-arg {name}=VALUE' for name in missing)}."
        noun = inflected(len(missing), "the argument", "the arguments")
        raise UsageError(f"{code.text} needs {noun} {', '.join(missing)}.", hint=hint)
    for name in arguments:
        if name not in known and not takes_any:
            nearest = nearest_names(known, name, count=1, least=0.5)
            takes = f"It takes {', '.join(known)}." if known else "It takes no arguments."
            hint = f"Try --model-arg {nearest[0]}={arguments[name]}." if nearest else ""
            raise UsageError(f"{code.text} takes no argument {shown(name)}.", takes, hint)
