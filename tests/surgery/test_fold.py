"""A filter folded into the convolution behind it computes what both did, in every form, or stays with a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from patch_networks import form
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import PatchOptions, SiteRecord
from shiftaudit.surgery.blurpool import BlurPool, blur_kernel
from shiftaudit.surgery.fold import merged
from shiftaudit.surgery.patch import PatchResult, patch

FORMS = ("eager", "exported", "scripted", "traced")
PRE = PatchOptions(placement="pre-conv", fold=True)


class Lite(nn.Module):
    """Depthwise convolutions as TensorFlow pads them, by an operation of their own in front; a shortcut; one that pads."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kernel = kernel
        self.first, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, kernel, 2, groups=8)
        self.norm, self.padded = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 2, 1, groups=8)
        self.shortcut = nn.Conv2d(8, 5, 1, 2, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(F.relu(self.first(x)), (0, self.kernel - 2, 0, self.kernel - 2))
        x = self.norm(self.depthwise(x)).relu()
        return self.shortcut(self.padded(x)).mean((2, 3))


def both(module: nn.Module, options: PatchOptions, x: Tensor) -> tuple[PatchResult, PatchResult]:
    """Copies of the network without and with folding."""
    apart, together = (patch(module, replace(options, fold=fold), example_input=x) for fold in (False, True))
    return apart, together


def site(result: PatchResult, name: str) -> SiteRecord:
    return next(one for one in result.record.sites if one.name == name)


def difference(a: nn.Module, b: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        wanted, got = a(x), b(x)
    return float((wanted - got).abs().max() / wanted.abs().max())


def correlated(image: NDArray[Any], taps: NDArray[Any]) -> NDArray[Any]:
    """Sums of products at every place where the taps lie on the image, in plain loops."""
    rows, columns = (image.shape[axis] - taps.shape[axis] + 1 for axis in (0, 1))
    return np.array([
        [(image[y : y + taps.shape[0], x : x + taps.shape[1]] * taps).sum() for x in range(columns)]
        for y in range(rows)
    ])  # fmt: skip


@pytest.mark.parametrize("sizes", [(3, 3, 3, 3), (1, 1, 3, 2), (2, 4, 5, 1), (5, 3, 4, 7)])
def test_the_merged_kernel_correlates_as_both_do_one_after_the_other(sizes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    weight, image = generator.normal(size=(sizes[0], sizes[1])), generator.normal(size=(12, 12))
    kernel = blur_kernel([sizes[2], sizes[3]], 0.7)
    wide = merged(torch.from_numpy(weight)[None, None], kernel)[0, 0].numpy()
    assert wide.shape == (sizes[0] + sizes[2] - 1, sizes[1] + sizes[3] - 1)
    expected = correlated(correlated(image, kernel.double().numpy()), weight)
    np.testing.assert_allclose(correlated(image, wide), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pad", ["reflect", "replicate", "zeros", "circular"])
@pytest.mark.parametrize("how", FORMS)
def test_a_folded_copy_computes_what_the_unfolded_one_does_in_every_form(how: str, pad: str) -> None:
    x = torch.randn(2, 3, 21, 24)
    apart, together = both(form(Lite().eval(), how, x), replace(PRE, pad=pad), x)
    assert difference(apart.module, together.module, torch.randn(2, 3, 21, 24)) <= 1e-5
    depthwise = site(together, "depthwise")
    assert depthwise.folded
    assert depthwise.macs_after < site(apart, "depthwise").macs_after
    weights = together.module.state_dict()
    assert weights.keys() == apart.module.state_dict().keys()
    assert weights["depthwise.weight"].shape == (8, 1, 5, 5)
    filters = [
        layer
        for layer in together.module.modules()
        if getattr(layer, "original_name", type(layer).__name__) == "BlurPool"
    ]
    assert len(filters) == len(together.record.patched) - 1


@settings(max_examples=15, deadline=None)
@given(
    kernel=st.integers(2, 5), filter_size=st.integers(1, 7), strength=st.floats(0.1, 1), height=st.integers(8, 30),
    width=st.integers(8, 30), pad=st.sampled_from(["reflect", "replicate", "zeros", "circular"]),
)  # fmt: skip
def test_folded_is_unfolded_whatever_the_sizes(
    kernel: int, filter_size: int, strength: float, height: int, width: int, pad: str
) -> None:
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    options = replace(PRE, filter_size=filter_size, strength=strength, pad=pad, patchify=True)
    apart, together = both(Lite(kernel).eval(), options, x)
    assert difference(apart.module, together.module, x) <= 1e-5
    assert site(together, "depthwise").folded == (filter_size > 1)


def test_zeros_and_an_odd_filter_leave_nothing_but_the_convolution() -> None:
    copy = patch(Lite().eval(), replace(PRE, pad="zeros", only=("depthwise",)), input_size=24).module
    assert not [name for name, _ in copy.named_modules() if name.startswith(("blur", "pad_"))]
    depthwise: Any = copy.get_submodule("depthwise")
    assert (depthwise.kernel_size, depthwise.stride, depthwise.padding) == ((5, 5), (2, 2), (1, 1))


def test_a_filter_that_cannot_be_folded_says_why() -> None:
    def reasons(module: nn.Module, **options: Any) -> dict[str, str | None]:
        found = patch(module.eval(), replace(PRE, **options), input_size=24).record.sites
        return {one.name: one.not_folded for one in found if not one.folded and one.action != "leave"}

    lite = reasons(Lite())
    assert "pads the filtered map" in str(lite["padded"])
    assert lite["shortcut"] == "one kernel costs 3,240 multiply-adds, filter and convolution 1,008"
    assert "relu stands between" in str(reasons(Lite(), placement="post-activation")["depthwise"])
    twice = nn.Conv2d(4, 4, 3, 2, groups=4)
    assert "read elsewhere" in str(reasons(nn.Sequential(nn.Conv2d(3, 4, 3), twice, nn.ReLU(), twice))["1"])
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, 2, groups=4))
    assert "computed" in str(reasons(nn.Sequential(nn.Conv2d(3, 4, 3), normed))["1"])
    dilated = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2, dilation=2, groups=4))
    assert "dilated" in str(reasons(dilated)["1"])
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    assert "no convolution" in str(reasons(pooled)["1"])
    mirrored = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2, 1, groups=4, padding_mode="reflect"))
    assert reasons(mirrored)["1"]


