"""BlurPool against published values, brute force, and every way a layer is used."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import reloaded

from shiftaudit.errors import InputError
from shiftaudit.records.patch import PADS
from shiftaudit.surgery.blurpool import BlurPool, binomial_taps

NUMPY_PAD = {"reflect": "reflect", "replicate": "edge", "zeros": "constant", "circular": "wrap"}


def brute_force(image: np.ndarray, size: int, stride: int, mode: str) -> np.ndarray:
    row = np.array([math.comb(size - 1, i) for i in range(size)], dtype=np.float64)
    kernel = np.outer(row, row) / row.sum() ** 2
    before, after = (size - 1) // 2, size // 2
    padded = np.pad(image, ((before, after), (before, after)), mode=NUMPY_PAD[mode])
    height, width = (math.ceil(side / stride) for side in image.shape)
    out = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            out[y, x] = (padded[y * stride : y * stride + size, x * stride : x * stride + size] * kernel).sum()
    return out


@pytest.mark.parametrize("size", range(1, 8))
def test_filter_is_a_row_of_pascals_triangle_of_sum_one(size: int) -> None:
    expected = [math.comb(size - 1, i) / 2 ** (size - 1) for i in range(size)]
    assert binomial_taps(size) == expected


def test_golden_values() -> None:
    eye5, eye4 = torch.eye(5)[None, None], torch.eye(4)[None, None]
    zeros = [[0.3125, 0.0625, 0], [0.0625, 0.375, 0.0625], [0, 0.0625, 0.3125]]
    reflect = [[0.5, 0.125, 0], [0.125, 0.375, 0.125], [0, 0.125, 0.5]]
    assert BlurPool(1, 3, 2, "zeros")(eye5).squeeze().tolist() == zeros
    assert BlurPool(1, 3, 2, "reflect")(eye5).squeeze().tolist() == reflect
    assert BlurPool(1, 4, 2, "reflect")(eye4).squeeze().tolist() == [[0.40625, 0.125], [0.125, 0.40625]]


@pytest.mark.parametrize(("size", "gain"), [(2, 0.70711), (3, 0.5), (4, 0.35355), (5, 0.25)])
def test_gain_at_a_quarter_of_the_sampling_rate_and_at_nyquist(size: int, gain: float) -> None:
    taps = np.array(binomial_taps(size))
    phase = np.exp(-0.5j * np.pi * np.arange(size))
    assert abs(taps @ phase) == pytest.approx(gain, abs=1e-5)
    assert abs(taps @ np.exp(-1j * np.pi * np.arange(size))) < 1e-12


@pytest.mark.parametrize("mode", PADS)
@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_layer_equals_brute_force(size: int, stride: int, mode: str) -> None:
    image = torch.randn(7, 9, generator=torch.Generator().manual_seed(size))
    out = BlurPool(1, size, stride, mode)(image[None, None]).squeeze((0, 1))
    np.testing.assert_allclose(out.numpy(), brute_force(image.double().numpy(), size, stride, mode), atol=1e-6)


@pytest.mark.parametrize("mode", PADS)
@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("size", range(1, 8))
def test_tiny_maps_do_not_crash_and_constants_stay_constant(side: int, size: int, mode: str) -> None:
    out = BlurPool(2, size, 2, mode)(torch.ones(1, 2, side, 3))
    assert out.shape == (1, 2, math.ceil(side / 2), 2)
    if mode != "zeros":
        torch.testing.assert_close(out, torch.ones_like(out))


def test_map_too_small_for_reflection_is_padded_by_replication_on_that_axis_only() -> None:
    x = torch.randn(1, 1, 1, 6)
    by_hand = F.pad(F.pad(x, [1, 1, 0, 0], "reflect"), [0, 0, 1, 1], "replicate")
    row = torch.tensor(binomial_taps(3))
    kernel = torch.outer(row, row)[None, None]
    torch.testing.assert_close(BlurPool(1, 3, 2, "reflect")(x), F.conv2d(by_hand, kernel, stride=2))


def test_filter_size_one_and_strength_zero_are_plain_subsampling() -> None:
    x = torch.randn(2, 3, 7, 8)
    assert torch.equal(BlurPool(3, 1)(x), x[:, :, ::2, ::2])
    layer = BlurPool(3, 4)
    layer.set_strength(0.0)
    assert torch.equal(layer(x), x[:, :, ::2, ::2])


def test_strength_mixes_plain_subsampling_with_the_filter() -> None:
    x = torch.randn(1, 2, 8, 8)
    layer = BlurPool(2, 5)
    full = layer(x)
    layer.set_strength(0.25)
    row = np.array([0, 0, 0.75, 0, 0]) + 0.25 * np.array([1, 4, 6, 4, 1]) / 16
    kernel = torch.from_numpy(np.outer(row, row)).float().expand(2, 1, 5, 5)
    padded = F.pad(x, (2, 2, 2, 2), "reflect")
    torch.testing.assert_close(layer(x), F.conv2d(padded, kernel, stride=2, groups=2))
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x))
    layer.set_strength(1.0)
    assert torch.equal(layer(x), full)
    with pytest.raises(InputError, match="between 0 and 1"):
        layer.set_strength(1.5)


def test_a_strength_given_at_once_is_the_ordinary_filter_a_1_minus_2a_a() -> None:
    layer = BlurPool(1, 3, strength=0.5)
    row = torch.tensor([0.125, 0.75, 0.125])
    torch.testing.assert_close(layer.kernel, torch.outer(row, row))
    with pytest.raises(InputError, match="between 0 and 1"):
        BlurPool(1, 3, strength=-0.5)


def test_unequal_strides_filter_only_the_subsampled_axis() -> None:
    x = torch.randn(1, 1, 6, 5)
    out = BlurPool(1, (3, 1), (2, 1))(x)
    padded = F.pad(x, [0, 0, 1, 1], "reflect")
    by_hand = (padded[:, :, 0:-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:])[:, :, ::2] / 4
    torch.testing.assert_close(out, by_hand)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_follows_the_dtype_of_the_module(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 8, 8)
    out = BlurPool(2).to(dtype)(x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), BlurPool(2)(x), atol=0.02, rtol=0.02)


def test_keeps_channels_last() -> None:
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    assert BlurPool(4)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", PADS)
def test_gradients_are_right(mode: str) -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(BlurPool(2, 4, 2, mode).double(), (x,))


def test_has_no_parameters_and_no_state() -> None:
    layer = BlurPool(3)
    assert not list(layer.parameters())
    assert not layer.state_dict()
    assert dict(layer.named_buffers())["kernel"].shape == (3, 3)


def test_scripted_layer_is_the_same_and_its_file_has_no_extra_keys() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), BlurPool(4, 5))
    model[1].set_strength(0.5)
    loaded = reloaded(torch.jit.script(model))
    for side in (12, 4, 3):
        x = torch.randn(1, 3, side, side)
        torch.testing.assert_close(loaded(x), model(x))
    assert set(loaded.state_dict()) == {"0.weight", "0.bias"}


def test_traced_layer_keeps_its_fallback_on_small_maps() -> None:
    layer = BlurPool(1, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(layer, torch.randn(1, 1, 16, 16))
    x = torch.randn(1, 1, 2, 2)
    torch.testing.assert_close(traced(x), layer(x))


def test_model_with_the_layer_can_be_traced_by_fx() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), BlurPool(4))
    x = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


@pytest.mark.slow
@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("filter_size", [1, 4])
def test_exports_to_onnx(tmp_path, filter_size: int, newer: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    layer, x, path = BlurPool(2, filter_size).eval(), torch.randn(1, 2, 9, 8), tmp_path / "blur.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(layer, (x,), str(path), dynamo=newer, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    out = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(out, layer(x).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pad_mode": "mirror"}, "unknown pad mode 'mirror'"),
        ({"filter_size": 8}, "filter size 8"),
        ({"filter_size": 0}, "filter size 0"),
        ({"filter_size": 2.5}, "got 2.5 where a whole number"),
        ({"stride": 0}, "stride=0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlurPool(3, **arguments)


def test_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        BlurPool(3)(torch.zeros(1, 4, 8, 8))
