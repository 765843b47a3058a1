"""Operations of ONNX that move values and compute sizes."""

from __future__ import annotations

from typing import Any

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.models.onnx.file import Unreadable
from shiftaudit.models.onnx.node import Input, OnnxNode, integers, operation

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def tensor_of(value: onnx.TensorProto) -> Tensor:
    """A stored tensor.

    Raises:
        Unreadable: of a type that torch does not have.
    """
    try:
        return torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
    except TypeError as error:
        raise Unreadable(f"tensor {value.name} is of a type that is not read") from error


@operation("Constant")
def _constant(node: OnnxNode) -> Tensor:
    for name, value in node.attributes.items():
        if name == "value":
            return tensor_of(value)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise Unreadable(f"Constant (node {node.proto.name}) holds no tensor")


@operation("ConstantOfShape")
def _constant_of_shape(node: OnnxNode, shape: Tensor) -> Tensor:
    value = node.attributes.get("value")
    fill = torch.zeros(1) if value is None else tensor_of(value)
    return fill.reshape(-1)[0].repeat(integers(shape))


@operation("Range")
def _range(node: OnnxNode, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operation("Shape")
def _shape(node: OnnxNode, x: Tensor) -> Tensor:
    # An ATen call, so that whoever moves a map to another size sees that its size is read.
    return torch._shape_as_tensor(x)[node.get("start", 0) : node.get("end")]


@operation("Size")
def _size(node: OnnxNode, x: Tensor) -> Tensor:
    return torch._shape_as_tensor(x).prod()


@operation("Reshape")
def _reshape(node: OnnxNode, x: Tensor, shape: Tensor) -> Tensor:
    sizes = integers(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


@operation("Flatten")
def _flatten(node: OnnxNode, x: Tensor) -> Tensor:
    axis = node.get("axis", 1) % (x.dim() + 1)
    return x.flatten(1) if axis == 1 else x.reshape(int(torch.tensor(x.shape[:axis]).prod()), -1)


@operation("Transpose")
def _transpose(node: OnnxNode, x: Tensor) -> Tensor:
    return x.permute(list(node.get("perm", range(x.dim())[::-1])))


@operation("Squeeze")
def _squeeze(node: OnnxNode, x: Tensor, axes: Input = None) -> Tensor:
    chosen = node.get("axes") if axes is None else integers(axes)
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


@operation("Unsqueeze")
def _unsqueeze(node: OnnxNode, x: Tensor, axes: Input = None) -> Tensor:
    chosen = list(node.get("axes") if axes is None else integers(axes))
    for axis in sorted(axis % (x.dim() + len(chosen)) for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operation("Concat")
def _concat(node: OnnxNode, *parts: Tensor) -> Tensor:
    return torch.cat(parts, node.get("axis"))


@operation("Split")
def _split(node: OnnxNode, x: Tensor, sizes: Input = None) -> Any:
    axis = node.get("axis", 0)
    given = node.get("split") if sizes is None else integers(sizes)
    if given is None:
        count = node.get("num_outputs", node.n_outputs)
        return x.split(-(-x.shape[axis] // count), axis)
    return x.split(list(given), axis)


@operation("Slice")
def _slice(node: OnnxNode, x: Tensor, *inputs: Input) -> Tensor:
    if inputs:
        starts, ends, axes, steps = ([integers(i) if i is not None else None for i in inputs] + [None, None])[:4]
    else:
        starts, ends, axes, steps = (node.get(name) for name in ("starts", "ends", "axes", "steps"))
    assert starts is not None
    assert ends is not None
    for at, axis in enumerate(range(len(starts)) if axes is None else axes):
        step = 1 if steps is None else steps[at]
        if step > 0:
            x = torch.ops.aten.slice.Tensor(x, axis, starts[at], ends[at], step)
        else:
            kept = range(x.shape[axis])[starts[at] : ends[at] if ends[at] >= -x.shape[axis] else None : step]
            x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64, device=x.device))
    return x


@operation("Gather")
def _gather(node: OnnxNode, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.dim()
    if indices.dim() == 0 and indices.device.type == "cpu":
        return x.select(axis, int(indices))
    wrapped = torch.where(indices < 0, indices + x.shape[axis], indices).to(x.device)
    taken = x.index_select(axis, wrapped.flatten())
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@operation("GatherElements")
def _gather_elements(node: OnnxNode, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@operation("Expand")
def _expand(node: OnnxNode, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(integers(shape))))


@operation("Tile")
def _tile(node: OnnxNode, x: Tensor, repeats: Tensor) -> Tensor:
    return x.tile(integers(repeats))


@operation("Pad")
def _pad(node: OnnxNode, x: Tensor, pads: Input = None, value: Input = None, axes: Input = None) -> Tensor:
    sides = list(node.get("pads") if pads is None else integers(pads))
    chosen = range(x.dim()) if axes is None else [axis % x.dim() for axis in integers(axes)]
    ends = [(0, 0)] * x.dim()
    for at, axis in enumerate(chosen):
        ends[axis] = sides[at], sides[at + len(sides) // 2]
    while ends and ends[0] == (0, 0):  # reflection takes the last axes alone
        ends.pop(0)
    flat = [side for pair in reversed(ends) for side in pair]
    mode = _PAD_MODES[node.get("mode", "constant")]
    if mode == "constant":
        return F.pad(x, flat, value=float(value) if value is not None else node.get("value", 0.0))
    return F.pad(x, flat, mode)


@operation("DepthToSpace")
def _depth_to_space(node: OnnxNode, x: Tensor) -> Tensor:
    block = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


@operation("SpaceToDepth")
def _space_to_depth(node: OnnxNode, x: Tensor) -> Tensor:
    block = node.get("blocksize")
    n, c, h, w = x.shape
    x = F.pixel_unshuffle(x, block).reshape(n, c, block * block, h // block, w // block)
    return x.transpose(1, 2).reshape(n, c * block * block, h // block, w // block)


@operation("Trilu")
def _triangle(node: OnnxNode, x: Tensor, k: Input = None) -> Tensor:
    offset = 0 if k is None else int(k)
    return x.triu(offset) if node.get("upper", 1) else x.tril(offset)


@operation("Resize", "Upsample")
def _resize(node: OnnxNode, x: Tensor, *inputs: Input) -> Tensor:
    scales = inputs[1] if len(inputs) > 1 else inputs[0] if inputs else None
    sizes = inputs[2] if len(inputs) > 2 else None
    if sizes is not None:
        target = integers(sizes)
    else:
        given = node.get("scales") if scales is None else scales.tolist()
        target = [int(size * scale) for size, scale in zip(x.shape, given, strict=True)]
    where, mode = node.get("coordinate_transformation_mode", "half_pixel"), node.get("mode", "nearest")
    rounding = node.get("nearest_mode", "round_prefer_floor")
    floors = node.proto.op_type == "Upsample" or (where == "asymmetric" and rounding == "floor")
    if x.dim() != 4 or target[:2] != list(x.shape[:2]) or node.get("antialias", 0) or node.get("axes"):
        raise Unreadable(f"Resize (node {node.proto.name}) is of a kind that is not read")
    if mode == "nearest" and floors:
        return F.interpolate(x, target[2:], mode="nearest")
    if mode in ("linear", "cubic") and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        kind = "bilinear" if mode == "linear" else "bicubic"
        return F.interpolate(x, target[2:], mode=kind, align_corners=where == "align_corners")
    raise Unreadable(f"Resize (node {node.proto.name}) is of a kind that is not read")
