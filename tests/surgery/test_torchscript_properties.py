"""Random small networks as TorchScript: filter size 1 is the original, and shapes never change."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import blocks, build

from shiftaudit.records.patch import PADS
from shiftaudit.surgery.patch import PatchOptions, patch

# Scripted, the block asks at run time whether a norm follows, so that the blur stays in front of that question.
# With `padding_mode="circular"` a layer pads inside; its graph shows a pad and a convolution without padding, so that a blur in
# front of the convolution comes behind the pad.
PADDED_INSIDE = ("conv", "depthwise", "dilated", "unequal")


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # group-norm compares sizes while it is traced
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    st.lists(blocks, min_size=1, max_size=3),
    st.integers(12, 33),
    st.integers(12, 33),
    st.sampled_from(PADS),
    st.sampled_from([2, 3, 7]),
    st.booleans(),
)
def test_filter_one_is_the_original_and_shapes_never_change(
    specs: list, height: int, width: int, pad: str, filter_size: int, traced: bool
) -> None:
    built = build(specs, (height, width))
    if built is None or not any(spec[2] > 1 for spec in specs):
        return
    model, x = built
    stored = torch.jit.trace(model, x, check_trace=False) if traced else torch.jit.script(model)
    with torch.no_grad():
        expected = model(x)
        for placement in ("post-activation", "pre-conv"):
            options = PatchOptions(filter_size=1, pad=pad, stem=True, patchify=True, placement=placement)
            same = patch(stored, options, example_input=x).module
            torch.testing.assert_close(same(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        options = PatchOptions(filter_size=filter_size, pad=pad, stem=True, patchify=True)
        result = patch(stored, options, example_input=x)
        blurred = result.module(x)
        assert blurred.shape == expected.shape
        assert torch.isfinite(blurred).all()
        branches = not traced and any(spec[0] in PADDED_INSIDE and spec[5] != "none" for spec in specs)
        # A strided pool that meets one row is a matter of definition: a site, or the network's head.
        to_point = any(site.output_size == (1, 1) for site in result.record.sites)
        padded = any(spec[0] in PADDED_INSIDE and spec[4] for spec in specs)
        if not (branches or to_point or padded):
            wanted = patch(model, options, example_input=x)
            assert [(s.name, s.action) for s in result.record.sites] == [
                (s.name, s.action) for s in wanted.record.sites
            ]
            torch.testing.assert_close(blurred, wanted.module(x), rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        assert list(result.module.state_dict()) == list(model.state_dict())
