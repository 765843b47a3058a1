"""Networks that are hard to patch, in little."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def randomise(module: nn.Module) -> nn.Module:
    """Random weights and statistics, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.normal_(0, 0.1, generator=generator)
            child.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max())


class Functional(nn.Module):
    """All ops as functions, with `ceil_mode`, divisors, padding and two calls of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.shared = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, None, (2, 1), padding=1))
        x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.relu(self.shared(x)) + 0.5
        x = F.avg_pool2d(x, 3, 2, 1, True, False)
        x = self.relu(self.shared(x))
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


class Slices(nn.Module):
    """Strided slicing of both layouts, and an adaptive pool that reduces."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AdaptiveMaxPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)[:, :, ::2, 1::2]
        x = self.pool(x)
        x = x.permute(0, 2, 3, 1)
        x = torch.cat([x[..., 0::2, 0::2, :], x[:, 1::2, 0::2]], -1)
        return x.mean((1, 2))


class Chain(nn.Module):
    """A convolution whose norm is shared with a shortcut: the blur must stay in front of the fork."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, 2, 1)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(self.first(x)))
        return y * torch.tanh(y)


def form(module: nn.Module, how: str, x: Tensor) -> nn.Module:
    """The network as users keep it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the formats and about sizes that a trace fixes
        if how == "scripted":
            return torch.jit.script(module)
        if how == "traced":
            return torch.jit.trace(module, x.clone(), check_trace=False)
        return torch.export.export(module, (x.clone(),)).module() if how == "exported" else module