def test_copies_that_are_not_to_be_folded_are_what_they_were() -> None:
    record = patch(Lite().eval(), replace(PRE, fold=False), input_size=24).record
    assert not record.folded
    assert {one.not_folded for one in record.sites} == {None}
    assert not record.notes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["eager", "scripted"])
def test_a_fitted_copy_is_folded_with_its_own_weights(how: str) -> None:
    x = torch.randn(2, 3, 24, 24)
    original = form(Lite().eval(), how, x)
    apart = patch(original, replace(PRE, fold=False), example_input=x)
    with torch.no_grad():
        for parameter in apart.module.parameters():
            parameter.add_(torch.randn_like(parameter))
    folded = patch(original, PRE, example_input=x, weights=apart.module.state_dict())
    assert difference(apart.module, folded.module, x) <= 1e-5
    assert difference(apart.module, patch(original, PRE, example_input=x).module, x) > 0.1
    folded.module.train()(x).sum().backward()
    assert dict(folded.module.named_parameters())["depthwise.weight"].grad is not None


def test_a_frozen_weight_stays_frozen() -> None:
    network = Lite().eval()
    network.depthwise.weight.requires_grad_(False)
    copy = patch(network, PRE, input_size=24).module
    assert not copy.get_parameter("depthwise.weight").requires_grad


def test_a_filter_on_the_input_of_a_layer_without_strides_is_no_fold() -> None:
    with pytest.raises(PatchError, match="nothing to patch"):
        patch(nn.Sequential(BlurPool(3), nn.Conv2d(3, 3, 3)), PRE, input_size=16)
