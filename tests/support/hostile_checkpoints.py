"""Checkpoints of every type and shape that a user may have, as strategies of hypothesis."""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import warnings
from functools import cache
from pathlib import Path

import timm
import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

DTYPES = sorted({each for each in vars(torch).values() if isinstance(each, torch.dtype)}, key=str)
FLOAT8 = {each for each in DTYPES if str(each).startswith("torch.float8")}
DRAWN = {torch.float16, torch.bfloat16, torch.float32, torch.float64, *FLOAT8}
"""The types of weights that must be drawn."""

FIRST = "conv1.0.weight"
ODD_NAMES = [
    *("", ".", " ", "a\n", "\x1b[31m", "\udcff", "é模", "x" * 100_000, "conv1.0.weight ", "module.", "0", "..", "\0"),
    *("state_dict", "model", "__metadata__", "items", 0, -1, 2.5, None, True, (1, 2), b"x", float("nan")),
]
ODD_VALUES = [
    *(None, 0, 1.5, "text", b"bytes", True, [], {}, (), [1, [2, [3]]], {"a": {"b": {}}}, float("nan"), 10**30),
    *(torch.float32, torch.Size([1, 2]), argparse.Namespace(lr=1), collections.OrderedDict(a=1), torch.device("cpu")),
]


@cache
def weights():
    """The state of a small network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return timm.create_model("test_resnet").state_dict()


def as_type(value, dtype):
    """A tensor converted to a type or, where torch cannot convert, bytes that are called so; None if there are none."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        return value.to(dtype)
    with contextlib.suppress(Exception):
        return torch.zeros(value.numel() * dtype.itemsize, dtype=torch.uint8).view(dtype).reshape(value.shape)
    return None


CHANGES = {
    "sparse": lambda value: value.to_sparse(),
    "compressed": lambda value: value.reshape(value.shape[0], -1).to_sparse_csr(),
    "quantised": lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
    "quantised by channel": lambda value: torch.quantize_per_channel(
        value.float(), torch.ones(len(value)), torch.zeros(len(value)), 0, torch.quint8
    ),
    "meta": lambda value: value.to("meta"),
    "empty": lambda value: value[:0],
    "no size": lambda _: torch.empty(0),
    "deeper": lambda value: value[None],
    "flat": lambda value: value.flatten(),
    "scalar": lambda value: value.flatten()[0],
    "turned": lambda value: value.transpose(0, -1),
    "strided": lambda value: value.repeat_interleave(2, -1)[..., ::2],
    "columns": lambda value: value.to(memory_format=torch.channels_last),
    "expanded": lambda value: value.flatten()[:1].expand(value.shape),
    "shifted": lambda value: torch.cat([value.flatten(), value.flatten()])[3 : 3 + value.numel()].view(value.shape),
    "overlapping": lambda value: torch.as_strided(value.clone(), value.shape, [0] * value.ndim),
    "parameter": torch.nn.Parameter,
    "buffer": torch.nn.Buffer,
    "uninitialised": lambda _: torch.nn.UninitializedParameter(),
    "with gradient": lambda value: value.clone().requires_grad_(),
    "negated": torch._neg_view,
    "imaginary": lambda value: torch.complex(value, value).conj().imag,
    "conjugate": lambda value: torch.complex(value, value).conj(),
    "nested": lambda value: torch.nested.nested_tensor([value, value]),
    "not finite": lambda value: torch.full_like(value, float("nan")),
    "infinite": lambda value: torch.full_like(value, float("inf")),
    "huge": lambda value: torch.full(value.shape, 1e300, dtype=torch.float64),
    "tiny": lambda value: torch.full_like(value, 1e-45),
    "zeros": torch.zeros_like,
    "array": lambda value: value.numpy(),
    "list": lambda value: value.flatten()[:4].tolist(),
}
"""What may be wrong, or merely unusual, with a tensor."""


NAMES = [
    *(FIRST, FIRST, "conv1.1.num_batches_tracked", "conv1.1.running_var", "fc.weight", "fc.bias"),
    "layer1.0.conv1.weight",
]

