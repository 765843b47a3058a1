"""Pools at stride 1 in the place of strided ones.

`dense[::stride]` is the strided pool exactly, also with `ceil_mode`, whose last windows hang over the edge.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.graph import Size


class DensePool2d(nn.Module):
    """A pool at stride 1 that holds every window of one with `ceil_mode`, whose stride decides which those are; all (y, x)."""

    def __init__(self, kernel: Size, stride: Size, padding: Size, dilation: Size = (1, 1)) -> None:
        super().__init__()
        self.kernel = list(kernel)
        self.stride = list(stride)
        self.padding = list(padding)
        self.dilation = list(dilation)

    def overhang(self, height: int, width: int) -> list[int]:
        """Rows and columns by which the last `ceil_mode` windows reach beyond the padded map.

        A window that would start in the padding after the map does not exist.

        >>> DensePool2d((3, 3), (2, 2), (0, 0)).overhang(112, 111)
        [1, 0]
        """
        beyond: list[int] = []
        for axis, size in enumerate([height, width]):
            padding, stride = self.padding[axis], self.stride[axis]
            span = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            windows = -(-(size + 2 * padding - span) // stride) + 1
            if (windows - 1) * stride >= size + padding:
                windows -= 1
            beyond.append(max(0, (windows - 1) * stride + span - size - 2 * padding))
        return beyond


class DenseMaxPool2d(DensePool2d):
    """Max-pool: (N, C, H, W) → every window at stride 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        below, right = self.overhang(x.size(-2), x.size(-1))
        if below + right > 0:
            x = F.pad(x, [0, right, 0, below], "constant", float("-inf"))
        return F.max_pool2d(x, self.kernel, [1, 1], self.padding, self.dilation)


class DenseAvgPool2d(DensePool2d):
    """Average-pool: (N, C, H, W) → every window at stride 1.

    Windows that hang over the edge divide by the pixels inside the padded map, as the strided pool does.
    """

    def __init__(
        self, kernel: Size, stride: Size, padding: Size, count_include_pad: bool, divisor_override: int | None
    ) -> None:
        super().__init__(kernel, stride, padding)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        below, right = self.overhang(x.size(-2), x.size(-1))
        kernel, divisor = self.kernel, self.divisor_override
        if below + right == 0:
            return F.avg_pool2d(x, kernel, [1, 1], self.padding, False, self.count_include_pad, divisor)
        py, px = self.padding[0], self.padding[1]
        total = F.avg_pool2d(F.pad(x, [px, px + right, py, py + below]), kernel, [1, 1])
        if divisor is not None:
            return total * (float(kernel[0] * kernel[1]) / float(divisor))
        counted = x.new_ones([1, 1, x.size(-2), x.size(-1)])
        counted = F.pad(counted, [px, px, py, py], "constant", 1.0 if self.count_include_pad else 0.0)
        counted = F.pad(counted, [0, right, 0, below])
        return total / F.avg_pool2d(counted, kernel, [1, 1])


class AdaptiveBlurPool(nn.Module):
    """An adaptive pool that filters before it subsamples, wherever the output size divides the map's.

    The windows are then equal, so it is the pool at stride 1 followed by BlurPool. The stride depends on the map,
    hence one BlurPool for the size the patch was made at, and the original pool at any other.
    """

    def __init__(self, maximum: bool, output_size: Size, stride: Size, blur: BlurPool) -> None:
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
