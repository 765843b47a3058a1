"""Read one fx node: modules, functions and ATen calls that can make a feature map smaller, in one form."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from shiftaudit.records.words import OpName
from shiftaudit.surgery.plan import COMPUTED, INDICES

Pair = tuple[int, int]
aten = torch.ops.aten


@dataclass(frozen=True)
class Op:
    """A node that may be a downsampling site. Pairs are (y, x)."""

    kind: OpName
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    output_size: Any = None
    weight: fx.Node | None = None
    """Of a functional convolution: names it, and gives its size."""
    blocker: str | None = None
    opaque: bool = False
    steps: dict[int, int] = field(default_factory=dict)
    """Of a slice: step by dimension, counted from the front."""


# Parameter names and defaults by position, for functions and ATen calls of each kind.
_CONV = {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_CONVOLUTION = {
    "input": None, "weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "transposed": False,
    "output_padding": 0, "groups": 1,
}  # fmt: skip
_MAX_POOL = {
    "input": None, "kernel_size": 1, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False,
    "return_indices": False,
}  # fmt: skip
_AVG_POOL = {
    "input": None, "kernel_size": 1, "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True,
    "divisor_override": None,
}  # fmt: skip
_LP_POOL2D = {"input": None, "norm_type": 2, "kernel_size": 1, "stride": None, "ceil_mode": False, "padding": 0}
_ADAPTIVE = {"input": None, "output_size": 1, "return_indices": False}
_LP_POOL = "an Lp-pool is one step here: save the model with torch.jit.script and patch the file"

FUNCTIONS: dict[Any, tuple[OpName, dict[str, Any]]] = {
    torch.conv2d: ("conv", _CONV),
    aten.conv2d.default: ("conv", _CONV),
    aten.conv2d.padding: ("conv", _CONV),
    aten.convolution.default: ("conv", _CONVOLUTION),
    F.max_pool2d: ("max_pool", _MAX_POOL),
    F.max_pool2d_with_indices: ("max_pool", _MAX_POOL | {"return_indices": True}),
    torch.max_pool2d: ("max_pool", _MAX_POOL),
    aten.max_pool2d.default: ("max_pool", _MAX_POOL),
    aten.max_pool2d_with_indices.default: ("max_pool", _MAX_POOL | {"return_indices": True}),
    F.avg_pool2d: ("avg_pool", _AVG_POOL),
    F.lp_pool2d: ("avg_pool", _LP_POOL2D),
    aten.avg_pool2d.default: ("avg_pool", _AVG_POOL),
    F.adaptive_avg_pool2d: ("adaptive_avg_pool", _ADAPTIVE),
    aten.adaptive_avg_pool2d.default: ("adaptive_avg_pool", _ADAPTIVE),
    F.adaptive_max_pool2d: ("adaptive_max_pool", _ADAPTIVE),
    aten.adaptive_max_pool2d.default: ("adaptive_max_pool", _ADAPTIVE | {"return_indices": True}),
    F.interpolate: ("interpolate", {"input": None}),
    aten.upsample_nearest2d.vec: ("interpolate", {"input": None}),
    aten.upsample_bilinear2d.vec: ("interpolate", {"input": None}),
    aten.upsample_bicubic2d.vec: ("interpolate", {"input": None}),
    F.pixel_unshuffle: ("slice", {"input": None, "downscale_factor": 1}),
    aten.pixel_unshuffle.default: ("slice", {"input": None, "downscale_factor": 1}),
}

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid, nn.Threshold,
)  # fmt: skip
_ACTIVATION_NAMES = {
    "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardtanh",
    "hardsigmoid", "hardswish", "softplus", "softsign", "clamp", "clamp_min",
}  # fmt: skip
_POINTWISE_NAMES = {"batch_norm", "dropout", "identity"}


def pointwise(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """`norm` or `activation` where the node works on each pixel alone (in eval mode), None otherwise."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, _ACTIVATIONS):
            return "activation"
        return "norm" if _works_on_pixels(module, shape_of(node)) else None
    name = operation_name(node).removesuffix("_")
    if name in _ACTIVATION_NAMES:
        return "activation"
    return "norm" if name in _POINTWISE_NAMES else None


