"""Sums, products, reductions and comparisons of ONNX."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.models.onnx.node import Input, OnnxNode, integers, operation, torch_type

_FLATTENED_BEFORE = 13
"""Softmax worked on a matrix until this opset: all axes from `axis` on are one."""


@operation("Div")
def _div(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operation("Mod")
def _mod(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


@operation("Gemm")
def _gemm(node: OnnxNode, a: Tensor, b: Tensor, c: Input = None) -> Tensor:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a = a.t() if node.get("transA", 0) else a
    weight = b if node.get("transB", 0) else b.t()
    if alpha == 1 and (c is None or (beta == 1 and c.dim() == 1)):
        return F.linear(a, weight, c)
    product: Tensor = alpha * F.linear(a, weight)
    return product if c is None else product + beta * c


@operation("Einsum")
def _einsum(node: OnnxNode, *operands: Tensor) -> Tensor:
    result: Tensor = torch.einsum(node.get("equation"), *operands)
    return result


@operation("Softmax", "LogSoftmax")
def _softmax(node: OnnxNode, x: Tensor) -> Tensor:
    log = node.proto.op_type == "LogSoftmax"
    compute: Any = F.log_softmax if log else F.softmax
    if node.opset >= _FLATTENED_BEFORE:
        result: Tensor = compute(x, node.get("axis", -1))
        return result
    axis = node.get("axis", 1) % x.dim()
    flat: Tensor = compute(x.flatten(axis), -1)
    return flat.view(x.shape)


@operation("Where")
def _where(node: OnnxNode, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@operation("Cast")
def _cast(node: OnnxNode, x: Tensor) -> Tensor:
    return x.to(torch_type(node.get("to")))


@operation("CastLike")
def _cast_like(node: OnnxNode, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@operation("QuantizeLinear")
def _quantize(node: OnnxNode, x: Tensor, scale: Tensor, zero: Input = None) -> Tensor:
    kind = torch.uint8 if zero is None else zero.dtype
    scale, offset = _along_axis(node, x, scale), 0 if zero is None else _along_axis(node, x, zero).to(x)
    limits = torch.iinfo(kind)
    return (torch.round(x / scale) + offset).clamp(limits.min, limits.max).to(kind)


@operation("DequantizeLinear")
def _dequantize(node: OnnxNode, x: Tensor, scale: Tensor, zero: Input = None) -> Tensor:
    values = x.to(scale)
    return (values if zero is None else values - _along_axis(node, x, zero).to(values)) * _along_axis(node, x, scale)


def _along_axis(node: OnnxNode, x: Tensor, values: Tensor) -> Tensor:
    if values.dim() != 1 or values.numel() == 1:
        return values
    shape = [1] * x.dim()
    shape[node.get("axis", 1)] = -1
    return values.to(x.device).view(shape)


# --- reductions --------------------------------------------------------------------------------------------------------


def _reduce(name: str, compute: Any) -> None:
    @operation(name)
    def reduce(node: OnnxNode, x: Tensor, axes: Input = None) -> Any:
        chosen = node.get("axes") if axes is None else integers(axes)
        if not chosen:
            if node.get("noop_with_empty_axes", 0):
                return x
            chosen = list(range(x.dim()))
        return compute(x, [int(axis) for axis in chosen], bool(node.get("keepdims", 1)))


def _product(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in sorted((dim % x.dim() for dim in dims), reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x


_reduce("ReduceMean", lambda x, dims, keep: x.mean(dims, keepdim=keep))
_reduce("ReduceSum", lambda x, dims, keep: x.sum(dims, keepdim=keep))
_reduce("ReduceMax", lambda x, dims, keep: x.amax(dims, keepdim=keep))
_reduce("ReduceMin", lambda x, dims, keep: x.amin(dims, keepdim=keep))
_reduce("ReduceProd", _product)
_reduce("ReduceL1", lambda x, dims, keep: x.abs().sum(dims, keepdim=keep))
_reduce("ReduceL2", lambda x, dims, keep: torch.linalg.vector_norm(x, 2, dims, keep))
_reduce("ReduceSumSquare", lambda x, dims, keep: x.square().sum(dims, keepdim=keep))
_reduce("ReduceLogSumExp", lambda x, dims, keep: x.logsumexp(dims, keepdim=keep))


@operation("ArgMax", "ArgMin")
def _arg_extreme(node: OnnxNode, x: Tensor) -> Tensor:
    find = torch.argmax if node.proto.op_type == "ArgMax" else torch.argmin
    return find(x, node.get("axis", 0), keepdim=bool(node.get("keepdims", 1)))


@operation("TopK")
def _top_k(node: OnnxNode, x: Tensor, k: Tensor) -> Any:
    found = x.topk(integers(k)[0], node.get("axis", -1), bool(node.get("largest", 1)), bool(node.get("sorted", 1)))
    return found.values, found.indices


@operation("CumSum")
def _cumulative_sum(node: OnnxNode, x: Tensor, axis: Tensor) -> Tensor:
    dim = integers(axis)[0]
    summed = (x.flip(dim) if node.get("reverse", 0) else x).cumsum(dim)
    summed = summed.flip(dim) if node.get("reverse", 0) else summed
    return summed - x if node.get("exclusive", 0) else summed


# --- by element --------------------------------------------------------------------------------------------------------

_SIMPLE: dict[str, Any] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "MatMul": torch.matmul,
    "Pow": lambda a, b: a.pow(float(b)) if b.dim() == 0 and not b.is_cuda else torch.pow(a, b.to(a)),
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Exp": torch.exp,
    "Log": torch.log,
    "Erf": torch.erf,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Not": torch.logical_not,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "IsNaN": torch.isnan,
    "Max": lambda *values: functools.reduce(torch.maximum, values),
    "Min": lambda *values: functools.reduce(torch.minimum, values),
    "Sum": lambda *values: functools.reduce(torch.add, values),
    "Mean": lambda *values: functools.reduce(torch.add, values) / len(values),
}


def _without_node(function: Any) -> Any:
    return lambda _, *values: function(*values)


for _name, _function in _SIMPLE.items():
    operation(_name)(_without_node(_function))
