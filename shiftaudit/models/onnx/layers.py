"""Convolutions, pools, norms and activations of ONNX, each as the ATen call that PyTorch makes for the same layer.

Names matter as much as values: where a blur goes, and what its tail is called, is read off these calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.models.onnx.file import Unreadable
from shiftaudit.models.onnx.node import Input, OnnxNode, operation

_ONE_SIXTH = 1 / 6


def _strides(node: OnnxNode, rank: int) -> list[int]:
    return list(node.stride or [1] * rank)


def _pads(node: OnnxNode, x: Tensor, kernel: Sequence[int], dilations: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding before and behind, one entry an axis."""
    rank = len(kernel)
    mode = node.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = list(node.get("pads", [0] * 2 * rank))
        return pads[:rank], pads[rank:]
    before, after = [0] * rank, [0] * rank
    if mode != "VALID":
        # By the stride of the file: a patch changes the stride and keeps the padding.
        strides = node.attributes.get("strides", [1] * rank)
        for axis, size in enumerate(x.shape[2:]):
            span = dilations[axis] * (kernel[axis] - 1) + 1
            total = max(0, (math.ceil(size / strides[axis]) - 1) * strides[axis] + span - size)
            small, large = total // 2, total - total // 2
            before[axis], after[axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
    node.seen_pads = before + after
    return before, after


def _padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    pairs = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(x, pairs, value=value) if any(pairs) else x


@operation("Conv")
def _conv(node: OnnxNode, x: Tensor, weight: Tensor, bias: Input = None) -> Tensor:
    rank = weight.dim() - 2
    dilations = list(node.get("dilations", [1] * rank))
    before, after = _pads(node, x, weight.shape[2:], dilations)
    if before != after:
        x, before = _padded(x, before, after), [0] * rank
    convolve: Any = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    out: Tensor = convolve(x, weight, bias, _strides(node, rank), before, dilations, node.get("group", 1))
    return out


@operation("ConvTranspose")
def _conv_transpose(node: OnnxNode, x: Tensor, weight: Tensor, bias: Input = None) -> Tensor:
    rank = weight.dim() - 2
    pads = list(node.get("pads", [0] * 2 * rank))
    if rank != 2 or node.get("auto_pad", "NOTSET") != "NOTSET" or node.get("output_shape") or pads[:2] != pads[2:]:
        raise Unreadable(f"ConvTranspose (node {node.proto.name}) has padding that is not read")
    extra = list(node.get("output_padding", [0, 0]))
    strides, dilations = list(node.get("strides", [1, 1])), list(node.get("dilations", [1, 1]))
    return F.conv_transpose2d(x, weight, bias, strides, pads[:2], extra, node.get("group", 1), dilations)


@operation("MaxPool")
def _max_pool(node: OnnxNode, x: Tensor) -> Any:
    kernel = list(node.get("kernel_shape"))
    dilations = list(node.get("dilations", [1] * len(kernel)))
    before, after = _pads(node, x, kernel, dilations)
    if len(kernel) != 2:
        raise Unreadable(f"MaxPool (node {node.proto.name}) works along {len(kernel)} axes; two are read")
    if before != after or any(2 * pad > size for pad, size in zip(before, kernel, strict=True)):
        x, before = _padded(x, before, after, -math.inf), [0, 0]
    pool: Any = F.max_pool2d
    ceil, indices = bool(node.get("ceil_mode", 0)), node.n_outputs > 1
    return pool(x, kernel, _strides(node, 2), before, dilations, ceil, return_indices=indices)


@operation("AveragePool")
def _average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    kernel, counts = list(node.get("kernel_shape")), bool(node.get("count_include_pad", 0))
    before, after = _pads(node, x, kernel, [1] * len(kernel))
    if len(kernel) != 2 or max(node.get("dilations", [1])) > 1:
        raise Unreadable(f"AveragePool (node {node.proto.name}) has a window that is not read")
    strides, ceil = _strides(node, 2), bool(node.get("ceil_mode", 0))
    if before == after and all(2 * pad <= size for pad, size in zip(before, kernel, strict=True)):
        return F.avg_pool2d(x, kernel, strides, before, ceil, counts)
    padded = _padded(x, before, after)
    if counts:
        return F.avg_pool2d(padded, kernel, strides, 0, ceil)
    total = F.avg_pool2d(padded, kernel, strides, 0, ceil, divisor_override=1)
    rows, columns = (
        [
            _inside(i * strides[axis] - before[axis], kernel[axis], x.shape[axis + 2])
            for i in range(total.shape[axis + 2])
        ]
        for axis in (0, 1)
    )
    return total / (torch.tensor(rows).to(x)[:, None] * torch.tensor(columns).to(x))


def _inside(start: int, length: int, size: int) -> int:
    """Pixels of a window that lie on the map."""
    return min(start + length, size) - max(start, 0)


@operation("GlobalAveragePool")
def _global_average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1) if x.dim() == 4 else x.mean(list(range(2, x.dim())), keepdim=True)


