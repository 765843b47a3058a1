"""Write a changed program back as an ONNX file: the nodes it kept are the file's own, with the opset and the IR version."""

from __future__ import annotations

import operator
from typing import Any

import onnx
import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from shiftaudit.errors import ModelError, PatchError, first_line
from shiftaudit.models.carried import EXTRA_FILE
from shiftaudit.models.fast import difference
from shiftaudit.models.onnx import HEADER
from shiftaudit.models.onnx.node import OnnxNode, set_attributes
from shiftaudit.models.onnx.program import Header, stored_weights
from shiftaudit.models.onnx.runtime import OnnxRunner
from shiftaudit.surgery.onnx.layers import Block, write_layer

_LARGEST = 2**31 - 1
"""Bytes of one protobuf message."""
_TOLERANCE = 1e-3
_COARSE = 0.05
"""Of half precision."""


def onnx_bytes(program: fx.GraphModule, carried: str, example: Tensor) -> bytes:
    """The file of a program, compared in ONNX Runtime with the program itself.

    Args:
        carried: text of `shiftaudit.json`, which goes into the file's metadata.
        example: (N, C, H, W), in the size that the file is for.

    Raises:
        PatchError: the file is too large for one message, is not valid, or computes something else.
    """
    weights = sum(parameter.nbytes for parameter in program.parameters())
    if weights > _LARGEST * 0.98:
        raise PatchError(
            f"the copy has {weights / 1e9:.1f} GB of weights, and one ONNX file without others beside it holds 2 GB"
        )
    model = _Writer(program, example).write()
    onnx.helper.set_model_props(
        model, {entry.key: entry.value for entry in model.metadata_props} | {EXTRA_FILE: carried}
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise PatchError(f"the copy is no valid ONNX model: {first_line(error)}") from error
    data: bytes = model.SerializeToString()
    _compare(program, data, example)
    return data


def _compare(program: fx.GraphModule, data: bytes, example: Tensor) -> None:
    with torch.inference_mode():
        wanted = program(example)
    try:
        got = OnnxRunner(data).run(example.float().cpu().numpy())
    except (ModelError, RuntimeError) as error:
        raise PatchError(f"ONNX Runtime refuses the copy: {first_line(error)}") from error
    pairs = [(wanted, got)] if isinstance(wanted, Tensor) else [(wanted[name], got[name]) for name in wanted]
    limit = _TOLERANCE if example.dtype == torch.float32 else _COARSE
    for tensor, array in pairs:
        apart = difference(torch.from_numpy(array), tensor.float().cpu())
        if not apart <= limit:
            raise PatchError(f"in ONNX Runtime the copy computes something else: it differs by {apart:.1e}")


class _Writer:
    def __init__(self, program: fx.GraphModule, example: Tensor) -> None:
        self.program = program
        with torch.no_grad():
            ShapeProp(program).propagate(example)
        header: Header = program.meta[HEADER]
        self.header = header
        self.model = onnx.ModelProto()
        self.model.CopyFrom(header.model)
        self.graph = self.model.graph
        self.nodes = [node for node in self.graph.node if set(filter(None, node.output)) <= header.known]
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.names: dict[fx.Node, str] = {}
        self.outputs = self._outputs()

    def write(self) -> onnx.ModelProto:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                stored = {tensor.name for tensor in self.graph.initializer}
                self.names[node] = next(value.name for value in self.graph.input if value.name not in stored)
            elif node.op == "call_module":
                self._module(node)
            elif node.target is operator.getitem:
                source, at = node.args
                kept: Any = self.program.get_submodule(str(source.target))
                self.names[node] = [name for name in kept.proto.output if name][at]
        del self.graph.node[:], self.graph.value_info[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(self.initializers.values())
        return self.model

    def _outputs(self) -> dict[fx.Node, str]:
        """The steps whose results leave the graph, and the names they leave under."""
        result: Any = self.program.graph.output_node().args[0]
        if isinstance(result, fx.Node):
            return {result: self.graph.output[0].name}
        return {node: name for name, node in result.items()}

    def _module(self, node: fx.Node) -> None:
        layer = self.program.get_submodule(str(node.target))
        if isinstance(layer, OnnxNode):
            proto = self._kept(node, layer)
            self.names[node] = proto.output[0]
            self.nodes.append(proto)
            return
        source: Any = node.args[0]
        meta = source.meta["tensor_meta"]
        block = Block(str(node.target), torch.empty(0, dtype=meta.dtype).numpy().dtype)
        result = write_layer(block, layer, self.names[source], tuple(meta.shape))
        self.names[node] = result
        if node in self.outputs:
            self.names[node] = block.nodes[-1].output[0] = self.outputs[node]
        self.nodes += block.nodes
        self.initializers.update({tensor.name: tensor for tensor in block.initializers})

    def _kept(self, node: fx.Node, layer: OnnxNode) -> onnx.NodeProto:
        """The file's node, which reads what it reads now and strides as it strides now."""
        proto = onnx.NodeProto()
        proto.CopyFrom(layer.proto)
        for at, argument in zip(layer.live, node.args, strict=True):
            proto.input[at] = self.names[argument]  # type: ignore[index]
        if proto.output[0] in self.outputs.values() and node not in self.outputs and layer.n_outputs == 1:
            proto.output[0] += "/dense"  # a layer that was put behind it leaves the graph in its place
        if layer.stride is not None and list(layer.stride) != list(layer.attributes.get("strides", [])):
            changed = {"strides": list(layer.stride)}
            if layer.seen_pads is not None:
                changed["pads"] = layer.seen_pads
            set_attributes(proto, changed, without=("auto_pad",) if "pads" in changed else ())
        for name, weight in stored_weights(layer, self.header).items():
            self.initializers[name] = onnx.numpy_helper.from_array(weight.detach().cpu().numpy(), name)
        return proto
