"""The low-pass filter in front of subsampling: binomial kernels and the BlurPool layer (Zhang 2019).

A binomial filter of size k is row k of Pascal's triangle, normalised to sum 1; in two dimensions it is the outer
product of one row with itself. Size 1 is plain subsampling. The map is padded by floor((k - 1) / 2) before and
ceil((k - 1) / 2) after, so that a map of size L leaves with size ceil(L / stride) whatever the filter.

Odd filters keep the sample grid; even ones move it by half a pixel of the map they read, down and right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_scripting, is_tracing  # type: ignore[attr-defined]

from shiftaudit.errors import InputError
from shiftaudit.records.patch import PADS

MAX_FILTER_SIZE = 7


def binomial_taps(filter_size: int) -> list[float]:
    """Taps of the one-dimensional filter; TorchScript compiles it, so it checks nothing.

    >>> binomial_taps(4)
    [0.125, 0.375, 0.375, 0.125]
    """
    taps: list[float] = []
    tap = 1.0 / 2.0 ** (filter_size - 1)
    for i in range(filter_size):
        taps.append(tap)
        tap = tap * (filter_size - 1 - i) / (i + 1)
    return taps


def blur_kernel(filter_size: list[int], strength: float = 1.0) -> Tensor:
    """The filter of rows (1 - strength)·δ + strength·binomial, shape `filter_size` (y, x), float32, sum 1.

    δ sits on the tap that plain subsampling reads, so strength 0 is plain subsampling and 1 the full binomial filter; of
    size 3 the rows are [a, 1 - 2a, a] with a = strength / 4.

    >>> blur_kernel([1, 3], 0.5)
    tensor([[0.1250, 0.7500, 0.1250]])
    """
    rows = strength * torch.tensor(binomial_taps(filter_size[0]))
    columns = strength * torch.tensor(binomial_taps(filter_size[1]))
    rows[(filter_size[0] - 1) // 2] += 1.0 - strength
    columns[(filter_size[1] - 1) // 2] += 1.0 - strength
    return rows.unsqueeze(1) * columns.unsqueeze(0)


def blur_padding(filter_size: list[int]) -> list[int]:
    """[left, right, top, bottom] for a filter of size (y, x), as `torch.nn.functional.pad` takes it.

    >>> blur_padding([3, 4])
    [1, 2, 1, 1]
    """
    fy, fx = filter_size[0] - 1, filter_size[1] - 1
    return [fx // 2, fx - fx // 2, fy // 2, fy - fy // 2]


def effective_pad_mode(pad_mode: str, size: int, before: int, after: int) -> str:
    """The mode an axis of `size` pixels is really padded with: `replicate` where the map is too small for the mode.

    Reflection needs a pad smaller than the map, wrapping around one no larger.

    >>> effective_pad_mode("reflect", 1, 1, 1), effective_pad_mode("circular", 1, 1, 1)
    ('replicate', 'circular')
    """
    pad = max(before, after)
    if pad_mode == "reflect" and pad >= size:
        return "replicate"
    if pad_mode == "circular" and pad > size:
        return "replicate"
    return pad_mode


def pad_map(x: Tensor, padding: list[int], pad_mode: str) -> Tensor:
    """Pad a map (N, C, H, W) by [left, right, top, bottom], each axis by its `effective_pad_mode`."""
    rows = effective_pad_mode(pad_mode, x.size(2), padding[2], padding[3])
    columns = effective_pad_mode(pad_mode, x.size(3), padding[0], padding[1])
    if rows == columns:
        return F.pad(x, padding, "constant" if rows == "zeros" else rows)
    x = F.pad(x, [padding[0], padding[1], 0, 0], "constant" if columns == "zeros" else columns)
    return F.pad(x, [0, 0, padding[2], padding[3]], "constant" if rows == "zeros" else rows)


# Compiled when a model is traced, so that the size-dependent fallback stays in the file instead of being frozen.
_compiled_pad_map = torch.jit.script_if_tracing(pad_map)


def padded_map(x: Tensor, padding: list[int], pad_mode: str) -> Tensor:
    """`pad_map`, which the older ONNX exporter traces too but cannot take compiled."""
    if not is_scripting():
        if torch.onnx.is_in_onnx_export():
            return pad_map(x, padding, pad_mode)
        padded: Tensor = _compiled_pad_map(x, padding, pad_mode)
        return padded
    return pad_map(x, padding, pad_mode)


def filter_map(x: Tensor, kernel: Tensor, stride: list[int], padding: list[int], pad_mode: str) -> Tensor:
    """Filter each channel of a map (N, C, H, W) with `kernel` (y, x), keeping every stride-th row and column.

    One two-dimensional depthwise convolution: on CPU it is faster than two one-dimensional passes up to size 7.
    """
    channels = x.size(1)
    weight = kernel.to(device=x.device, dtype=x.dtype).expand(channels, 1, kernel.size(0), kernel.size(1))
    return F.conv2d(padded_map(x, padding, pad_mode), weight, None, stride, groups=channels)


def subsample(x: Tensor, stride: list[int]) -> Tensor:
    """Every stride-th row and column of a map (N, C, H, W), in memory of its own, as a pool or convolution leaves it.

    A slice alone is a view with gaps, which a `.view()` behind the replaced operation refuses.
    """
    return x[:, :, :: stride[0], :: stride[1]].clone()


def _blur_pool(
    x: Tensor,
    channels: int,
    kernel: Tensor,
    plain: bool,
    stride: list[int],
    padding: list[int],
    pad_mode: str,
) -> Tensor:
    """The layer's forward, as one function: a leaf for fx, so that a patched model can be traced again."""
    checked = not is_tracing()
    if checked and (x.dim() != 4 or x.size(1) != channels):
        raise ValueError(
            f"BlurPool for {channels} channels expects (N, {channels}, H, W), got a tensor of shape {x.shape}"
        )
    if not plain:
        return filter_map(x, kernel, stride, padding, pad_mode)
    return subsample(x, stride)


