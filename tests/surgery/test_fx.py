"""The fx backend: filter size 1 is the original, on every kind of site and on real families."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import small_families as small
import torch
import torch.nn.functional as F
import torchvision
from patch_networks import Chain, Functional, Slices, randomise, relative
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.fx.graph import FxGraph, alike
from shiftaudit.surgery.fx.trace import NotFollowedError
from shiftaudit.surgery.patch import PatchOptions, patch, plan_patch

EVERYTHING = PatchOptions(filter_size=1, stem=True, patchify=True)


def check_identity(module: nn.Module, x: Tensor, **options) -> dict[str, str]:
    """Filter 1 gives the original, filter 3 the original's shapes; returns the actions by site."""
    result = patch(
        module, PatchOptions(**({"filter_size": 1, "stem": True, "patchify": True} | options)), example_input=x
    )
    with torch.no_grad():
        assert relative(module(x), result.module(x)) < 1e-5
        options["filter_size"] = 3
        blurred = patch(module, PatchOptions(**({"stem": True, "patchify": True} | options)), example_input=x).module(x)
        assert blurred.shape == module(x).shape
        assert relative(module(x), blurred) > 1e-4
    return {site.name: site.action for site in result.record.sites}


@pytest.mark.parametrize(("network", "n_sites", "size"), small.FAMILIES)
@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # about fx's own GraphModule
def test_torchvision_families(network: Callable[[], nn.Module], n_sites: int, size: int) -> None:
    torch.manual_seed(0)
    model = randomise(network())
    x = torch.randn(2, 3, size, size)
    result = patch(model, EVERYTHING, input_size=size)
    with torch.no_grad():
        assert relative(model(x), result.module(x)) < 1e-5
    assert len(result.record.patched) == len(result.record.sites) == n_sites
    assert set(result.module.state_dict()) == set(model.state_dict())
    result.module.load_state_dict(model.state_dict(), strict=True)
    model.load_state_dict(result.module.state_dict(), strict=True)
    torch.jit.script(result.module)


def test_functions_and_shared_modules() -> None:
    torch.manual_seed(0)
    actions = check_identity(Functional().eval(), torch.randn(2, 3, 45, 37))
    assert list(actions.values()) == [
        "blur_after_tail",
        "blur_after_pool",
        "blur_after_tail",
        "blur_after_pool",
        "blur_after_tail",
    ]
    assert list(actions)[2:] == ["shared", "avg_pool", "shared@2"]


def test_slices_and_adaptive_pools() -> None:
    actions = check_identity(Slices().eval(), torch.randn(2, 3, 16, 16))
    assert list(actions.items()) == [
        ("slice", "blur_before_slice"),
        ("pool", "blur_after_pool"),
        ("slice@2", "blur_before_slice"),
    ]
    patched = patch(Slices().eval(), EVERYTHING, input_size=16).module
    assert patched(torch.randn(1, 3, 20, 20)).shape == (1, 8)


def test_convolutions_of_all_kinds() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode="circular", bias=False),
        nn.BatchNorm2d(6),
        nn.Hardswish(),
        nn.Conv2d(6, 6, 3, stride=(2, 1), padding=2, dilation=2, groups=6),
        nn.GroupNorm(2, 6),
        nn.Conv2d(6, 8, 1, stride=3, padding_mode="reflect"),
        nn.Conv2d(8, 8, 2, stride=2, padding="valid"),
        nn.Flatten(),
    )
    actions = check_identity(randomise(model), torch.randn(2, 3, 41, 37))
    assert actions == {"0": "blur_after_tail", "3": "blur_after_op", "5": "blur_before_conv", "6": "blur_before_conv"}


def test_placement_before_the_convolution_equals_blurring_right_behind_it() -> None:
    """Convolution and filter commute, away from the border."""
    conv = nn.Conv2d(3, 4, 3, stride=2)
    x = torch.randn(1, 3, 32, 32)
    before = patch(nn.Sequential(conv), PatchOptions(stem=True, placement="pre-conv"), example_input=x).module(x)
    behind = patch(nn.Sequential(conv), PatchOptions(stem=True), example_input=x).module(x)
    torch.testing.assert_close(before[:, :, 1:-1, 1:-1], behind[:, :, 1:-1, 1:-1])


