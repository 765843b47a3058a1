"""Feature maps on one scale, however the network is written down: each channel centred, and divided by its own spread.

A batch-norm behind a convolution, folded into it or not, a bias that the norm takes off again, frozen or packed weights: all of
these change a channel of the map by a factor and an addend, and none changes what the network computes. Differences do not see
the addend, and dividing by the standard deviation over the positions of the unshifted map takes out the factor.

A channel that is nearly constant on one image would count without bound, so a channel counts at most as one of an unrelated map
does, whose mean square difference is 2 variances.
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

ROUNDED = 1e-5
"""So is one whose spread is below this share of its own mean: a norm that is folded in may lift what training has switched off,
with weights of 1e-7 or so, and adds a number in whose rounding it goes under."""

UNRELATED = math.sqrt(2)
"""The distance of two standardised maps that have nothing to do with each other."""


@dataclass(frozen=True)
class Spread:
    """The spread of a map's channels."""

    weight: Tensor
    """(C,) 1 / variance over positions; 0 for constant channels, so that they never count."""
    n_live: int

    def distance(self, difference: Tensor) -> float:
        """The root mean square of a difference (H, W, C) that may be overwritten, in standard deviations, over live channels.

        >>> spread = spread_of(torch.tensor([[[1.0, 7.0], [3.0, 7.0]]]))
        >>> spread.distance(torch.tensor([[[0.5, 9.0], [-0.5, 9.0]]])), spread.n_live
        (0.5, 1)
        """
        if not self.n_live:
            return 0.0
        squares = _channel_means(difference.mul_(difference)) * self.weight
        return math.sqrt(float(squares.clamp_max(2).sum()) / self.n_live)


def spread_of(features: Tensor) -> Spread:
    """The spread of a map (H, W, C), float32."""
    mean = features.mean((0, 1))
    centred = features - mean
    variance = _channel_means(centred.mul_(centred))
    largest = float((mean.square() + variance).max())
    live = (variance > DEAD**2 * largest) & (variance > ROUNDED**2 * mean.square())
    return Spread(torch.where(live, 1 / variance, torch.zeros_like(variance)), int(live.sum()))


def _channel_means(features: Tensor) -> Tensor:
    """(C,) means over positions, as a matrix product: reductions along the first axis are slow."""
    flat = features.reshape(-1, features.shape[-1])
    return (flat.new_ones(1, len(flat)) @ flat)[0] / len(flat)


class Reference:
    """The unshifted view of one image in one place of the network, to compare shifted views with.

    Args:
        features: (H, W, C); they are copied.
    """

    _MAX_RESIDUES = 16
    """Fractional shifts that are kept: all there are up to a stride of 4, where maps are large."""

    def __init__(self, features: Tensor) -> None:
        self._features = features.float().clone(memory_format=torch.contiguous_format)
        self._spread = spread_of(self._features)
        self._moved: dict[tuple[float, float, bool], Tensor] = {}

    @property
    def n_constant(self) -> int:
        """Channels that are left out since they say the same everywhere."""
        return int(self._features.shape[-1]) - self._spread.n_live

    def compare(self, view: Tensor, dy: float, dx: float, *, wraps: bool) -> float | None:
        """The distance between the reference moved by (dy, dx) feature pixels and a view (H, W, C).

        It is the root of the mean square difference over positions and channels that are not constant, in standard deviations
        of the reference's channels: 0 for a view that moved along, near √2 and never above it for a map of something else. A
        map that is constant throughout moves along whatever happens.

        Args:
            wraps: the content wraps around (circular); else only the overlap is compared (crop).

        Returns:
            None where nothing overlaps.
        """
        whole_y, whole_x = math.floor(dy), math.floor(dx)
        moved = self._residue(dy - whole_y, dx - whole_x, wraps)
        if wraps:
            return self._spread.distance(equivariance.rolled_difference(moved, view.float(), whole_y, whole_x))
        pair = equivariance.shared_part(moved, view, dy, dx)
        return None if pair is None else self._spread.distance(pair[0] - pair[1])

    def _residue(self, dy: float, dx: float, wraps: bool) -> Tensor:
        key = (dy, dx, wraps)
        if key not in self._moved:
            if len(self._moved) >= self._MAX_RESIDUES:
                self._moved.pop(next(iter(self._moved)))
            self._moved[key] = (equivariance.fourier_shift if wraps else equivariance.mirrored_shift)(
                self._features, dy, dx
            )
        return self._moved[key]


def unrelated_distance(maps: Sequence[Tensor]) -> float:
    """What `Reference.compare` gives at no shift, on average over ordered pairs, for maps (H, W, C) of different images.

    It lies between 0 (all alike) and √2. √2 for fewer than two maps, or where all of them are alike or constant.

    >>> torch.manual_seed(0) and round(unrelated_distance(list(torch.randn(4, 32, 32, 8))), 1)
    1.4
    """
    if len(maps) < 2:
        return UNRELATED
    stacked = torch.stack([features.flatten(0, 1) for features in maps]).permute(2, 0, 1).contiguous()
    stacked -= stacked.mean((1, 2), keepdim=True)
    products = torch.bmm(stacked, stacked.mT).double() / stacked.shape[-1]
    own = products.diagonal(dim1=1, dim2=2)
    squares = own[:, :, None] + own[:, None, :] - 2 * products
    spreads = [spread_of(features) for features in maps]
    distances = []
    for i, spread in enumerate(spreads):
        scaled = (squares[:, i] * spread.weight[:, None].double()).clamp(0, 2).sum(0) / max(1, spread.n_live)
        distances += [math.sqrt(float(value)) for j, value in enumerate(scaled) if j != i and spread.n_live]
    mean = math.fsum(distances) / len(distances) if distances else 0.0
    return mean if mean > 1e-6 else UNRELATED


def interpolation_floor(features: Tensor) -> float:
    """What the interpolation of `crop` alone would be charged with, for a map (H, W, C), at its worst: half a pixel each way.

    An inner window of the map is moved with nothing but itself to go by, and compared with the Fourier shift of the whole map
    cut to the same window. In units of `Reference.compare`.
    """
    spread = spread_of(features)
    edges = [(length // 8, length - length // 8) for length in features.shape[:2]]
    if not spread.n_live or min(stop - start for start, stop in edges) < 2:
        return 0.0
    inner = tuple(slice(start, stop) for start, stop in edges)
    guessed = equivariance.mirrored_shift(features[inner].contiguous(), 0.5, 0.5)[1:, 1:]
    exact = equivariance.fourier_shift(features, 0.5, 0.5)[inner][1:, 1:]
    return spread.distance(guessed - exact)
