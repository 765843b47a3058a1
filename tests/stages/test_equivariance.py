"""Distances and Fourier shifts against independent NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import fft_shift_oracle

from shiftaudit.stages import equivariance as metrics


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dy=st.fractions(-12, 12, max_denominator=32),
    dx=st.fractions(-12, 12, max_denominator=32),
    seed=st.integers(0, 99),
)
def test_fractional_shift_equals_the_fft(height: int, width: int, dy: float, dx: float, seed: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(height, width, 3))
    moved = metrics.fourier_shift(torch.from_numpy(maps).float(), float(dy), float(dx)).numpy()
    np.testing.assert_allclose(moved, fft_shift_oracle(maps, float(dy), float(dx)), atol=2e-6)


def test_whole_shifts_are_exact_rolls_and_keep_their_sign() -> None:
    maps = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(0))
    moved = metrics.fourier_shift(maps, 2, -1)
    assert torch.equal(moved, maps.roll((2, -1), (0, 1)))
    assert torch.equal(moved[2, 0], maps[0, 1])


def test_shifting_there_and_back_returns_an_odd_sized_map() -> None:
    maps = torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(1))
    back = metrics.fourier_shift(metrics.fourier_shift(maps, 0.3, 1.7), -0.3, -1.7)
    torch.testing.assert_close(back, maps, atol=2e-6, rtol=0)


@pytest.mark.parametrize("dy", [0.0, 2.0, -0.5, 1.75])
def test_the_shared_part_of_waves_that_their_mirror_continues_is_exact(dy: float) -> None:
    height, places = 16, np.arange(16) + 0.5
    wave = np.cos(3 * np.pi * places / height)
    reference = torch.from_numpy(wave).float().view(height, 1, 1)
    view = torch.from_numpy(np.cos(3 * np.pi * (places - dy) / height)).float().view(height, 1, 1)
    moved = metrics.mirrored_shift(reference, dy % 1, 0.0)
    pair = metrics.shared_part(moved, view, dy, 0.0)
    assert pair is not None
    torch.testing.assert_close(*pair, atol=1e-5, rtol=0)
    assert pair[0].shape[0] == height - int(np.ceil(abs(dy)))


def test_nothing_is_shared_when_the_shift_leaves_the_map() -> None:
    maps = torch.ones(4, 4, 1)
    assert metrics.shared_part(maps, maps, 4.0, 0.0) is None
    assert metrics.shared_part(maps, maps, 0.0, -3.5) is None
    assert metrics.shared_part(maps, maps, 3.0, 0.0) is not None
