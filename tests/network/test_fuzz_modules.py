"""Modules that return and do anything: a result or a documented error, and the network stays as it was."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch._C import _len_torch_dispatch_stack

import kernelviz
from kernelviz.errors import KernelvizError
from kernelviz.network.layer_operation import layer_operation
from kernelviz.network.model import Model
from kernelviz.records import Source

SIZE = (3, 8, 9)
SECONDS = 60
"""A call that takes longer counts as one that hangs."""

Pair = namedtuple("Pair", "first second")  # noqa: PYI024  (what networks return)


@dataclass
class Output:
    """What some libraries return."""

    maps: Any
    text: str = "text"


class Subclass(torch.Tensor):
    """A tensor of a class of its own."""


class Failing(Mapping[str, Any]):
    """A mapping without contents that can be read."""

    def __getitem__(self, key):
        raise RuntimeError("not\nreadable")

    def __iter__(self):
        raise RuntimeError("not\nreadable")

    def __len__(self):
        return 3


class FailingError(Exception):
    """An error that has no text."""

    def __str__(self):
        raise ValueError("no text")


def cycle(image):
    """A list that contains itself."""
    values = [image]
    values.append(values)
    return values


def cycle_of_dicts(image):
    """A dict that contains itself."""
    values = {"image": image}
    values["itself"] = (values, values)
    return values


def deep(image):
    """Ten thousand lists in one another."""
    values = [image]
    for _ in range(10_000):
        values = [values]
    return values


def shared(image):
    """Sixty lists, each twice in the next one: 2**60 paths lead to the tensor."""
    values = [image]
    for _ in range(60):
        values = [values, values]
    return values


LEAVES = {
    "itself": lambda x: x,
    "none": lambda _: None,
    "text": lambda _: "text [/bold]",
    "bytes": lambda _: b"\x00\xff",
    "int": lambda _: 10**30,
    "float": lambda _: float("nan"),
    "class": lambda _: nn.Module,
    "ellipsis": lambda _: ...,
    "size": lambda x: x.shape,
    "array": lambda _: np.zeros((1, 3, 8, 9)),
    "module": lambda _: nn.Conv2d(3, 3, 1),
    "generator": lambda x: (x for _ in range(2)),
    "dataclass": Output,
    "named tuple": lambda x: Pair(x, x.relu()),
    "ordered": lambda x: OrderedDict(first=x, second=x),
    "failing mapping": lambda _: Failing(),
    "set": lambda x: {x},
    "cycle": cycle,
    "cycle of dicts": cycle_of_dicts,
    "deep": deep,
    "shared": shared,
    "wide": lambda x: [x] * 300,
    "no row": lambda x: x[:, :, :0],
    "no channel": lambda x: x[:, :0],
    "no image": lambda x: x[:0],
    "nothing": lambda x: x.new_empty(0),
    "scalar": lambda x: x.mean(),
    "vector": lambda x: x.flatten(1),
    "line": lambda x: x.flatten(),
    "matrix": lambda x: x[0, 0],
    "rank 3": lambda x: x[0],
    "rank 5": lambda x: x[:, :, None],
    "rank 7": lambda x: x[:, None, :, None, :, None],
    "pooled": lambda x: x.mean((2, 3), keepdim=True),
    "two images": lambda x: torch.cat([x, x]),
    "expanded": lambda x: x[:, :, None].expand(-1, -1, 5, -1, -1),
    "huge": lambda x: x[:, :, :1, :1].expand(1, 3, 2**20, 2**20),
    "large": lambda x: x[:, :, :1].expand(1, 3, 2**22, -1),
    "far too many channels": lambda x: x[:, :1].expand(1, 2**24, -1, -1),
    "turned": lambda x: x.mT,
    "flipped": lambda x: x.flip(2),
    "stepped": lambda x: x[..., ::2, ::3],
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "strange strides": lambda x: x.as_strided((1, 3, 4, 4), (0, 1, 2, 1)),
    "unfolded": lambda x: x.unfold(2, 3, 1),
    "sorted": lambda x: x.sort(dim=2),
    "indexed": lambda x: x[..., torch.arange(3)],
    "interpolated": lambda x: nn.functional.interpolate(x, size=(5, 1)),
    "bool": lambda x: x > 0,
    "int64": lambda x: x.to(torch.int64),
    "int8": lambda x: x.to(torch.int8),
    "uint16": lambda x: x.to(torch.int32).to(torch.uint16),
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "double": lambda x: x.double(),
    "float8": lambda x: x.to(torch.float8_e4m3fn),
    "float8 e8m0": lambda x: x.to(torch.float8_e8m0fnu),
    "complex": lambda x: torch.complex(x, x),
    "complex half": lambda x: x.to(torch.complex32),
    "nan": lambda x: x * float("nan"),
    "infinite": lambda x: x / 0,
    "vast": lambda x: x.double() * 1e308,
    "sparse": lambda x: x.to_sparse(),
    "sparse rows": lambda x: x[0, 0].to_sparse_csr(),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    "mkldnn": lambda x: x.to_mkldnn(),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[0, :, :2]]),
    "meta": lambda x: x.to("meta"),
    "subclass": lambda x: x.as_subclass(Subclass),
    "parameter": lambda x: nn.Parameter(x.detach()),
    "needing gradients": lambda x: x.detach().requires_grad_(),
    "written": lambda x: x.add_(1),
    "squeezed in place": lambda x: x.clone().squeeze_(0),
    "constant": lambda _: torch.ones(1, 3, 4, 4),
    "random": lambda x: x + torch.randn_like(x),
    "item": lambda x: x * x.sum().item(),
}  # fmt: skip
"""What a module may return, of the tensor that it computed."""

BOXES = {
    "list": list,
    "tuple": tuple,
    "dict": lambda values: dict(enumerate(values)),
    "named": lambda values: Pair(values[0] if values else None, values[1:]),
    "data": Output,
    "iterator": iter,
}


def values():
    """A strategy for what a module returns: the name of a leaf, or (box, values)."""
    boxes = st.sampled_from(list(BOXES))
    leaves = st.sampled_from(list(LEAVES))
    return st.recursive(leaves, lambda inner: st.tuples(boxes, st.lists(inner, max_size=3)), max_leaves=4)


def build(value, image):
    """The value of such a description."""
    if isinstance(value, str):
        return LEAVES[value](image)
    return BOXES[value[0]]([build(each, image) for each in value[1]])


def fail_with(error):
    """A deed that raises."""

    def fail(*_):
        raise error

    return fail


def recur(part, _root, image):
    """Call oneself without an end."""
    part(image)


def change_hooks(part, root, _image):
    """Add hooks that change the output, and forget others."""
    part.register_forward_hook(lambda *_: None)
    root.register_forward_pre_hook(lambda *_: None)
    part.conv.register_forward_hook(lambda _module, _inputs, output: output * 2)


def forget_hooks(part, _root, _image):
    """Remove all hooks, those of others too."""
    part._forward_hooks.clear()
    part._forward_pre_hooks.clear()


def grow(part, root, image):
    """Add a module during the forward pass, and run it."""
    part.more = nn.Conv2d(3, 3, 1, device=image.device)
    part.more(image)
    root.add_module("late", nn.ReLU())


def shrink(part, root, _image):
    """Remove a module during the forward pass."""
    part.conv = None
    root._modules.popitem()


def change_parameters(part, _root, _image):
    """Replace parameters, and add others."""
    part.conv.weight = nn.Parameter(torch.ones(3, 3, 1, 1))
    part.register_parameter("extra", None)
    part.scale = nn.Parameter(torch.ones(1))


def change_buffers(part, _root, _image):
    """Write into buffers, replace them, add others."""
    part.count += 1
    part.kept.append(1)
    part.facts["a"] = part
    part.register_buffer("fresh", torch.zeros(2))


def change_modes(part, root, _image):
    """Change modes."""
    root.train()
    part.eval()
    torch.set_grad_enabled(True)


def draw_numbers(_part, _root, _image):
    """Use and seed random numbers of every kind."""
    torch.manual_seed(3)
    torch.rand(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002


DEEDS = {
    "nothing": lambda *_: None,
    "modes": change_modes,
    "hooks": change_hooks,
    "no hooks": forget_hooks,
    "grow": grow,
    "shrink": shrink,
    "parameters": change_parameters,
    "buffers": change_buffers,
    "numbers": draw_numbers,
    "recur": recur,
    "error": fail_with(ValueError("two\nlines of \x1b[31m text")),
    "silent error": fail_with(RuntimeError()),
    "failing error": fail_with(FailingError()),
    "key error": fail_with(KeyError(("a", 1))),
    "no memory": fail_with(MemoryError()),
    "no more": fail_with(StopIteration()),
    "own error": fail_with(KernelvizError("The network's own words.")),
    "assertion": fail_with(AssertionError()),
    "interrupted": fail_with(KeyboardInterrupt()),
    "exit": fail_with(SystemExit(3)),
    "generator exit": fail_with(GeneratorExit()),
}
"""What a module may do before it returns."""

ATTRIBUTES = {
    "feature_info": [3, lambda: 3, [{"module": 7}], [{"module": "a"}, {"module": "nosuch"}, None], torch.ones(3)],
    "pretrained_cfg": [3, "text", {"classifier": 3}],
    "num_classes": ["many", -1, None],
    "kernel_size": [None, "3", (1, 2, 3, 4), -1],
    "padding_mode": [3, "circular", None],
    "stride": [None, "x"],
    "padding": [None, "same"],
    "num_experts": [0, "x", 2],
    "weight": [None, 3, "text"],
    "_orig_mod": [3, None],
    "parametrizations": [{}, 3],
    "in_features": ["x"],
}
"""Attributes with names that mean something, and values that do not."""

KINDS = ["Odd", "CondConv2d", "MaxPool2d", "LayerNorm", "Conv2dSame", "Größe", "RecursiveScriptModule"]
NAMES = ["a", "stage:0", "a:0", "a#2", "*", "[", "weight", "\x1b[31m", "größe", "x y", "self", "keys"]


class Odd(nn.Module):
    """Does ``deed``, convolves, and returns ``value``."""

    def __init__(self, value, deed):
        super().__init__()
        self.value, self.deed = value, DEEDS[deed]
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer("count", torch.zeros(3))
        self.kept, self.facts, self.roots = [], {}, []

    def forward(self, image, **_others):
        """Whatever was chosen."""
        self.deed(self, self.roots[0], image)
        return build(self.value, self.conv(image))


class Network(nn.Module):
    """Runs parts as often as ``times`` says; what a part returns goes on if the next one can take it."""

    def __init__(self, parts, times, value):
        super().__init__()
        for name, part in parts:
            self._modules[name] = part
            part.roots.append(self)
        self.times, self.value = times, value

    def forward(self, image):
        """All parts, one after the other."""
        for number, part in enumerate(list(self._modules.values())):
            for turn in range(self.times[number % len(self.times)]):
                given = part(image) if turn % 2 == 0 else part(image=image, text="x", more=[image])
                if isinstance(given, torch.Tensor) and given.shape[:2] == (1, 3) and given.ndim == 4:
                    image = given if given.dtype == torch.float32 and given.numel() < 10**4 else image
        return build(self.value, image)


@st.composite
def networks(draw):
    """A network of up to three parts; parts may be shared, odd by name, kind or attribute, and in training mode."""
    parts = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        if parts and not draw(st.integers(0, 5)):
            part = parts[0][1]
        else:
            deed = draw(st.sampled_from(["nothing"] * 60 + list(DEEDS)))
            kind = draw(st.sampled_from(["Odd"] * 20 + KINDS))
            part = type(kind, (Odd,), {})(draw(values()), deed)
            if not draw(st.integers(0, 5)):
                attribute = draw(st.sampled_from(list(ATTRIBUTES)))
                vars(part)[attribute] = draw(st.sampled_from(ATTRIBUTES[attribute]))
        parts.append((name, part))
    times = draw(st.lists(st.integers(0, 3), min_size=1, max_size=2)) if draw(st.booleans()) else [1]
    network = Network(parts, times, draw(values()))
    if not draw(st.integers(0, 3)):
        attribute = draw(st.sampled_from(list(ATTRIBUTES)))
        vars(network)[attribute] = draw(st.sampled_from(ATTRIBUTES[attribute]))
    return network.train(draw(st.booleans()))


def numbers_of(tensor):
    """The numbers as text, in which NaN equals NaN; empty for tensors that cannot be read."""
    try:
        return repr(tensor.detach().tolist())
    except (RuntimeError, TypeError):
        return ""


def state(network):
    """What must be the same afterwards, comparable by ``==``."""
    parts = list(network.modules())
    hooks = [
        (name, list(vars(part).get(name, {}).items()))
        for part in parts
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    ]
    tensors = [
        (name, id(tensor), tensor.requires_grad, numbers_of(tensor))
        for part in parts
        for name, tensor in [*part._parameters.items(), *part._buffers.items()]
        if tensor is not None
    ]
    attributes = [
        (sorted(vars(part)), sorted(part._modules), part.training, list(getattr(part, "kept", []))) for part in parts
    ]
    numbers = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
    return (
        list(map(id, parts)),
        hooks,
        tensors,
        attributes,
        numbers,
        torch.is_grad_enabled(),
        _len_torch_dispatch_stack(),
    )


def functions(network, image):
    """Each public function that hooks, traces or reads a network, as (name, call)."""
    wrapped = Model(network, Source("odd", "odd", "odd", 0, preprocessing={"mean": (0,) * 3}), SIZE, ())
    names = [name for name, _ in network.named_modules() if name]

    def drawn(network, **choices):
        for maps in kernelviz.capture_features(network, image, **choices)[-1:]:
            kernelviz.plot_features(maps)

    def many(size):
        maps = []
        failed = kernelviz.capture_many(network, [image, image], "*", on_map=maps.append, batch_size=size)
        return [(each.name, check_error(each.error)) for each in failed]

    yield "capture_features", lambda: drawn(network)
    yield "capture_features of all", lambda: drawn(network, layers="*")
    yield "capture_features of a model", lambda: drawn(wrapped, layers=names)
    yield "capture_features of inputs", lambda: drawn(network, layers="*", tap="input")
    yield "capture_features of convolutions", lambda: drawn(network, kind="conv")
    yield "capture_many", lambda: many(1)
    yield "capture_many at once", lambda: many(2)
    yield "classify", lambda: kernelviz.classify(wrapped, image)
    yield "trace", lambda: kernelviz.plot_growth(kernelviz.trace(network, SIZE))
    yield "trace of a model", lambda: kernelviz.trace(wrapped)
    yield "list_layers", lambda: kernelviz.list_layers(network)
    yield "select_layers", lambda: kernelviz.select_layers(wrapped)
    yield "select_layers of all", lambda: kernelviz.select_layers(network, "*")
    for name in names:
        yield f"capture_features of {name!r}", lambda name=name: drawn(network, layers=name)
        yield f"trace_unit of {name!r}", lambda name=name: kernelviz.trace_unit(network, image, name, (0, 0, 0))
        yield f"layer_operation of {name!r}", lambda name=name: layer_operation(network, name, SIZE)
        yield f"read_kernels of {name!r}", lambda name=name: kernelviz.read_kernels(network, name)


def check_error(error):
    """An error of one line that says what happened, with reasons and hints of one line."""
    assert error.what, error
    assert all(len(line.splitlines()) <= 1 and line.isprintable() for line in (error.what, error.why, error.hint)), (
        error
    )
    assert len(str(error)) < 1500
    return type(error).__name__, error.what


@contextlib.contextmanager
def alarm():
    """Fail after some time."""

    def late(*_):
        raise TimeoutError(f"it takes more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(network):
    """Every function ends with a result or a documented error, and changes nothing."""
    image = torch.rand(SIZE, generator=torch.Generator().manual_seed(0))
    for name, call in functions(network, image):
        before, pixels = state(network), image.clone()
        try:
            with alarm():
                call()
        except KernelvizError as error:
            check_error(error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            pass  # these are no errors of the network
        except Exception as error:
            raise AssertionError((name, network)) from error
        assert state(network) == before, name
        assert torch.equal(image, pixels), name


def fuzz(examples, *, seeded):
    """Check many generated networks."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=seeded, suppress_health_check=list(HealthCheck)
    )
    @given(networks())
    def run(network):
        check(network)

    run()


@pytest.mark.filterwarnings("ignore")
def test_a_sample_of_modules_ends_as_documented():
    """The same few networks at every run."""
    fuzz(8, seeded=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("leaf", LEAVES)
def test_every_kind_of_value_ends_as_documented(leaf):
    """Each value by itself, from a part and from the network."""
    check(Network([("a", Odd(leaf, "nothing"))], [1], leaf))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("deed", DEEDS)
def test_every_deed_ends_as_documented(deed):
    """Each deed by itself, in training mode."""
    check(Network([("a", Odd("itself", deed))], [2], "itself").train())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_any_modules_end_as_documented():
    """New networks at every run; ``KERNELVIZ_FUZZ`` is their number."""
    fuzz(int(os.environ.get("KERNELVIZ_FUZZ", "1000")), seeded=False)