def test_exported_programs() -> None:
    torch.manual_seed(0)
    model = randomise(torchvision.models.resnet18(weights=None))
    x = torch.randn(2, 3, 65, 65)
    exported = torch.export.export(model, (x,)).module()
    same = patch(exported, EVERYTHING, example_input=x)
    wanted = patch(model, PatchOptions(filter_size=3), example_input=x)
    blurred = patch(exported, PatchOptions(filter_size=3), example_input=x)
    with torch.no_grad():
        assert relative(model(x), same.module(x)) < 1e-5
        torch.testing.assert_close(blurred.module(x), wanted.module(x))
    assert set(same.module.state_dict()) == set(model.state_dict())
    sites = [(site.name, site.op, site.action) for site in blurred.record.sites]
    assert sites == [(site.name, site.op, site.action) for site in wanted.record.sites]


def test_input_is_untouched_and_the_copy_shares_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2), nn.MaxPool2d(2)).train()
    before = copy.deepcopy(model.state_dict())
    result = patch(model, input_size=16)
    assert model[1].stride == (2, 2)
    assert model[2].stride == 2
    assert result.module.training
    with torch.no_grad():
        for parameter in result.module.parameters():
            parameter.add_(1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_copy_trains_and_switches_mode() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(196, 2)
    )
    patched = patch(model, PatchOptions(stem=True), input_size=15).module
    x = torch.randn(4, 3, 15, 15)
    assert not torch.equal(patched(x), patched(x))
    patched.eval()
    assert torch.equal(patched(x), patched(x))
    optimizer = torch.optim.SGD(patched.train().parameters(), lr=0.1)
    weight = patched.get_submodule("0").weight
    before = weight.detach().clone()
    patched(x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(weight, before)


def test_a_copy_in_train_mode_is_said_to_have_other_batch_statistics() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    options, x = PatchOptions(filter_size=1, stem=True), torch.randn(2, 3, 16, 16)
    for module in (network, torch.jit.script(network)):
        (note,) = [note for note in plan_patch(module, options, example_input=x).notes if "train mode" in note]
        assert "statistics before the map is made smaller" in note
    result = patch(network, options, example_input=x)
    assert not torch.allclose(result.module(x), network(x), atol=1e-3)
    result.module.load_state_dict(network.state_dict())
    torch.testing.assert_close(result.module.eval()(x), network.eval()(x))
    assert not any("train mode" in note for note in plan_patch(network, options, example_input=x).notes)


def test_blur_goes_before_a_value_is_used_twice() -> None:
    record = patch(randomise(Chain()), input_size=16).record
    assert [site.reason for site in record.sites] == ["conv at stride 1 → bn → blur"]


def test_train_only_branches_keep_their_keys() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2)
            self.aux = nn.Sequential(nn.Linear(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).mean((2, 3))
            return self.aux(x) if self.training else x

    model = Auxiliary()
    result = patch(model, PatchOptions(stem=True), input_size=16)
    assert set(result.module.state_dict()) == set(model.state_dict())
    assert any("aux" in note for note in result.record.notes)


def test_modules_without_a_site_keep_their_own_control_flow() -> None:
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if bool(x.detach().sum() > 0) else x

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), Gate()).eval()
    patched = patch(model, EVERYTHING, input_size=16).module
    for sign in (1.0, -1.0):
        x = sign * torch.rand(1, 3, 16, 16)
        torch.testing.assert_close(patched(x), model(x))


def test_control_flow_around_a_site_is_kept_by_a_script() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if bool(x.detach().sum() > 0) else x

    model, x = Branch().eval(), torch.rand(1, 3, 8, 8)
    result = patch(model, EVERYTHING, example_input=x)
    assert "it was read by torch.jit.script" in result.record.notes[0]
    for image in (x, -x):
        torch.testing.assert_close(result.module(image), model(image))


class NormAct(nn.Module):
    """A norm and an activation in one module that fx has never heard of."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2))


def test_pointwise_modules_of_any_make_are_part_of_the_tail() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), NormAct()).eval()
    assert check_identity(model, torch.randn(1, 3, 17, 17)) == {"0": "blur_after_tail"}


def test_filters_that_are_there_already_are_left() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Filter(), nn.MaxPool2d(2)).eval()
    record = patch(model, input_size=17).record
    assert [(site.action, "filter already" in site.reason) for site in record.sites] == [
        ("leave", True),
        ("blur_after_pool", False),
    ]


class Filter(nn.Module):
    """Someone else's BlurPool."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filt", torch.full((4, 1, 2, 2), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.filt.to(x.dtype), stride=2, groups=4)


