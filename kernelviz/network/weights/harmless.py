"""Values that training scripts save beside tensors, and what replaces them when a checkpoint is read.

``torch.load(weights_only=True)`` rejects every class that is not allowed by ``torch.serialization.safe_globals``, and calls
those that are with arguments from the file. Here the names of known data classes are allowed, but none of the classes: each
name stands for an inert class of this module, which ignores its arguments and its state. Nothing is imported or called.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Self


class Placeholder:
    """Stands for a value that is not a tensor; its contents are dropped."""

    def __new__(cls, *_given: object, **_named: object) -> Self:
        """A placeholder, whatever the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Drop the state."""

    def __repr__(self) -> str:
        """The same for every placeholder."""
        return "Placeholder()"


class PlainMapping:
    """Stands for subclasses of dict: an ``OrderedDict``, into which torch writes the items."""

    def __new__(cls, *_given: object, **_named: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        """An empty mapping, whatever the arguments."""
        return OrderedDict()


class PlainList:
    """Stands for other sequences: a list, to which torch appends the items."""

    def __new__(cls, *_given: object, **_named: object) -> list[Any]:  # type: ignore[misc]
        """An empty list, whatever the arguments."""
        return []


_MAPPINGS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
)
_PATHS = ("Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
_VALUES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    # NumPy before and since 2.0
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.bool_",
    "numpy.bool",
    *(
        f"numpy.{kind}{bits}"
        for kind in ("int", "uint", "float")
        for bits in (8, 16, 32, 64)
        if (kind, bits) != ("float", 8)
    ),
    "builtins.bool",
    "builtins.bytes",
    "builtins.dict",
    "builtins.float",
    "builtins.frozenset",
    "builtins.int",
    "builtins.list",
    "builtins.object",
    "builtins.range",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "typing.Any",
    "torch.torch_version.TorchVersion",
    "torch._C.Generator",
    "mmengine.logging.history_buffer.HistoryBuffer",
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata", "Node")),
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig")),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
    ),
)

HARMLESS: list[Any] = [
    *((Placeholder, name) for name in _VALUES),
    *((PlainMapping, name) for name in _MAPPINGS),
    (PlainList, "collections.deque"),
]
"""For ``torch.serialization.safe_globals``: each name with the class that stands for it."""
