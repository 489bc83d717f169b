"""What a module really gives, found without hooks, copies or any of our code: the pass ends right behind it."""

from __future__ import annotations

import contextlib

import torch


class Stopped(BaseException):
    """Ends a pass with what a module gave, or took."""


def value_at(network, name, batch, *, run=0, taken=False):
    """What the module of this name gives (or takes) in its run of this number, the rest of the pass left undone."""
    module, runs = network.get_submodule(name), iter(range(run + 1))
    forward = module.forward

    def stopping(*args, **kwargs):
        if next(runs) == run:
            raise Stopped(args if taken else forward(*args, **kwargs))
        return forward(*args, **kwargs)

    module.forward = stopping
    try:
        with torch.no_grad():
            network(batch)
    except Stopped as stopped:
        return stopped.args[0]
    finally:
        with contextlib.suppress(AttributeError):
            del module.forward
    raise AssertionError(f"{name} does not run {run + 1} times")


def tensors_of(value):
    """The tensors of a tensor, or of nested tuples, lists and dicts, in their order."""
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for item in items for tensor in tensors_of(item)]


def parsed(name):
    """Module, run from 0, and part of ``module#2:0``."""
    module, _, part = name.partition(":")
    module, _, run = module.partition("#")
    return module, int(run or 1) - 1, int(part or 0)


def known_maps(tensor, shape, *, last=False, prefix=0):
    """A tensor as maps (C, H, W) by its family's own rule; None where this module knows no rule.

    Channels first, unless ``last``; tokens, in heads or not, behind ``prefix`` others, in rows.
    """
    channels, height, width = shape
    if tensor.ndim == 4 and prefix and tensor.shape[2] == prefix + height * width:
        return tensor[0, :, prefix:].transpose(1, 2).reshape(shape)  # heads of attention
    if tensor.ndim == 4 and last:
        return tensor[0].permute(2, 0, 1)
    if tensor.ndim == 4:
        return tensor[0]
    if tensor.ndim == 3 and tensor.shape == (1, prefix + height * width, channels):
        return tensor[0, prefix:].T.reshape(shape)
    return None
