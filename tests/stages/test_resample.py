"""An operation at another phase, against a loop over windows in NumPy that shares no code with the package."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shiftaudit.stages import ops
from shiftaudit.stages.ops import OpCall
from shiftaudit.stages.resample import Border, Sampling, resampled, window

_ATEN = torch.ops.aten


def _value(image, y, x, how):
    """The value at (y, x) of a map that goes on past its borders; None where it does not count."""
    height, width = image.shape
    if how == "wrap":
        return image[y % height, x % width]
    if 0 <= y < height and 0 <= x < width:
        return image[y, x]
    return {"zero": 0.0, "none": None}[how]


def _by_hand(image, n_out, *, kernel, stride, padding, dilation, phase, how, combine):
    out = np.empty(n_out)
    for i in range(n_out[0]):
        for j in range(n_out[1]):
            y, x = i * stride - padding + phase[0], j * stride - padding + phase[1]
            places = [(y + a * dilation, x + b * dilation) for a in range(kernel) for b in range(kernel)]
            out[i, j] = combine([_value(image, *place, how) for place in places])
    return out


def _sampled(func, args, phase, kwargs=None, rows=(1,)):
    out = func(*args, **(kwargs or {}))
    out = out[0] if isinstance(out, tuple) else out
    call = OpCall(0, ops.KINDS[func._schema.name], func, args, kwargs or {})
    return resampled(call, (out.shape[-2], out.shape[-1]), Sampling(rows, phase)), out


PHASES = [(0, 0), (1, 0), (0, 1), (1, 1), (-1, 0), (-1, 1)]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("kernel", "padding", "dilation", "size"), [(3, 1, 1, 8), (5, 2, 1, 9), (3, 2, 2, 8), (2, 0, 1, 8)]
)
def test_a_convolution_at_another_phase_begins_its_windows_there(phase, kernel, padding, dilation, size):
    torch.manual_seed(0)
    images, weight = torch.randn(2, 1, size, size), torch.randn(1, 1, kernel, kernel)
    args = (images, weight, None, [2, 2], [padding] * 2, [dilation] * 2)
    found, out = _sampled(_ATEN.conv2d.default, args, phase)
    expected = _by_hand(
        images[1, 0].numpy(),
        out.shape[-2:],
        kernel=kernel,
        stride=2,
        padding=padding,
        dilation=dilation,
        phase=phase,
        how="zero" if padding else "wrap",
        combine=lambda values: float(np.dot(values, weight.flatten().numpy())),
    )
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("kernel", "padding", "size"), [(3, 1, 8), (2, 0, 8), (3, 1, 9)])
def test_a_maximum_at_another_phase_counts_only_what_is_there(phase, kernel, padding, size):
    torch.manual_seed(0)
    images = torch.randn(2, 1, size, size) - 5
    found, out = _sampled(_ATEN.max_pool2d.default, (images, [kernel] * 2, [2, 2], [padding] * 2), phase)
    expected = _by_hand(
        images[1, 0].numpy(),
        out.shape[-2:],
        kernel=kernel,
        stride=2,
        padding=padding,
        dilation=1,
        phase=phase,
        how="none" if padding else "wrap",
        combine=lambda values: max((v for v in values if v is not None), default=math.nan),
    )
    there = ~np.isnan(expected)
    np.testing.assert_allclose(found[0, 0].numpy()[there], expected[there])
    assert np.isfinite(found.numpy()).all()


@pytest.mark.parametrize("counts_padding", [True, False])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (2, 0)])
def test_an_average_at_another_phase_divides_by_what_counts(phase, kernel, padding, counts_padding):
    torch.manual_seed(0)
    images = torch.randn(2, 1, 8, 8)
    args = (images, [kernel] * 2, [2, 2], [padding] * 2, False, counts_padding)
    found, out = _sampled(_ATEN.avg_pool2d.default, args, phase)

    def average(values):
        counted = [0.0 if v is None and counts_padding else v for v in values]
        counted = [v for v in counted if v is not None]
        return sum(counted) / len(counted)

    expected = _by_hand(
        images[1, 0].numpy(),
        out.shape[-2:],
        kernel=kernel,
        stride=2,
        padding=padding,
        dilation=1,
        phase=phase,
        how="none" if padding else "wrap",
        combine=average,
    )
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6)


_CALLS = [
    (_ATEN.conv2d.default, lambda x: (x, torch.ones(4, 2, 3, 3), torch.ones(4), [2, 2], [1, 1], [1, 1], 2)),
    (_ATEN.convolution.default, lambda x: (x, torch.ones(2, 4, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1)),
    (_ATEN.max_pool2d.default, lambda x: (x, [3, 3], [2, 2], [0, 0], [1, 1], True)),
    (_ATEN.max_pool2d_with_indices.default, lambda x: (x, [3, 3], [2, 2], [1, 1])),
    (_ATEN.avg_pool2d.default, lambda x: (x, [3, 3], [2, 2], [1, 1], True, False)),
    (_ATEN.avg_pool2d.default, lambda x: (x, [3, 3], [2, 2], [1, 1], True, True)),
    (_ATEN.avg_pool2d.default, lambda x: (x, [2, 2], [2, 2], [0, 0], True)),
    (_ATEN.avg_pool2d.default, lambda x: (x, [2, 2], [2, 2], [0, 0], False, True, 3)),
    (_ATEN._adaptive_avg_pool2d.default, lambda x: (x, [3, 3])),
    (_ATEN.upsample_nearest2d.default, lambda x: (x, [5, 5])),
    (_ATEN.pixel_unshuffle.default, lambda x: (x[..., :8, :8], 2)),
]


@pytest.mark.parametrize(("func", "args"), _CALLS)
def test_phase_zero_is_what_the_operation_does(func, args):
    torch.manual_seed(0)
    found, out = _sampled(func, args(torch.randn(2, 4, 10, 10)), (0, 0))
    torch.testing.assert_close(found, out[1:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate", "constant"])
def test_a_map_goes_on_as_pytorch_pads_it(mode):
    image = torch.arange(20.0).view(1, 1, 4, 5)
    expected = F.pad(image, (2, 3, 1, 2), mode=mode)
    padded = window(image, Border((1, 2), (0, 0), mode), (0, 0), (7, 10))
    assert torch.equal(padded, expected)
    assert torch.equal(window(image, Border((1, 2), (0, 0), mode), (1, 1), (4, 6)), expected[..., 1:5, 1:7])


def test_an_operation_without_a_rule_is_refused():
    with pytest.raises(NotImplementedError, match="no rule"):
        _sampled(_ATEN.cat.default, ([torch.zeros(2, 1, 4, 4)],), (1, 1))
