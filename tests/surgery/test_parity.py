"""One network in four forms: eager, exported, scripted and traced give the same sites, decisions and reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import odd_networks as odd
import pytest
import small_families as small
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patch_networks import Chain, Functional, Slices, form, randomise
from random_networks import blocks, build
from torch import Tensor, nn

from shiftaudit.records.patch import PatchOptions
from shiftaudit.stages.find import discover
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.patch import patch, plan_patch

FORMS = ("eager", "exported", "scripted", "traced")


def facts(module: nn.Module, x: Tensor, options: PatchOptions) -> dict[str, Any]:
    record = plan_patch(module, options, example_input=x)
    sites = [(site.name, site) for site in record.sites]
    return {"sites": sites, "drift": record.drift, "macs": (record.macs_before, record.macs_after)}


def check_parity(module: nn.Module, x: Tensor, options: PatchOptions | None = None) -> list[tuple[str, str]]:
    """All four forms agree in every field of every site; the actions, or the reasons for none, by name."""
    options = options or PatchOptions(stem=True, patchify=True)
    wanted = facts(module, x, options)
    for how in FORMS[1:]:
        got = facts(form(module, how, x), x, options)
        for site, other in zip(got["sites"], wanted["sites"], strict=True):
            assert site == other, how
        assert got == wanted, how
    return [(name, site.action if site.action != "leave" else site.reason) for name, site in wanted["sites"]]


def behind(*layers: nn.Module) -> nn.Module:
    """A stem, a strided convolution, and what follows."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2), *layers).eval()


class LogSigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)


class Threshold(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.threshold(x, 0.1, 0.0)


class RandomRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(x)


class InOwnCode(nn.Module):
    """A strided convolution and the function behind it in one forward, where each form reads them from its graph."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.conv = nn.Conv2d(4, 4, 3, 2)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(F.max_pool2d(self.function(self.conv(self.stem(x))), 2))


class WrittenSilu(nn.Module):
    """SiLU as it was written before torch had it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


@pytest.mark.parametrize("function", [LogSigmoid, Threshold, RandomRelu, WrittenSilu])
def test_the_blur_goes_behind_functions_in_every_form(function: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = InOwnCode(function()).eval(), torch.randn(1, 3, 17, 17)
    assert check_parity(model, x) == [("conv", "blur_after_tail"), ("max_pool", "blur_after_pool")]


ACTIVATIONS = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.LogSigmoid, lambda: nn.Threshold(0.1, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_of_activations_end_a_tail_in_every_form(activation: Any) -> None:
    model = behind(nn.BatchNorm2d(4), activation(), nn.ReLU())
    assert check_parity(model, torch.randn(1, 3, 17, 17)) == [("1", "blur_after_tail")]


class LayerNorm2d(nn.Module):
    """Over the channels of each pixel, by moving them last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Arithmetic(nn.Module):
    """The same, written out as ConvNeXt's authors did."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4))
        self.bias = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Shaped(nn.Module):
    """The same, with the number of channels read from the map, and an activation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("norm", [LayerNorm2d, Arithmetic, Shaped, nn.Dropout, nn.Identity])
def test_norms_of_any_make_are_part_of_the_tail_in_every_form(norm: Any) -> None:
    model, x = behind(norm(), nn.GELU()), torch.randn(1, 3, 17, 17)
    assert check_parity(model, x) == [("1", "blur_after_tail")]
    for how in FORMS:
        same = patch(form(model, how, x), PatchOptions(filter_size=1), example_input=x).module
        torch.testing.assert_close(same(x), model(x))


@pytest.mark.parametrize(
    "layer", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False), nn.Softsign()]
)
def test_what_mixes_pixels_or_forks_is_no_part_of_the_tail_in_any_form(layer: nn.Module) -> None:
    model, x = behind(layer, nn.ReLU()), torch.randn(2, 3, 17, 17)
    assert check_parity(model, x) == [("1", "blur_after_op")]
    for how in FORMS:
        same = patch(form(model, how, x), PatchOptions(filter_size=1), example_input=x).module
        torch.testing.assert_close(same(x), model(x))


class Filter(nn.Module):
    """Someone else's BlurPool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.full((1, 1, 2, 2), 0.25).repeat(channels, 1, 1, 1))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 0, 1, 0)), self.filt, stride=2, groups=x.shape[1])


class Cast(Filter):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.filt[:1].to(x).expand(x.shape[1], 1, 2, 2), stride=2, groups=self.channels)


@pytest.mark.parametrize("layer", [Filter(4), Cast(4), BlurPool(4), BlurPool(4, 1)])
def test_a_network_that_is_filtered_already_is_not_filtered_again_in_any_form(layer: nn.Module) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.MaxPool2d(2)).eval(), torch.randn(1, 3, 18, 18)
    actions = check_parity(model, x)
    assert [action for _, action in actions] == [
        "its weights are fixed: it is a filter already",
        "blur_after_pool",
    ]


def test_a_frozen_network_keeps_its_filters_and_has_its_convolutions_patched() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2), Filter(4)).eval(), torch.randn(1, 3, 18, 18)
    record = plan_patch(torch.jit.freeze(form(model, "scripted", x)), example_input=x)
    assert [site.action for site in record.sites] == ["blur_after_op", "leave"]


