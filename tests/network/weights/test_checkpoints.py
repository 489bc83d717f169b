"""Weights files are told by content, nothing in them runs, and what is wrong with one is said."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import read_checkpoint


@pytest.fixture
def state():
    """A few tensors of known numbers."""
    return {"conv.weight": torch.arange(54.0).reshape(2, 3, 3, 3), "conv.bias": torch.tensor([1.0, -2.0])}


class Evil:
    """Runs a shell command as soon as it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def save_as(kind, content, path):
    """Write ``content`` the way ``kind`` of file is written."""
    if kind == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")


def refusal(path):
    """The three parts of the error, checked to name the file."""
    with pytest.raises(BadWeightsError) as caught:
        read_checkpoint(path)
    assert path.name in caught.value.what
    return caught.value


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_each_format_is_detected_by_content(tmp_path, state, kind):
    """The suffix does not matter, the tensors come back exactly, and the digest is that of the file's bytes."""
    path = tmp_path / "weights.bin"
    save_as(kind, state, path)
    checkpoint = read_checkpoint(str(path))
    assert set(checkpoint.tensors) == set(state)
    assert all(torch.equal(checkpoint.tensors[name], state[name]) for name in state)
    assert checkpoint.weights.source == "file"
    assert checkpoint.weights.name == "weights.bin"
    assert checkpoint.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, state, kind, share):
    """A file that ends early is a clear error, wherever it ends."""
    path = tmp_path / "cut.pt"
    save_as(kind, state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refusal(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>\n", "it is text"),
        ("Gewichte für später, ".encode() * 20, "it is text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "format is not known"),
        (b"\x80\x02", "cut short"),
        (b"PK\x03\x04 and no more", "cut short"),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, expected):
    """Empty, text, pointers, pictures and stumps are each called what they are."""
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    assert expected in refusal(path).what


def test_missing_files_and_directories(tmp_path):
    """What is not there or is a directory is named, and for a missing file the words are listed."""
    assert "is a directory" in refusal(tmp_path).what
    missing = refusal(tmp_path / "radnom")
    assert "no weights file" in missing.what
    assert "auto, hub, bundled, random" in missing.hint
    with pytest.raises(BadWeightsError, match="is empty"):
        read_checkpoint("")
    with pytest.raises(BadWeightsError):
        read_checkpoint("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_at_once(tmp_path):
    """A pipe would be waited on for ever, so it is not opened."""
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe").what


def test_unreadable_files(tmp_path, state, monkeypatch):
    """A file that may not be read says so."""
    path = tmp_path / "x.pt"
    torch.save(state, path)

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    assert "Permission denied" in refusal(path).what


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_runs_code_does_not_run(tmp_path, protocol):
    """The code is named and stays unrun, in each protocol."""
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Evil(marker), protocol))
    error = refusal(path)
    assert f"{os.system.__module__}.system" in error.why
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_code_beside_weights_does_not_run(tmp_path, state, kind):
    """A checkpoint of torch.save with code among its tensors is rejected whole."""
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    save_as(kind, {"state_dict": state, "extra": Evil(marker)}, path)
    assert f"{os.system.__module__}.system" in refusal(path).why
    assert not marker.exists()


def test_the_environment_cannot_switch_the_check_off(tmp_path, monkeypatch):
    """A variable that makes torch unpickle everything by default has no effect here."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    torch.save({"x": Evil(marker)}, path)
    refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_whole_pickled_module_is_refused(tmp_path, kind):
    """It is called a network, the class is named, and the hint says how to save weights alone."""
    path = tmp_path / "net.pt"
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    if kind == "pickle":
        path.write_bytes(pickle.dumps(network))
    else:
        save_as(kind, network, path)
    error = refusal(path)
    assert "holds a whole network" in error.what
    assert "torch.nn.modules.container.Sequential" in error.why
    assert "model.state_dict()" in error.hint


@pytest.mark.parametrize(
    ("make", "what", "hint"),
    [
        (
            lambda state: {name: value.numpy() for name, value in state.items()},
            "NumPy arrays that pickle",
            "plot_kernels",
        ),
        (lambda state: state["conv.weight"].numpy(), "NumPy arrays that pickle", "plot_kernels"),
        (lambda state: state, "tensors that pickle wrote, and not torch.save", "load it with pickle"),
        (lambda _: {"a": [1, 2]}, "values of Python that pickle wrote", "torch.save"),
    ],
)
def test_what_pickle_alone_wrote_is_named(tmp_path, state, make, what, hint):
    """Neither damage nor foreign code is the reason: torch did not write the file."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(make(state), protocol))
        error = refusal(tmp_path / "x.pkl")
        assert what in error.what
        assert hint in error.hint


def test_arrays_that_torch_wrote_are_named(tmp_path, state):
    """NumPy arrays in the place of tensors are not said to be nothing."""
    torch.save({name: value.numpy() for name, value in state.items()}, tmp_path / "x.pt")
    assert "NumPy arrays instead of tensors" in refusal(tmp_path / "x.pt").what


def test_archives_that_are_not_of_torch(tmp_path):
    """Other zip archives, and TorchScript programs, are called what they are."""
    other = tmp_path / "x.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "zip archive" in refusal(other).what
    script = tmp_path / "net.pt"
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("net/data.pkl", "x")
        archive.writestr("net/constants.pkl", "x")
    assert "TorchScript" in refusal(script).what


def test_archives_that_grow_are_refused(tmp_path, state):
    """A compressed archive could fill the memory, so it is not read though its content is right."""
    stored, packed = io.BytesIO(), tmp_path / "bomb.pt"
    torch.save({**state, "zeros": torch.zeros(100_000)}, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "grow" in refusal(packed).what


def test_wrappers_are_taken_off_as_timm_does(tmp_path, state):
    """Averaged weights come first, then state_dict, then model; numbers and options beside them are left."""
    path = tmp_path / "x.pt"
    averaged = {name: value + 1 for name, value in state.items()}
    extras = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}}
    torch.save({"model": {"x": torch.ones(1)}, "state_dict": state, "state_dict_ema": averaged, **extras}, path)
    assert torch.equal(read_checkpoint(path).tensors["conv.weight"], averaged["conv.weight"])
    torch.save({"model": {"x": torch.ones(1)}, "state_dict": state, "state_dict_ema": None, **extras}, path)
    assert torch.equal(read_checkpoint(path).tensors["conv.weight"], state["conv.weight"])
    torch.save({**state, "model": "resnet", "epoch": 3}, path)
    assert list(read_checkpoint(path).tensors) == list(state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_training_are_taken_off(tmp_path, state, prefix):
    """Compiled and data-parallel networks name their tensors like the network inside."""
    path = tmp_path / "x.pt"
    torch.save({prefix + name: value for name, value in state.items()}, path)
    assert list(read_checkpoint(path).tensors) == list(state)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (torch.ones(3), "type Tensor"),
        ([1, 2], "type list"),
        ({}, "but nothing"),
        ({"epoch": 3, "lr": 0.1}, "but epoch, lr"),
        ({0: torch.ones(1)}, "but 0"),
        ({"a": torch.eye(3).to_sparse()}, "sparse"),
        ({"a": torch.ones(2, device="meta")}, "without numbers"),
    ],
)
def test_files_without_plain_tensors_by_name(tmp_path, content, expected):
    """What the file holds instead is said."""
    path = tmp_path / "x.pt"
    torch.save(content, path)
    assert expected in refusal(path).what


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning", "ignore:TypedStorage:UserWarning")
def test_quantised_tensors_are_refused(tmp_path):
    """Tensors whose stored numbers mean something else are rejected by name."""
    path = tmp_path / "x.pt"
    torch.save({"conv.weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, path)
    assert "conv.weight is quantised" in refusal(path).what


def test_names_from_a_file_cannot_break_the_message(tmp_path):
    """Line breaks and escape bytes in names are shown, not obeyed."""
    path = tmp_path / "x.pt"
    torch.save({"a\n\x1b[31m": 1}, path)
    assert "\\n\\x1b[31m" in refusal(path).what


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a.weight": torch.zeros(1).expand(10**9, 96)}, "a.weight is stretched"),
        ({"a.weight": torch.zeros(16, 0, 3, 3)}, "a.weight is without numbers"),
        ({"a.weight": torch.ones(2), "module.a.weight": torch.zeros(2)}, "holds a.weight twice"),
    ],
)
def test_tensors_that_are_not_what_they_seem_are_refused(tmp_path, content, expected):
    """A small file cannot stand for a huge network, an empty one or two networks at once."""
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    assert expected in refusal(path).what


