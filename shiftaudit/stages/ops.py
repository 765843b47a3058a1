"""Read ATen calls: which of them can make a feature map smaller, by how much, and on which axes.

The same few facts serve the probe on a running model of any kind: eager modules, TorchScript and exported programs all end in
these calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

from torch import Tensor

CONV: Final = "conv"
PATCH_EMBEDDING: Final = "patch_embedding"
MAX_POOL: Final = "max_pool"
AVG_POOL: Final = "avg_pool"
ADAPTIVE_AVG_POOL: Final = "adaptive_avg_pool"
ADAPTIVE_MAX_POOL: Final = "adaptive_max_pool"
SLICE: Final = "slice"
INTERPOLATE: Final = "interpolate"
CONCATENATE = "cat"
PAD = "pad"
PACKED_CONV = "mkldnn::_convolution_pointwise"
"""What torch.compile and the audit's own fast form run on the CPU instead of a convolution; it names its tensors X, W and B."""
HELPERS = frozenset({CONCATENATE, PAD})
"""Watched because they tell where a stage begins or ends; never a stage themselves."""

# By ATen name. One operation has several names: eager, traced and exported programs, and backends, each call their own.
KINDS: dict[str, str] = {
    "aten::conv2d": CONV,
    "aten::_convolution": CONV,
    "aten::_convolution_mode": CONV,
    "aten::convolution": CONV,
    "aten::cudnn_convolution": CONV,
    "aten::mkldnn_convolution": CONV,
    PACKED_CONV: CONV,
    **dict.fromkeys(
        ("quantized::conv2d", "quantized::conv2d_relu", "quantized::conv2d_add", "quantized::conv2d_add_relu"), CONV
    ),
    "aten::max_pool2d": MAX_POOL,
    "aten::max_pool2d_with_indices": MAX_POOL,
    "aten::mkldnn_max_pool2d": MAX_POOL,
    "aten::avg_pool2d": AVG_POOL,
    "aten::adaptive_avg_pool2d": ADAPTIVE_AVG_POOL,
    "aten::_adaptive_avg_pool2d": ADAPTIVE_AVG_POOL,
    "aten::adaptive_max_pool2d": ADAPTIVE_MAX_POOL,
    "aten::slice": SLICE,
    "aten::pixel_unshuffle": SLICE,
    "aten::upsample_nearest2d": INTERPOLATE,
    "aten::_upsample_nearest_exact2d": INTERPOLATE,
    "aten::upsample_bilinear2d": INTERPOLATE,
    "aten::_upsample_bilinear2d_aa": INTERPOLATE,
    "aten::upsample_bicubic2d": INTERPOLATE,
    "aten::_upsample_bicubic2d_aa": INTERPOLATE,
    "aten::cat": CONCATENATE,
    "aten::pad": PAD,
    "aten::constant_pad_nd": PAD,
    "aten::reflection_pad2d": PAD,
    "aten::replication_pad2d": PAD,
}

