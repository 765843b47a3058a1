"""Convolutions with their weights laid out as the CPU's kernels want them: once, not on every pass. For the audit only.

PyTorch hands oneDNN a convolution's weights in the layout they are stored in, and oneDNN rearranges them at each call; depthwise
convolutions run in a slower kernel besides. `torch.compile` therefore stores them rearranged. So does this module, without
compiling anything: the same arithmetic by the same library, 0.6 of the time for MobileNetV2.

The operators are the ones that torch.compile emits and have no stable interface, so whoever packs a network compares its answers
afterwards and drops it when they differ; where an operator is missing, packing raises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.stages.ops import PACKED_CONV


def can_pack(example: Tensor) -> bool:
    """Whether networks that run on inputs like this one have anything to gain: on the CPU, with oneDNN."""
    onednn = torch.backends.mkldnn
    return example.device.type == "cpu" and onednn.is_available() and bool(onednn.enabled)


class PackedConv2d(nn.Module):
    """A convolution that cannot be trained any more."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self._geometry = ([int(side) for side in conv.padding], list(conv.stride), list(conv.dilation), conv.groups)
        self._weight = _packed_weight(conv.weight, *self._geometry)
        self._bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._geometry, "none", [], ""
        )
        return out


def pack_eager(module: nn.Module) -> int:
    """Replace the plain convolutions of an eager module, in place.

    Returns:
        How many were replaced.
    """
    convs = [(name, layer) for name, layer in module.named_modules() if _is_plain(layer)]
    for name, layer in convs:
        module.set_submodule(name, PackedConv2d(layer))
    return len(convs)


def _is_plain(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Conv2d
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.dtype == torch.float32
    )


def _packed_weight(weight: Tensor, padding: list[int], stride: list[int], dilation: list[int], groups: int) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), padding, stride, dilation, groups, None
    )
    return packed


def pack_script(frozen: Any) -> int:
    """Replace the convolutions of a frozen TorchScript module that have constant weights, in place.

    Returns:
        How many were replaced.
    """
    graph = frozen.graph
    replaced = 0
    for conv in [*graph.findAllNodes("aten::conv2d"), *graph.findAllNodes("aten::_convolution")]:
        geometry = _script_geometry(conv)
        if geometry is not None:
            _replace_node(frozen, graph, conv, geometry, f"_packed_{replaced}")
            replaced += 1
    torch._C._jit_pass_dce(graph)
    graph.lint()
    return replaced


def _script_geometry(conv: Any) -> tuple[list[int], list[int], list[int], int] | None:
    """Padding, stride, dilation and groups of a convolution node; None where it cannot be packed."""
    inputs = list(conv.inputs())
    weight, (stride, padding, dilation) = inputs[1].toIValue(), (value.toIValue() for value in inputs[3:6])
    general = conv.kind() == "aten::_convolution"
    groups = inputs[8 if general else 6].toIValue()
    if general and (inputs[6].toIValue() is not False or len(stride or ()) != 2):
        return None  # transposed, or of another number of dimensions
    if not isinstance(weight, Tensor) or weight.dtype != torch.float32 or not isinstance(groups, int):
        return None
    if not all(isinstance(value, list) for value in (stride, padding, dilation)):
        return None  # computed on the way, or "same"
    return padding, stride, dilation, groups


def _replace_node(frozen: Any, graph: Any, conv: Any, geometry: tuple[Any, ...], name: str) -> None:
    inputs = list(conv.inputs())
    tensor = torch._C.TensorType.get()
    # A packed weight is opaque and cannot be a constant of the graph, so it becomes an attribute of the module.
    frozen._c._register_attribute(name, tensor, _packed_weight(inputs[1].toIValue(), *geometry))
    graph.setInsertPoint(conv)
    weight = graph.create("prim::GetAttr")
    weight.addInput(next(graph.inputs()))
    weight.s_("name", name)
    weight.output().setType(tensor)
    no_scalars = graph.create("prim::ListConstruct")
    no_scalars.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    call = graph.create(PACKED_CONV)
    call.output().setType(tensor)
    for node in (weight, no_scalars):
        node.insertBefore(conv)
    geometry_inputs = [graph.insertConstant(value) for value in geometry]
    arguments = [inputs[0], weight.output(), inputs[2], *geometry_inputs]
    arguments += [graph.insertConstant("none"), no_scalars.output(), graph.insertConstant("")]
    for value in arguments:
        call.addInput(value)
    call.insertBefore(conv)
    conv.output().replaceAllUsesWith(call.output())
    conv.destroy()
