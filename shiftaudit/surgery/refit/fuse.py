"""Steps of a tape that are computed together: a convolution, the padding with zeros before it and the batch-norm behind it.

An activation behind them writes into their result. Each would read and write whole maps, which takes as long as a convolution of
these; a refit runs each network many times.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from shiftaudit.surgery.refit.tape import CONVOLUTIONS, Step, Tape
from shiftaudit.surgery.refit.values import Norm, Parameter, Value

_NORMS = (
    "aten::batch_norm",
    "aten::native_batch_norm",
    "aten::_native_batch_norm_legit_no_training",
    "aten::cudnn_batch_norm",
)
_IN_PLACE = {
    getattr(torch.ops.aten, name).default: getattr(torch.ops.aten, f"{name}_").default
    for name in ("relu", "relu6", "hardtanh", "leaky_relu", "silu", "hardswish", "sigmoid", "hardsigmoid")
}
_PADS = ("aten::pad", "aten::constant_pad_nd")


def fused(tape: Tape) -> Tape:
    """The same computation with every padding and norm that a convolution can do itself done there."""
    steps: list[Step | None] = list(tape.steps)
    for index, step in enumerate(tape.steps):
        if not (step.name in CONVOLUTIONS and _is_plain(tape, step)):
            continue
        joined, follower = step, tape.only_user(step.outputs[0] or 0)
        if follower is not None and (norm := _norm(tape, step, follower)) is not None:
            joined = replace(joined, outputs=follower.outputs[:1], norm=norm)
            steps[tape.steps.index(follower)] = None
        pad = _pad_before(tape, index)
        if pad is not None:
            joined = _padded(joined, pad)
            steps[tape.steps.index(pad)] = None
        steps[index] = replace(joined, args=tuple(joined.arguments.values()), kwargs={})
    left = [step for step in steps if step is not None]
    return Tape(_overwriting(tape, left), tape.parameters, tape.entangled, tape.shapes, tape.nbytes)


def _overwriting(tape: Tape, steps: list[Step]) -> list[Step]:
    """The steps with the in-place twin of every activation that alone reads the convolution right before it."""
    result = steps[:1]
    for before, step in pairwise(steps):
        twin = _IN_PLACE.get(step.func)
        alone = before.name in CONVOLUTIONS and step.inputs == [before.outputs[0]]
        if twin is not None and alone and len(tape.users[step.inputs[0]]) == 1:
            result.append(replace(step, in_place=twin))
        else:
            result.append(step)
    return result


def _is_plain(tape: Tape, step: Step) -> bool:
    bound = step.arguments
    weight, bias = bound["weight"], bound["bias"]
    known = isinstance(weight, Parameter) and isinstance(bias, (Parameter, type(None)))
    return known and not bound.get("transposed") and len(tape.parameters[weight.name].shape) == 4


def _norm(tape: Tape, step: Step, follower: Step) -> Norm | None:
    """The norm that a step is, where it is the frozen norm of that convolution's output."""
    if follower.name not in _NORMS or any(n in tape.users for n in follower.outputs[1:] if n is not None):
        return None
    bound = follower.arguments
    tensors = [bound[name] for name in ("weight", "bias", "running_mean", "running_var")]
    mean, variance = tensors[2:]
    known = all(tensor is None or isinstance(tensor, Parameter) for tensor in tensors)
    if bound["input"] != Value(step.outputs[0] or 0) or bound.get("training") or not known or None in (mean, variance):
        return None
    kinds = {tape.parameters[one.name].dtype for one in (step.arguments["weight"], *tensors) if one is not None}
    if len(kinds) > 1:  # a half convolution under a float32 norm
        return None
    weight, bias = (tensor.name if tensor is not None else None for tensor in tensors[:2])
    return Norm(weight, bias, mean.name, variance.name, float(bound["eps"] if "eps" in bound else bound["epsilon"]))


def _pad_before(tape: Tape, index: int) -> Step | None:
    """The step before, where it pads this convolution's input alone, by zeros and on opposite sides alike."""
    step = tape.steps[index]
    source = step.arguments["input"]
    if index == 0 or not isinstance(source, Value) or isinstance(step.arguments["padding"], str):
        return None
    pad = tape.steps[index - 1]
    if pad.name not in _PADS or tape.maker.get(source.number) != index - 1 or tape.only_user(source.number) is not step:
        return None
    bound = pad.arguments
    amounts = bound["pad"]
    alike = len(amounts) == 4 and amounts[0] == amounts[1] and amounts[2] == amounts[3] and min(amounts) >= 0
    zeros = bound.get("mode", "constant") == "constant" and not bound["value"]
    return pad if alike and zeros else None


def _padded(step: Step, pad: Step) -> Step:
    """The convolution with the padding in it; without, where that is none."""
    bound, source = step.arguments, pad.arguments
    padding: Any = list(bound["padding"]) * (2 // len(bound["padding"]))
    columns, _, rows, _ = source["pad"]
    joined = bound | {"input": source["self"], "padding": [padding[0] + rows, padding[1] + columns]}
    return replace(step, args=tuple(joined.values()), kwargs={})
