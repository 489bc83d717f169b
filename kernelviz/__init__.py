"""kernelviz shows what the convolutions of a network learned and what they do to an image.

The data go one way, and each step is one verb::

    model = kernelviz.load_model("tf_efficientnet_lite0")
    layer = kernelviz.select_layers(model, "conv_stem")[0]
    bank = kernelviz.read_kernels(model, layer)
    sheet = kernelviz.make_sheet(bank, view="sum")
    mosaic = kernelviz.make_mosaic(sheet)
    kernelviz.save_picture(mosaic, "stem.png")

and from an image to what the layers make of it::

    image = kernelviz.read_image("photo.jpg")
    maps = kernelviz.capture_features(model, image, "blocks.2")[0]
    kernelviz.save_picture(kernelviz.plot_features(maps, top=16), "maps.png")
    kernelviz.save_picture(kernelviz.plot_overlay(maps), "overlay.png")

``plot_kernels(net.conv1.weight)`` draws any weight, tensor or array, in one go. The names below are imported when they
are first used, so that ``import kernelviz`` needs neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelviz.colours import ColourDirection, colour_directions
    from kernelviz.components import Basis, CovarianceTally
    from kernelviz.convolutions import Convolution
    from kernelviz.drawing.animation import animate_convolution
    from kernelviz.drawing.bank import plot_filters
    from kernelviz.drawing.channel_statistics import plot_statistics
    from kernelviz.drawing.contact import ContactSheet, plot_contact
    from kernelviz.drawing.convolution import plot_convolution
    from kernelviz.drawing.figures import plot_features, plot_kernels
    from kernelviz.drawing.filtered import plot_filter
    from kernelviz.drawing.growth import plot_growth
    from kernelviz.drawing.highlights import Highlights, highlights_of
    from kernelviz.drawing.matches import plot_matches
    from kernelviz.drawing.mosaic import Mosaic, make_mosaic
    from kernelviz.drawing.overlay import plot_overlay
    from kernelviz.drawing.overview import plot_overview
    from kernelviz.drawing.sheets import Sheet, make_sheet
    from kernelviz.drawing.singles import Singles, make_singles
    from kernelviz.drawing.unit import plot_kernel_and_map, plot_unit
    from kernelviz.errors import KernelvizError
    from kernelviz.files.bases import read_basis, save_basis
    from kernelviz.files.images import read_image
    from kernelviz.files.recipes import read_recipe
    from kernelviz.files.singles import save_singles
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.filtering import Response, apply_filter, apply_kernel
    from kernelviz.filters import Filter, classical_filters, find_filter
    from kernelviz.many import FailedImage, capture_many
    from kernelviz.matching import KernelMatch, Matches, match_kernels
    from kernelviz.network.classifying import classify
    from kernelviz.network.features import capture_features
    from kernelviz.network.kernels import read_kernels
    from kernelviz.network.layers import list_layers, select_layers
    from kernelviz.network.models import Model, find_models, load_model
    from kernelviz.network.trace import trace
    from kernelviz.network.unit import trace_unit
    from kernelviz.pooling import Pooling
    from kernelviz.records import ClassScore, ConvLayer, FeatureMaps, Image, KernelBank
    from kernelviz.statistics import ChannelStatistics, ChannelTally
    from kernelviz.traces import Trace
    from kernelviz.transposed import TransposedConvolution
    from kernelviz.units import Unit
    from kernelviz.walkthrough import work_out

__version__ = "0.1.0"

_HOMES = {
    "Basis": "components",
    "ChannelStatistics": "statistics",
    "ChannelTally": "statistics",
    "ClassScore": "records",
    "ColourDirection": "colours",
    "ContactSheet": "drawing.contact",
    "ConvLayer": "records",
    "Convolution": "convolutions",
    "CovarianceTally": "components",
    "FailedImage": "many",
    "FeatureMaps": "records",
    "Filter": "filters",
    "Highlights": "drawing.highlights",
    "Image": "records",
    "KernelBank": "records",
    "KernelMatch": "matching",
    "KernelvizError": "errors",
    "Matches": "matching",
    "Model": "network.models",
    "Mosaic": "drawing.mosaic",
    "Pooling": "pooling",
    "Response": "filtering",
    "Sheet": "drawing.sheets",
    "Singles": "drawing.singles",
    "Trace": "traces",
    "TransposedConvolution": "transposed",
    "Unit": "units",
    "animate_convolution": "drawing.animation",
    "apply_filter": "filtering",
    "apply_kernel": "filtering",
    "capture_features": "network.features",
    "capture_many": "many",
    "classical_filters": "filters",
    "classify": "network.classifying",
    "colour_directions": "colours",
    "find_filter": "filters",
    "find_models": "network.models",
    "highlights_of": "drawing.highlights",
    "list_layers": "network.layers",
    "load_model": "network.models",
    "make_mosaic": "drawing.mosaic",
    "make_sheet": "drawing.sheets",
    "make_singles": "drawing.singles",
    "match_kernels": "matching",
    "plot_contact": "drawing.contact",
    "plot_convolution": "drawing.convolution",
    "plot_features": "drawing.figures",
    "plot_filter": "drawing.filtered",
    "plot_filters": "drawing.bank",
    "plot_growth": "drawing.growth",
    "plot_kernel_and_map": "drawing.unit",
    "plot_kernels": "drawing.figures",
    "plot_matches": "drawing.matches",
    "plot_overlay": "drawing.overlay",
    "plot_overview": "drawing.overview",
    "plot_statistics": "drawing.channel_statistics",
    "plot_unit": "drawing.unit",
    "read_basis": "files.bases",
    "read_image": "files.images",
    "read_kernels": "network.kernels",
    "read_recipe": "files.recipes",
    "save_arrays": "files.writing",
    "save_basis": "files.bases",
    "save_picture": "files.writing",
    "save_singles": "files.singles",
    "select_layers": "network.layers",
    "trace": "network.trace",
    "trace_unit": "network.unit",
    "work_out": "walkthrough",
}

__all__ = [
    "Basis",
    "ChannelStatistics",
    "ChannelTally",
    "ClassScore",
    "ColourDirection",
    "ContactSheet",
    "ConvLayer",
    "Convolution",
    "CovarianceTally",
    "FailedImage",
    "FeatureMaps",
    "Filter",
    "Highlights",
    "Image",
    "KernelBank",
    "KernelMatch",
    "KernelvizError",
    "Matches",
    "Model",
    "Mosaic",
    "Pooling",
    "Response",
    "Sheet",
    "Singles",
    "Trace",
    "TransposedConvolution",
    "Unit",
    "__version__",
    "animate_convolution",
    "apply_filter",
    "apply_kernel",
    "capture_features",
    "capture_many",
    "classical_filters",
    "classify",
    "colour_directions",
    "find_filter",
    "find_models",
    "highlights_of",
    "list_layers",
    "load_model",
    "make_mosaic",
    "make_sheet",
    "make_singles",
    "match_kernels",
    "plot_contact",
    "plot_convolution",
    "plot_features",
    "plot_filter",
    "plot_filters",
    "plot_growth",
    "plot_kernel_and_map",
    "plot_kernels",
    "plot_matches",
    "plot_overlay",
    "plot_overview",
    "plot_statistics",
    "plot_unit",
    "read_basis",
    "read_image",
    "read_kernels",
    "read_recipe",
    "save_arrays",
    "save_basis",
    "save_picture",
    "save_singles",
    "select_layers",
    "trace",
    "trace_unit",
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
