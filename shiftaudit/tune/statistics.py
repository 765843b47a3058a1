"""Measure batch-norm statistics anew: a filtered network's feature maps have other variances than its original's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError


def reestimate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Let every batch-norm update its running mean and variance on batches (N, C, S, S), in place; the weights stay.

    Only the batch-norms are in train mode for it, so dropout stays out; afterwards all are in eval mode.

    Raises:
        InputError: the module has no batch-norm whose statistics move, for instance because it was traced.
    """
    norms: list[Any] = [layer for layer in module.modules() if _is_batch_norm(layer)]
    before = [layer.running_mean.clone() for layer in norms]
    for layer in norms:
        layer.train()
    try:
        with torch.no_grad():
            for batch in batches:
                module(batch)
    finally:
        for layer in norms:
            layer.eval()
    if all(torch.equal(layer.running_mean, mean) for layer, mean in zip(norms, before, strict=True)):
        raise InputError(
            "the patched model has no batch-norm statistics that can be measured anew",
            hint="traced and exported files keep them fixed: patch a scripted one, or leave --batch-norm at frozen",
        )


def check_moves(module: nn.Module, batch: Tensor) -> None:
    """Raises: InputError where `reestimate` would; the module stays as it is, so that this can be known before it is trained."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        reestimate(module, [batch])
    finally:
        module.load_state_dict(before)


def _is_batch_norm(layer: nn.Module) -> bool:
    name = getattr(layer, "original_name", type(layer).__name__)  # TorchScript keeps the class's name there
    return name.startswith("BatchNorm") and getattr(layer, "running_mean", None) is not None