def test_a_patched_network_is_left_in_every_form() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2)).eval()
    x = torch.randn(1, 3, 18, 18)
    patched = patch(model, example_input=x).module
    reasons = [action for _, action in check_parity(patched, x)]
    assert reasons == ["its weights are fixed: it is a filter already"] * 2


FIXTURES = [
    (Functional, (45, 37)), (Slices, (16, 16)), (Chain, (17, 18)), (odd.SharedPool, (16, 16)), (odd.Named, (17, 19)),
    (odd.Constant, (17, 19)), (lambda: odd.Channels(2), (16, 16)), (odd.WrittenSlice, (16, 16)),
    (odd.WrittenMap, (16, 16)), (odd.Values, (16, 16)), (lambda: odd.Padded("zeros"), (18, 18)),
    (lambda: odd.Padded("replicate"), (18, 18)), (odd.Many, (17, 17)), (odd.Positions, (16, 16)), (odd.SliceOfSlice, (16, 16)),
    (odd.PowerPools, (17, 33)),
]  # fmt: skip


@pytest.mark.parametrize(("network", "size"), FIXTURES)
def test_fixture_networks(network: Any, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for options in (PatchOptions(), PatchOptions(filter_size=4, stem=True, patchify=True, placement="pre-conv")):
        check_parity(randomise(network()), torch.randn(2, 3, *size), options)


@pytest.mark.parametrize("kind", [odd.SameConv, odd.StandardConv, odd.ScaledConv])
def test_convolutions_with_code_of_their_own_are_patched_alike_in_every_form(kind: type[nn.Conv2d]) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), kind(4, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), kind(4, 4, 3, 2))
    model, x = randomise(nn.Sequential(*layers)), torch.randn(2, 3, 18, 19)
    assert check_parity(model, x) == [("1", "blur_after_tail"), ("4", "blur_after_op")]
    for how in FORMS:
        module = form(model, how, x)
        assert [stage.name for stage in discover(module, module, x).stages] == ["1", "4"]
        same = patch(module, PatchOptions(filter_size=1), example_input=x).module
        for image in (x, torch.randn(2, 3, 18, 19)):
            torch.testing.assert_close(same(image), model(image))


def test_sizes_that_a_convolution_computes_are_computed_in_the_copy_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), odd.SameConv(4, 4, 3, 2)).eval()
    same = patch(model, PatchOptions(filter_size=1), example_input=torch.randn(1, 3, 16, 16)).module
    for size in (15, 16, 17):
        x = torch.randn(1, 3, size, size)
        torch.testing.assert_close(same(x), model(x))


def test_a_convolution_whose_code_cannot_be_followed_has_its_input_filtered() -> None:
    class Deciding(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    model, x = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Deciding(4, 4, 3, 2)).eval(), torch.randn(1, 3, 16, 16)
    (site,) = plan_patch(model, example_input=x).sites
    assert (site.name, site.action) == ("1", "blur_before_conv")
    assert site.reason == "its stride is fixed in code: blur, then the strided conv"


def test_a_convolution_with_two_names_is_changed_alike_in_every_form() -> None:
    """TorchScript keeps both names; the other forms know the first alone."""
    torch.manual_seed(0)
    model, x = odd.TwoNames().eval(), torch.randn(1, 3, 17, 19)
    for how in FORMS:
        record = plan_patch(form(model, how, x), example_input=x)
        assert [(site.output_size, site.action) for site in record.sites] == [
            ((8, 9), "blur_after_op"),
            ((4, 5), "blur_after_op"),
        ]


FAMILIES = [
    (small.densenet, 64), (small.swin, 64), (small.convnext, 64), (small.shufflenet, 64), (small.mobilenet_v2, 64),
    (small.resnet, 64), (small.mobilenet_v3, 64), (small.squeezenet, 97), (small.googlenet, 64), (small.regnet_y, 64),
    (small.mnasnet, 64), (small.efficientnet, 64), (small.vgg, 64), (small.alexnet, 97),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Scripted GoogleNet")
@pytest.mark.parametrize(("network", "size"), FAMILIES)
def test_torchvision_families(network: Callable[[], nn.Module], size: int) -> None:
    torch.manual_seed(0)
    assert check_parity(network().eval(), torch.randn(1, 3, size, size))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    st.lists(blocks, min_size=1, max_size=3),
    st.integers(12, 33),
    st.integers(12, 33),
    st.sampled_from([1, 2, 3, 7]),
    st.sampled_from(["post-activation", "pre-conv"]),
    st.booleans(),
)
def test_random_networks(
    specs: list, height: int, width: int, filter_size: int, placement: str, everything: bool
) -> None:
    built = build(specs, (height, width))
    if built is None:
        return
    options = PatchOptions(filter_size=filter_size, placement=placement, stem=everything, patchify=everything)
    check_parity(*built, options)


