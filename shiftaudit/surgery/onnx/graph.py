"""An ONNX graph, as the surgery sees it: the fx graph of its program, in which every step is one node of the file."""

from __future__ import annotations

from torch import Tensor, fx

from shiftaudit.errors import PatchError
from shiftaudit.models.onnx import HEADER
from shiftaudit.models.onnx.node import OnnxNode, set_attributes
from shiftaudit.models.onnx.program import is_quantised
from shiftaudit.records.patch import Backend
from shiftaudit.surgery.fx.graph import FxGraph
from shiftaudit.surgery.graph import Call, Size

OLDEST_OPSET = 11
"""From here on `Pad` and `Slice` take their sizes as operands."""


class OnnxGraph(FxGraph):
    """A copy of the program of an ONNX file, run once on `example` (N, C, H, W).

    Raises:
        PatchError: the graph computes with quantised tensors, or is of a version that cannot be patched.
    """

    backend: Backend = "onnx"

    def __init__(self, module: fx.GraphModule, example: Tensor) -> None:
        if is_quantised(module):
            raise PatchError(
                "the graph computes with quantised tensors and cannot be patched",
                hint="patch the float model, then quantise the copy",
            )
        opset = module.meta[HEADER].opset
        if opset < OLDEST_OPSET:
            raise PatchError(
                f"the file uses opset {opset}; patching takes {OLDEST_OPSET} and later",
                hint="convert it with onnx.version_converter",
            )
        super().__init__(module, example)

    def why_fixed(self, call: Call) -> str | None:
        """See `Graph`; a node may pad before it strides, and its stride is its own all the same."""
        return None if isinstance(self._layer(call), OnnxNode) else super().why_fixed(call)

    def why_kernel_fixed(self, call: Call) -> str | None:
        """See `Graph`."""
        layer = self.copy.get_submodule(str(call.node.target))
        assert isinstance(layer, OnnxNode)
        if layer.proto.input[1] in self.copy.meta[HEADER].known:
            return "its weight is computed"
        alone = sum(other.node is call.node for other in self.calls) == 1
        return None if alone else "it pads the map in a way of its own"

    def set_kernel(self, call: Call, weight: Tensor, padding: Size | None) -> None:
        """See `Graph`."""
        super().set_kernel(call, weight, None)
        layer = self.copy.get_submodule(str(call.node.target))
        assert isinstance(layer, OnnxNode)
        changed = {"kernel_shape": list(weight.shape[2:])} | ({} if padding is None else {"pads": [*padding, *padding]})
        set_attributes(layer.proto, changed, without=() if padding is None else ("auto_pad",))
        layer.read_attributes()

    def _notes(self) -> tuple[str, ...]:
        return ()
