"""Distances between answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shiftaudit.audit import answers


def test_js_divergence_equals_numpy() -> None:
    generator = np.random.default_rng(3)
    logits, reference = generator.normal(size=(4, 7)) * 3, generator.normal(size=7) * 3

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    p, q = softmax(logits), softmax(reference)
    m = (p + q) / 2
    expected = ((p * np.log(p / m)).sum(-1) + (q * np.log(q / m)).sum(-1)) / 2
    got = answers.js_divergence(torch.from_numpy(logits), torch.from_numpy(reference))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_js_divergence_of_opposite_certainties_is_ln_2() -> None:
    got = answers.js_divergence(torch.tensor([[1e4, 0.0]]), torch.tensor([0.0, 1e4]))
    assert float(got[0]) == pytest.approx(np.log(2))


def test_near_ties_are_gaps_below_one_ten_thousandth() -> None:
    logits = torch.tensor([[1.0, 1.00005, 0.0], [1.0, 1.01, 0.0]])
    assert answers.near_ties(logits).tolist() == [True, False]
