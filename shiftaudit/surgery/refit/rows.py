"""The equations of one layer: what it reads at a position, and what is missing at its output there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.surgery.refit.layers import Layer, Pair


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions at which a layer is fitted: all of (N, Y, X) of the original's output, or of its tokens."""

    shape: tuple[int, ...]
    step: Pair
    """Positions of the copy's output for one of the original's: more than 1 where the copy computes densely."""

    def draw(self, limit: int, generator: np.random.Generator) -> Tensor:
        """Indices into the flattened grid, in order: all of them, or `limit` at random."""
        total = int(np.prod(self.shape))
        if total <= limit:
            return torch.arange(total)
        return torch.from_numpy(np.sort(generator.choice(total, limit, replace=False)))


def grid_of(layer: Layer, student: tuple[int, ...], teacher: tuple[int, ...], output: tuple[int, ...]) -> Grid | None:
    """The grid of a layer whose anchors have these two shapes; None where they do not belong together.

    Args:
        output: the shape of the copy's output of the layer itself.
    """
    if not layer.convolution:
        return Grid(output[:-1], (1, 1)) if student == teacher else None
    if student == teacher:
        return Grid((output[0], *output[2:]), (1, 1))
    if layer.skip or student[:2] != teacher[:2]:
        return None
    step = (round(student[2] / teacher[2]), round(student[3] / teacher[3]))
    fits = all(-(-student[2 + axis] // step[axis]) == teacher[2 + axis] for axis in (0, 1) if step[axis])
    return Grid((teacher[0], *teacher[2:]), step) if fits and min(step) > 0 else None


def features(layer: Layer, kernel: Pair, x: Tensor, grid: Grid, chosen: Tensor) -> Tensor:
    """What the layer reads at the chosen positions: (groups, rows, I / groups · taps)."""
    if not layer.convolution:
        return _exact(x.reshape(-1, x.shape[-1])[chosen.to(x.device)]).unsqueeze(0)
    n, rows, columns = (index.to(x.device) for index in torch.unravel_index(chosen, grid.shape))
    rows, columns = rows * (grid.step[0] * layer.stride[0]), columns * (grid.step[1] * layer.stride[1])
    x = F.pad(x, _padding(layer, kernel))
    taps = [
        x[n, :, rows + ky * layer.dilation[0], columns + kx * layer.dilation[1]]
        for ky in range(kernel[0])
        for kx in range(kernel[1])
    ]
    stacked = taps[0] if len(taps) == 1 else torch.stack(taps, -1)
    return _exact(stacked.reshape(len(chosen), layer.groups, -1)).transpose(0, 1)


def _padding(layer: Layer, kernel: Pair) -> list[int]:
    """Left, right, top, bottom."""
    if isinstance(layer.padding, str):
        spans = [layer.dilation[axis] * (kernel[axis] - 1) if layer.padding == "same" else 0 for axis in (1, 0)]
        return [part for span in spans for part in (span // 2, span - span // 2)]
    (y, x) = layer.padding
    return [x, x, y, y]


def outputs(layer: Layer, anchor: Tensor, grid: Grid, step: Pair, chosen: Tensor) -> Tensor:
    """The anchor at the chosen positions: (rows, O)."""
    for undo in layer.undo:
        anchor = undo(anchor)
    if not layer.convolution:
        return _exact(anchor.reshape(-1, anchor.shape[-1])[chosen.to(anchor.device)])
    n, rows, columns = (index.to(anchor.device) for index in torch.unravel_index(chosen, grid.shape))
    return _exact(anchor[n, :, rows * step[0], columns * step[1]])


def _exact(rows: Tensor) -> Tensor:
    """In float32 at least."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


class Gram:
    """Sums over all rows: as large as the layer's weights, however many the images.

    Each row is [x, 1] · D ≈ r: x what the layer reads, r what is missing, t what there ought to be. The rows of one batch, less a
    fixed one, are multiplied in the precision they were computed in (float32 at least); the products are added in float64.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._origin: Tensor | None = None
        self._sums: list[Tensor] | None = None

    def add(self, x: Tensor, missing: Tensor, target: Tensor) -> None:
        """Add rows.

        Args:
            x: (groups, rows, F).
            missing: (rows, O).
            target: (rows, O).
        """
        r = missing.reshape(len(missing), x.shape[0], -1).transpose(0, 1)
        if self._origin is None:
            self._origin = x.mean(1, keepdim=True)
        x = x - self._origin
        new = [
            _square(x), x.sum(1, keepdim=True, dtype=torch.float64), x.transpose(1, 2) @ r,
            r.sum(1, keepdim=True, dtype=torch.float64), missing.double().square().sum(0),
            target.sum(0, dtype=torch.float64), target.double().square().sum(0),
        ]  # fmt: skip
        self._take(new)
        self.rows += len(missing)

    def __add__(self, other: Gram) -> Gram:
        both = Gram()
        both.rows = self.rows + other.rows
        for part in (self, other):
            if part.rows:
                square, cross = part.square, part.cross
                both._origin = torch.zeros_like(square[:, -1:, :-1])
                both._take([square[:, :-1, :-1], square[:, -1:, :-1], cross[:, :-1], cross[:, -1:], *part._parts()[4:]])
        return both

    @property
    def square(self) -> Tensor:
        """Σ [x, 1]ᵀ[x, 1]: (groups, F + 1, F + 1)."""
        inner, sums, *_ = self._parts()
        assert self._origin is not None
        origin = self._origin.double()
        half = (sums + self.rows / 2 * origin).transpose(1, 2) @ origin
        inner, sums = inner + half + half.transpose(1, 2), sums + self.rows * origin
        count = sums.new_full((len(sums), 1, 1), self.rows)
        return torch.cat([torch.cat([inner, sums.transpose(1, 2)], 2), torch.cat([sums, count], 2)], 1)

    @property
    def cross(self) -> Tensor:
        """Σ [x, 1]ᵀ r: (groups, F + 1, O / groups)."""
        _, _, inner, sums, *_ = self._parts()
        assert self._origin is not None
        return torch.cat([inner + self._origin.double().transpose(1, 2) @ sums, sums], 1)

    @property
    def missing(self) -> float:
        """Σ |r|²."""
        return float(self._parts()[4].sum())

    @property
    def variation(self) -> float:
        """Σ |t − mean of t|²."""
        *_, sums, squares = self._parts()
        return float((squares - sums.square() / self.rows).sum())

    def left(self, change: Tensor) -> float:
        """Σ |r − [x, 1] · D|² for a change D (groups, F + 1, O / groups)."""
        return self.missing + float((change * (self.square @ change - 2 * self.cross)).sum())

    def _take(self, new: list[Tensor]) -> None:
        if self._sums is None:
            self._sums = [part.to(torch.float64, copy=True) for part in new]
        else:
            for total, part in zip(self._sums, new, strict=True):
                total.add_(part)

    def _parts(self) -> list[Tensor]:
        """About the origin: squares and sums of x, products with r, sums of r; squares of r; sums and squares of t."""
        assert self._sums is not None, "no rows"
        return self._sums


def _square(x: Tensor) -> Tensor:
    if len(x) == 1 and x.device.type == "cpu":
        # NumPy sees that both factors are one matrix and computes half of the product.
        matrix = x[0].numpy()
        return torch.from_numpy(np.dot(matrix.T, matrix)).unsqueeze(0)
    return x.transpose(1, 2) @ x
