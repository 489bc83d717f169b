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
_SEQUENCES = ("collections.deque",)
_VALUES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.Path",
    "pathlib.PurePath",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib.PureWindowsPath",
    "pathlib._local.Path",
    "pathlib._local.PurePath",
    "pathlib._local.PosixPath",
    "pathlib._local.PurePosixPath",
    "pathlib._local.WindowsPath",
    "pathlib._local.PureWindowsPath",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.bool_",
    "numpy.bool",
    "numpy.int8",
    "numpy.int16",
    "numpy.int32",
    "numpy.int64",
    "numpy.uint8",
    "numpy.uint16",
    "numpy.uint32",
    "numpy.uint64",
    "numpy.float16",
    "numpy.float32",
    "numpy.float64",
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
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.base.Node",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.BytesNode",
    "omegaconf.nodes.EnumNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.PathNode",
    "omegaconf.nodes.StringNode",
)

HARMLESS: list[Any] = []
"""For ``torch.serialization.safe_globals``: each name with the class that stands for it."""

for _stands, _names in ((Placeholder, _VALUES), (PlainMapping, _MAPPINGS), (PlainList, _SEQUENCES)):
    HARMLESS += zip([_stands] * len(_names), _names, strict=True)
