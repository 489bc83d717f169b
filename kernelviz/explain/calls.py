"""The layers of Keras and torch that are read: their parameters, their activations, and one record for both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kernelviz.arithmetic.operations import Convolution, Pooling, TransposedConvolution
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation

Framework: TypeAlias = Literal["keras", "torch"]
Kind: TypeAlias = Literal[
    "convolution", "transposed convolution", "separable convolution", "max pooling", "average pooling", "dense layer"
]
Ends: TypeAlias = tuple[tuple[int, int], ...]
"""Rows (or columns, or slices) before and after, for each axis."""

_KERAS_WEIGHTS = ("kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
                  "activity_regularizer", "kernel_constraint", "bias_constraint")  # fmt: skip
_DEPTHWISE_WEIGHTS = ("depthwise_initializer", "bias_initializer", "depthwise_regularizer", "bias_regularizer",
                      "activity_regularizer", "depthwise_constraint", "bias_constraint")  # fmt: skip
_SEPARABLE_WEIGHTS = (
    "depthwise_initializer", "pointwise_initializer", "bias_initializer", "depthwise_regularizer",
    "pointwise_regularizer", "bias_regularizer", "activity_regularizer", "depthwise_constraint",
    "pointwise_constraint", "bias_constraint",
)  # fmt: skip
_KERAS_NAMED = ("name", "dtype", "trainable", "autocast", "input_shape", "batch_input_shape", "input_dim",
                "batch_size", "weights", "lora_rank", "lora_alpha")  # fmt: skip
_TORCH_NAMED = ("device", "dtype")


@dataclass(frozen=True)
class Signature:
    """The parameters of a layer in their order, and those given only by name."""

    framework: Framework
    kind: Kind
    rank: int
    order: tuple[str, ...]
    named: tuple[str, ...] = _KERAS_NAMED
    variant: str = ""


def _keras_layers(rank: int) -> dict[str, Signature]:
    head = ("filters", "kernel_size", "strides", "padding")
    tail = ("data_format", "dilation_rate")
    found = {
        f"Conv{rank}D": Signature(
            "keras", "convolution", rank, (*head, *tail, "groups", "activation", "use_bias", *_KERAS_WEIGHTS)
        ),
        f"Conv{rank}DTranspose": Signature(
            "keras", "transposed convolution", rank,
            (*head, "output_padding", *tail, "activation", "use_bias", *_KERAS_WEIGHTS),
        ),
    }  # fmt: skip
    if rank < 3:
        found[f"DepthwiseConv{rank}D"] = Signature(
            "keras", "convolution", rank,
            (*head[1:], "depth_multiplier", *tail, "activation", "use_bias", *_DEPTHWISE_WEIGHTS), variant="depthwise",
        )  # fmt: skip
        found[f"SeparableConv{rank}D"] = Signature(
            "keras", "separable convolution", rank,
            (*head, *tail, "depth_multiplier", "activation", "use_bias", *_SEPARABLE_WEIGHTS),
        )  # fmt: skip
    kinds: tuple[tuple[str, str, Kind], ...] = (
        ("Max", "Max", "max pooling"), ("Average", "Avg", "average pooling")
    )  # fmt: skip
    for name, short, kind in kinds:
        sliding = Signature("keras", kind, rank, ("pool_size", "strides", "padding", "data_format"))
        whole = Signature("keras", kind, rank, ("data_format", "keepdims"), variant="global")
        adaptive = Signature("keras", kind, rank, ("output_size", "data_format"), variant="adaptive")
        found |= {f"{name}Pooling{rank}D": sliding, f"{short}Pool{rank}D": sliding}
        found |= {f"Global{name}Pooling{rank}D": whole, f"Global{short}Pool{rank}D": whole}
        found[f"Adaptive{name}Pooling{rank}D"] = adaptive
    found[f"Convolution{rank}D"] = found[f"Conv{rank}D"]
    return found


def _torch_layers(rank: int) -> dict[str, Signature]:
    channels = ("in_channels", "out_channels")
    head, tail = ("kernel_size", "stride", "padding"), ("padding_mode", *_TORCH_NAMED)
    conv = (*head, "dilation", "groups", "bias", *tail)
    transposed = (*head, "output_padding", "groups", "bias", "dilation", *tail)
    average = (*head, "ceil_mode", "count_include_pad", *(("divisor_override",) if rank > 1 else ()))
    return {
        f"Conv{rank}d": Signature("torch", "convolution", rank, (*channels, *conv), ()),
        f"LazyConv{rank}d": Signature("torch", "convolution", rank, (*channels[1:], *conv), ()),
        f"ConvTranspose{rank}d": Signature("torch", "transposed convolution", rank, (*channels, *transposed), ()),
        f"LazyConvTranspose{rank}d": Signature(
            "torch", "transposed convolution", rank, (*channels[1:], *transposed), ()
        ),
        f"MaxPool{rank}d": Signature(
            "torch", "max pooling", rank, (*head, "dilation", "return_indices", "ceil_mode"), ()
        ),
        f"AvgPool{rank}d": Signature("torch", "average pooling", rank, average, ()),
        f"AdaptiveMaxPool{rank}d": Signature(
            "torch", "max pooling", rank, ("output_size", "return_indices"), (), "adaptive"
        ),
        f"AdaptiveAvgPool{rank}d": Signature("torch", "average pooling", rank, ("output_size",), (), "adaptive"),
    }


LAYERS: dict[str, Signature] = {
    **{name: each for rank in (2, 1, 3) for name, each in _keras_layers(rank).items()},
    **{name: each for rank in (2, 1, 3) for name, each in _torch_layers(rank).items()},
    "Dense": Signature("keras", "dense layer", 0, ("units", "activation", "use_bias", *_KERAS_WEIGHTS)),
    "Linear": Signature("torch", "dense layer", 0, ("in_features", "out_features", "bias", *_TORCH_NAMED), ()),
    "LazyLinear": Signature("torch", "dense layer", 0, ("out_features", "bias", *_TORCH_NAMED), ()),
}
"""The layers that are read, by the name that their framework gives them."""

OTHER_LAYERS: dict[Framework, frozenset[str]] = {
    "keras": frozenset(
        """
        ActivityRegularization Activation Add AdditiveAttention AlphaDropout Attention AugMix AutoContrast
        Average BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate ConvLSTM1D ConvLSTM2D
        ConvLSTM3D Cropping1D Cropping2D Cropping3D CutMix Discretization Dot Dropout ELU EinsumDense Embedding
        Equalization Flatten FlaxLayer GRU GRUCell GaussianDropout GaussianNoise GroupNormalization
        GroupQueryAttention HashedCrossing Hashing Identity Input InputLayer IntegerLookup JaxLayer LSTM
        LSTMCell Lambda Layer LayerNormalization LeakyReLU Masking MaxNumBoundingBoxes Maximum MelSpectrogram
        Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN
        RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
        RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight
        RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
        RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape
        Resizing ReversibleEmbedding STFTSpectrogram Sequential SimpleRNN SimpleRNNCell Softmax Solarization
        SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup
        Subtract TFSMLayer TextVectorization ThresholdedReLU TimeDistributed TorchModuleWrapper
        UnitNormalization UpSampling1D UpSampling2D UpSampling3D Wrapper ZeroPadding1D ZeroPadding2D
        ZeroPadding3D
        """.split()  # noqa: SIM905  (a table of names)
    ),
    "torch": frozenset(
        """
        AdaptiveLogSoftmaxWithLoss AlphaDropout BCELoss BCEWithLogitsLoss BatchNorm1d BatchNorm2d BatchNorm3d
        Bilinear CELU CTCLoss ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d
        ConstantPad2d ConstantPad3d Container CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss
        CrossMapLRN2d DataParallel Dropout Dropout1d Dropout2d Dropout3d ELU Embedding EmbeddingBag
        FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU GRUCell
        GaussianNLLLoss GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh HingeEmbeddingLoss HuberLoss
        Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LPPool1d LPPool2d LPPool3d LSTM
        LSTMCell LayerNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d LazyInstanceNorm2d
        LazyInstanceNorm3d LeakyReLU LinearCrossEntropyLoss LocalResponseNorm LogSigmoid LogSoftmax MSELoss
        MarginRankingLoss MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish Module ModuleDict ModuleList
        MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss MultiheadAttention NLLLoss NLLLoss2d PReLU
        PairwiseDistance ParameterDict ParameterList PixelShuffle PixelUnshuffle PoissonNLLLoss RMSNorm RNN
        RNNBase RNNCell RNNCellBase RReLU ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d
        ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid SmoothL1Loss
        SoftMarginLoss Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh Tanhshrink
        Threshold Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
        TransformerEncoderLayer TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold Upsample
        UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
        """.split()  # noqa: SIM905  (a table of names)
    ),
}
"""The other layers of Keras and torch, which are not explained."""


@dataclass(frozen=True)
class ActivationFunction:
    """An activation: its name in Keras, the module of torch (empty if there is none), its formula, and in plain words."""

    name: str
    module: str
    formula: str
    words: str


ACTIVATIONS = {
    each.name: each
    for each in (
        ActivationFunction("relu", "ReLU", "max(0, x)", "negative values become 0"),
        ActivationFunction("relu6", "ReLU6", "min(max(0, x), 6)", "negative values become 0, values above 6 become 6"),
        ActivationFunction("leaky_relu", "LeakyReLU", "max(a·x, x)", "negative values shrink to a of their size"),
        ActivationFunction("elu", "ELU", "x, or exp(x) − 1 below 0", "negative values flatten out at −1"),
        ActivationFunction("celu", "CELU", "x, or exp(x) − 1 below 0", "negative values flatten out at −1"),
        ActivationFunction("selu", "SELU", "1.05·x, or 1.76·(exp(x) − 1) below 0", "an ELU, scaled"),
        ActivationFunction("gelu", "GELU", "x·Φ(x)", "small and negative values are weakened"),
        ActivationFunction("silu", "SiLU", "x / (1 + exp(−x))", "small and negative values are weakened"),
        ActivationFunction("mish", "Mish", "x·tanh(ln(1 + exp(x)))", "small and negative values are weakened"),
        ActivationFunction("sigmoid", "Sigmoid", "1 / (1 + exp(−x))", "every value is squeezed between 0 and 1"),
        ActivationFunction("hard_sigmoid", "Hardsigmoid", "min(max(0, x + 3), 6) / 6", "a sigmoid of straight lines"),
        ActivationFunction("hard_silu", "Hardswish", "x·min(max(0, x + 3), 6) / 6", "a SiLU of straight lines"),
        ActivationFunction("tanh", "Tanh", "tanh(x)", "every value is squeezed between −1 and 1"),
        ActivationFunction("hard_tanh", "Hardtanh", "min(max(−1, x), 1)", "values outside −1 to 1 are cut off"),
        ActivationFunction("tanh_shrink", "Tanhshrink", "x − tanh(x)", "small values are weakened"),
        ActivationFunction("softplus", "Softplus", "ln(1 + exp(x))", "a smooth ReLU"),
        ActivationFunction("softsign", "Softsign", "x / (1 + |x|)", "every value is squeezed between −1 and 1"),
        ActivationFunction("log_sigmoid", "LogSigmoid", "−ln(1 + exp(−x))", "the logarithm of the sigmoid"),
        ActivationFunction(
            "softmax", "Softmax", "exp(x) / Σ exp(x)", "the values of all channels at one position add up to 1"
        ),
        ActivationFunction("log_softmax", "LogSoftmax", "x − ln Σ exp(x)", "the logarithm of the softmax"),
        ActivationFunction("exponential", "", "exp(x)", "every value becomes positive"),
    )
}
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
TORCH_ACTIVATIONS = {each.module: each.name for each in ACTIVATIONS.values() if each.module}
KERAS_ACTIVATIONS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Softmax": "softmax"}
KERAS_SLOPE, KERAS_LAYER_SLOPE, TORCH_SLOPE = 0.2, 0.3, 0.01  # of leaky_relu, layers.LeakyReLU() and nn.LeakyReLU()


@dataclass(frozen=True)
class Argument:
    """One argument of a call.

    Attributes:
        name: The name of its parameter in the framework.
        key: What it sets, by one name for both frameworks: ``out_channels`` for Keras' ``filters``.
        text: As typed, with the name if it was given by name.
        start: Where it starts in ``Call.text``, counted from 0.
        end: Where it ends.
        value: Its value.
    """

    name: str
    key: str
    text: str
    start: int
    end: int
    value: object


KEYS = {
    "filters": "out_channels", "units": "out_channels", "out_features": "out_channels", "in_features": "input",
    "in_channels": "input", "input_shape": "input", "batch_input_shape": "input", "input_dim": "input",
    "kernel_size": "kernel", "pool_size": "kernel", "strides": "stride", "dilation_rate": "dilation",
    "use_bias": "bias", "shape": "input", "batch_shape": "input", "output_size": "output_size", "keepdims": "keepdims",
    "data_format": "data_format", "padding_mode": "padding_mode", "depth_multiplier": "depth_multiplier",
    "stride": "stride", "padding": "padding", "dilation": "dilation", "groups": "groups", "bias": "bias",
    "activation": "activation", "out_channels": "out_channels", "output_padding": "output_padding",
    "ceil_mode": "ceil_mode", "count_include_pad": "count_include_pad", "divisor_override": "divisor_override",
}  # fmt: skip
"""What the parameters of both frameworks set; those that are missing change no size."""


@dataclass(frozen=True, repr=False)
class Call:
    """A layer as written in Keras or torch; ``read_call`` returns it.

    Sizes are (height, width), or one or three numbers; None in place of a number that the line does not state.

    Attributes:
        text: The line as typed.
        framework: ``keras`` or ``torch``.
        name: The layer as typed, without the prefix: ``Conv2D``.
        kind: What it is, by one name for both frameworks.
        rank: The number of axes that the window slides along; 0 for a dense layer.
        arguments: As typed, in their order.
        in_channels: Channels (or features) of the input.
        out_channels: Channels (or features) of the output.
        input_size: Rows and columns of the input.
        output_size: Rows and columns of the output.
        kernel: Rows and columns of the kernel or the window; empty for dense and adaptive layers.
        stride: The step of the window.
        dilation: The distance between the cells of the kernel.
        padding: Around the input, before and after along each axis; of a transposed convolution what is cut off the
            output, negative if it is extended. None if it depends on an unknown size.
        padding_name: ``same``, ``valid`` or ``causal`` if the padding is given by name.
        groups: Groups of channels.
        depth_multiplier: Kernels for each input channel of a depthwise or separable convolution.
        bias: Whether there is a bias.
        activation: Keras' name of the activation; ``leaky_relu(0.01)`` if the slope is not Keras' default.
        adaptive: The output size of an adaptive pool; ones for a global pool.
        ceil_mode: Whether a last window may exceed the input.
        count_include_pad: Whether an average includes the padding.
        padding_mode: ``zeros``, or how else the padding is filled.
        flat: Whether a global pool drops the axes that it pools.
        channels_last: Whether shapes have the channels last.
        parameters: The number of weights and biases; None if the channels are not known.
        operation: The same as an operation of this package; None if there is none of this rank or with this padding,
            or sizes are not known.
        keras: The line in Keras; None if it has no exact counterpart, which ``notes`` explain.
        torch: The line in torch; None if it has no exact counterpart.
        notes: Where Keras and torch differ for this layer.

    Example:
        >>> call = kernelviz.read_call("nn.Conv2d(3, 32, 3, stride=2)", input_size=224)
        >>> call.kind, call.kernel, call.output_size
        ('convolution', (3, 3), (111, 111))
        >>> print(call.keras)
        keras.Input((224, 224, 3)), layers.Conv2D(32, 3, strides=2)
    """

    text: str
    framework: Framework
    name: str
    kind: Kind
    rank: int
    arguments: tuple[Argument, ...]
    in_channels: int | None
    out_channels: int | None
    input_size: tuple[int | None, ...]
    output_size: tuple[int | None, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Ends | None
    padding_name: str
    groups: int
    depth_multiplier: int
    bias: bool
    activation: str | None
    adaptive: tuple[int | None, ...] | None
    ceil_mode: bool
    count_include_pad: bool
    padding_mode: str
    flat: bool
    channels_last: bool
    parameters: int | None = None
    operation: Operation | None = None
    keras: str | None = None
    torch: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parameters = "unknown" if self.parameters is None else f"{self.parameters:,}"
        return f"Call({shown(self.text)[:120]!r}, output_size={self.output_size}, parameters={parameters})"

    @property
    def weights(self) -> int | None:
        """The number of weights, without the biases."""
        return None if self.parameters is None else self.parameters - self.biases

    @property
    def biases(self) -> int:
        """The number of biases."""
        return (self.out_channels or 0) if self.bias else 0


def count_parameters(call: Call) -> int | None:
    """Weights and biases; None if the channels are not known."""
    if call.in_channels is None or call.out_channels is None:
        return None
    cells, biases = math.prod(call.kernel), call.out_channels if call.bias else 0
    if call.kind == "separable convolution":
        middle = call.in_channels * call.depth_multiplier
        return middle * cells + middle * call.out_channels + biases
    return call.in_channels // max(1, call.groups) * call.out_channels * cells + biases


def operation_of(call: Call) -> Operation | None:
    """The operation of this package, if there is one for this call."""
    if call.rank != 2 or None in call.input_size or call.padding is None or call.kind == "separable convolution":
        return None
    size = [side or 0 for side in call.input_size]
    if call.kind.endswith("pooling"):
        return _pooling(call, size)
    if call.in_channels is None or call.out_channels is None:
        return None
    shared: dict[str, Any] = {
        "input_size": size, "kernel": call.kernel, "stride": call.stride, "dilation": call.dilation,
        "groups": call.groups, "in_channels": call.in_channels, "out_channels": call.out_channels, "bias": call.bias,
    }  # fmt: skip
    if call.kind == "convolution":
        return Convolution(**shared, padding=[n for pair in call.padding for n in pair])
    extra = [a - b for a, b in call.padding]
    allowed = [max(s, d) for s, d in zip(call.stride, call.dilation, strict=True)]
    if any(not 0 <= more < most for more, most in zip(extra, allowed, strict=True)):
        return None  # more is cut off at the end than at the start
    return TransposedConvolution(**shared, padding=[a for a, _ in call.padding], output_padding=extra)


def _pooling(call: Call, size: Sequence[int]) -> Pooling | None:
    kind: Any = call.kind.removesuffix(" pooling")
    channels = call.in_channels or 1
    if call.adaptive is not None:
        wanted = [want or side for want, side in zip(call.adaptive, size, strict=True)]
        return Pooling(size, adaptive=wanted, kind=kind, in_channels=channels)
    settings = own_padding(call)
    if settings is None:
        return None
    around, ceil_mode, count_include_pad = settings
    return Pooling(
        size, call.kernel, kind=kind, stride=call.stride, padding=around, dilation=call.dilation, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad if kind == "average" else True, in_channels=channels,
    )  # fmt: skip


def own_padding(call: Call) -> tuple[tuple[int, ...], bool, bool] | None:
    """Padding, ceil mode and ``count_include_pad`` with which torch's pool does the same; None if it cannot.

    Padding that is longer by one at the end, as Keras' ``same`` may need it, is that of a last window which exceeds the
    input: ceil mode, unless the stride is 1.
    """
    ends = call.padding or ()
    before = tuple(a for a, _ in ends)
    if any(a > k // 2 for a, k in zip(before, call.kernel, strict=True)):
        return None
    if call.padding_name != "same":
        even = all(a == b for a, b in ends)
        return (before, call.ceil_mode, call.count_include_pad or not any(before)) if even else None
    uneven = [b - a for a, b in ends]
    if any(more and (more > 1 or s == 1) for more, s in zip(uneven, call.stride, strict=True)):
        return None
    return before, any(uneven), not any(before)


def same_crop(span: int, stride: int, output_padding: int | None = None) -> tuple[int, int]:
    """What Keras' ``same`` cuts off the full output of a transposed convolution; negative where it extends it.

    Args:
        span: The size of the kernel with its gaps.
        stride: The distance of the stamps.
        output_padding: None for an output of input × stride.
    """
    total = stride + span - 2 if output_padding is None else span + span % 2 - 2 + output_padding
    left = min(total // 2 + total % 2, span - 1)
    return span - 1 - left, span - 1 - (total - left)


def valid_crop(span: int, stride: int, output_padding: int | None = None) -> tuple[int, int]:
    """The same for ``valid``, which extends the output of a kernel that is smaller than the stride."""
    return 0, -(max(span, stride) - span if output_padding is None else output_padding)
