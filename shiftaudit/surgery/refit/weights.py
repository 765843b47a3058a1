"""From a change of what a layer hands on to a change of its weights, and of the intercept where there is one."""

from __future__ import annotations

import torch
from torch import Tensor

from shiftaudit.surgery.refit.layers import Layer
from shiftaudit.surgery.refit.tape import Tape

_DEAD = 1e-6
"""A channel that its norm scales by less than this share of the largest scale cannot be fitted through it."""


def has_intercept(tape: Tape, layer: Layer) -> bool:
    """Whether the layer or its norm adds something of its own."""
    return _intercept_key(tape, layer) is not None


def apply_change(tape: Tape, layer: Layer, change: Tensor) -> dict[str, Tensor]:
    """New parameters, by key, that add `change` to what the layer hands on.

    Args:
        change: (groups, F + 1, O / groups), the last row the intercept's.
    """
    weight = tape.parameters[layer.name]
    scale = _scale(tape, layer)
    slopes = change[:, :-1].transpose(1, 2).reshape(weight.shape)
    alive = scale.abs() > _DEAD * scale.abs().max()
    factor = torch.where(alive, 1 / torch.where(alive, scale, torch.ones_like(scale)), torch.zeros_like(scale))
    new = {layer.name: _added(weight, slopes * factor.view(-1, *[1] * (weight.dim() - 1)))}
    key = _intercept_key(tape, layer)
    if key is not None:
        shift = change[:, -1].reshape(-1) * alive
        new[key] = _added(tape.parameters[key], shift if key != layer.bias else shift * factor)
    return new


def _added(old: Tensor, change: Tensor) -> Tensor:
    return (old.double() + change).to(old.dtype)


def _intercept_key(tape: Tape, layer: Layer) -> str | None:
    keys = (layer.bias, layer.norm.bias if layer.norm else None)
    return next((key for key in keys if key is not None and key not in tape.entangled), None)


def _scale(tape: Tape, layer: Layer) -> Tensor:
    """What the norm multiplies each channel with: (O,), float64."""
    weight = tape.parameters[layer.name]
    if layer.norm is None:
        return torch.ones(weight.shape[0], dtype=torch.float64, device=weight.device)
    scale = (tape.parameters[layer.norm.variance].double() + layer.norm.eps).rsqrt()
    return scale if layer.norm.weight is None else scale * tape.parameters[layer.norm.weight].double()
