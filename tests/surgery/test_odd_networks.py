"""Networks written in ways that trip surgery: every form of them is patched exactly, or left with a reason."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from odd_networks import (
    Arguments,
    Channels,
    Constant,
    Many,
    Named,
    Normed,
    Opaque,
    Padded,
    Positions,
    SharedPool,
    SliceOfSlice,
    TwoNames,
    Values,
    WrittenMap,
    WrittenSlice,
)
from patch_networks import form, randomise
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import PatchRecord
from shiftaudit.surgery.patch import PatchOptions, patch, plan_patch

FORMS = ("eager", "scripted", "traced", "exported")


def check(module: nn.Module, x: Tensor, how: str) -> PatchRecord:
    """Filter 1 is the original, filter 4 keeps its shape, and the keys are the same; the record of filter 4."""
    torch.manual_seed(0)
    original = form(module, how, x)
    same = patch(original, PatchOptions(filter_size=1, stem=True, patchify=True), example_input=x).module
    blurred = patch(original, PatchOptions(filter_size=4, stem=True, patchify=True), example_input=x)
    with torch.no_grad():
        expected = original(x.clone())
        torch.testing.assert_close(same(x.clone()), expected, rtol=1e-5, atol=1e-5)
        assert blurred.module(x.clone()).shape == expected.shape
    assert set(same.state_dict()) == set(original.state_dict())
    original.load_state_dict(blurred.module.state_dict(), strict=True)
    blurred.module.load_state_dict(original.state_dict(), strict=True)
    return blurred.record


def actions(record: PatchRecord) -> dict[str, str]:
    return {site.name: site.action if site.action != "leave" else site.reason for site in record.sites}


@pytest.mark.parametrize("how", FORMS)
def test_a_pool_shared_with_the_head(how: str) -> None:
    record = check(SharedPool().eval(), torch.randn(1, 3, 16, 16), how)
    assert list(actions(record).values()) == ["blur_after_pool"] * 3


def test_calls_of_a_shared_pool_are_chosen_one_by_one() -> None:
    model, x = SharedPool().eval(), torch.randn(1, 3, 16, 16)
    record = patch(model, PatchOptions(skip=("pool@2",)), example_input=x).record
    assert [site.action for site in record.sites] == ["blur_after_pool", "leave", "blur_after_pool"]
    same = patch(model, PatchOptions(filter_size=1, skip=("pool@2",)), example_input=x).module
    torch.testing.assert_close(same(x), model(x))


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("network", [Named, TwoNames, Constant])
def test_the_keys_of_the_state_dict_stay(network: type[nn.Module], how: str) -> None:
    check(network().eval(), torch.randn(2, 3, 17, 19), how)


@pytest.mark.parametrize("how", FORMS)
def test_slices_of_channels_are_no_downsampling(how: str) -> None:
    x = torch.randn(1, 3, 16, 16)
    assert list(actions(check(Channels(1).eval(), x, how))) == ["max_pool"]
    record = check(Channels(2).eval(), x, how)
    assert sorted(actions(record).values()) == ["blur_after_pool", "blur_before_slice"]


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (WrittenSlice, "its slices are written to"),
        (WrittenMap, "its map is changed in place after a slice was taken"),
    ],
)
def test_what_is_written_to_is_left(network: type[nn.Module], reason: str, how: str) -> None:
    """A filtered map is a copy: what is written to it, or to the original later, would be lost."""
    record = check(network().eval(), torch.randn(1, 3, 16, 16), how)
    assert sorted(actions(record).values()) == ["blur_after_pool", reason]


@pytest.mark.parametrize("how", FORMS)
def test_indices_that_nothing_reads_do_not_matter(how: str) -> None:
    record = check(Values().eval(), torch.randn(2, 3, 16, 16), how)
    assert list(actions(record).values()) == ["blur_after_pool"] * 2


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_windows_that_do_not_overlap_are_told_alike(mode: str, how: str) -> None:
    x = torch.randn(1, 3, 18, 18)
    assert actions(check(Padded(mode).eval(), x, how)) == {"conv": "blur_before_conv"}
    left = plan_patch(form(Padded(mode).eval(), how, x), example_input=x)
    assert [site.action for site in left.sites] == ["leave"]


def test_further_arguments_take_their_defaults_and_it_is_said() -> None:
    record = check(Arguments().eval(), torch.randn(1, 3, 16, 16), "eager")
    assert record.notes == (
        "the copy takes the image alone: its forward was recorded for mask=None, scale=2.0, flip=False",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(patch(Arguments(), PatchOptions(stem=True), input_size=16).module)


def test_pools_without_a_dense_form_are_left_with_the_reason() -> None:
    assert actions(check(Opaque().eval(), torch.randn(1, 3, 17, 17), "eager")) == {
        "power": "blur_after_pool",
        "random": "its windows are drawn at random",
        "conv": "blur_after_op",
    }


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize(
    "norm",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed(norm: Any, how: str) -> None:
    model, x = Normed(norm).eval(), torch.randn(2, 3, 16, 16)
    model(x)  # the older weight norm keeps the weight it computed, which cannot be deep-copied
    assert actions(check(model, x, how)) == {"conv": "blur_after_op"}


@pytest.mark.parametrize("how", FORMS)
def test_multiply_adds_of_the_whole_network_are_the_same_in_every_form(how: str) -> None:
    record = plan_patch(form(Many().eval(), how, torch.randn(2, 3, 17, 17)), example_input=torch.randn(2, 3, 17, 17))
    stem, up, down = 8 * 8 * 4 * 3 * 9, 8 * 8 * 4 * 4 * 9, 8 * 8 * 4 * 4 * 9
    assert record.macs_before == stem + up + down + 62 * 2 * 4 * 3 + 2 * 2 * 62


def test_what_cannot_be_copied_is_an_error_of_one_line() -> None:
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3, 2)))
    model.generator = (step for step in range(3))
    with pytest.raises(PatchError, match="cannot be copied") as caught:
        patch(model, PatchOptions(stem=True), input_size=16)
    assert "\n" not in str(caught.value)


def quantised() -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(torch.ao.quantization.QuantStub(), layers, torch.ao.quantization.DeQuantStub()).eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    torch.ao.quantization.prepare(model, inplace=True)
    model(torch.randn(1, 3, 16, 16))
    return torch.ao.quantization.convert(model)


@pytest.mark.filterwarnings("ignore")  # torch.ao says that it moved, at length
@pytest.mark.parametrize("how", ["eager", "scripted"])
def test_really_quantised_networks_are_refused(how: str) -> None:
    model = form(quantised(), how, torch.randn(1, 3, 16, 16))
    with pytest.raises(PatchError, match="quanti"):
        patch(model, input_size=16)


@pytest.mark.parametrize(
    ("wrap", "hint"),
    [
        (lambda module: "resnet18", "not str; pass the network"),
        (lambda module: torch.export.export(module, (torch.randn(1, 3, 16, 16),)), r"pass program\.module\(\)"),
        (torch.compile, r"\._orig_mod"),
        (nn.DataParallel, r"inside, \.module"),
    ],
)
def test_what_is_no_network_is_refused_with_the_way_in(wrap: Any, hint: str) -> None:
    with pytest.raises(PatchError, match=hint):
        patch(wrap(nn.Sequential(nn.Conv2d(3, 4, 3, 2)).eval()), input_size=16)


def test_a_pattern_may_be_given_as_text() -> None:
    assert PatchOptions(only="layer*", skip=["a"]) == PatchOptions(only=("layer*",), skip=("a",))
    with pytest.raises(PatchError, match=r"filter size 3\.0"):
        PatchOptions(filter_size=3.0)


@pytest.mark.parametrize("how", FORMS)
def test_layers_that_read_parameters(how: str) -> None:
    record = check(Positions().eval(), torch.randn(1, 3, 16, 16), how)
    assert record.macs_before == 16 * 16 * 4 * 3 * 9 + 8 * 8 * 4 * 4 * 9
    copy = patch(form(Positions().eval(), how, torch.randn(1, 3, 16, 16)), input_size=16)
    assert all(parameter.requires_grad for parameter in copy.module.parameters())
    if how == "eager":
        assert any("functional dropout and batch-norm stay in eval mode" in note for note in copy.record.notes)


def test_channels_of_a_grouped_first_convolution_are_guessed() -> None:
    model = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.MaxPool2d(2)).eval()
    assert len(patch(model, input_size=16).record.patched) == 1


@pytest.mark.parametrize("how", FORMS)
def test_a_slice_of_a_slice_is_a_site_of_its_own(how: str) -> None:
    record = check(SliceOfSlice().eval(), torch.randn(1, 3, 16, 16), how)
    assert [(site.action, site.stride, site.output_size) for site in record.sites] == [
        ("blur_before_slice", (2, 2), (8, 8)),
        ("blur_before_slice", (2, 2), (4, 4)),
    ]


class OneSide(nn.Module):
    """An adaptive pool that leaves one side as it is, and a clamp whose bound is a map of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d((None, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.pool(self.second(torch.clamp(y, min=y.roll(1, 2)))).flatten(1)


class Experts(nn.Module):
    """A convolution whose weight every image mixes for itself (CondConv): all images of a batch are groups of one call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.routing = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
        self.experts = nn.Parameter(torch.randn(2, 6 * 4 * 9))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, c, h, w = x.shape
        weight = (self.routing(x.mean((2, 3))).sigmoid() @ self.experts).view(n * 6, c, 3, 3)
        y = nn.functional.conv2d(x.reshape(1, n * c, h, w), weight, stride=2, padding=1, groups=n)
        return y.view(n, 6, y.shape[-2], y.shape[-1])


@pytest.mark.parametrize("how", ["eager", "traced", "exported"])  # torch.jit.script does not take such a pool
def test_a_pool_along_one_axis_and_a_clamp_by_a_map_are_exact(how: str) -> None:
    torch.manual_seed(0)
    record = check(OneSide().eval(), torch.randn(1, 3, 16, 16), how)
    assert actions(record) == {"first": "blur_after_op", "pool": "blur_after_pool"}


@pytest.mark.parametrize("how", FORMS)
def test_a_convolution_that_every_image_has_a_weight_of_its_own_for_is_exact(how: str) -> None:
    torch.manual_seed(0)
    (site,) = check(Experts().eval(), torch.randn(2, 3, 16, 16), how).sites
    assert (site.output_size, site.action) == ((8, 8), "blur_after_op")


@pytest.mark.filterwarnings("ignore")  # the trace fixes the size of the batch
def test_a_trace_that_was_made_in_train_mode_is_exact() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).train()
    x = torch.randn(2, 3, 17, 17)
    traced = torch.jit.trace(network, x, check_trace=False)
    result = patch(traced, PatchOptions(filter_size=1, stem=True), example_input=x)
    torch.testing.assert_close(result.module(x), traced(x), rtol=1e-5, atol=1e-5)
    assert [site.action for site in result.record.sites] == ["blur_after_op", "blur_after_pool"]


def test_what_optimize_for_inference_made_is_refused_in_a_sentence() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    with pytest.raises(PatchError, match="cannot be copied") as caught:
        patch(torch.jit.optimize_for_inference(torch.jit.script(network)), input_size=16)
    assert "patch the network before that" in str(caught.value)
