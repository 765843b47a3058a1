"""Fewer bits, where somebody asks for them: faster on accelerators, and not on most CPUs."""

from __future__ import annotations

import torch


def reduced_dtype(device: str) -> torch.dtype:
    """What autocast computes in on this device: bfloat16 where there is one, since float16 can overflow.

    >>> reduced_dtype("cpu")
    torch.bfloat16
    """
    kind = torch.device(device).type
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return torch.float16


def precision_of(device: str, *, autocast: bool) -> str:
    """What a report says its numbers were computed in.

    >>> precision_of("cpu", autocast=False), precision_of("cpu", autocast=True)
    ('float32', 'autocast to bfloat16')
    """
    return f"autocast to {str(reduced_dtype(device)).removeprefix('torch.')}" if autocast else "float32"
