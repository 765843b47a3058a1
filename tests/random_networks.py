"""Random networks for hypothesis."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

CHANNELS = 4


class Block(nn.Module):
    """One of many ways to make a map smaller, with or without norm and activation behind it."""

    def __init__(
        self, kind: str, kernel: int, stride: int, padding: int, ceil: bool, tail: str, relu: nn.Module
    ) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride, self.padding, self.ceil, self.tail = (
            kind,
            kernel,
            stride,
            padding,
            ceil,
            tail,
        )
        padding_mode = "circular" if ceil else "zeros"
        dilation = 2 if kind == "dilated" else 1
        groups = CHANNELS if kind == "depthwise" else 1
        steps = (stride, 1) if kind == "unequal" else stride
        self.conv = nn.Conv2d(
            CHANNELS, CHANNELS, kernel, steps, padding, dilation, groups, padding_mode=padding_mode
        )  # fmt: skip
        self.shortcut = nn.Conv2d(CHANNELS, CHANNELS, 1, stride)
        norm = nn.GroupNorm(2, CHANNELS) if tail == "group" else nn.BatchNorm2d(CHANNELS)
        self.behind = nn.Sequential(*{"none": [], "norm": [norm]}.get(tail, [norm, relu]))
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        pad = min(self.padding, self.kernel // 2)
        if self.kind == "max":
            return F.max_pool2d(x, self.kernel, self.stride, pad, ceil_mode=self.ceil)
        if self.kind == "avg":
            return F.avg_pool2d(x, self.kernel, self.stride, pad, self.ceil, count_include_pad=self.tail == "none")
        if self.kind == "slice":
            return x[:, :, :: self.stride, self.padding % 2 :: self.stride]
        if self.kind == "residual":
            x = F.pad(x, (self.kernel - 1, 0, self.kernel - 1, 0))
            y = F.conv2d(x, self.conv.weight, self.conv.bias, self.stride)
            skip = self.shortcut(x)[:, :, : y.shape[2], : y.shape[3]]
            return self.relu(y + skip)
        return self.behind(self.conv(x))


blocks = st.builds(
    lambda kind, kernel, stride, padding, ceil, tail: (kind, kernel, stride, padding, ceil, tail),
    st.sampled_from(["conv", "depthwise", "dilated", "unequal", "max", "avg", "slice", "residual"]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(["none", "norm", "act", "group"]),
)


def build(specs: list, size: tuple[int, int]) -> tuple[nn.Module, Tensor] | None:
    torch.manual_seed(0)
    shared = nn.ReLU(inplace=False)
    layers = [Block(*spec, shared) for spec in specs]
    model = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), *layers, nn.Flatten()).eval()
    for child in model.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_var.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, *size)
    try:
        out = model(x)
    except RuntimeError:  # a map that became too small for the next window
        return None
    return (model, x) if out.numel() and torch.isfinite(out).all() else None