def test_the_wrapper_is_reported(tmp_path, state):
    """Averaged weights are preferred as timm does, and it is known that they were."""
    path = tmp_path / "both.pt"
    torch.save({"state_dict": {name: value * 0 for name, value in state.items()}, "state_dict_ema": state}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.wrapper == "state_dict_ema"
    assert all(torch.equal(checkpoint.tensors[name], state[name]) for name in state)


def test_the_content_decides_and_not_the_suffix(state, tmp_path):
    """A file of torch.save is read under the name of a safetensors file too."""
    torch.save(state, tmp_path / "x.safetensors")
    assert set(read_checkpoint(tmp_path / "x.safetensors").tensors) == set(state)


def test_a_header_of_a_million_tensors_is_refused_before_it_is_read(tmp_path):
    """What a header takes is bounded by its length, which the file states first."""
    path = tmp_path / "many.safetensors"
    path.write_bytes((20_000_000).to_bytes(8, "little") + b"{" + b" " * 19_999_999)
    assert "at most 10 MB" in refusal(path).what


def test_a_newer_pickle_protocol_is_named(tmp_path, state):
    """A sound file whose protocol torch cannot read without running code is not called damaged."""
    for kind in (True, False):
        torch.save(state, tmp_path / "x.pt", pickle_protocol=4, _use_new_zipfile_serialization=kind)
        assert "pickle protocol 4" in refusal(tmp_path / "x.pt").what


def test_newer_types_in_the_old_format_are_not_called_damage(tmp_path, state):
    """Torch writes float8 in its old format, but does not read it."""
    state["conv.bias"] = state["conv.bias"].to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert "old format of torch.save" in refusal(tmp_path / "x.pt").what


@pytest.mark.parametrize("kind", ["F4", "F6_E2M3", "XX"])
def test_a_type_of_safetensors_that_torch_lacks_is_named(tmp_path, kind):
    """The error names the tensor and its type."""
    entry = {"dtype": kind, "shape": [2, 4], "data_offsets": [0, 4]}
    head = json.dumps({"conv.weight": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    assert f"its tensor conv.weight is {kind}" in refusal(tmp_path / "x.safetensors").what


@pytest.mark.parametrize("dtype", [torch.float4_e2m1fn_x2, torch.bits8])
def test_packed_types_are_named(tmp_path, state, dtype):
    """Types of which torch cannot make numbers are rejected with the tensor and the type."""
    state["conv.bias"] = torch.zeros(2, dtype=torch.uint8).view(dtype)
    torch.save(state, tmp_path / "x.pt")
    assert f"its tensor conv.bias is {dtype}" in refusal(tmp_path / "x.pt").what


def keras(path):
    """A file as Keras 3 writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "x")


def array(path):
    """A file of numpy.save."""
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def arrays(path):
    """A file of numpy.savez."""
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))


@pytest.mark.parametrize(
    ("write", "expected", "hint"),
    [
        (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\x99" + bytes(500), "is an ONNX model", "onnx.numpy_helper"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "is an HDF5 file", 'layout="keras"'),
        (keras, "is a Keras model", 'layout="keras"'),
        (array, "is a NumPy array", "plot_kernels(array)"),
        (arrays, "is a NumPy archive", "plot_kernels(array)"),
        (b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite", 'layout="keras"'),
        (b"\x1f\x8b\x08" + bytes(100), "is compressed", "Unpack"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path, write, expected, hint):
    """By content, with what to do instead."""
    path = tmp_path / "weights.bin"
    if isinstance(write, bytes):
        path.write_bytes(write)
    else:
        write(path)
    error = refusal(path)
    assert expected in error.what
    assert hint in error.hint
