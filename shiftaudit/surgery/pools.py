"""Pools at stride 1 that hold every window of the strided original, as functions TorchScript compiles and as layers.

`dense[::stride]` is the strided pool exactly, also with `ceil_mode`, whose last windows hang over the edge.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shiftaudit.surgery.blurpool import BlurPool


def overhang(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels by which the last `ceil_mode` window of a pool reaches beyond the padded map.

    A window that would start in the padding after the map does not exist.

    >>> overhang(112, 3, 2, 0, 1), overhang(111, 3, 2, 0, 1)
    (1, 0)
    """
    span = dilation * (kernel - 1) + 1
    windows = -(-(size + 2 * padding - span) // stride) + 1
    if (windows - 1) * stride >= size + padding:
        windows -= 1
    return max(0, (windows - 1) * stride + span - size - 2 * padding)


def dense_max_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Tensor:
    """Max-pool at stride 1; `stride` is the original's and decides where `ceil_mode` adds windows. Pairs are (y, x)."""
    if ceil_mode:
        below = overhang(x.size(-2), kernel[0], stride[0], padding[0], dilation[0])
        right = overhang(x.size(-1), kernel[1], stride[1], padding[1], dilation[1])
        if below + right > 0:
            x = F.pad(x, [0, right, 0, below], "constant", float("-inf"))
    return F.max_pool2d(x, kernel, [1, 1], padding, dilation)


def dense_avg_pool2d(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Average-pool at stride 1; `stride` is the original's and decides where `ceil_mode` adds windows.

    Windows that hang over the edge divide by the pixels inside the padded map, as the strided pool does.
    """
    below = overhang(x.size(-2), kernel[0], stride[0], padding[0], 1)
    right = overhang(x.size(-1), kernel[1], stride[1], padding[1], 1)
    if not ceil_mode or below + right == 0:
        return F.avg_pool2d(x, kernel, [1, 1], padding, False, count_include_pad, divisor_override)
    py, px = padding[0], padding[1]
    total = F.avg_pool2d(F.pad(x, [px, px + right, py, py + below]), kernel, [1, 1])
    if divisor_override is not None:
        return total * (float(kernel[0] * kernel[1]) / float(divisor_override))
    counted = x.new_ones([1, 1, x.size(-2), x.size(-1)])
    counted = F.pad(counted, [px, px, py, py], "constant", 1.0 if count_include_pad else 0.0)
    counted = F.pad(counted, [0, right, 0, below])
    return total / F.avg_pool2d(counted, kernel, [1, 1])


class DenseMaxPool2d(nn.Module):
    """The max-pool of `dense_max_pool2d`: (N, C, H, W) → every window at stride 1."""

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        ceil_mode: bool,
    ) -> None:
        super().__init__()
        self.kernel = list(kernel)
        self.stride = list(stride)
        self.padding = list(padding)
        self.dilation = list(dilation)
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return dense_max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)


class DenseAvgPool2d(nn.Module):
    """The average-pool of `dense_avg_pool2d`: (N, C, H, W) → every window at stride 1."""

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> None:
        super().__init__()
        self.kernel = list(kernel)
        self.stride = list(stride)
        self.padding = list(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return dense_avg_pool2d(
            x, self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )


class AdaptiveBlurPool(nn.Module):
    """An adaptive pool that filters before it subsamples, wherever the output size divides the map's.

    The windows are then equal, so it is the pool at stride 1 followed by BlurPool. The stride depends on the map,
    hence one BlurPool for the size the patch was made at, and the original pool at any other.
    """

    def __init__(self, maximum: bool, output_size: tuple[int, int], stride: tuple[int, int], blur: BlurPool) -> None:
        super().__init__()
        self.maximum = maximum
        self.output_size = list(output_size)
        self.stride = list(stride)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, *output_size)."""
        rows, columns = self.stride[0] * self.output_size[0], self.stride[1] * self.output_size[1]
        if x.size(-2) == rows and x.size(-1) == columns:
            dense = F.max_pool2d(x, self.stride, [1, 1]) if self.maximum else F.avg_pool2d(x, self.stride, [1, 1])
            pooled: Tensor = self.blur(dense)
        elif self.maximum:
            pooled = F.adaptive_max_pool2d(x, self.output_size)
        else:
            pooled = F.adaptive_avg_pool2d(x, self.output_size)  # type: ignore[arg-type]
        return pooled


class ChannelsLastBlur(nn.Module):
    """A BlurPool for maps that hold their channels last, as transformers do: (N, H, W, C) → (N, H', W', C)."""

    def __init__(self, blur: BlurPool) -> None:
        super().__init__()
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) → (N, H', W', C)."""
        blurred: Tensor = self.blur(x.permute(0, 3, 1, 2))
        return blurred.permute(0, 2, 3, 1)
