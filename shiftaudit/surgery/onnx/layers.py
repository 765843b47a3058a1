"""The layers that a patch inserts, as nodes of ONNX.

Everything is written with operations that opset 11 has, so that a copy keeps the opset of its original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from shiftaudit.errors import PatchError
from shiftaudit.surgery.blurpool import BlurPool, effective_pad_mode
from shiftaudit.surgery.fold import PadMap
from shiftaudit.surgery.pools import ChannelsLastBlur, DenseAvgPool2d, DenseMaxPool2d, DensePool2d

Shape = tuple[int, ...]
_MODES = {"reflect": "reflect", "replicate": "edge", "zeros": "constant"}
_END = np.iinfo(np.int64).max


@dataclass
class Block:
    """Nodes that belong together, and the values they hold.

    Args:
        name: what all names in it begin with.
        dtype: of the map.
    """

    name: str
    dtype: Any
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node; the name of its output."""
        name = f"{self.name}/{op}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def hold(self, values: NDArray[Any]) -> str:
        """Store a tensor; its name."""
        name = f"{self.name}/held_{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(values, name))
        return name

    def numbers(self, *values: int) -> str:
        """Store whole numbers; their name."""
        return self.hold(np.array(values, dtype=np.int64))


def write_layer(block: Block, layer: nn.Module, source: str, shape: Shape) -> str:
    """Append what a layer does to the map `source` of this shape; the name of the result.

    Raises:
        PatchError: the layer has no form in ONNX.
    """
    if isinstance(layer, BlurPool):
        return _blur(block, layer, source, (shape[2], shape[3]))
    if isinstance(layer, PadMap):
        return _pad_map(block, layer.padding, layer.pad_mode, source, (shape[2], shape[3]))
    if isinstance(layer, ChannelsLastBlur):
        first = block.add("Transpose", [source], perm=[0, 3, 1, 2])
        return block.add("Transpose", [_blur(block, layer.blur, first, (shape[1], shape[2]))], perm=[0, 2, 3, 1])
    if isinstance(layer, DenseMaxPool2d):
        return _dense_max_pool(block, layer, source, shape)
    if isinstance(layer, DenseAvgPool2d):
        return _dense_avg_pool(block, layer, source, shape)
    raise PatchError(f"{type(layer).__name__} cannot be written to an ONNX file")


def _blur(block: Block, blur: BlurPool, source: str, size: tuple[int, int]) -> str:
    if blur.strength == 0 or blur.filter_size == [1, 1]:
        starts, ends, axes = block.numbers(0, 0), block.numbers(_END, _END), block.numbers(2, 3)
        return block.add("Slice", [source, starts, ends, axes, block.numbers(*blur.stride)])
    padded = _pad_map(block, blur.padding, blur.pad_mode, source, size)
    kernel = blur.kernel.detach().cpu().numpy().astype(block.dtype)
    weight = block.hold(np.ascontiguousarray(np.broadcast_to(kernel, (blur.channels, 1, *kernel.shape))))
    return block.add(
        "Conv", [padded, weight], group=blur.channels, strides=blur.stride, kernel_shape=list(kernel.shape)
    )


def _pad_map(block: Block, padding: list[int], mode: str, source: str, size: tuple[int, int]) -> str:
    left, right, top, bottom = padding
    for axis, sides in ((2, (top, bottom)), (3, (left, right))):
        source = _pad(block, source, axis, sides, effective_pad_mode(mode, size[axis - 2], *sides))
    return source


def _pad(block: Block, source: str, axis: int, sides: tuple[int, int], mode: str) -> str:
    before, after = sides
    if not before and not after:
        return source
    if mode == "circular":  # `Pad` wraps around from opset 19 on only
        parts = [_cut(block, source, axis, -before, _END)] if before else []
        parts += [source, *([_cut(block, source, axis, 0, after)] if after else [])]
        return block.add("Concat", parts, axis=axis)
    pads = [0] * 8
    pads[axis], pads[axis + 4] = sides
    return block.add("Pad", [source, block.numbers(*pads)], mode=_MODES[mode])


def _cut(block: Block, source: str, axis: int, start: int, end: int) -> str:
    return block.add("Slice", [source, block.numbers(start), block.numbers(end), block.numbers(axis)])


def _dense_pads(pool: DensePool2d, shape: Shape) -> list[int]:
    """Padding as ONNX has it, (top, left, bottom, right), with what the last windows reach beyond it."""
    below, right = pool.overhang(*shape[2:])
    top, left = pool.padding
    return [top, left, top + below, left + right]


def _dense_max_pool(block: Block, pool: DenseMaxPool2d, source: str, shape: Shape) -> str:
    pads = _dense_pads(pool, shape)
    return block.add("MaxPool", [source], kernel_shape=pool.kernel, strides=[1, 1], pads=pads, dilations=pool.dilation)


def _dense_avg_pool(block: Block, pool: DenseAvgPool2d, source: str, shape: Shape) -> str:
    """A mean over zeros where windows hang over the edge, times what a map of ones says is too little."""
    pads = _dense_pads(pool, shape)
    frame = [0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]
    padded = block.add("Pad", [source, block.numbers(*frame)], mode="constant")
    total = block.add("AveragePool", [padded], kernel_shape=pool.kernel, strides=[1, 1])
    ones = torch.ones(1, 1, *shape[2:])
    have = F.avg_pool2d(F.pad(ones, [pads[1], pads[3], pads[0], pads[2]]), pool.kernel, [1, 1])
    return block.add("Mul", [total, block.hold((pool(ones) / have).numpy().astype(block.dtype))])
