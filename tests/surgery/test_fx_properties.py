"""Random small networks: filter size 1 is the original, and shapes never change."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import blocks, build

from shiftaudit.records.patch import PADS
from shiftaudit.surgery.patch import PatchOptions, patch


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(blocks, min_size=1, max_size=4), st.integers(12, 33), st.integers(12, 33), st.sampled_from(PADS))
def test_filter_one_is_the_original_and_shapes_never_change(specs: list, height: int, width: int, pad: str) -> None:
    built = build(specs, (height, width))
    if built is None or not any(spec[2] > 1 for spec in specs):
        return
    model, x = built
    with torch.no_grad():
        expected = model(x)
        for placement in ("post-activation", "pre-conv"):
            options = PatchOptions(filter_size=1, pad=pad, stem=True, patchify=True, placement=placement)
            same = patch(model, options, example_input=x).module
            torch.testing.assert_close(same(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        for filter_size in (2, 3, 7):
            options = PatchOptions(filter_size=filter_size, pad=pad, stem=True, patchify=True)
            blurred = patch(model, options, example_input=x).module
            assert blurred(x).shape == expected.shape
            assert torch.isfinite(blurred(x)).all()
        assert set(blurred.state_dict()) == set(model.state_dict())
