"""Values that training scripts save beside tensors are read without running anything of the file."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import io
import os
import pathlib
import pickle
import sys
import types
import uuid
import zipfile

import numpy as np
import pytest
import torch

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import read_checkpoint
from kernelviz.network.weights.harmless import HARMLESS, Placeholder, PlainList, PlainMapping


def written(path, payload):
    """A file of torch.save with one tensor, whose pickle has ``payload`` as a further value."""
    saved = io.BytesIO()
    torch.save({"w": torch.ones(2), "x": "PAYLOAD"}, saved)
    mark = pickle.BINUNICODE + (7).to_bytes(4, "little") + b"PAYLOAD"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert data.count(mark) == 1
                data = data.replace(mark, payload)
            target.writestr(name, data)
    return path


def name_of(entry):
    """The pickle operation that names a class."""
    module, _, name = entry[1].rpartition(".")
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def text(value):
    """The pickle operation for a text."""
    data = value.encode()
    return pickle.BINUNICODE + len(data).to_bytes(4, "little") + data


SYSTEM = pickle.GLOBAL + b"posix\nsystem\n"
NUMBER = pickle.BININT + (2**31 - 1).to_bytes(4, "little")
ARGUMENTS = {
    "nothing": b"",
    "a command": text("touch marker"),
    "numbers": NUMBER + NUMBER,
    "nested": pickle.EMPTY_LIST + pickle.EMPTY_DICT + text("os") + text("system"),
}
STATES = {
    "nothing": pickle.NONE,
    "attributes": pickle.EMPTY_DICT + text("__class__") + NUMBER + pickle.SETITEM,
    "slots": pickle.NONE + pickle.EMPTY_DICT + text("__setstate__") + NUMBER + pickle.SETITEM + pickle.TUPLE2,
}


@pytest.mark.parametrize("entry", HARMLESS, ids=lambda entry: entry[1])
def test_every_entry_is_inert(tmp_path, monkeypatch, entry):
    """Called with anything, created and given any state, a name only makes a placeholder; its module is not imported."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    states = {PlainMapping: [STATES["attributes"]], PlainList: [b""]}.get(entry[0], STATES.values())
    for arguments in ARGUMENTS.values():
        given = pickle.MARK + arguments + pickle.TUPLE
        for make in (pickle.REDUCE, pickle.NEWOBJ):
            for state in states:
                build = pickle.BUILD if state else b""
                path = written(tmp_path / "x.pt", name_of(entry) + given + make + state + build)
                assert torch.equal(read_checkpoint(path).tensors["w"], torch.ones(2))
    assert [each.name for each in tmp_path.iterdir()] == ["x.pt"]
    assert not [
        name for name in set(sys.modules) - before if name.split(".")[0] in {"omegaconf", "mmengine", "lightning"}
    ]


@pytest.mark.parametrize("entry", [HARMLESS[0], HARMLESS[-2]], ids=lambda entry: entry[1])
@pytest.mark.parametrize("where", ["argument", "state", "callable"])
def test_code_in_a_harmless_value_is_refused(tmp_path, monkeypatch, entry, where):
    """A function as argument or state of an allowed name is rejected as it is anywhere else."""
    monkeypatch.chdir(tmp_path)
    call = SYSTEM + pickle.MARK + text("touch marker") + pickle.TUPLE + pickle.REDUCE
    made = {
        "argument": name_of(entry) + pickle.MARK + call + pickle.TUPLE + pickle.REDUCE,
        "state": name_of(entry) + pickle.MARK + pickle.TUPLE + pickle.NEWOBJ + call + pickle.BUILD,
        "callable": name_of(entry) + pickle.MARK + SYSTEM + pickle.TUPLE + pickle.REDUCE,
    }
    with pytest.raises(BadWeightsError, match="more than weights") as caught:
        read_checkpoint(written(tmp_path / "x.pt", made[where]))
    assert "system" in caught.value.why
    assert not (tmp_path / "marker").exists()


def test_a_placeholder_cannot_be_called_or_given_items(tmp_path):
    """What a name makes is no function, and a class itself takes no state."""
    entry = HARMLESS[0]
    empty = pickle.MARK + pickle.TUPLE
    for payload in (
        name_of(entry) + empty + pickle.REDUCE + empty + pickle.REDUCE,
        name_of(entry) + pickle.EMPTY_DICT + pickle.BUILD,
        name_of(entry) + empty + pickle.REDUCE + NUMBER + pickle.APPEND,
        name_of(entry) + empty + pickle.REDUCE + text("a") + NUMBER + pickle.SETITEM,
    ):
        with pytest.raises(BadWeightsError):
            read_checkpoint(written(tmp_path / "x.pt", payload))


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "builtins.getattr", "os.system", "functools.partial", "numpy.load", "torch.load", "importlib.x"],
)
def test_names_outside_the_list_are_refused(tmp_path, name):
    """The list is all that is allowed beside torch's own."""
    payload = name_of((None, name)) + pickle.MARK + text("1") + pickle.TUPLE + pickle.REDUCE
    with pytest.raises(BadWeightsError, match="more than weights"):
        read_checkpoint(written(tmp_path / "x.pt", payload))


VALUES = [
    np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(1), np.arange(4.0), np.array(["a", "b"]), np.dtype("f4"),
    pathlib.Path("a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("c:/x"),
    argparse.Namespace(lr=0.1, output=pathlib.Path("out"), mean=np.float32(0.5)), types.SimpleNamespace(a=1),
    collections.defaultdict(list, a=[1, 2]), collections.Counter("aab"), collections.deque([1, 2]),
    dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), dt.timedelta(3), decimal.Decimal("1.5"), uuid.UUID(int=3), frozenset({1}),
    range(3), slice(1, 2), torch.__version__, int, list, np.random.RandomState(0).get_state(), 2**70, 1 + 2j,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("zipped", [True, False])
def test_values_of_training_scripts_do_not_make_a_file_unreadable(tmp_path, value, zipped):
    """The tensors beside them come back exactly, in both formats of torch.save."""
    path = tmp_path / "x.pt"
    weights = {"conv.weight": torch.arange(4.0)}
    torch.save({"args": {"value": value}, "state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_checkpoint(path).tensors["conv.weight"], weights["conv.weight"])


def test_the_names_that_a_user_allowed_stay_allowed(tmp_path):
    """Reading a file restores the list of torch, with what was in it."""
    torch.save({"w": torch.ones(1), "x": argparse.Namespace(a=1)}, tmp_path / "x.pt")
    before = set(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals([argparse.Namespace]):
        read_checkpoint(tmp_path / "x.pt")
        assert argparse.Namespace in torch.serialization.get_safe_globals()
    assert set(torch.serialization.get_safe_globals()) == before
    assert repr(Placeholder(os)) == "Placeholder()"
