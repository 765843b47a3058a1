"""Copies of modules that share nothing with the original."""

from __future__ import annotations

import copy

from torch import Tensor, nn


def deep_copy(module: nn.Module) -> nn.Module:
    """A deep copy, also of layers that keep a tensor they computed from others (pruned ones, the older `weight_norm`).

    `copy.deepcopy` refuses such tensors; they are computed anew by the next run, so the copy gets their present values.
    """
    held = [value for child in module.modules() for value in vars(child).values() if isinstance(value, Tensor)]
    computed = {id(tensor): tensor.detach().clone() for tensor in held if not tensor.is_leaf}
    own: nn.Module = copy.deepcopy(module, computed)
    return own
