"""kernelviz shows what the convolutions of a network learned and what they do to an image.

From a model to a picture of its kernels, step by step:

    model = kernelviz.load_model("tf_efficientnet_lite0")
    layer = kernelviz.select_layers(model, "conv_stem")[0]
    bank = kernelviz.read_kernels(model, layer)
    sheet = kernelviz.make_sheet(bank, view="sum")
    mosaic = kernelviz.make_mosaic(sheet)
    kernelviz.save_picture(mosaic, "stem.png")

and from an image to the feature maps of a layer:

    image = kernelviz.read_image("photo.jpg")
    maps = kernelviz.capture_features(model, image, "blocks.2")[0]
    kernelviz.save_picture(kernelviz.plot_features(maps, top=16), "maps.png")
    kernelviz.save_picture(kernelviz.plot_overlay(maps), "overlay.png")

a page on which to explore all of them:

    kernelviz.save_report(kernelviz.make_report(model, "photo.jpg"), "report.html")

``plot_kernels(net.conv1.weight)`` draws any weight, tensor or array, in one call. A convolution on your own numbers is a
``Walkthrough``, and each of its output values a ``Step``:

    worked = kernelviz.work_out(kernelviz.Convolution(3, 2), [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -1]])
    step = worked.step(1, 0)  # step.window * step.weights = step.products, their sum is step.value
    kernelviz.plot_convolution(worked, at=(1, 0))
    kernelviz.animate_convolution(worked)  # plays as the last line of a notebook cell
    kernelviz.make_playground(worked)  # a page with these numbers to type into, also shown there

In a notebook, figures and animations show themselves, traces and walkthroughs show tables. The public names are imported
at their first use, so that ``import kernelviz`` loads neither torch nor matplotlib.

The examples of the public names assume ``import kernelviz``, ``import numpy as np`` and ``import torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kernelviz.version import __version__ as __version__

if TYPE_CHECKING:
    from kernelviz.arithmetic.costs import Cost as Cost
    from kernelviz.arithmetic.costs import compare_costs as compare_costs
    from kernelviz.arithmetic.operations import Convolution as Convolution
    from kernelviz.arithmetic.operations import Pooling as Pooling
    from kernelviz.arithmetic.operations import TransposedConvolution as TransposedConvolution
    from kernelviz.arithmetic.steps import Step as Step
    from kernelviz.distributed.engines import InThisProcess as InThisProcess
    from kernelviz.distributed.gathering import Gathering as Gathering
    from kernelviz.distributed.gathering import gather_many as gather_many
    from kernelviz.drawing.changes_page import plot_changes as plot_changes
    from kernelviz.drawing.comparison_page import plot_comparison as plot_comparison
    from kernelviz.drawing.contact import ContactSheet as ContactSheet
    from kernelviz.drawing.contact import plot_contact as plot_contact
    from kernelviz.drawing.expanded_page import plot_expanded as plot_expanded
    from kernelviz.drawing.field_page import plot_fields as plot_fields
    from kernelviz.drawing.growth import plot_growth as plot_growth
    from kernelviz.drawing.mosaic import Mosaic as Mosaic
    from kernelviz.drawing.mosaic import Singles as Singles
    from kernelviz.drawing.mosaic import make_mosaic as make_mosaic
    from kernelviz.drawing.mosaic import make_singles as make_singles
    from kernelviz.drawing.number_tiles import plot_kernel_numbers as plot_kernel_numbers
    from kernelviz.drawing.overlay import plot_overlay as plot_overlay
    from kernelviz.drawing.overview import plot_overview as plot_overview
    from kernelviz.drawing.patches_page import plot_patches as plot_patches
    from kernelviz.drawing.sheet_page import plot_features as plot_features
    from kernelviz.drawing.sheet_page import plot_kernels as plot_kernels
    from kernelviz.drawing.sheets import Sheet as Sheet
    from kernelviz.drawing.sheets import make_sheet as make_sheet
    from kernelviz.drawing.shift_page import plot_shift as plot_shift
    from kernelviz.drawing.statistics_page import plot_statistics as plot_statistics
    from kernelviz.drawing.training_page import animate_kernels as animate_kernels
    from kernelviz.drawing.training_page import plot_history as plot_history
    from kernelviz.errors import KernelvizError as KernelvizError
    from kernelviz.explain.animation import animate_convolution as animate_convolution
    from kernelviz.explain.call_page import plot_call as plot_call
    from kernelviz.explain.call_reader import read_call as read_call
    from kernelviz.explain.calls import Call as Call
    from kernelviz.explain.chain import plot_chain as plot_chain
    from kernelviz.explain.costs import plot_costs as plot_costs
    from kernelviz.explain.image_page import plot_pixels as plot_pixels
    from kernelviz.explain.map_pages import animate_maps as animate_maps
    from kernelviz.explain.map_pages import plot_maps as plot_maps
    from kernelviz.explain.matrix import plot_matrix as plot_matrix
    from kernelviz.explain.plots import plot_convolution as plot_convolution
    from kernelviz.explain.pools import animate_pools as animate_pools
    from kernelviz.explain.pools import plot_pools as plot_pools
    from kernelviz.explain.sharing import plot_sharing as plot_sharing
    from kernelviz.explain.unit_pages import plot_kernel_and_map as plot_kernel_and_map
    from kernelviz.explain.unit_pages import plot_unit as plot_unit
    from kernelviz.explain.uses import plot_uses as plot_uses
    from kernelviz.explain.walkthrough import Walkthrough as Walkthrough
    from kernelviz.explain.walkthrough import work_out as work_out
    from kernelviz.exploring import make_playground as make_playground
    from kernelviz.exploring import make_report as make_report
    from kernelviz.exploring import save_playground as save_playground
    from kernelviz.exploring import save_report as save_report
    from kernelviz.files.images import read_image as read_image
    from kernelviz.files.recipes import read_recipe as read_recipe
    from kernelviz.files.single_maps import save_singles as save_singles
    from kernelviz.files.writing import read_basis as read_basis
    from kernelviz.files.writing import save_arrays as save_arrays
    from kernelviz.files.writing import save_basis as save_basis
    from kernelviz.files.writing import save_frames as save_frames
    from kernelviz.files.writing import save_picture as save_picture
    from kernelviz.filters.bank import Filter as Filter
    from kernelviz.filters.bank import Known as Known
    from kernelviz.filters.bank import classical_filters as classical_filters
    from kernelviz.filters.bank import find_filter as find_filter
    from kernelviz.filters.bank import find_filters as find_filters
    from kernelviz.filters.bank import known_filter as known_filter
    from kernelviz.filters.filter_pages import plot_filters as plot_filters
    from kernelviz.filters.filtering import Response as Response
    from kernelviz.filters.filtering import apply_filter as apply_filter
    from kernelviz.filters.filtering import apply_kernel as apply_kernel
    from kernelviz.filters.gradient import Gradient as Gradient
    from kernelviz.filters.gradient import apply_gradient as apply_gradient
    from kernelviz.filters.gradient import plot_gradient as plot_gradient
    from kernelviz.filters.likeness import Likeness as Likeness
    from kernelviz.filters.likeness import Likenesses as Likenesses
    from kernelviz.filters.likeness import most_alike as most_alike
    from kernelviz.filters.likeness import plot_likenesses as plot_likenesses
    from kernelviz.filters.match_pages import plot_matches as plot_matches
    from kernelviz.filters.matching import ColourDirection as ColourDirection
    from kernelviz.filters.matching import KernelMatch as KernelMatch
    from kernelviz.filters.matching import Matches as Matches
    from kernelviz.filters.matching import colour_directions as colour_directions
    from kernelviz.filters.matching import match_kernels as match_kernels
    from kernelviz.filters.plots import plot_filter as plot_filter
    from kernelviz.network.capture import capture_features as capture_features
    from kernelviz.network.capture import classify as classify
    from kernelviz.network.comparing import compare_weights as compare_weights
    from kernelviz.network.convolutions import list_layers as list_layers
    from kernelviz.network.effective_field import FieldTally as FieldTally
    from kernelviz.network.effective_field import effective_field as effective_field
    from kernelviz.network.effective_field import effective_fields as effective_fields
    from kernelviz.network.history import read_history as read_history
    from kernelviz.network.kernels import read_kernels as read_kernels
    from kernelviz.network.linear_weights import expand_units as expand_units
    from kernelviz.network.model import Model as Model
    from kernelviz.network.model import find_models as find_models
    from kernelviz.network.model import load_model as load_model
    from kernelviz.network.named import select_layers as select_layers
    from kernelviz.network.shift import shift_image as shift_image
    from kernelviz.network.tracing.trace import trace as trace
    from kernelviz.network.units import trace_unit as trace_unit
    from kernelviz.records import ClassScore as ClassScore
    from kernelviz.records import ConvLayer as ConvLayer
    from kernelviz.records import FeatureMaps as FeatureMaps
    from kernelviz.records import Image as Image
    from kernelviz.records import KernelBank as KernelBank
    from kernelviz.report.contents import Report as Report
    from kernelviz.report.playground import Playground as Playground
    from kernelviz.report.playground import playground_page as playground_page
    from kernelviz.streaming import FailedImage as FailedImage
    from kernelviz.streaming import capture_many as capture_many
    from kernelviz.streaming import crop_patches as crop_patches
    from kernelviz.traces import PooledUnit as PooledUnit
    from kernelviz.traces import Trace as Trace
    from kernelviz.traces import Unit as Unit
    from kernelviz.views.comparisons import ComparedLayer as ComparedLayer
    from kernelviz.views.comparisons import ComparedTensor as ComparedTensor
    from kernelviz.views.comparisons import Comparison as Comparison
    from kernelviz.views.components import Basis as Basis
    from kernelviz.views.components import CovarianceTally as CovarianceTally
    from kernelviz.views.effective_fields import EffectiveField as EffectiveField
    from kernelviz.views.effective_fields import Square as Square
    from kernelviz.views.kernel_history import KernelHistory as KernelHistory
    from kernelviz.views.linear_weights import LinearWeights as LinearWeights
    from kernelviz.views.map_views import Highlights as Highlights
    from kernelviz.views.map_views import highlights_of as highlights_of
    from kernelviz.views.pairing import Pairing as Pairing
    from kernelviz.views.patches import Crop as Crop
    from kernelviz.views.patches import Patches as Patches
    from kernelviz.views.patches import PatchTally as PatchTally
    from kernelviz.views.shifts import ShiftedImage as ShiftedImage
    from kernelviz.views.shifts import ShiftedLayer as ShiftedLayer
    from kernelviz.views.statistics import ChannelStatistics as ChannelStatistics
    from kernelviz.views.statistics import ChannelTally as ChannelTally

_HOMES = {
    "Basis": "views.components",
    "Call": "explain.calls",
    "ChannelStatistics": "views.statistics",
    "ChannelTally": "views.statistics",
    "ClassScore": "records",
    "ColourDirection": "filters.matching",
    "ComparedLayer": "views.comparisons",
    "ComparedTensor": "views.comparisons",
    "Comparison": "views.comparisons",
    "ContactSheet": "drawing.contact",
    "ConvLayer": "records",
    "Convolution": "arithmetic.operations",
    "Cost": "arithmetic.costs",
    "CovarianceTally": "views.components",
    "Crop": "views.patches",
    "EffectiveField": "views.effective_fields",
    "FailedImage": "streaming",
    "FeatureMaps": "records",
    "FieldTally": "network.effective_field",
    "Filter": "filters.bank",
    "Gathering": "distributed.gathering",
    "Gradient": "filters.gradient",
    "Highlights": "views.map_views",
    "Image": "records",
    "InThisProcess": "distributed.engines",
    "KernelBank": "records",
    "KernelHistory": "views.kernel_history",
    "KernelMatch": "filters.matching",
    "KernelvizError": "errors",
    "Known": "filters.bank",
    "Likeness": "filters.likeness",
    "Likenesses": "filters.likeness",
    "LinearWeights": "views.linear_weights",
    "Matches": "filters.matching",
    "Model": "network.model",
    "Mosaic": "drawing.mosaic",
    "Pairing": "views.pairing",
    "PatchTally": "views.patches",
    "Patches": "views.patches",
    "Playground": "report.playground",
    "PooledUnit": "traces",
    "Pooling": "arithmetic.operations",
    "Report": "report.contents",
    "Response": "filters.filtering",
    "Sheet": "drawing.sheets",
    "ShiftedImage": "views.shifts",
    "ShiftedLayer": "views.shifts",
    "Singles": "drawing.mosaic",
    "Square": "views.effective_fields",
    "Step": "arithmetic.steps",
    "Trace": "traces",
    "TransposedConvolution": "arithmetic.operations",
    "Unit": "traces",
    "Walkthrough": "explain.walkthrough",
    "animate_convolution": "explain.animation",
    "animate_kernels": "drawing.training_page",
    "animate_maps": "explain.map_pages",
    "animate_pools": "explain.pools",
    "apply_filter": "filters.filtering",
    "apply_gradient": "filters.gradient",
    "apply_kernel": "filters.filtering",
    "capture_features": "network.capture",
    "capture_many": "streaming",
    "classical_filters": "filters.bank",
    "classify": "network.capture",
    "colour_directions": "filters.matching",
    "compare_costs": "arithmetic.costs",
    "compare_weights": "network.comparing",
    "crop_patches": "streaming",
    "effective_field": "network.effective_field",
    "effective_fields": "network.effective_field",
    "expand_units": "network.linear_weights",
    "find_filter": "filters.bank",
    "find_filters": "filters.bank",
    "find_models": "network.model",
    "gather_many": "distributed.gathering",
    "highlights_of": "views.map_views",
    "known_filter": "filters.bank",
    "list_layers": "network.convolutions",
    "load_model": "network.model",
    "make_mosaic": "drawing.mosaic",
    "make_playground": "exploring",
    "make_report": "exploring",
    "make_sheet": "drawing.sheets",
    "make_singles": "drawing.mosaic",
    "match_kernels": "filters.matching",
    "most_alike": "filters.likeness",
    "playground_page": "report.playground",
    "plot_call": "explain.call_page",
    "plot_chain": "explain.chain",
    "plot_changes": "drawing.changes_page",
    "plot_comparison": "drawing.comparison_page",
    "plot_contact": "drawing.contact",
    "plot_convolution": "explain.plots",
    "plot_costs": "explain.costs",
    "plot_expanded": "drawing.expanded_page",
    "plot_features": "drawing.sheet_page",
    "plot_fields": "drawing.field_page",
    "plot_filter": "filters.plots",
    "plot_filters": "filters.filter_pages",
    "plot_gradient": "filters.gradient",
    "plot_growth": "drawing.growth",
    "plot_history": "drawing.training_page",
    "plot_kernel_and_map": "explain.unit_pages",
    "plot_kernel_numbers": "drawing.number_tiles",
    "plot_kernels": "drawing.sheet_page",
    "plot_likenesses": "filters.likeness",
    "plot_maps": "explain.map_pages",
    "plot_matches": "filters.match_pages",
    "plot_matrix": "explain.matrix",
    "plot_overlay": "drawing.overlay",
    "plot_overview": "drawing.overview",
    "plot_patches": "drawing.patches_page",
    "plot_pixels": "explain.image_page",
    "plot_pools": "explain.pools",
    "plot_sharing": "explain.sharing",
    "plot_shift": "drawing.shift_page",
    "plot_statistics": "drawing.statistics_page",
    "plot_unit": "explain.unit_pages",
    "plot_uses": "explain.uses",
    "read_basis": "files.writing",
    "read_call": "explain.call_reader",
    "read_history": "network.history",
    "read_image": "files.images",
    "read_kernels": "network.kernels",
    "read_recipe": "files.recipes",
    "save_arrays": "files.writing",
    "save_basis": "files.writing",
    "save_frames": "files.writing",
    "save_picture": "files.writing",
    "save_playground": "exploring",
    "save_report": "exploring",
    "save_singles": "files.single_maps",
    "select_layers": "network.named",
    "shift_image": "network.shift",
    "trace": "network.tracing.trace",
    "trace_unit": "network.units",
    "work_out": "explain.walkthrough",
}

if not TYPE_CHECKING:  # a type checker reads the imports above; a computed list would hide them from ``import *``
    __all__ = ["__version__", *_HOMES]  # noqa: PLE0604  (they are strings)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kernelviz' has no attribute {name!r}")
    value = getattr(import_module(f"kernelviz.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
