"""What a unit reads, found without any of our arithmetic: where its gradient on the image is not zero.

Weights are positive, max pools are average pools, activations and normalisations are taken out and gates are constants,
so that nothing can cancel.
"""

from __future__ import annotations

import random

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ACTIVATIONS = {
    "relu", "relu_", "relu6", "gelu", "silu", "silu_", "sigmoid", "sigmoid_", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "leaky_relu_", "elu", "elu_", "tanh", "mish", "softplus", "clamp", "clamp_", "prelu", "softmax",
    "hardtanh_", "hardsigmoid_", "hardswish_", "selu",
}  # fmt: skip
MAX_POOLS = {functional.max_pool2d, functional._max_pool2d, torch.max_pool2d}
NORMS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
MEANS = {"mean", "adaptive_avg_pool2d", "adaptive_max_pool2d", "norm", "normalize", "vector_norm", "amax"}


class Linear(TorchFunctionMode):
    """Within it a network is linear with positive weights, and gates are constants."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ACTIVATIONS | NORMS:
            return args[0]
        if func in MAX_POOLS:
            return self.averaged(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            query, key, value = args[:3]
            return (query @ key.transpose(-2, -1)) @ value
        result = func(*args, **kwargs)
        if name in MEANS and isinstance(result, torch.Tensor) and self.loses_place(name, result, args, kwargs):
            return result.detach()
        return result

    @staticmethod
    def averaged(x, kernel_size, stride=None, padding=0, *more, **named):
        """An average pool in a max pool's place."""
        dilation, ceil_mode = (*more, *(1, False)[len(more) :])[:2]
        assert named.get("dilation", dilation) in {1, (1, 1)}
        ceil_mode = named.get("ceil_mode", ceil_mode)
        return functional.avg_pool2d(x, kernel_size, stride, padding, ceil_mode=ceil_mode)

    @staticmethod
    def loses_place(name, result, args, kwargs):
        """Whether rows and columns were reduced to one."""
        x = args[0]
        if x.ndim != 4:
            return False
        dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if (
            "adaptive" not in name
            and isinstance(dims, (tuple, list))
            and {dim % 4 for dim in dims} <= {1, 2, 3}
            and len(dims) == 2
        ):
            return True
        return tuple(result.shape[2:]) == (1, 1) and tuple(x.shape[2:]) != (1, 1)


def positive(network):
    """The network in float64 with positive weights; buffers stay."""
    network = network.double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            parameter.copy_((torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5) / fan)
    return network


def gradient_boxes(network, size, wanted):
    """For each (layer, dimensions of row and column, row, column) the box of its gradient, or None where it is zero."""
    outputs = {}

    def keeping(name):
        def keep(_module, _inputs, output):
            outputs.setdefault(name, output.clone() if isinstance(output, torch.Tensor) else output)

        return keep

    names = {name for name, *_ in wanted}
    modules = {name or type(network).__name__: module for name, module in network.named_modules()}
    hooks = [modules[name].register_forward_hook(keeping(name)) for name in names]
    image = (torch.rand(1, *size, dtype=torch.float64) + 0.5).requires_grad_()
    with Linear():
        network(image)
    for hook in hooks:
        hook.remove()
    return [_box(outputs[name], image, dims, row, column) for name, dims, row, column in wanted]


def _box(output, image, dims, row, column):
    (_, near), (dim, far) = sorted(zip(dims, (row, column), strict=True))
    unit = output.select(dim, far).select(min(dims), near)
    if not unit.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(unit.sum(), image, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    support = gradient.abs().sum(dim=(0, 1)) > 0
    rows, columns = support.any(dim=1).nonzero(), support.any(dim=0).nonzero()
    if not len(rows):
        return None
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def random_units(trace, *, layers, units, seed=0):
    """Corners and inner units of random layers whose output is a map with a known field."""
    rng = random.Random(seed)
    maps = []
    for layer in trace.layers:
        words = layer.layout.split()
        if (
            layer.field
            and layer.runs == 1
            and words.count("H") == words.count("W") == words.count("C") == 1
            and len(words) == 4
            and words[0] == "N"
        ):
            dims = words.index("H"), words.index("W")
            told = tuple(len(axis.first) for axis in layer.field.axes)
            assert told == tuple(layer.output_shape[dim - 1] for dim in dims), f"{layer.name}: units {told}"
            maps.append((layer, dims))
    wanted = []
    for layer, dims in rng.sample(maps, min(layers, len(maps))):
        rows, columns = (len(axis.first) for axis in layer.field.axes)
        corners = [(0, 0), (rows - 1, columns - 1), (0, columns - 1)]
        inner = [(rng.randrange(rows), rng.randrange(columns)) for _ in range(units)]
        wanted += [(layer.name, dims, row, column) for row, column in corners + inner]
    return wanted


def compare(network, size, *, layers=12, units=4, seed=0):
    """How many units were compared, and those whose box is not the gradient's, as text."""
    from kernelviz.network.tracing.trace import trace

    told = trace(network, size)
    wanted = random_units(told, layers=layers, units=units, seed=seed)
    wrong, checked = [], 0
    for (name, _, row, column), box in zip(wanted, gradient_boxes(positive(network), size, wanted), strict=True):
        found = told.field_of(name, row, column)
        reads_nothing = found.top > found.bottom or found.left > found.right
        if box is None and told.layer(name).field.mixes_image:
            continue  # behind a gate, which is a constant here
        checked += 1
        if box is None and reads_nothing:
            continue
        if (found.top, found.bottom, found.left, found.right) != box:
            wrong.append(f"{name} ({row}, {column}): {found}, gradient {box}")
    return checked, wrong
