"""All layers of a network of each of timm's modules: pictures, or one clear complaint."""

from __future__ import annotations

import pytest

SAMPLE = ["test_resnet", "test_vit", "test_nfnet"]
SMALL = ("test_", "tiny", "nano", "pico", "femto", "atto", "_s", "small", "_xxs", "_b0", "_t", "base", "18")


def smallest(module):
    """The network of one of timm's modules with the fewest parameters, of those whose names say that they are small."""
    import timm
    import torch

    names = timm.list_models(module=module)
    named = [name for name in names if any(word in name for word in SMALL)] or names

    def parameters(name):
        with torch.device("meta"):
            try:
                return sum(parameter.numel() for parameter in timm.create_model(name).parameters())
            except (NotImplementedError, RuntimeError):  # one that computes with numbers while it is built
                return 10**12

    return min(named[:8], key=parameters, default=None)


def check(run, name):
    """Every layer is drawn, or told of."""
    size = ["--input-size", "96"] if name.startswith("test_resnet") else []
    finished = run(
        "features", name, "sample:grace_hopper", "-l", "*", "--style", "bare", "--weights", "random", "--no-classes", *size
    )  # fmt: skip
    if finished.code:
        assert finished.code in {1, 2}
        assert 1 <= len(finished.complaint) <= 3
        return finished.complaint[0]
    assert len(finished.paths) >= 5
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in finished.paths)
    return f"{len(finished.paths)} pictures"


@pytest.mark.parametrize("name", SAMPLE)
def test_all_layers_of_a_few(run, name):
    """A residual network, a transformer, one without normalisation."""
    assert check(run, name).endswith("pictures")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(98))
def test_all_layers_of_every_module(run, number, capsys):
    """The smallest network of each of timm's modules."""
    import timm

    modules = sorted(timm.list_modules())
    name = smallest(modules[number]) if number < len(modules) else None
    if name is None:
        pytest.skip("timm's module has no models")
    ended = check(run, name)
    with capsys.disabled():
        print(f"\n{modules[number]}: {name}: {ended}", end=" ")  # noqa: T201