class _OwnConv(nn.Conv2d):
    """Pads in its own forward, as timm's and EfficientNet-Lite's "same" convolutions do."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class _TwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2)
        self.alias = self.stem

    def forward(self, x: Tensor) -> Tensor:
        return self.alias(x)


@pytest.mark.parametrize("how", FORMS)
def test_stages_and_patch_name_a_convolution_with_its_own_forward_alike(how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    network = nn.Sequential(_OwnConv(3, 4, 3, 2), nn.ReLU(), _OwnConv(4, 4, 3, 2)).eval()
    module = form(network, how, x)
    assert [stage.name for stage in discover(module, module, x).stages] == ["0", "2"]
    assert [site.name for site in plan_patch(module, example_input=x).sites] == ["0", "2"]


def test_only_takes_the_longer_name_of_a_convolution_too() -> None:
    network = nn.Sequential(_OwnConv(3, 4, 3, 2), nn.ReLU(), _OwnConv(4, 4, 3, 2)).eval()
    plan = plan_patch(network, PatchOptions(only=("2/conv",)), input_size=32)
    assert [site.action == "leave" for site in plan.sites] == [True, False]


def test_stages_and_patch_agree_on_a_convolution_registered_under_two_names() -> None:
    x, network = torch.rand(1, 3, 32, 32), _TwoNames().eval()
    assert [stage.name for stage in discover(network, network, x).stages] == ["stem"]
    assert [site.name for site in plan_patch(network, example_input=x).sites] == ["stem"]


@pytest.mark.parametrize("how", FORMS)
def test_filter_size_1_holds_where_a_view_follows_the_operation(how: str) -> None:
    class Tutorial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 8 * 8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(self.conv(x)), 2)
            return self.fc(x.view(-1, 4 * 8 * 8))

    x, network = torch.rand(2, 3, 16, 16), Tutorial().eval()
    module = form(network, how, x)
    patched = patch(module, PatchOptions(filter_size=1), example_input=x).module
    assert torch.allclose(patched(x), network(x), atol=1e-6)


class _Filter(nn.Module):
    """A binomial filter in a buffer that no checkpoint has, as timm and the published BlurPool keep it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", (row[:, None] * row).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class _FilterForAny(_Filter):
    """One filter for all channels, expanded to as many as the map has."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        filters = self.filt.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), filters, stride=2, groups=x.shape[1])


@pytest.mark.parametrize(("filtered", "name"), [(_Filter(4), "1"), (_FilterForAny(), "1/conv")])
@pytest.mark.parametrize("how", FORMS)
def test_a_filter_in_a_buffer_is_found_left_and_named_alike(how: str, filtered: nn.Module, name: str) -> None:
    x = torch.rand(1, 3, 16, 16)
    module = form(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), filtered, nn.Conv2d(4, 4, 3, 2, 1)).eval(), how, x)
    found = discover(module, module, x).stages
    assert [(stage.name, stage.low_pass) for stage in found] == [(name, True), ("2", False)]
    sites = plan_patch(module, example_input=x).sites
    assert [(site.name, site.action) for site in sites] == [(name, "leave"), ("2", "blur_after_op")]
    assert "filter already" in sites[0].reason


class _InOneForward(nn.Module):
    """Operations of one kind in one forward, some of which make nothing smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv(x), 3, 1, 1)
        y = F.interpolate(F.interpolate(x, scale_factor=2.0), scale_factor=0.25)
        x = F.max_pool2d(F.max_pool2d(F.max_pool2d(x, 2), 3, 1, 1), 2)
        x = torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1)
        x = torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1)
        return (x + y.mean()).mean((2, 3))


@pytest.mark.parametrize("how", FORMS)
def test_stages_and_patch_number_operations_of_one_name_alike(how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    module = form(_InOneForward().eval(), how, x)
    wanted = ["interpolate", "max_pool", "max_pool@2", "slice", "slice@2"]
    assert sorted(stage.name for stage in discover(module, module, x).stages) == wanted
    assert sorted(site.name for site in plan_patch(module, example_input=x).sites) == wanted


class _ActsFirst(nn.Module):
    """A block that begins with the activation of whatever came before it, as those of networks without norms do."""

    def __init__(self, *, asks: bool = False) -> None:
        super().__init__()
        self.act, self.conv, self.asks = nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1), asks

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x)
        if self.asks and bool(x.sum() > 1e9):
            return x
        return x + self.conv(x)


def test_an_activation_that_the_next_block_begins_with_is_part_of_the_tail_in_every_form() -> None:
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2, 1), _ActsFirst()).eval(),
        torch.randn(1, 3, 16, 16),
    )
    assert check_parity(model, x) == [("1", "blur_after_tail")]
    same = patch(model, PatchOptions(filter_size=1), example_input=x)
    torch.testing.assert_close(same.module(x), model(x))
    assert set(same.module.state_dict()) == set(model.state_dict())


def test_a_block_that_fx_cannot_look_into_keeps_its_activation() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2, 1), _ActsFirst(asks=True)).eval()
    record = plan_patch(model, input_size=16)
    assert [(site.name, site.action) for site in record.sites] == [("1", "blur_after_op")]
    assert (record.backend, record.notes) == ("fx", ())