def _works_on_pixels(module: nn.Module, shape: tuple[int, ...] | None) -> bool:
    """Whether a norm or activation of any make commutes with taking every second pixel; tried out, not guessed."""
    if any(parameter.dim() in (2, 4) and parameter.numel() > parameter.shape[0] for parameter in module.parameters()):
        return False  # a layer that mixes channels is no norm
    if shape is None or len(shape) != 4 or module.training:
        return False
    like = next((tensor for tensor in module.state_dict().values() if tensor.is_floating_point()), torch.zeros(()))
    x = torch.randn(1, shape[1], 6, 6, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
    try:
        with torch.no_grad():
            kept_after, kept_before = module(x.clone())[:, :, ::2, ::2], module(x[:, :, ::2, ::2].clone())
    except Exception:
        return False  # it wants another size or more arguments
    return kept_after.shape == kept_before.shape and torch.allclose(kept_after, kept_before, rtol=1e-4, atol=1e-5)


def operation_name(node: fx.Node) -> str:
    """`relu` for `F.relu`, `x.relu()` and `aten.relu.default` alike; "" for modules."""
    if node.op == "call_method":
        return str(node.target)
    if node.op != "call_function":
        return ""
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet or node.target, "__name__", ""))


def read(node: fx.Node, modules: dict[str, nn.Module]) -> Op | None:
    """The node as an `Op`, None when it is no operation that could make a map smaller."""
    if node.op == "call_module":
        return _read_module(node, modules[str(node.target)])
    if node.op != "call_function":
        return None
    if node.target is operator.getitem:
        return _read_getitem(node)
    if node.target is aten.slice.Tensor:
        return _read_slice(node)
    if operation_name(node) == "_patch_merging_pad":  # torchvision's Swin: pads, then takes the four phases
        return Op("slice", stride=(2, 2), steps={1: 2, 2: 2})
    known = FUNCTIONS.get(node.target)
    return None if known is None else _read_function(node, *known)


def _read_module(node: fx.Node, module: nn.Module) -> Op | None:
    if isinstance(module, nn.Conv2d):
        padding = (0, 0) if isinstance(module.padding, str) else pair(module.padding)
        own_code = type(module).forward is not nn.Conv2d.forward or "_conv_forward" in vars(type(module))
        return Op(
            "conv", pair(module.kernel_size), pair(module.stride), padding, pair(module.dilation), module.groups,
            opaque=own_code and type(module) is not nn.Conv2d,
        )  # fmt: skip
    if isinstance(module, nn.MaxPool2d):
        stride = module.kernel_size if module.stride is None else module.stride
        return Op(
            "max_pool", pair(module.kernel_size), pair(stride), pair(module.padding), pair(module.dilation),
            ceil_mode=module.ceil_mode,
            blocker=_indices_used(node, module.return_indices) or _subclassed(module, nn.MaxPool2d),
        )  # fmt: skip
    if isinstance(module, nn.AvgPool2d):
        return Op(
            "avg_pool", pair(module.kernel_size), pair(module.stride), pair(module.padding), ceil_mode=module.ceil_mode,
            count_include_pad=module.count_include_pad, divisor_override=module.divisor_override,
            blocker=_subclassed(module, nn.AvgPool2d),
        )  # fmt: skip
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return Op(
            "adaptive_avg_pool", output_size=module.output_size, blocker=_subclassed(module, nn.AdaptiveAvgPool2d)
        )
    if isinstance(module, nn.AdaptiveMaxPool2d):
        return Op(
            "adaptive_max_pool", blocker=_indices_used(node, module.return_indices), output_size=module.output_size
        )
    if isinstance(module, nn.LPPool2d):
        stride = module.kernel_size if module.stride is None else module.stride
        return Op("avg_pool", pair(module.kernel_size), pair(stride), ceil_mode=module.ceil_mode, blocker=_LP_POOL)
    if isinstance(module, nn.FractionalMaxPool2d):
        return Op("adaptive_max_pool", blocker="its windows are drawn at random")
    if isinstance(module, nn.Upsample):
        return Op("interpolate")
    if isinstance(module, nn.PixelUnshuffle):
        factor = module.downscale_factor
        return Op("slice", stride=(factor, factor), steps={2: factor, 3: factor})
    return None