RESHAPES = frozenset(
    ["view", "reshape", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten", "_reshape_alias"]
)
"""Calls that give a tensor another shape and keep its values in their order."""

Pair = tuple[float, float]
"""(y, x)."""

_SLICE = "aten::slice"
_ADAPTIVE = (ADAPTIVE_AVG_POOL, ADAPTIVE_MAX_POOL, INTERPOLATE)
_SAME = 1e-5


@cache
def kind_of(func: Any) -> str | None:
    """The kind of an overload such as `aten.conv2d.default`; None for what is not watched."""
    return KINDS.get(func._schema.name)


def pair(value: Any) -> tuple[int, int]:
    """(y, x) of what PyTorch takes: one whole number for both, or a list of one or two."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return int(values[0]), int(values[-1])


@dataclass(frozen=True)
class OpCall:
    """One watched ATen call with its arguments, about to run."""

    index: int
    """Among the watched calls of a pass, from 0."""
    kind: str
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self) -> Any:
        """What the call returns."""
        return self.func(*self.args, **self.kwargs)

    @property
    def source(self) -> Tensor | None:
        """The feature map the call reads: its first tensor argument; None for a concatenation, which reads several."""
        first = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        return first if isinstance(first, Tensor) and self.kind != CONCATENATE else None

    @cached_property
    def bound(self) -> dict[str, Any]:
        """The arguments by name, with the schema's defaults for those left out."""
        bound = {}
        for position, argument in enumerate(self.func._schema.arguments):
            if position < len(self.args):
                bound[argument.name] = self.args[position]
            elif argument.name in self.kwargs:
                bound[argument.name] = self.kwargs[argument.name]
            elif argument.has_default_value():
                bound[argument.name] = argument.default_value
        packed = bound.get("packed_weight")
        if packed is not None:  # a quantised convolution keeps what it is made of in one object
            bound |= {name: getattr(packed, name)() for name in ("stride", "padding", "dilation")}
            bound["weight"] = packed.unpack()[0].dequantize()
        return bound

    @property
    def weight(self) -> Tensor | None:
        """A convolution's weight; None for other calls."""
        return self.bound["W" if "W" in self.bound else "weight"] if self.kind == CONV else None

    @property
    def is_slice(self) -> bool:
        """Whether it is `x[a:b:step]` along one axis. `pixel_unshuffle` is of the same kind and takes all phases at once."""
        return bool(self.func._schema.name == _SLICE)

    @property
    def slice_step(self) -> tuple[int, int]:
        """(axis, step) of a slice, the axis counted from the front."""
        return int(self.bound["dim"]) % self.bound["self"].dim(), int(self.bound["step"])


@dataclass(frozen=True)
class Reduction:
    """What one call does to the size of its input."""

    layer_stride: Pair
    """(1, 1) where nothing gets smaller; below 1 for upsampling."""
    to_point: bool
    """The output is 1×1: the head of a network or a squeeze step, not a stage."""
    strided: bool
    """Whether the call would make a larger map smaller; this one may have no pixel to lose."""


def output_of(out: Any) -> Tensor | None:
    """The feature map a call writes: its output, or the first of several (max-pool with indices)."""
    if isinstance(out, (tuple, list)):
        out = out[0] if out else None
    return out if isinstance(out, Tensor) else None


def reduction(call: OpCall, out: Tensor) -> Reduction | None:
    """How a convolution, pool or interpolation changes the spatial size; None for other calls and maps that are not 4-D.

    A stride-1 convolution without padding trims the border but keeps the grid, so its layer stride is 1: it is not a stage.
    """
    source = call.source
    if source is None or source.dim() != 4 or out.dim() != 4 or call.kind in HELPERS or call.is_slice:
        return None
    before, after = tuple(source.shape[-2:]), tuple(out.shape[-2:])
    stride = _nominal_stride(call, before, after)
    if stride is None:
        return None
    y, x = (1.0 if step > 1 and new >= old else step for step, old, new in zip(stride, before, after, strict=True))
    return Reduction((y, x), after == (1, 1) and before != (1, 1), max(stride) > 1)


def _nominal_stride(call: OpCall, before: tuple[int, ...], after: tuple[int, ...]) -> Pair | None:
    """The stride a call is made for, whatever the size of its map; None for transposed convolutions."""
    bound = call.bound
    if call.kind in _ADAPTIVE:
        return before[0] / after[0], before[1] / after[1]
    if "downscale_factor" in bound:
        return (float(bound["downscale_factor"]),) * 2
    if bound.get("transposed"):
        return None
    # Pools name their window `kernel_size` and use it as the stride where none is given.
    y, x = pair(bound.get("stride") or bound["kernel_size"])
    return float(y), float(x)


def shrinks(call: OpCall, out: Tensor) -> bool:
    """Whether a call makes a map smaller, as a patch looks for it: heads are left out, but for strided convolutions."""
    if call.is_slice:
        return call.slice_step[1] > 1 and call.args[0].dim() == 4
    found = reduction(call, out)
    return found is not None and found.strided and (call.kind == CONV or tuple(out.shape[-2:]) != (1, 1))


def is_patch_embedding(call: OpCall, layer_stride: Pair) -> bool:
    """Whether a call that reads the network's input is a convolution whose windows do not overlap.

    Images have up to four channels, feature maps more.
    """
    weight, source = call.weight, call.source
    if weight is None or source is None:
        return False
    return source.shape[1] <= 4 and min(layer_stride) > 1 and tuple(weight.shape[-2:]) == layer_stride


def is_low_pass(weight: Tensor) -> bool:
    """Whether a convolution's weight (C, 1, h, w) is one smoothing filter for all channels: not negative, sum 1, no point.

    >>> import torch
    >>> is_low_pass(torch.full((8, 1, 2, 2), 0.25)), is_low_pass(torch.ones(8, 1, 1, 1)), is_low_pass(torch.ones(8, 8, 3, 3))
    (True, False, False)
    """
    if weight.is_mkldnn or weight.dim() != 4 or weight.shape[1] != 1 or weight[0].numel() < 2:
        return False
    first = weight[:1]
    sums_to_one = abs(float(first.sum()) - 1) < _SAME
    return sums_to_one and bool((first >= 0).all()) and bool(((weight - first).abs() < _SAME).all())
