"""Set the strength of every BlurPool of a patched model, whichever way the model is stored."""

from __future__ import annotations

import torch
from torch import nn

from shiftaudit.errors import PatchError
from shiftaudit.surgery.blurpool import BlurPool, blur_kernel


def set_strength(module: nn.Module, strength: float) -> int:
    """Mix the rows of every filter with plain subsampling: (1 − strength)·δ + strength·binomial, in place; how many there are.

    At 0 the patched model computes what its original does, at 1 it has the full filters.

    Raises:
        PatchError: the module holds no BlurPool.
    """
    layers = [layer for layer in module.modules() if _set_layer(layer, strength)]
    if layers:
        return len(layers)
    raise PatchError(
        "the model to tune holds no BlurPool whose strength can be set",
        hint="patch it first; where `patch` had to trace, save the original as TorchScript and patch that file",
    )


def _set_layer(layer: nn.Module, strength: float) -> bool:
    if isinstance(layer, BlurPool):
        layer.set_strength(strength)
        return True
    if not isinstance(layer, torch.jit.ScriptModule) or getattr(layer, "original_name", "") != BlurPool.__name__:
        return False
    if hasattr(layer, "strength"):  # scripted: the filter is made from this number at every call
        layer.strength = float(strength)
        return True
    if hasattr(layer, "kernel"):  # traced: the filter is a tensor
        with torch.no_grad():
            layer.kernel.copy_(blur_kernel(list(layer.kernel.shape), strength))
        return True
    return False
