"""Feature maps on one scale, however the network is written down: each channel centred, and divided by its own spread.

A batch-norm behind a convolution, folded into it or not, a bias that the norm takes off again, frozen or packed weights: all of
these change a channel of the map by a factor and an addend, and none changes what the network computes. A channel's mean and
standard deviation over the positions of the unshifted map take both out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shiftaudit.stages import equivariance

DEAD = 1e-6
"""A channel whose spread is below this share of the map's largest magnitude is constant, but for rounding."""

UNRELATED = math.sqrt(2)
"""The distance of two standardised maps that have nothing to do with each other."""


@dataclass(frozen=True)
class Scale:
    """z = gain · f + offset, per channel; both 0 for constant channels, so that they never count."""

    gain: Tensor
    offset: Tensor
    n_live: int

    def of(self, features: Tensor) -> Tensor:
        """The map (H, W, C) on this scale."""
        return torch.addcmul(self.offset, features, self.gain)


def scale_of(features: Tensor) -> Scale:
    """The scale on which a map (H, W, C), float32, has mean 0 and standard deviation 1 in every channel that is not constant.

    >>> scale = scale_of(torch.tensor([[[1.0, 7.0], [3.0, 7.0]]]))
    >>> scale.of(torch.tensor([[[1.0, 7.0], [3.0, 7.0]]])).flatten().tolist(), scale.n_live
    ([-1.0, 0.0, 1.0, 0.0], 1)
    """
    flat = features.reshape(-1, features.shape[-1])
    mean = flat.mean(0)
    deviation = (flat - mean).square_().mean(0).sqrt_()
    largest = float(torch.hypot(mean, deviation).max())
    live = deviation > DEAD * largest
    gain = torch.where(live, 1 / deviation, torch.zeros_like(deviation))
    return Scale(gain, -mean * gain, int(live.sum()))


class Reference:
    """The unshifted view of one image in one place of the network, to compare shifted views with.

    Args:
        features: (H, W, C), float32.
    """

    _MAX_RESIDUES = 16
    """Fractional shifts that are kept: all there are up to a stride of 4, where maps are large."""

    def __init__(self, features: Tensor) -> None:
        self._scale = scale_of(features)
        self._standard = self._scale.of(features)
        self._moved: dict[tuple[float, float, bool], tuple[Tensor, float]] = {}

    @property
    def n_constant(self) -> int:
        """Channels that are left out since they say the same everywhere."""
        return int(self._standard.shape[-1]) - self._scale.n_live

    def compare(self, view: Tensor, dy: float, dx: float, *, wraps: bool) -> tuple[float, float] | None:
        """(1 − cos, distance) between the reference moved by (dy, dx) feature pixels and a view (H, W, C).

        The distance is the root of the mean square difference over positions and channels that are not constant, on the
        reference's scale: 0 for a view that moved along, about √2 for a map of something else. A map that is constant
        throughout moves along whatever happens: (0, 0).

        Args:
            wraps: the content wraps around (circular); else only the overlap is compared (crop).

        Returns:
            None where nothing overlaps.
        """
        if not self._scale.n_live:
            return 0.0, 0.0
        view = self._scale.of(view)
        whole_y, whole_x = math.floor(dy), math.floor(dx)
        moved, norm = self._residue(dy - whole_y, dx - whole_x, wraps)
        if wraps:
            difference = equivariance.rolled_difference(moved, view, whole_y, whole_x)
        else:
            pair = equivariance.shared_part(moved, view, dy, dx)
            if pair is None:
                return None
            norm, view = equivariance.norm(pair[0]), pair[1]
            difference = pair[0] - view
        distance = equivariance.norm(difference)
        cosine, _ = equivariance.combine_norms(norm, equivariance.norm(view), distance)
        positions = difference.shape[0] * difference.shape[1]
        return cosine, distance / math.sqrt(positions * self._scale.n_live)

    def _residue(self, dy: float, dx: float, wraps: bool) -> tuple[Tensor, float]:
        key = (dy, dx, wraps)
        if key not in self._moved:
            if len(self._moved) >= self._MAX_RESIDUES:
                self._moved.pop(next(iter(self._moved)))
            moved = (equivariance.fourier_shift if wraps else equivariance.mirrored_shift)(self._standard, dy, dx)
            # A shift along x comes out turned round, and its norm is the same either way.
            norm = equivariance.norm(moved if moved.is_contiguous() else moved.transpose(0, 1)) if wraps else math.nan
            self._moved[key] = (moved, norm)
        return self._moved[key]


def unrelated_distance(maps: Sequence[Tensor]) -> float:
    """What `Reference.compare` gives, on average over pairs, for maps (H, W, C) of different images: the calibration.

    Each map is standardised by its own moments, so that the result lies between 0 (all alike) and 2, and near √2 for maps that
    have nothing in common. √2 for fewer than two maps, or where all of them are constant.

    >>> torch.manual_seed(0) and round(unrelated_distance(list(torch.randn(4, 32, 32, 8))), 2)
    1.41
    """
    scales = [scale_of(features) for features in maps]
    rows = [scale.of(features).flatten() for scale, features in zip(scales, maps, strict=True)]
    if len(rows) < 2:
        return UNRELATED
    positions = maps[0].shape[0] * maps[0].shape[1]
    products = _gram(rows)
    live = torch.stack([scale.gain > 0 for scale in scales]).double().cpu()
    shared = live @ live.T
    # What a channel that is constant in one of two maps adds to the other's square is taken off again: it does not count.
    alone = positions * (live.sum(1)[:, None] + live.sum(1)[None] - 2 * shared)
    squares = products.diagonal()[:, None] + products.diagonal()[None] - 2 * products - alone
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if shared[i, j]]
    distances = [math.sqrt(max(0.0, float(squares[i, j] / (positions * shared[i, j])))) for i, j in pairs]
    mean = math.fsum(distances) / len(distances) if distances else 0.0
    return mean if mean > 0 else UNRELATED


def _gram(rows: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack(list(rows))
    return (stacked @ stacked.T).double().cpu()


def interpolation_floor(features: Tensor) -> float:
    """What the interpolation of `crop` alone would be charged with, for a map (H, W, C), at its worst: half a pixel each way.

    An inner window of the map is moved with nothing but itself to go by, and compared with the Fourier shift of the whole map
    cut to the same window. In units of `Reference.compare`.
    """
    scale = scale_of(features)
    edges = [(length // 8, length - length // 8) for length in features.shape[:2]]
    if not scale.n_live or min(stop - start for start, stop in edges) < 2:
        return 0.0
    standard = scale.of(features)
    inner = tuple(slice(start, stop) for start, stop in edges)
    guessed = equivariance.mirrored_shift(standard[inner].contiguous(), 0.5, 0.5)[1:, 1:]
    exact = equivariance.fourier_shift(standard, 0.5, 0.5)[inner][1:, 1:]
    positions = guessed.shape[0] * guessed.shape[1]
    return equivariance.norm(guessed - exact) / math.sqrt(positions * scale.n_live)
