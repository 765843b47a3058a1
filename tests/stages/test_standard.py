"""The distance of feature maps on one scale, against NumPy."""

import math

import numpy as np
import pytest
import torch

from shiftaudit.stages.standard import Reference, interpolation_floor, spread_of, unrelated_distance


def _map(seed, shape=(16, 16, 6)):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def _smooth(seed, size=64, keep=5):
    """A band-limited periodic map (size, size, 3)."""
    generator = np.random.default_rng(seed)
    spectrum = np.zeros((size, size, 3), dtype=complex)
    spectrum[:keep, :keep] = generator.normal(size=(keep, keep, 3)) + 1j * generator.normal(size=(keep, keep, 3))
    return torch.from_numpy(np.fft.ifft2(spectrum, axes=(0, 1)).real.astype(np.float32))


def _distance(reference, view):
    """Root mean square of the difference, in the reference's standard deviations; a channel counts 2 at most."""
    reference, view = reference.double().numpy(), view.double().numpy()
    squares = (((view - reference) / reference.std((0, 1))) ** 2).mean((0, 1))
    return float(np.sqrt(np.minimum(squares, 2).mean()))


def test_the_distance_is_the_root_mean_square_in_standard_deviations():
    reference, view = _map(0), _map(0) + 0.3 * _map(1)
    view[..., 2] = _map(2)[..., 2] * 9
    assert Reference(reference).compare(view, 0, 0, wraps=True) == pytest.approx(_distance(reference, view), rel=1e-5)


@pytest.mark.parametrize(("dy", "dx", "wraps"), [(3, -2, True), (0.5, 0.25, True), (1.5, -0.5, False), (2, 1, False)])
def test_a_factor_and_an_addend_in_each_channel_change_nothing(dy, dx, wraps):
    reference, view = _map(0), _map(1)
    gain, offset = torch.tensor([1.0, -3.0, 0.01, 20.0, 5.0, 0.2]), torch.tensor([5.0, 0.0, 1.0, -40.0, 0.3, 2.0])
    plain = Reference(reference).compare(view, dy, dx, wraps=wraps)
    written_otherwise = Reference(reference * gain + offset).compare(view * gain + offset, dy, dx, wraps=wraps)
    assert written_otherwise == pytest.approx(plain, rel=1e-4)


def test_a_map_that_moved_along_has_distance_zero():
    reference = _smooth(0)
    assert Reference(reference).compare(reference.roll((3, -5), (0, 1)), 3, -5, wraps=True) == 0
    halfway = torch.from_numpy(
        np.fft.ifft2(
            np.fft.fft2(reference.numpy(), axes=(0, 1)) * np.exp(-2j * np.pi * np.fft.fftfreq(64) * 2.5)[:, None, None],
            axes=(0, 1),
        ).real.astype(np.float32)
    )
    assert Reference(reference).compare(halfway, 2.5, 0, wraps=True) < 1e-5


def test_constant_channels_are_left_out_and_counted():
    reference, view = _map(0), _map(1)
    flat = torch.full((16, 16, 2), 7.3)
    mixed = Reference(torch.cat([reference, flat], 2))
    assert mixed.n_constant == 2
    assert mixed.compare(torch.cat([view, flat * 2], 2), 0, 0, wraps=True) == pytest.approx(
        Reference(reference).compare(view, 0, 0, wraps=True), rel=1e-6
    )
    assert spread_of(flat).n_live == 0


def test_a_channel_that_training_switched_off_is_constant_with_its_norm_folded_in_as_well():
    as_it_is = _map(0) * torch.tensor([1, 1, 1, 1, 5e-6, 2e-8])
    folded = _map(0) * torch.tensor([1, 1, 1, 1, 5e-4, 2e-6]) + torch.tensor([0, 0, 0, 0, 0.7, 0.7])
    assert Reference(as_it_is).n_constant == Reference(folded).n_constant == 1


def test_a_constant_map_moves_along_whatever_happens():
    assert Reference(torch.full((8, 8, 3), 0.1)).compare(torch.full((8, 8, 3), 0.1), 0.5, 0.5, wraps=True) == 0


def test_only_the_overlap_of_a_crop_is_compared():
    world = _smooth(1, size=96)
    reference, view = world[16:80, 16:80], world[13:77, 20:84]
    distance = Reference(reference.contiguous()).compare(view.contiguous(), 3, -4, wraps=False)
    assert distance == pytest.approx(0, abs=1e-6)
    assert Reference(reference.contiguous()).compare(view.contiguous(), 70, 0, wraps=False) is None


def test_a_crop_moved_by_a_fraction_errs_far_less_than_bilinear_interpolation():
    fine, s = _smooth(2, size=256, keep=20), 2
    reference, view = fine[64:192:s, 64:192:s].contiguous(), fine[63:191:s, 63:191:s].contiguous()
    bilinear = (reference[:-1, :-1] + reference[1:, :-1] + reference[:-1, 1:] + reference[1:, 1:]) / 4
    deviation = reference.std((0, 1), correction=0)
    by_bilinear = float((((view[1:, 1:] - bilinear) / deviation) ** 2).mean().sqrt())
    ours = Reference(reference).compare(view, 0.5, 0.5, wraps=False)
    assert ours < by_bilinear / 3


def test_unrelated_maps_are_their_mean_pairwise_distance_apart():
    maps = [_map(seed) * (seed + 1) for seed in range(5)]
    expected = np.mean([_distance(maps[i], maps[j]) for i in range(5) for j in range(5) if i != j])
    assert unrelated_distance(maps) == pytest.approx(expected, rel=1e-3)
    maps = [_map(seed) for seed in range(5)]
    assert unrelated_distance(maps) == pytest.approx(math.sqrt(2), rel=0.05)


def test_a_factor_and_an_addend_in_each_channel_change_no_calibration():
    maps, gain = [_map(seed) for seed in range(4)], torch.tensor([1.0, -3.0, 0.01, 20.0, 5.0, 0.2])
    assert unrelated_distance([m * gain + 5 for m in maps]) == pytest.approx(unrelated_distance(maps), rel=1e-4)


@pytest.mark.parametrize("maps", [[], [_map(0)], [torch.ones(4, 4, 2)] * 3, [_map(0), _map(0)]])
def test_without_two_different_maps_the_calibration_is_that_of_uncorrelated_maps(maps):
    assert unrelated_distance(maps) == math.sqrt(2)


def test_the_floor_is_small_for_smooth_maps_and_large_for_noise():
    assert interpolation_floor(_smooth(3)) < 0.05
    assert interpolation_floor(_map(3, (64, 64, 3))) > 0.1
