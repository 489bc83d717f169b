"""kernelviz shows what the convolutions of a network learned and what they do to an image.

The data go one way, and each step is one verb::

    model = kernelviz.load_model("tf_efficientnet_lite0")
    layer = kernelviz.select_layers(model, "conv_stem")[0]
    bank = kernelviz.read_kernels(model, layer)
    sheet = kernelviz.make_sheet(bank, view="sum")
    mosaic = kernelviz.make_mosaic(sheet)
    kernelviz.save_picture(mosaic, "stem.png")

``plot_kernels(net.conv1.weight)`` draws any weight, tensor or array, in one go. The names below are imported when they
are first used, so that ``import kernelviz`` needs neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelviz.convolutions import Convolution
    from kernelviz.drawing.animation import animate_convolution
    from kernelviz.drawing.convolution import plot_convolution
    from kernelviz.drawing.figures import plot_features, plot_kernels
    from kernelviz.drawing.growth import plot_growth
    from kernelviz.drawing.mosaic import Mosaic, make_mosaic
    from kernelviz.drawing.sheets import Sheet, make_sheet
    from kernelviz.errors import KernelvizError
    from kernelviz.files.images import read_image
    from kernelviz.files.recipes import read_recipe
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.network.features import capture_features
    from kernelviz.network.kernels import read_kernels
    from kernelviz.network.layers import list_layers, select_layers
    from kernelviz.network.models import Model, find_models, load_model
    from kernelviz.network.trace import trace
    from kernelviz.pooling import Pooling
    from kernelviz.records import ConvLayer, FeatureMaps, Image, KernelBank
    from kernelviz.traces import Trace
    from kernelviz.transposed import TransposedConvolution
    from kernelviz.walkthrough import work_out

__version__ = "0.1.0.dev0"

_HOMES = {
    "ConvLayer": "records",
    "Convolution": "convolutions",
    "FeatureMaps": "records",
    "Image": "records",
    "KernelBank": "records",
    "KernelvizError": "errors",
    "Model": "network.models",
    "Mosaic": "drawing.mosaic",
    "Pooling": "pooling",
    "Sheet": "drawing.sheets",
    "Trace": "traces",
    "TransposedConvolution": "transposed",
    "animate_convolution": "drawing.animation",
    "capture_features": "network.features",
    "find_models": "network.models",
    "list_layers": "network.layers",
    "load_model": "network.models",
    "make_mosaic": "drawing.mosaic",
    "make_sheet": "drawing.sheets",
    "plot_convolution": "drawing.convolution",
    "plot_features": "drawing.figures",
    "plot_growth": "drawing.growth",
    "plot_kernels": "drawing.figures",
    "read_image": "files.images",
    "read_kernels": "network.kernels",
    "read_recipe": "files.recipes",
    "save_arrays": "files.writing",
    "save_picture": "files.writing",
    "select_layers": "network.layers",
    "trace": "network.trace",
    "work_out": "walkthrough",
}

__all__ = [
    "ConvLayer",
    "Convolution",
    "FeatureMaps",
    "Image",
    "KernelBank",
    "KernelvizError",
    "Model",
    "Mosaic",
    "Pooling",
    "Sheet",
    "Trace",
    "TransposedConvolution",
    "__version__",
    "animate_convolution",
    "capture_features",
    "find_models",
    "list_layers",
    "load_model",
    "make_mosaic",
    "make_sheet",
    "plot_convolution",
    "plot_features",
    "plot_growth",
    "plot_kernels",
    "read_image",
    "read_kernels",
    "read_recipe",
    "save_arrays",
    "save_picture",
    "select_layers",
    "trace",
    "work_out",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kernelviz' has no attribute {name!r}")
    value = getattr(import_module(f"kernelviz.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