torch.fx.wrap("_blur_pool")


class BlurPool(nn.Module):
    """Low-pass filter, then subsample: (N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride)).

    Args:
        channels: C of the map. Any other number is an error when the layer runs.
        filter_size: 1..7, or a pair (y, x). 1 is plain subsampling.
        stride: at least 1, or a pair (y, x).
        pad_mode: `reflect`, `replicate`, `zeros` or `circular`. A map too small for it is padded with `replicate`.
        strength: 1 is the full filter, 0 plain subsampling; see `blur_kernel`.

    The filter is a non-persistent buffer: it follows `.to()`, and no key is added to the state dict. TorchScript would
    save a buffer even so, hence the scripted layer builds the same filter from numbers instead.

    >>> layer = BlurPool(1, filter_size=3)
    >>> layer(torch.eye(5)[None, None]).squeeze()
    tensor([[0.5000, 0.1250, 0.0000],
            [0.1250, 0.3750, 0.1250],
            [0.0000, 0.1250, 0.5000]])
    >>> list(layer.state_dict())
    []

    Raises:
        InputError: an argument is out of range.
    """

    __jit_ignored_attributes__: Sequence[str] = ("kernel",)

    if TYPE_CHECKING:  # a class annotation made at run time would be read by torch.jit, as text
        kernel: Tensor

    def __init__(
        self,
        channels: int,
        filter_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 2,
        pad_mode: str = "reflect",
        strength: float = 1.0,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.filter_size = list(_pair(filter_size))
        self.stride = list(_pair(stride))
        self.pad_mode = pad_mode
        self.strength = 1.0
        for size in self.filter_size:
            if not 1 <= size <= MAX_FILTER_SIZE:
                raise InputError(f"filter size {size} is not supported", hint=f"use 1 to {MAX_FILTER_SIZE}")
        if min(self.stride) < 1 or channels < 1:
            raise InputError(f"BlurPool got channels={channels}, stride={stride}; expected at least 1 of each")
        if pad_mode not in PADS:
            raise InputError(f"unknown pad mode {pad_mode!r}", hint=f"use one of {', '.join(PADS)}")
        self.padding = blur_padding(self.filter_size)
        self.register_buffer("kernel", blur_kernel(self.filter_size), persistent=False)
        self.set_strength(strength)

    @torch.jit.unused
    def set_strength(self, strength: float) -> None:
        """Mix the rows of the filter with plain subsampling: (1 - strength)·δ + strength·binomial, in place.

        0 is plain subsampling, 1 the full filter. The value is kept by copies, pickles and TorchScript files, but is no
        part of the state dict.

        Raises:
            InputError: strength is not in [0, 1].
        """
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"strength {strength} of a BlurPool is not between 0 and 1")
        self.strength = float(strength)
        self.kernel.copy_(blur_kernel(self.filter_size, self.strength))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W'), in the dtype, on the device and in the memory format of x."""
        if is_scripting():  # noqa: SIM108
            kernel = blur_kernel(self.filter_size, self.strength)
        else:
            kernel = self.kernel
        plain = self.strength == 0.0 or (self.filter_size[0] == 1 and self.filter_size[1] == 1)
        return _blur_pool(x, self.channels, kernel, plain, self.stride, self.padding, self.pad_mode)

    def extra_repr(self) -> str:
        """What the layer prints."""
        fy, fx = self.filter_size
        sy, sx = self.stride
        return f"{self.channels}, filter_size=({fy}, {fx}), stride=({sy}, {sx}), pad_mode={self.pad_mode!r}"


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if isinstance(value, Sequence) and len(value) == 2:
        return int(value[0]), int(value[1])
    raise InputError(f"BlurPool got {value!r} where a whole number or a pair (y, x) of them was expected")
