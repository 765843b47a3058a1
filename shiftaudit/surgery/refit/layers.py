"""The convolutions and linear layers on a tape, and where the outputs of each can be compared with the original's.

That place, the *anchor*, lies behind a batch-norm with frozen statistics and behind the addition of a skip, where these follow
directly: up to there a layer's weights act linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from shiftaudit.stages.ops import RESHAPES, pair
from shiftaudit.surgery.pointwise import ACTIVATIONS
from shiftaudit.surgery.refit.tape import CONVOLUTIONS, Step, Tape
from shiftaudit.surgery.refit.values import Norm, Parameter, Value

Pair = tuple[int, int]

_LINEAR = {
    "aten::linear": ("input", "weight", "bias"),
    "aten::addmm": ("mat1", "mat2", "self"),
    "aten::mm": ("self", "mat2", ""),
    "aten::matmul": ("self", "other", ""),
}
"""The names of input, weight and bias; the weight of all but the first is transposed."""
_ADDITIONS = ("aten::add", "aten::add_")
_AS_THEY_ARE = RESHAPES | {"clone", "contiguous", "alias"}
"""Calls that keep all values in their order."""
_NONLINEAR = ACTIVATIONS | {"_prelu_kernel", "mul", "max_pool2d", "max_pool2d_with_indices"}


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution or linear layer."""

    name: str
    """State-dict key of the weight: (O, I / groups, y, x), or (O, I)."""
    bias: str | None
    step: int
    source: int
    """The value it reads: (N, I, H, W), or (…, I)."""
    output: int
    anchor: int
    """The value that is compared."""
    undo: tuple[Callable[[Tensor], Tensor], ...]
    """From the anchor's shape back to the output's, in the order of application."""
    norm: Norm | None
    skip: bool
    """Whether the anchor is a sum with a skip."""
    activated: bool
    """Whether a nonlinearity follows directly."""
    convolution: bool
    stride: Pair = (1, 1)
    padding: Pair | str = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def find_layers(tape: Tape) -> list[Layer]:
    """The layers that have a weight of their own, in the order of execution."""
    layers = []
    for index, step in enumerate(tape.steps):
        layer = _layer(tape, index, step)
        if layer is not None and layer.name not in tape.entangled:
            layers.append(layer)
    return layers


def _layer(tape: Tape, index: int, step: Step) -> Layer | None:
    bound = step.arguments
    if step.name in CONVOLUTIONS:
        source, weight, bias = bound["input"], bound["weight"], bound["bias"]
        if bound.get("transposed") or not isinstance(weight, Parameter) or len(tape.parameters[weight.name].shape) != 4:
            return None
        padding = bound["padding"] if isinstance(bound["padding"], str) else pair(bound["padding"])
        geometry: dict[str, Any] = {
            "stride": pair(bound["stride"]),
            "padding": padding,
            "dilation": pair(bound["dilation"]),
            "groups": bound["groups"],
        }
    elif step.name in _LINEAR:
        names = _LINEAR[step.name]
        source, weight, bias = (bound.get(name) for name in names)
        if not isinstance(weight, Parameter) or weight.transposed != (step.name != "aten::linear"):
            return None
        geometry = {}
    else:
        return None
    if not isinstance(source, Value) or not (bias is None or isinstance(bias, Parameter)):
        return None
    output = step.outputs[0]
    assert output is not None
    anchor, undo, skip = _tail(tape, output)
    return Layer(
        weight.name, bias.name if bias else None, index, source.number, output, anchor, undo, step.norm, skip,
        _activated(tape, anchor), step.name in CONVOLUTIONS, **geometry,
    )  # fmt: skip


def _tail(tape: Tape, output: int) -> tuple[int, tuple[Callable[[Tensor], Tensor], ...], bool]:
    """The anchor, the way back from it, and whether a skip is added."""
    value = anchor = output
    undo = []
    while (follower := tape.only_user(value)) is not None and (back := _inverse(tape, follower)) is not None:
        undo.append(back)
        assert follower.outputs[0] is not None
        value = follower.outputs[0]
    if follower is not None and _adds_skip(tape, follower):
        assert follower.outputs[0] is not None
        return follower.outputs[0], tuple(reversed(undo)), True
    return anchor, (), False


def _inverse(tape: Tape, step: Step) -> Callable[[Tensor], Tensor] | None:
    """The way back through a step that only moves numbers about; None for any other step."""
    kind, bound = step.name.removeprefix("aten::"), step.arguments
    if kind in _AS_THEY_ARE or (kind in ("dropout", "feature_dropout") and not bound["train"]):
        shape = tape.shapes[step.inputs[0]]
        return lambda x: x.reshape(shape)
    if kind == "transpose":
        return lambda x: x.transpose(bound["dim0"], bound["dim1"])
    if kind == "permute":
        order = [dim % len(bound["dims"]) for dim in bound["dims"]]
        return lambda x: x.permute([order.index(dim) for dim in range(len(order))])
    return None


def _adds_skip(tape: Tape, step: Step) -> bool:
    if step.name not in _ADDITIONS:
        return False
    bound = step.arguments
    terms = [bound["self"], bound["other"]]
    if bound["alpha"] != 1 or not all(isinstance(term, Value) for term in terms) or terms[0] == terms[1]:
        return False
    return len({tape.shapes[number] for number in (*step.inputs, *step.outputs) if number is not None}) == 1


def _activated(tape: Tape, value: int) -> bool:
    names = (tape.steps[user].name.removeprefix("aten::").removesuffix("_") for user in tape.users.get(value, []))
    return any(name in _NONLINEAR for name in names)
