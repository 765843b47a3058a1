"""Networks that torch.fx cannot follow: recorded in another form that answers the same, or refused with advice."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from hf_models import SIDE, network_of, saved
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.models import load_model
from shiftaudit.models.carried import Carried
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.settings import ModelOptions
from shiftaudit.surgery.patch import patch
from shiftaudit.surgery.save import save_model

EVERYTHING = PatchOptions(filter_size=1, stem=True, patchify=True)


class _Asks(nn.Module):
    """Asks for a value, which a script can hold; with code that a script cannot hold, an export or a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.shape[2] < 0 or self.asked(x):
            return x
        out: Tensor = self.next(x)
        return out

    def asked(self, x: Tensor) -> bool:
        return bool(x.sum() > 1e9)


class _OfItsBatch(_Asks):
    """Another network for a larger batch."""

    def asked(self, x: Tensor) -> bool:
        return x.shape[0] > len({**{"a": 1}, "b": 2})


class _InNumpy(_Asks):
    """Neither an export nor a script holds this, and a trace holds one of its branches."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.conv.bias)  # a negative image has the negative sum

    def asked(self, x: Tensor) -> bool:
        return float(x.detach().numpy().sum()) < 0


class _OnlyTraced(_InNumpy):
    def asked(self, x: Tensor) -> bool:
        return float(x.detach().numpy().sum()) > 1e9


@pytest.mark.parametrize(("network", "form"), [(_Asks, "torch.jit.script"), (_OnlyTraced, "torch.jit.trace")])
def test_the_copy_says_what_read_the_network_and_computes_the_same(network: type[_Asks], form: str) -> None:
    model, x = network().eval(), torch.rand(3, 3, 16, 16)
    result = patch(model, EVERYTHING, example_input=x[:1])
    assert f"it was read by {form}" in result.record.notes[0]
    torch.testing.assert_close(result.module(x), model(x))
    assert result.module.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("network", [_OfItsBatch, _InNumpy])
def test_what_a_form_records_for_the_example_alone_is_not_taken(network: type[_Asks]) -> None:
    with pytest.raises(PatchError, match=r"cannot be followed by torch\.fx") as refused:
        patch(network().eval(), example_input=torch.rand(1, 3, 16, 16))
    assert "patch the" in str(refused.value.hint)


@pytest.mark.parametrize(
    "family",
    [
        "resnet",
        "vit",
        "convnext",
        "mobilenet_v1",
        "swin",
        "regnet",
        "efficientnet",
        "poolformer",
        "segformer",
        "bit",
        pytest.param("mobilenet_v2", marks=pytest.mark.slow),
        pytest.param("mobilevit", marks=pytest.mark.slow),
    ],
)
def test_a_hugging_face_network_is_patched_and_filter_size_1_changes_nothing(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = load_model(str(saved(tmp_path_factory.mktemp("hub") / "m", family))).module
    x = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    result = patch(model, EVERYTHING, example_input=x[:1])
    assert result.record.patched
    with torch.no_grad():
        expected = network_of(family)(x).logits
        torch.testing.assert_close(result.module(x), expected, rtol=1e-5, atol=1e-5)
        filtered = patch(model, PatchOptions(stem=True, patchify=True), example_input=x[:1]).module
        assert not torch.allclose(filtered(x), expected, rtol=1e-5, atol=0)
    assert result.module.state_dict().keys() == model.state_dict().keys()
    read_by_export = "it was read by torch.export" in result.record.notes[0] if result.record.notes else False
    assert read_by_export == (family not in ("efficientnet", "poolformer"))


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_patched_hugging_face_network_is_a_file_like_any(
    tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    place = tmp_path_factory.mktemp("hub")
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": SIDE})
    model = load_model(str(saved(place / "m", "resnet", processor)))
    x = torch.randn(3, 3, SIDE, SIDE)
    copy = model.with_module(patch(model.module, EVERYTHING, example_input=x[:1]).module)
    file_format = {".pt": "torchscript", ".pt2": "pt2"}[suffix]
    save_model(place / f"aa{suffix}", copy.module, Carried.of(copy), file_format=file_format, example=x[:1])
    again = load_model(str(place / f"aa{suffix}"), ModelOptions(trust=True))
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x), rtol=1e-5, atol=1e-5)
    assert again.class_names == ("cat", "dog", "bear")


def test_lazy_layers_are_named() -> None:
    network = nn.Sequential(nn.LazyConv2d(4, 3, 2), nn.MaxPool2d(2)).eval()
    with pytest.raises(PatchError, match="lazy layers without weights"):
        patch(network, example_input=torch.rand(1, 3, 16, 16))