class TypeBranch(nn.Module):
    """fx runs it with a stand-in that is no Tensor, and follows the wrong branch without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y if isinstance(x, Tensor) else -y


def test_a_wrong_trace_is_noticed() -> None:
    model, x = TypeBranch().eval(), torch.rand(2, 3, 16, 16)
    with pytest.raises(NotFollowedError, match="another computation"):
        FxGraph(model, x)
    result = patch(model, EVERYTHING, input_size=16)
    assert "it was read by torch.export" in result.record.notes[0]
    torch.testing.assert_close(result.module(x), model(x))


class OwnPadding(nn.Conv2d):
    """A convolution that computes its padding from the map and its stride, as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        extra = [max((-(-side // 2) - 1) * 2 + 3 - side, 0) for side in x.shape[-2:]]
        return F.conv2d(F.pad(x, [0, extra[1], 0, extra[0]]), self.weight, self.bias, self.stride)


def test_convolution_with_code_of_its_own_is_patched_inside() -> None:
    actions = check_identity(
        nn.Sequential(nn.Conv2d(3, 4, 3), OwnPadding(4, 4, 3, 2)).eval(), torch.randn(1, 3, 17, 17)
    )
    assert actions == {"1": "blur_after_op"}


def test_returned_indices_are_left_with_the_reason() -> None:
    class Indices(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            values, indices = F.max_pool2d(x, 2, return_indices=True)
            return values + indices

    record = plan_patch(Indices(), input_size=16)
    assert [(site.action, "indices" in site.reason) for site in record.sites] == [("leave", True)]


def test_network_without_downsampling_has_an_empty_plan() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert plan_patch(model, input_size=16).sites == ()
    with pytest.raises(PatchError, match="nothing to patch"):
        patch(model, input_size=16)


def test_quantised_models_are_refused() -> None:
    class Quantised(nn.Module):
        pass

    Quantised.__module__ = "torch.ao.nn.quantized.modules.conv"
    with pytest.raises(PatchError, match="quantised"):
        patch(nn.Sequential(nn.Conv2d(3, 4, 3, 2), Quantised()), input_size=16)


def test_maps_too_small_for_reflection_fall_back_and_say_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)).eval()
    result = patch(model, PatchOptions(filter_size=5), input_size=8)
    assert [site.pad for site in result.record.patched] == ["reflect", "replicate"]
    assert result.module(torch.randn(1, 3, 1, 1)).shape == (1, 4, 1, 1)


def test_float64_and_grey_models() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.MaxPool2d(2)).double().eval()
    result = patch(model, PatchOptions(stem=True), input_size=20)
    assert result.module(torch.randn(1, 1, 20, 20, dtype=torch.float64)).dtype == torch.float64
    assert all(layer.kernel.dtype == torch.float64 for layer in result.module.modules() if isinstance(layer, BlurPool))


def test_patched_circular_network_is_steadier_at_its_features() -> None:
    """With circular padding throughout, the only cause of error is aliasing, and the patch lowers it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1, padding_mode="circular"),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ).eval()
    patched = patch(model, PatchOptions(filter_size=3, pad="circular"), input_size=32).module
    x = torch.randn(4, 3, 32, 32)

    def error(network: nn.Module) -> float:
        # Four phases of the same features: 1 px moves between them, and only aliasing tells them apart in the mean.
        with torch.no_grad():
            means = torch.stack([network(torch.roll(x, (0, shift), (2, 3))).mean((2, 3)) for shift in range(4)])
        return float((means.std(0) / means.abs().mean(0)).mean())

    assert error(patched) < 0.5 * error(model)


def test_filters_sit_beside_what_they_follow() -> None:
    patched = patch(torchvision.models.resnet18(weights=None), input_size=64).module
    names = [name for name, child in patched.named_modules() if isinstance(child, BlurPool)]
    assert "blur_maxpool" in names
    assert "layer2.0.blur_conv1" in names
    assert "layer2.0.downsample.blur_0" in names


NAN = float("nan")


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]), False),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN]), True),
        (torch.tensor([NAN, 1.0]), torch.tensor([1.0, NAN]), False),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, 1.0]), False),
        (torch.ones(2, 1), torch.ones(2, 2), False),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), False),
        (torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool), True),
        ((torch.ones(2), torch.zeros(2)), (torch.ones(2),), False),
        ((torch.ones(2),), (torch.ones(2), torch.zeros(2)), False),
        ({"logits": torch.ones(2), "aux": [(torch.zeros(1), None)]}, [torch.ones(2), torch.zeros(1)], True),
        ({"logits": torch.ones(2), "aux": [(torch.zeros(1), None)]}, [torch.ones(2), torch.ones(1)], False),
    ],
)
def test_outputs_are_alike_when_all_their_tensors_are(got: object, expected: object, same: bool) -> None:
    assert alike(got, expected) is same