def _subclassed(module: nn.Module, base: type[nn.Module]) -> str | None:
    if type(module).forward is not base.forward:
        return f"{type(module).__name__} has code of its own around the pool"
    return None


def _read_function(node: fx.Node, kind: OpName, signature: dict[str, Any]) -> Op | None:
    bound = bind(node, signature)
    if bound.get("transposed"):
        return None
    if kind == "slice":
        factor = bound["downscale_factor"]
        return Op(kind, stride=(factor, factor), steps={2: factor, 3: factor})
    values = [bound.get(key) for key in ("kernel_size", "stride", "padding", "dilation", "output_size")]
    if any(isinstance(leaf, fx.Node) for value in values for leaf in _leaves(value)):
        return Op(kind, blocker=COMPUTED)
    if kind == "conv":
        padding = (0, 0) if isinstance(bound["padding"], str) else pair(bound["padding"])
        weight = bound["weight"]
        size = tuple(weight.meta["shape"])[-2:] if isinstance(weight, fx.Node) and "shape" in weight.meta else (1, 1)
        return Op(
            kind, pair(size), pair(bound["stride"]), padding, pair(bound["dilation"]), bound["groups"],
            weight=weight if isinstance(weight, fx.Node) else None,
        )  # fmt: skip
    if kind in ("max_pool", "avg_pool"):
        stride = bound["stride"] or bound["kernel_size"]
        return Op(
            kind, pair(bound["kernel_size"]), pair(stride), pair(bound["padding"]), pair(bound.get("dilation", 1)),
            ceil_mode=bound["ceil_mode"], count_include_pad=bound.get("count_include_pad", True),
            divisor_override=bound.get("divisor_override"),
            blocker=_LP_POOL if "norm_type" in bound else _indices_used(node, bound.get("return_indices", False)),
        )  # fmt: skip
    blocker = _indices_used(node, bound.get("return_indices", False))
    return Op(kind, output_size=bound.get("output_size"), blocker=blocker)


def bind(node: fx.Node, signature: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments by name, with the defaults of `signature` for those left out."""
    return signature | dict(zip(signature, node.args, strict=False)) | dict(node.kwargs)


def _indices_used(node: fx.Node, returned: bool) -> str | None:
    """Exported programs return the indices of every adaptive max-pool, and take the values alone."""
    return INDICES if returned and not _values_alone(node) else None


def _values_alone(node: fx.Node) -> bool:
    """Whether all that is read of a call's several results is the first."""
    return all(user.target is operator.getitem and (user.args[1] == 0 or not user.users) for user in node.users)


def _read_getitem(node: fx.Node) -> Op | None:
    index = node.args[1]
    items = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(item, slice) or item is Ellipsis for item in items):
        return None
    rank = len(shape_of(node.args[0]) or ())
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items = (*items[:at], *([slice(None)] * (rank - len(items) + 1)), *items[at + 1 :])
    steps = {dim: item.step for dim, item in enumerate(items) if isinstance(item.step, int) and item.step > 1}
    return Op("slice", steps=steps)


def _read_slice(node: fx.Node) -> Op | None:
    bound = bind(node, {"input": None, "dim": 0, "start": None, "end": None, "step": 1})
    rank = len(shape_of(bound["input"]) or ())
    step = bound["step"]
    return Op("slice", steps={bound["dim"] % rank: step} if rank and isinstance(step, int) and step > 1 else {})


def source_of(node: fx.Node) -> Any:
    """The map a call reads: a node in every graph that was traced."""
    return node.args[0] if node.args else node.kwargs.get("input")


def shape_of(node: Any) -> tuple[int, ...] | None:
    """The shape the value had when the example ran, None for what is no tensor."""
    shape = node.meta.get("shape") if isinstance(node, fx.Node) else None
    return None if shape is None else tuple(shape)


def pair(value: Any) -> Pair:
    """An int or sequence as (y, x)."""
    values = list(value) if isinstance(value, (tuple, list, torch.Size)) else [value]
    return int(values[0]), int(values[-1])


def _leaves(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]
