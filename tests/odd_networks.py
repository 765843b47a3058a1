"""Networks written in ways that trip surgery."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedPool(nn.Module):
    """One padded pool at every step; its last calls reduce a map to a point and must keep their stride."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x))
        x = self.pool(x)
        x = self.pool(x)
        return self.pool(self.pool(x))


class Named(nn.Module):
    """Layers that have the names a patch would give."""

    def __init__(self) -> None:
        super().__init__()
        self.blur_pool = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.blur_blur_pool = nn.Conv2d(4, 4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.blur_blur_pool(self.pool(self.blur_pool(x)))


class TwoNames(nn.Module):
    """One convolution under two names: a checkpoint holds both."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3)
        self.a = nn.Conv2d(3, 3, 3, 2, 1)
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.stem(x)))


class Constant(nn.Module):
    """A tensor made on the way, which fx records as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)[:, :, torch.arange(1, 15)]
        return self.conv(x * torch.tensor([2.0, 1.0]).sum())


class Channels(nn.Module):
    """Every second channel, of a map whose rows are skipped too: only the rows are downsampling."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = x[:, ::2]
        return F.max_pool2d(half, 2) + x[:, :2, :: self.step, :: self.step][:, :, :8, :8]


class WrittenSlice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        part = x[:, :, ::2, ::2]
        part.zero_()
        return F.max_pool2d(x, 2) + part


class WrittenMap(WrittenSlice):
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        part = x[:, :, ::2, ::2]
        x.add_(1.0)
        return F.max_pool2d(x, 2) + part


class Values(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.adaptive = nn.AdaptiveMaxPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.adaptive(self.pool(self.stem(x))[0])


class Padded(nn.Module):
    """Non-overlapping windows on a padded map: graphs hold the padding as a step of its own for some modes."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.conv = nn.Conv2d(4, 4, 3, 3, 1, padding_mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.stem(x))


class Arguments(nn.Module):
    """A forward with more arguments, and branches on them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.conv = nn.Conv2d(4, 4, 3, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0, *, flip: bool = False) -> Tensor:
        x = self.conv(self.stem(x)) * scale
        if mask is not None:
            x = x * mask
        return x.flip(-1) if flip else x


class SameConv(nn.Conv2d):
    """Pads by the size of its map, as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.size()[-2:]
        down, right = self.missing(height), self.missing(width)
        x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride)

    def missing(self, size: int) -> int:
        """Rows without which the last window would hang over the edge."""
        return max((math.ceil(size / self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - size, 0)


class StandardConv(nn.Conv2d):
    """Standardises its weight first."""

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(self.weight.reshape(1, 4, -1), None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class ScaledConv(nn.Conv2d):
    """Computes with its weight in its own way, which the graph of its forward shows."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) * 2
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class PowerPools(nn.Module):
    """Lp-pools as layers and as a function, with and without a stride of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.LPPool2d(2, 2)
        self.second = nn.LPPool2d(3, 3, stride=2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool2d(self.second(self.first(self.stem(x).abs())), 2.0, (2, 1))


class Opaque(nn.Module):
    """A pool without a dense form, and one that is several operations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.power = nn.LPPool2d(2, 3, 2)
        self.random = nn.FractionalMaxPool2d(2, output_size=4, _random_samples=torch.full((1, 4, 2), 0.5))
        self.conv = nn.Conv2d(4, 4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.random(self.power(self.stem(x))))


class Normed(nn.Module):
    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.conv = norm(nn.Conv2d(4, 4, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.stem(x))


class Many(nn.Module):
    """Products of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2)
        self.up = nn.ConvTranspose2d(4, 4, 3, 2)
        self.down = nn.Conv2d(4, 4, 3, 2)
        self.line = nn.Conv1d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.line(self.down(self.up(self.stem(x))).flatten(2))
        return torch.einsum("bij,bkj->bik", x, x)


class Positions(nn.Module):
    """A layer that is given a parameter, as transformers give their positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, 2, 1)
        self.positions = nn.Parameter(torch.randn(1, 4, 8, 8))
        self.scale = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(self.stem(x)) + self.scale(self.positions), 0.5, self.training)


class SliceOfSlice(nn.Module):
    """Every second row and column, twice over: two downsamplings, though one slice reads the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x)[:, :, ::2, ::2][:, :, 1::2, ::2]
