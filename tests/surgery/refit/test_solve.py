"""The ridge regression where it is easy to get wrong."""

from __future__ import annotations

import numpy as np
import torch

from shiftaudit.surgery.refit.rows import Gram
from shiftaudit.surgery.refit.solve import ridge_change


def test_equations_that_cannot_be_solved_change_nothing_but_the_intercept() -> None:
    """Two features that are one: the sums are singular, and rounding makes them indefinite."""
    generator = np.random.default_rng(0)
    column = generator.normal(size=(1, 40, 1)) * 1e6
    other = generator.normal(size=(1, 40, 2))
    gram = Gram()
    both = np.concatenate(
        [np.concatenate([column, column, column * (1 + 1e-12)], 2), np.pad(other, ((0, 0), (0, 0), (0, 1)))]
    )
    missing = torch.from_numpy(np.concatenate([other[0, :, :1] + 3, other[0, :, :1] + 5], 1))
    gram.add(torch.from_numpy(both), missing, missing)
    change = ridge_change(gram, 1e-300, intercept=True)
    assert change[0, :-1].abs().max() == 0
    assert change.isfinite().all()
    torch.testing.assert_close(change[0, -1, 0], missing[:, 0].mean())
    # The other group is solved all the same, though its last feature is constant.
    solved = ridge_change(gram, 1e-9, intercept=True)
    assert solved[1, 0, 0] != 0
