"""Where in the image the values of a tensor lie: a row and a column of the input for each of them, carried along with every call.

The naive way multiplies strides: the output of a call has the largest stride of its inputs, times its own. Then attention over
reduced keys, `q @ k.T` with 64 queries and 4 keys, gives a map of 64 places the stride of the keys, and after three such blocks a
network of stride 32 says 131072. Nor does a product see a reduction that is no single call: `x.reshape(N, H/2, 2, W/2, 2, C)`
and a permutation, a maximum over windows, `unfold`. So coordinates go along with every call (`shiftaudit.stages.carry`), and the
stride is read off: the distance between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

Pair = tuple[float, float]
_NEAR = 0.01
"""Coordinates nearer than this are one place."""


@dataclass(frozen=True)
class Places:
    """Coordinates in input pixels of the values of one tensor, NaN where there are none; of its shape, mostly expanded."""

    y: Tensor
    x: Tensor
    step: Pair | None = None
    """Input pixels from neighbour to neighbour, (y, x), as the stages before account for them."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Places:
        """The same change of both coordinates."""
        return replace(self, y=change(self.y), x=change(self.x))

    @cached_property
    def varies(self) -> bool:
        """Whether they are places of a map, rather than one point."""
        return any(_range(core(values)) > _NEAR for values in (self.y, self.x))

    def spacing(self, channels: int) -> tuple[float | None, float | None]:
        """The distance between neighbours, (y, x), None along an axis with one place; whatever order they are in.

        Args:
            channels: the axis whose values belong to one place.
        """
        return _spacing(self.y, channels), _spacing(self.x, channels)

    def lies_on(self, rows: int, columns: int) -> bool:
        """Whether these axes are those of the rows and the columns of a map."""

        return (
            not _varies_along(self.y, columns)
            and not _varies_along(self.x, rows)
            and (_varies_along(self.y, rows) or _varies_along(self.x, columns))
        )

    def varies_along(self, axis: int) -> bool:
        """Whether they differ from one value to the next along an axis."""
        return _varies_along(self.y, axis) or _varies_along(self.x, axis)

    @cached_property
    def is_stacked(self) -> bool:
        """Whether parts of one map lie in different rows of the batch."""
        own = [core(values) for values in (self.y, self.x)]
        return any(len(one) > 1 and float((one - one[:1]).nan_to_num().abs().amax()) > _NEAR for one in own)


def grid(like: Tensor, rows: int, columns: int, step: Pair = (1.0, 1.0)) -> Places:
    """The places of a map that covers the image evenly.

    Args:
        like: the map.
        rows, columns: its axes.
        step: input pixels from place to place, (y, x).
    """

    def coordinates(axis: int, distance: float) -> Tensor:
        shape = [1] * like.dim()
        shape[axis] = like.shape[axis]
        values = (torch.arange(like.shape[axis], device=like.device, dtype=torch.float32) + 0.5) * distance
        return values.view(shape).expand(like.shape)

    return Places(coordinates(rows, step[0]), coordinates(columns, step[1]), step)


# --- coordinates ---


def core(values: Tensor) -> Tensor:
    """The values without those that are only repeated: axes that were expanded have length 1."""
    for axis, stride in enumerate(values.stride()):
        if stride == 0 and values.shape[axis] > 1:
            values = values.narrow(axis, 0, 1)
    return values


def _varies_along(values: Tensor, axis: int) -> bool:
    own = core(values).nan_to_num()
    return own.shape[axis] > 1 and float(own.diff(dim=axis).abs().amax()) > _NEAR


def _range(values: Tensor) -> float:
    values = values[~values.isnan()]
    return float(values.max() - values.min()) if values.numel() else 0.0


def _spacing(values: Tensor, channels: int) -> float | None:
    values = core(values)
    places = values.nanmean(channels) if values.shape[channels] > 1 else values
    places = places[~places.isnan()].unique()
    gaps = places.diff()
    gaps = gaps[gaps > _NEAR]
    return float(gaps.median()) if gaps.numel() else None


def mean(places: Places, *axes: int, keepdim: bool = True) -> Places:
    return places.each(lambda values: core(values).nanmean(axes, keepdim=keepdim))


def sampled(places: Places, axis: int, at: Tensor) -> Places:
    """Coordinates at fractional places along an axis, continued in a straight line past its ends."""

    def along(values: Tensor) -> Tensor:
        values = core(values)
        n = values.shape[axis]
        if n == 1:
            return values
        low = at.floor().clamp(0, n - 2)
        weight = (at - low).view([-1] + [1] * (values.dim() - 1 - axis % values.dim()))
        first = values.index_select(axis, low.long())
        return first + (values.index_select(axis, low.long() + 1) - first) * weight

    return places.each(along)


def expanded(places: Places, shape: Sequence[int]) -> Places:
    return places.each(lambda values: values.expand(shape))
