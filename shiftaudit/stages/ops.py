"""Read ATen calls: which of them can make a feature map smaller, by how much, and on which axes.

The same few facts serve the probe on a running model of any kind: eager modules, TorchScript and exported programs all end in
these calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

CONV = "conv"
PATCH_EMBEDDING = "patch_embedding"
MAX_POOL = "max_pool"
AVG_POOL = "avg_pool"
ADAPTIVE_AVG_POOL = "adaptive_avg_pool"
ADAPTIVE_MAX_POOL = "adaptive_max_pool"
SLICE = "slice"
INTERPOLATE = "interpolate"
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

Pair = tuple[float, float]


@dataclass(frozen=True)
class Reduction:
    """What one call does to the size of its input."""

    kind: str
    layer_stride: Pair
    """(y, x). (1, 1) where nothing gets smaller; below 1 for upsampling."""
    to_point: bool
    """The output is 1×1: the head of a network or a squeeze step, not a stage."""


def bind(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments by name, with the schema's defaults for those left out."""
    bound = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            bound[argument.name] = args[position]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def input_of(kind: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """The feature map a call reads: its first tensor argument."""
    if kind == CONCATENATE:
        return None
    first = args[0] if args else next(iter(kwargs.values()), None)
    return first if isinstance(first, Tensor) else None


def output_of(out: Any) -> Tensor | None:
    """The feature map a call writes: its output, or the first of several (max-pool with indices)."""
    if isinstance(out, (tuple, list)):
        out = out[0] if out else None
    return out if isinstance(out, Tensor) else None


def reduction(
    kind: str, func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, *, at_input: bool
) -> Reduction | None:
    """How a convolution, pool or interpolation changes the spatial size; None when its input is not a 4-D map.

    A stride-1 convolution without padding trims the border but keeps the grid, so its layer stride is 1: it is not a stage.
    """
    source = input_of(kind, args, kwargs)
    if source is None or source.dim() != 4 or out.dim() != 4:
        return None
    sizes_in, sizes_out = tuple(source.shape[-2:]), tuple(out.shape[-2:])
    bound = bind(func, args, kwargs)
    if kind in (ADAPTIVE_AVG_POOL, ADAPTIVE_MAX_POOL, INTERPOLATE):
        stride = (sizes_in[0] / sizes_out[0], sizes_in[1] / sizes_out[1])
    elif "downscale_factor" in bound:
        stride = (float(bound["downscale_factor"]),) * 2
    else:
        if bound.get("transposed"):
            return None
        # Pools name their window `kernel_size` and use it as the stride where none is given.
        stride = _pair(bound.get("stride") or bound["kernel_size"])
    if sizes_out[0] >= sizes_in[0] and stride[0] > 1:
        stride = (1.0, stride[1])
    if sizes_out[1] >= sizes_in[1] and stride[1] > 1:
        stride = (stride[0], 1.0)
    if kind == CONV and at_input and _is_patch_embedding(source, bound, stride):
        kind = PATCH_EMBEDDING
    return Reduction(kind, stride, to_point=sizes_out == (1, 1) and sizes_in != (1, 1))


def _is_patch_embedding(source: Tensor, bound: dict[str, Any], stride: Pair) -> bool:
    """A convolution of the picture itself whose windows do not overlap. Pictures have up to four channels, feature maps more."""
    kernel = tuple(bound["W" if "W" in bound else "weight"].shape[-2:])
    return source.shape[1] <= 4 and min(stride) > 1 and kernel == stride


def _pair(value: Any) -> Pair:
    values = [float(v) for v in value] if isinstance(value, (tuple, list)) else [float(value)]
    return (values[0], values[-1])


def slice_step(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, int]:
    """(dim, step) of an `aten::slice`, dim counted from the front."""
    source = args[0]
    dim = int(args[1] if len(args) > 1 else kwargs.get("dim", 0))
    step = args[4] if len(args) > 4 else kwargs.get("step", 1)
    return dim % source.dim(), int(step)
