"""Pure tensor functions of answers: distances between two softmaxes, and near-ties."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEAR_TIE = 1e-4


def js_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Jensen-Shannon divergence between softmaxes, in nats, in [0, ln 2] (Lin 1991).

    Args:
        logits: (V, classes).
        reference: (classes,).

    Returns:
        (V,) float64.

    >>> js_divergence(torch.tensor([[1.0, 2.0]]), torch.tensor([1.0, 2.0])).tolist()
    [0.0]
    """
    log_p, log_q = logits.double().log_softmax(-1), reference.double().log_softmax(-1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    terms = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return (terms.sum(-1) / 2).clamp_min(0)


def total_variation(logits: Tensor, reference: Tensor) -> Tensor:
    """Total variation between softmaxes, ½ Σ |p − q|, in [0, 1]: the probability that moves to other classes.

    Args:
        logits: (V, classes).
        reference: (classes,).

    Returns:
        (V,) float64.

    >>> round(total_variation(torch.tensor([[1.0, 2.0]]), torch.tensor([2.0, 1.0])).item(), 4)
    0.4621
    """
    return (logits.double().softmax(-1) - reference.double().softmax(-1)).abs().sum(-1) / 2


def near_ties(logits: Tensor) -> Tensor:
    """Which rows of (V, classes) have their two largest logits closer than 1e-4: their top-1 may differ on other hardware."""
    top = logits.topk(2, dim=-1).values
    return (top[:, 0] - top[:, 1]) < NEAR_TIE
