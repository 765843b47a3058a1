"""Distances and Fourier shifts against independent NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import fft_shift_oracle

from shiftaudit.errors import InputError
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


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), noise=st.sampled_from([0.0, 1e-4, 0.1, 3.0]))
def test_equivariance_error_equals_numpy_in_double_precision(seed: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    a = generator.normal(size=(4, 5, 6)).astype(np.float32)
    b = (a * 1.3 + noise * generator.normal(size=a.shape)).astype(np.float32)
    cosine, relative = metrics.equivariance_error(torch.from_numpy(a), torch.from_numpy(b))
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    assert cosine == pytest.approx(1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-6)
    assert relative == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(x), rel=1e-5)


def test_equal_maps_have_error_exactly_zero() -> None:
    maps = torch.randn(9, 9, 16, generator=torch.Generator().manual_seed(2))
    assert metrics.equivariance_error(maps, maps.clone()) == (0.0, 0.0)


def test_zero_maps_are_equal_to_each_other_and_fully_wrong_otherwise() -> None:
    zero, one = torch.zeros(2, 2, 1), torch.ones(2, 2, 1)
    assert metrics.equivariance_error(zero, zero) == (0.0, 0.0)
    assert metrics.equivariance_error(one, zero) == (1.0, 1.0)
    assert metrics.equivariance_error(zero, one) == (1.0, float("inf"))


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        metrics.equivariance_error(torch.ones(2, 2, 1), torch.ones(2, 3, 1))


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
