"""The worst shift as the maximum of many: its share of changed answers, and how often chance alone gives as much. No torch.

A maximum of many noisy shares is large even where no shift is worse than another, and an ordinary interval around it does not
know that it was chosen. The p-value compares it with the maxima that come about when the changed answers of every image are dealt
anew to the shifts that the image was given: a permutation test within blocks (Good, 2005, "Permutation, Parametric and Bootstrap
Tests of Hypotheses"). It allows for every cell at once, so that nothing is left to correct for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.columns import distinct
from shiftaudit.records.report import WorstShift

_CELLS = 4
_MIN_CELL_VIEWS = 10
_MOST_DEALS, _FEWEST_DEALS = 999, 199
_WORK = 10_000_000
"""Answers that are dealt in all, which is about a second."""
_CHUNK = 1_000_000

Block = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Of images with equally many views: the cell of every view, and whether its answer changed. Both (images, views)."""


def worst_shift(
    lengths: NDArray[np.int64],
    shifts: NDArray[np.int64],
    changed: NDArray[np.bool_],
    max_shift: int,
    *,
    single: bool,
) -> WorstShift | None:
    """The shift whose share of changed answers is highest; ties go to the one with more views, then the smaller shift.

    Random shifts hold one or two images each, so they are pooled into 4×4 cells of the shift range; cells with fewer than
    ten views say nothing and are left out.

    Args:
        lengths: how many views each image has, shape (n_images,); they stand one after another in what follows.
        shifts: (dy, dx), shape (n_views, 2).
        changed: whether the answer is another than without a shift, shape (n_views,).
        max_shift: in pixels; no shift is larger.
        single: all images were given the same shifts, and each is a cell of its own.
    """
    width = 1 if single else math.ceil((2 * max_shift + 1) / _CELLS)
    offset = 0 if single else max_shift
    if not len(shifts):
        return None
    cells, cell_of = distinct((shifts + offset) // width)
    sizes = np.bincount(cell_of, minlength=len(cells))
    flips = np.bincount(cell_of, weights=changed, minlength=len(cells)).astype(np.int64)
    kept = np.flatnonzero(sizes >= (1 if single else _MIN_CELL_VIEWS))
    if len(kept) == 0:
        return None
    best = min(kept.tolist(), key=lambda cell: (-flips[cell] / sizes[cell], -sizes[cell], cell))
    n, n_changed = int(sizes[best]), int(flips[best])
    # The outermost cell reaches past the range where the width does not divide it; its middle must not.
    dy, dx = (min(int(index) * width - offset + width // 2, max_shift) for index in cells[best])
    p_value = None
    if len(kept) > 1:
        p_value = _p_value(_blocks(lengths, cell_of, changed), sizes, kept, n_changed / n)
    return WorstShift(
        dy, dx, width // 2, n, n - n_changed, p_value, len(kept), "permutation" if len(kept) > 1 else "none"
    )


def _blocks(lengths: NDArray[np.int64], cell_of: NDArray[np.int64], flipped: NDArray[np.bool_]) -> list[Block]:
    starts = np.cumsum(lengths) - lengths
    blocks = []
    for k in np.unique(lengths[lengths > 0]):
        places = starts[lengths == k][:, None] + np.arange(k)
        blocks.append((cell_of[places], flipped[places]))
    return blocks


def _p_value(blocks: Sequence[Block], sizes: NDArray[np.int64], kept: NDArray[np.int64], observed: float) -> float:
    """The share of deals, the true one among them, whose highest share is at least the observed one."""
    still = np.zeros(len(sizes))
    mixed = []
    for cells, flips in blocks:
        changing = flips.any(axis=1) & ~flips.all(axis=1)
        still += np.bincount(cells[~changing].ravel(), flips[~changing].ravel(), len(sizes))
        mixed.append((cells[changing], flips[changing]))
    n_answers = sum(flips.size for _, flips in mixed)
    deals = min(max(_WORK // max(n_answers, 1), _FEWEST_DEALS), _MOST_DEALS)
    generator = np.random.default_rng(0)
    totals = np.tile(still, (deals, 1))
    for cells, flips in mixed:
        chunk = max(_CHUNK // max(flips.size, 1), 1)
        for start in range(0, deals, chunk):
            part = totals[start : start + chunk]
            dealt = generator.permuted(np.broadcast_to(flips, (len(part), *flips.shape)), axis=2)
            where = cells + len(sizes) * np.arange(len(part))[:, None, None]
            part += np.bincount(where[dealt], minlength=part.size).reshape(part.shape)
    highest = (totals[:, kept] / sizes[kept]).max(axis=1)
    return (1 + int((highest >= observed - 1e-12).sum())) / (1 + deals)
