"""Ridge regression from sums: the change of a layer's weights that makes up for most of what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shiftaudit.surgery.refit.rows import Gram


@dataclass(frozen=True, eq=False)
class Solution:
    """A change of the weights."""

    change: Tensor
    """(groups, F + 1, O / groups), float64; the last row is the intercept's. Zeros where no change did better."""
    ridge: float | None
    """The one that was used; None where the weights stay."""
    held_left: float
    """Σ |r − [x, 1] · D|² on the held-out rows, of the change fitted without them."""


def ridge_change(gram: Gram, ridge: float, *, intercept: bool) -> Tensor:
    """D that minimises Σ |r − [x, 1] · D|² + λ |D without its last row|², λ = ridge × mean diagonal of the Gram matrix.

    The Gram matrix is that of x about its mean where there is an intercept, which is not pulled, and of x itself where there is
    none. Each group has a λ of its own. A group that reads nothing but constants, or numbers too far apart for its equations to
    be solved, gets no change but the intercept's.
    """
    square, cross = gram.square, gram.cross
    inner, right, sums = square[:, :-1, :-1], cross[:, :-1], square[:, :-1, -1:]
    if intercept:
        inner = inner - sums @ sums.transpose(1, 2) / gram.rows
        right = right - sums @ cross[:, -1:] / gram.rows
    size = inner.shape[-1]
    scale = inner.diagonal(dim1=1, dim2=2).mean(1).clamp_min(0)
    floor = torch.finfo(torch.float64).eps * square[:, :-1, :-1].diagonal(dim1=1, dim2=2).mean(1) * size
    constant = scale <= floor
    pull = torch.where(constant, torch.ones_like(scale), ridge * scale)[:, None, None]
    system = inner + pull * torch.eye(size, dtype=inner.dtype, device=inner.device)
    factor, failed = torch.linalg.cholesky_ex(system)
    slopes = torch.cholesky_solve(right, factor)
    slopes = torch.where((constant | (failed > 0))[:, None, None], torch.zeros_like(slopes), slopes)
    shift = torch.zeros_like(cross[:, -1:])
    if intercept:
        shift = (cross[:, -1:] - sums.transpose(1, 2) @ slopes) / gram.rows
    return torch.cat([slopes, shift], 1)


def solve(fit: Gram, held: Gram, ridges: Sequence[float], *, intercept: bool) -> Solution:
    """The change for the ridge that leaves the smallest error on held-out rows, computed on all rows.

    Where no ridge does better there than the present weights, they stay. With one ridge, or without held-out rows, the first
    ridge is used.
    """
    none = torch.zeros_like(fit.cross if fit.rows else held.cross)
    if len(ridges) == 1 or not held.rows or not fit.rows:
        return Solution(ridge_change(fit + held, ridges[0], intercept=intercept), ridges[0], 0.0)
    errors = {ridge: held.left(ridge_change(fit, ridge, intercept=intercept)) for ridge in ridges}
    best = min(errors, key=lambda ridge: errors[ridge])
    if errors[best] >= held.missing:
        return Solution(none, None, held.missing)
    return Solution(ridge_change(fit + held, best, intercept=intercept), best, errors[best])