CONTAINERS = {
    "dict": dict,
    "ordered": collections.OrderedDict,
    "prefixed": lambda content: {f"module.{name}": value for name, value in content.items()},
    "list": lambda content: list(content.items()),
    "namespace": lambda content: argparse.Namespace(model=content),
    "default": lambda content: collections.defaultdict(dict, content),
    "counter": lambda _: collections.Counter(a=1),
    "wrapped": lambda content: {"epoch": 3, "state_dict": content},
    "wrapped twice": lambda content: {"model": {"state_dict": content}, "optimizer": {"state": {0: content}}},
    "wrapped by a number": lambda content: {0: content},
    "loop": lambda content: content | {"model": content},
}


def with_types(draw, state, some):
    """Tensors of another type; whether they must be drawn."""
    dtype = draw(st.sampled_from(DTYPES))
    tensors = {name: state[name] for name in some if isinstance(state.get(name), torch.Tensor)}
    changed = {name: as_type(value, dtype) for name, value in tensors.items()}
    must = dtype in DRAWN and all(value.is_floating_point() for value in tensors.values())
    return {name: value for name, value in changed.items() if value is not None}, must


def with_changes(draw, state, some):
    """Tensors that are unusual in another respect."""
    change, changed = CHANGES[draw(st.sampled_from(sorted(CHANGES)))], {}
    for name in some:
        with contextlib.suppress(Exception):
            changed[name] = change(state[name])
    return changed, False


def with_values(draw, _state, some):
    """Something that is no tensor."""
    return {some[0]: draw(st.sampled_from(ODD_VALUES))}, False


def with_names(draw, state, some):
    """A tensor under another name."""
    return {draw(st.sampled_from(ODD_NAMES)): state.pop(some[0], None)}, False


def with_more(draw, _state, _some):
    """Something more."""
    return {draw(st.sampled_from(ODD_NAMES)): draw(st.sampled_from(ODD_VALUES))}, False


def without(_draw, state, some):
    """A tensor is missing."""
    state.pop(some[0], None)
    return {}, False


@st.composite
def checkpoints(draw):
    """The content of a checkpoint, in which way it is saved, the end that is cut off, and whether it must be drawn."""
    state, musts = dict(weights()), []
    for _ in range(draw(st.integers(1, 2))):
        change = draw(
            st.sampled_from([with_types, with_types, with_changes, with_values, with_names, with_more, without])
        )
        some = list(state) if draw(st.booleans()) else [draw(st.sampled_from(NAMES))]
        changed, must = change(draw, state, some)
        state |= changed
        musts.append(must)
    container = draw(st.sampled_from([*["dict"] * 10, *CONTAINERS]))
    saved = draw(st.sampled_from(["zip", "zip", "old", "newer", "safetensors", "safetensors", "header"]))
    cut = draw(st.sampled_from([*[0] * 20, 1, 100, 10_000]))
    must = all(musts) and container in ("dict", "ordered", "prefixed", "wrapped") and not cut
    newer = any(isinstance(value, torch.Tensor) and value.dtype in FLOAT8 for value in state.values())
    must = must and saved not in ("newer", "header") and not (saved == "old" and newer)  # torch does not read it
    return CONTAINERS[container](state), saved, cut, must


def save(path, content, saved, cut):
    """Write a checkpoint; whether it could be written."""
    path = Path(path)
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # torch cannot save everything
        warnings.simplefilter("ignore")
        if saved == "safetensors":
            save_file({name: value.contiguous() for name, value in content.items()}, path)
        elif saved == "header":
            entry = {"dtype": "F4", "shape": [2, 1000], "data_offsets": [0, 1000]}
            head = json.dumps({str(name)[:100]: entry for name in content}).encode("utf-8", "surrogateescape")
            path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(1000))
        else:
            protocol = 4 if saved == "newer" else 2
            torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=saved != "old")
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return True
    return False
