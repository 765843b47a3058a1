"""Set the strength of every BlurPool of a patched model, whichever way the model is stored."""

from __future__ import annotations

import torch
from torch import fx, nn

from shiftaudit.errors import PatchError
from shiftaudit.stages.names import is_exported, recorded_in
from shiftaudit.surgery.blurpool import BlurPool, blur_kernel

_BLUR = f"{BlurPool.__module__}.{BlurPool.__qualname__}"


def set_strength(module: nn.Module, strength: float) -> int:
    """Mix the rows of every filter with plain subsampling: (1 − strength)·δ + strength·binomial, in place; how many there are.

    At 0 the patched model computes what its original does, at 1 it has the full filters.

    Raises:
        PatchError: the module holds no BlurPool.
    """
    layers = [layer for layer in module.modules() if _set_layer(layer, strength)]
    filters = _exported_filters(module) if is_exported(module) else set[str]()
    with torch.no_grad():
        for name in filters:
            kernel = module.get_buffer(name)
            kernel.copy_(blur_kernel(list(kernel.shape), strength))
    if layers or filters:
        return len(layers) + len(filters)
    raise PatchError(
        "the model to tune holds no BlurPool whose strength can be set",
        hint="patch it first; where `patch` had to trace, write the copy as .pt2",
    )


def _exported_filters(module: fx.GraphModule) -> set[str]:
    """Names of the buffers that the BlurPools of an exported program have become."""
    return {
        str(node.target)
        for node in module.graph.nodes
        if node.op == "get_attr" and any((recorded_in(user) or ("", ""))[1] == _BLUR for user in node.users)
    }


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
