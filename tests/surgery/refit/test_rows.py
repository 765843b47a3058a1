"""Sums over rows."""

from __future__ import annotations

import numpy as np
import torch

from shiftaudit.surgery.refit.rows import Gram


def test_sums_of_batches_about_a_far_mean_are_those_of_all_rows() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(1e3, 1, (60, 5)).astype(np.float32)
    r, t = (generator.normal(size=(60, 2)).astype(np.float32) for _ in range(2))
    parts = Gram(), Gram()
    for index in range(6):
        rows = slice(10 * index, 10 * index + 10)
        batch = torch.from_numpy(x[rows])[None], torch.from_numpy(r[rows]), torch.from_numpy(t[rows])
        parts[index % 2].add(*batch)
    alone = parts[0].variation
    both = parts[0] + parts[1]
    assert parts[0].variation == alone
    ones = np.concatenate([x.astype(np.float64), np.ones((60, 1))], 1)
    np.testing.assert_allclose(both.square[0].numpy(), ones.T @ ones, rtol=1e-9)
    np.testing.assert_allclose(both.cross[0].numpy(), ones.T @ r, atol=1e-2)  # of values up to 1e4
    np.testing.assert_allclose(both.variation, 60 * t.astype(np.float64).var(0).sum(), rtol=1e-6)
    centred = both.square[0] - both.square[0, :, -1:] @ both.square[0, -1:] / 60
    np.testing.assert_allclose(
        centred[:-1, :-1].numpy(), 60 * np.cov(x.astype(np.float64).T, ddof=0), rtol=1e-4, atol=1e-4
    )