@operation("GlobalMaxPool")
def _global_max_pool(node: OnnxNode, x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, 1) if x.dim() == 4 else x.amax(list(range(2, x.dim())), keepdim=True)


@operation("BatchNormalization")
def _batch_norm(node: OnnxNode, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if node.get("training_mode", 0):
        raise Unreadable(f"BatchNormalization (node {node.proto.name}) is in training mode")
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


@operation("InstanceNormalization")
def _instance_norm(node: OnnxNode, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


@operation("LayerNormalization")
def _layer_norm(node: OnnxNode, x: Tensor, scale: Tensor, bias: Input = None) -> Tensor:
    axis = node.get("axis", -1) % x.dim()
    return F.layer_norm(x, list(x.shape[axis:]), scale, bias, node.get("epsilon", 1e-5))


@operation("GroupNormalization")
def _group_norm(node: OnnxNode, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    each = x.shape[1] // len(scale)  # before opset 21 there is one value a group
    return F.group_norm(
        x,
        node.get("num_groups"),
        scale.repeat_interleave(each),
        bias.repeat_interleave(each),
        node.get("epsilon", 1e-5),
    )


@operation("LRN")
def _local_response_norm(node: OnnxNode, x: Tensor) -> Tensor:
    alpha, beta = node.get("alpha", 1e-4), node.get("beta", 0.75)
    return F.local_response_norm(x, node.get("size"), alpha, beta, node.get("bias", 1.0))


@operation("LpNormalization")
def _lp_norm(node: OnnxNode, x: Tensor) -> Tensor:
    return F.normalize(x, float(node.get("p", 2)), node.get("axis", -1))


# --- activations -------------------------------------------------------------------------------------------------------


@operation("Clip")
def _clip(node: OnnxNode, x: Tensor, low: Input = None, high: Input = None) -> Tensor:
    least = node.get("min") if low is None else float(low)
    most = node.get("max") if high is None else float(high)
    if least is None and most is None:
        return x
    if least is None or most is None:
        return torch.clamp(x, least, most)
    return F.hardtanh(x, least, most) if x.is_floating_point() else torch.clamp(x, least, most)


@operation("HardSigmoid")
def _hard_sigmoid(node: OnnxNode, x: Tensor) -> Tensor:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - _ONE_SIXTH) < 1e-5 and beta == 0.5:
        return F.hardsigmoid(x)
    return F.hardtanh(alpha * x + beta, 0.0, 1.0)


@operation("PRelu")
def _prelu(node: OnnxNode, x: Tensor, slope: Tensor) -> Tensor:
    if slope.numel() in (1, x.shape[1] if x.dim() > 1 else 1):
        return F.prelu(x, slope.flatten())
    return torch.where(x < 0, slope * x, x)


@operation("Swish")
def _swish(node: OnnxNode, x: Tensor) -> Tensor:
    alpha = node.get("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


_SIMPLE: dict[str, Any] = {
    "Relu": lambda n, x: F.relu(x),
    "LeakyRelu": lambda n, x: F.leaky_relu(x, n.get("alpha", 0.01)),
    "Elu": lambda n, x: F.elu(x, n.get("alpha", 1.0)),
    "Celu": lambda n, x: F.celu(x, n.get("alpha", 1.0)),
    "Selu": lambda n, x: F.selu(x),
    "Gelu": lambda n, x: F.gelu(x, approximate=n.get("approximate", "none")),
    "HardSwish": lambda n, x: F.hardswish(x),
    "Mish": lambda n, x: F.mish(x),
    "Sigmoid": lambda n, x: torch.sigmoid(x),
    "Tanh": lambda n, x: torch.tanh(x),
    "Softplus": lambda n, x: F.softplus(x),
    "Softsign": lambda n, x: F.softsign(x),
    "ThresholdedRelu": lambda n, x: F.threshold(x, n.get("alpha", 1.0), 0.0),
    "Dropout": lambda n, x, *_: (x, torch.ones_like(x, dtype=torch.bool)),
    "Identity": lambda n, x: x,
}
for _name, _function in _SIMPLE.items():
    operation(_name)(_function)
