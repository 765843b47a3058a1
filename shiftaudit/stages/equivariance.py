"""The shifts under which feature maps are compared: pure tensor functions that know of no images, models or files."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=512)
def shift_matrix(length: int, delta: float) -> Tensor:
    """The circulant matrix M of the fractional Fourier shift by `delta` samples: (M f)[i] = f[i − delta], band-limited.

    Shape (length, length), float32. Each row sums to 1: a constant stays as it is.
    """
    frequency = np.arange(length // 2 + 1)
    phase = np.exp(-2j * np.pi * frequency * delta / length)
    if length % 2 == 0:
        # The two Nyquist bins are one real number: a shift can only scale it, by the mean of e^{±iπδ}.
        phase[-1] = np.cos(np.pi * delta)
    spectrum = np.fft.rfft(np.eye(length), axis=0) * phase[:, None]
    return torch.from_numpy(np.fft.irfft(spectrum, n=length, axis=0)).float()


def fourier_shift(features: Tensor, dy: float, dx: float) -> Tensor:
    """Shift a feature map circularly by a fractional amount.

    Args:
        features: (H, W, C), real; channels last in memory makes both products contiguous.
        dy, dx: in feature pixels, positive moves content down or right.

    Whole shifts are plain rolls, so they are exact. Nyquist bins are multiplied by cos(πδ), which keeps the result real.
    The separable Dirichlet kernel is applied as two matrix products, which is cheaper than an FFT at the sizes of feature maps.
    The result need not be contiguous.

    >>> fourier_shift(torch.tensor([[[1.0]], [[2.0]], [[3.0]]]), 1, 0).flatten().tolist()
    [3.0, 1.0, 2.0]
    """
    for axis, delta in enumerate((dy, dx)):
        length = features.shape[axis]
        if not float(delta).is_integer():
            features = _along(axis, shift_matrix(length, delta % length), features)
        elif delta:
            features = features.roll(int(delta), axis)
    return features


def _along(axis: int, matrix: Tensor, features: Tensor) -> Tensor:
    """A matrix times every row (axis 1) or column (axis 0) of a map."""
    # One product of the map turned round is faster than one for every row, even with the copy.
    turned = features.transpose(0, axis)
    product = _product(matrix.to(features), turned.reshape(len(turned), -1))
    return product.view(turned.shape).transpose(0, axis)


def _product(matrix: Tensor, maps: Tensor) -> Tensor:
    """`matrix @ maps`: by oneDNN on the CPU, whose kernel takes 0.4 of the time of the BLAS that PyTorch brings."""
    if maps.device.type == "cpu" and maps.dtype == torch.float32 and _has_onednn():
        return torch.ops.mkldnn._linear_pointwise(matrix, maps.t(), None, "none", [], "")  # type: ignore[no-any-return]
    return matrix @ maps


@lru_cache(maxsize=1)
def _has_onednn() -> bool:
    """Whether that operator, which torch.compile emits and whose interface nobody promises, does what it does today."""
    matrix, maps = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    try:
        found = torch.ops.mkldnn._linear_pointwise(matrix, maps.t(), None, "none", [], "")
        return bool(torch.equal(found, matrix @ maps))
    except Exception:
        return False


def rolled_difference(moved: Tensor, view: Tensor, dy: int, dx: int) -> Tensor:
    """`moved` rolled by whole pixels minus `view`, without making the rolled map: block by block. Both are (H, W, C).

    >>> rolled_difference(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.zeros(1, 3, 1), 0, 1).flatten().tolist()
    [3.0, 1.0, 2.0]
    """
    difference = torch.empty(view.shape, dtype=view.dtype, device=view.device)
    for target_y, source_y in _rolled_axis(view.shape[0], dy):
        for target_x, source_x in _rolled_axis(view.shape[1], dx):
            target = (target_y, target_x)
            torch.sub(moved[source_y, source_x], view[target], out=difference[target])
    return difference


def _rolled_axis(length: int, shift: int) -> list[tuple[slice, slice]]:
    """The one or two runs of an axis rolled by `shift`: where each goes, and where it comes from."""
    shift %= length
    if not shift:
        return [(slice(None), slice(None))]
    return [(slice(shift, None), slice(0, length - shift)), (slice(0, shift), slice(length - shift, None))]


@lru_cache(maxsize=512)
def mirrored_shift_matrix(length: int, delta: float) -> Tensor:
    """The matrix M of a fractional shift without wrap-around: (M f)[i] = f[i − delta], for 0 ≤ delta < 1.

    Shape (length, length), float32; rows sum to 1. The map is continued by its mirror image, of which the Fourier shift of
    twice the length is taken: there is no jump at the border, and between samples it is a sinc interpolation. On band-limited
    windows of photographs it errs by a third to an eighth of what bilinear interpolation does.

    >>> mirrored_shift_matrix(3, 0.0).round().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    shift = shift_matrix(2 * length, delta).double()[:length]
    return (shift[:, :length] + shift[:, length:].flip(1)).float()


def mirrored_shift(features: Tensor, dy: float, dx: float) -> Tensor:
    """Shift a map (H, W, C) by a fraction of a pixel, 0 ≤ dy, dx < 1, continued by its mirror image; see `shared_part`."""
    for axis, delta in enumerate((dy, dx)):
        if delta:
            features = _along(axis, mirrored_shift_matrix(features.shape[axis], delta), features)
    return features


def _shared_axis(length: int, delta: float) -> tuple[slice, slice] | None:
    """Where f[i − delta] lies between samples of 0..length−1: the places i, and those of the map moved by delta's fraction."""
    whole = math.floor(delta)
    start = max(0, whole + (delta > whole))
    stop = min(length, length + whole)
    return (slice(start, stop), slice(start - whole, stop - whole)) if stop > start else None


def shared_part(moved: Tensor, view: Tensor, dy: float, dx: float) -> tuple[Tensor, Tensor] | None:
    """The part both maps share when the content of `view` lies (dy, dx) feature pixels further than in the reference.

    Args:
        moved: the reference moved by the fractions of dy and dx, `mirrored_shift(reference, dy % 1, dx % 1)`; (H, W, C).
        view: (H, W, C).

    Returns:
        The rest of the way for `moved`, a whole number of pixels, and the view, both cut to where every value lies between
        samples of the reference: ceil(|dy|) rows and ceil(|dx|) columns are left out. None when nothing is left.
    """
    rows, columns = _shared_axis(view.shape[0], dy), _shared_axis(view.shape[1], dx)
    if rows is None or columns is None:
        return None
    return moved[rows[1], columns[1]], view[rows[0], columns[0]]
