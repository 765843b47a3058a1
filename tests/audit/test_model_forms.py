"""Every form of MODEL loads, gives the network's own answers, and is recorded as what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from networks import Residual, seeded
from torch import Tensor, nn

from shiftaudit.models import LoadedModel, ModelOptions, load_model
from shiftaudit.models.loaded import state_sha256
from shiftaudit.records.codec import plain
from shiftaudit.records.digits import MAX_INTEGER
from shiftaudit.records.patch import PatchOptions, PatchRecord

BATCH = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
SMALL = ModelOptions(size=16, trust=True)
PATCH_RECORD = PatchRecord(1, "0.1.0", "fx", PatchOptions(filter_size=3), (16, 16), (), (0.0, 0.0), 9, 9)
CARRIED = {
    "schema_version": 1,
    "preprocessing": {
        "size": 16, "resize": 20, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic", "channels": 3, "source": "weights",
    },
    "class_names": ["a", "b", "c", "d", "e"],
    "arch": "somewhere",
    "patch": plain(PATCH_RECORD),
}  # fmt: skip
IMPORTABLE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

class Shelf:
    ready = Net()

def build():
    print("building")
    return Net()
"""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return seeded(Residual())


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder."""
    name = f"own_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    (tmp_path / f"{name}.py").write_text(IMPORTABLE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_torchvision_name_gives_its_network_and_the_preprocessing_of_its_weights() -> None:
    model = load_model("resnet18", ModelOptions(weights="none"))
    assert (model.info.source, model.info.kind, model.info.arch) == ("resnet18", "torchvision", "resnet18")
    assert model.info.weights == "none (seed 0)"
    assert (model.preprocessing.size, model.preprocessing.resize, model.preprocessing.source) == (224, 256, "weights")
    assert model.class_names is not None
    assert model.class_names[0] == "tench"
    assert not model.module.training


def test_inception_keeps_its_own_size() -> None:
    preprocessing = load_model("inception_v3", ModelOptions(weights="none")).preprocessing
    assert (preprocessing.size, preprocessing.resize) == (299, 342)


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = load_model("squeezenet1_1", ModelOptions(weights="none", seed=3))
    state = torch.random.get_rng_state()
    again = load_model("squeezenet1_1", ModelOptions(weights="none", seed=3))
    other = load_model("squeezenet1_1", ModelOptions(weights="none", seed=4))
    assert first.info.sha256 == again.info.sha256 != other.info.sha256
    assert again.info.weights == "none (seed 3)"
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_longest_seed_is_a_seed() -> None:
    seed = MAX_INTEGER - 1
    assert load_model("squeezenet1_1", ModelOptions(weights="none", seed=seed)).info.weights == f"none (seed {seed})"


def test_a_local_folder_of_the_same_name_does_not_hide_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeezenet1_1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("squeezenet1_1", ModelOptions(weights="none")).info.kind == "torchvision"


def test_a_timm_name_gives_timms_own_preprocessing() -> None:
    model = load_model("timm:test_resnet", ModelOptions(weights="none"))
    assert (model.info.kind, model.info.arch, model.info.weights) == ("timm", "timm:test_resnet", "none (seed 0)")
    assert (model.preprocessing.size, model.preprocessing.source) == (160, "timm")
    assert model(torch.zeros(2, 3, 160, 160)).shape == (2, 1000)


@pytest.mark.parametrize("attribute", ["build", "Net", "Shelf.ready"])
def test_an_import_string_may_name_a_function_a_class_or_a_module(
    importable: str, attribute: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"{importable}:{attribute}"
    model = load_model(source, SMALL)
    assert (model.info.kind, model.info.arch, model.info.weights) == ("import", source, None)
    assert model.info.sha256 == state_sha256(model.module)
    assert model(BATCH).shape == (3, 5)
    assert not model.module.training
    assert capsys.readouterr().out == ""


def scripted(module: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.script(module), path, _extra_files={"shiftaudit.json": json.dumps(CARRIED)})


def traced(module: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.trace(module, BATCH), path, _extra_files={"shiftaudit.json": json.dumps(CARRIED)})


def exported(module: nn.Module, path: Path) -> None:
    program = torch.export.export(module, (BATCH,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path, extra_files={"shiftaudit.json": json.dumps(CARRIED)})


@pytest.mark.parametrize(
    ("save", "suffix", "kind"),
    [
        (scripted, ".pt", "torchscript"),
        (traced, ".pth", "torchscript"),
        (traced, "", "torchscript"),
        (exported, ".pt2", "pt2"),
        (exported, ".pt", "pt2"),
    ],
)
def test_a_whole_model_in_a_file_brings_all_it_carries(
    network: nn.Module, tmp_path: Path, save: Callable[[nn.Module, Path], None], suffix: str, kind: str
) -> None:
    path = tmp_path / f"model{suffix}"
    save(network, path)
    model = load_model(str(path), ModelOptions(trust=True))
    assert (model.info.kind, model.info.source, model.info.arch) == (kind, path.name, "somewhere")
    assert model.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.preprocessing.mean == (0.1, 0.2, 0.3)
    assert (model.preprocessing.interpolation, model.preprocessing.source) == ("bicubic", "file")
    assert model.class_names == ("a", "b", "c", "d", "e")
    assert model.patch_record == PATCH_RECORD
    assert model.fixed_batch is None
    torch.testing.assert_close(model(BATCH), network(BATCH))


def test_a_frozen_torchscript_file_without_a_state_dict_loads(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "frozen.pt"
    torch.jit.save(torch.jit.freeze(torch.jit.script(network)), path)
    torch.testing.assert_close(load_model(str(path), SMALL)(BATCH), network(BATCH))


def test_an_exported_program_tells_the_size_batch_and_channels_it_insists_on(tmp_path: Path) -> None:
    path = tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(seeded(Residual(channels=1)), (torch.zeros(2, 1, 32, 32),)), path)
    model = load_model(str(path), ModelOptions(trust=True))
    used = model.preprocessing
    assert (used.size, used.resize, used.channels, used.source) == (32, 37, 1, "imagenet preset")
    assert model.fixed_batch == 2
    assert model(torch.zeros(5, 1, 32, 32)).shape == (5, 5)


def saved_as(form: str, state: dict[str, Tensor], folder: Path) -> Path:
    from safetensors.torch import save_file

    path = folder / f"{form}.pt"
    if form == "safetensors":
        path = folder / "weights.safetensors"
        save_file(state, path)
    elif form == "safetensors under another name":
        path = folder / "weights.bin"
        save_file(state, path)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif form == "data parallel":
        torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    elif form == "lightning":
        torch.save({"epoch": 3, "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}, path)
    elif form == "averaged":
        torch.save({"epoch": 3, "state_dict_ema": state}, path)
    elif form == "before torch 1.6":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(state, path)
    return path


FORMS = (
    "plain",
    "nested",
    "data parallel",
    "lightning",
    "averaged",
    "before torch 1.6",
    "safetensors",
    "safetensors under another name",
)


@pytest.mark.parametrize("form", FORMS)
def test_weights_in_a_file_fill_the_network_named_by_arch(importable: str, tmp_path: Path, form: str) -> None:
    source = load_model(f"{importable}:Net", SMALL)
    state = {name: tensor + 1 for name, tensor in source.module.state_dict().items()}
    path = saved_as(form, state, tmp_path)
    model = load_model(str(path), ModelOptions(arch=f"{importable}:Net", size=16))
    kind = "safetensors" if "safetensors" in form else "state-dict"
    assert (model.info.kind, model.info.arch, model.info.weights) == (kind, f"{importable}:Net", path.name)
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_a_network_whose_own_names_begin_with_module_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrapped_network.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.module = nn.Linear(4, 5)\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.save({"module.weight": torch.ones(5, 4), "module.bias": torch.zeros(5)}, tmp_path / "w.pt")
    model = load_model("w.pt", ModelOptions(arch="wrapped_network:Net"))
    assert torch.equal(model.module.state_dict()["module.weight"], torch.ones(5, 4))


def test_weights_with_another_number_of_classes_get_a_classifier_of_their_width(tmp_path: Path) -> None:
    own = torchvision.models.squeezenet1_1(weights=None, num_classes=7)
    path = tmp_path / "seven.pt"
    torch.save(own.state_dict(), path)
    model = load_model(str(path), ModelOptions(arch="squeezenet1_1"))
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert model.class_names is None
    assert model.preprocessing.source == "weights"


def test_weights_of_a_timm_network_with_another_number_of_classes_load(tmp_path: Path) -> None:
    import timm

    path = tmp_path / "own.pt"
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), path)
    model = load_model("timm:test_resnet", ModelOptions(weights=str(path)))
    assert (model.info.kind, model.info.weights) == ("timm", "own.pt")
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


def test_a_file_of_weights_gives_what_torchvision_gives_with_them(tmp_path: Path) -> None:
    own = torchvision.models.googlenet(weights=None, init_weights=True, aux_logits=False, transform_input=True).eval()
    path = tmp_path / "google.pt"
    torch.save(own.state_dict(), path)
    model = load_model("googlenet", ModelOptions(weights=str(path)))
    batch = torch.rand(1, 3, 64, 64)
    assert model.info.weights == "google.pt"
    torch.testing.assert_close(model(batch), own(batch))


def test_safetensors_bring_the_name_of_their_network_and_what_they_carry(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    own = torchvision.models.squeezenet1_1(weights=None)
    save_file(
        own.state_dict(),
        path,
        metadata={"shiftaudit.json": json.dumps({**CARRIED, "arch": "squeezenet1_1", "patch": None})},
    )
    model = load_model(str(path))
    assert (model.info.arch, model.preprocessing.source, model.preprocessing.size) == ("squeezenet1_1", "file", 16)
    assert model.class_names == ("a", "b", "c", "d", "e")


def test_a_trusted_pickled_module_loads(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)))
    torch.save({"model": network.train()}, path)
    model = load_model(str(path), SMALL)
    assert (model.info.kind, model.info.arch) == ("module", "Sequential")
    torch.testing.assert_close(model(BATCH), network.eval()(BATCH))


def test_wrapping_a_module_leaves_it_in_its_training_mode() -> None:
    module = Residual(channels=1).train()
    model = LoadedModel.from_module(module)
    assert module.training
    assert not model.module.training
    assert (model.info.kind, model.info.source, model.preprocessing.channels) == ("module", "Residual", 1)
    with torch.no_grad():
        module.head.weight.zero_()
    assert model.module.state_dict()["head.weight"].abs().sum() > 0


def test_the_hash_of_a_state_dict_sees_names_shapes_types_and_values() -> None:
    def of(**tensors: Tensor) -> str:
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return state_sha256(module)

    base = of(a=torch.zeros(2, 3))
    others = [of(b=torch.zeros(2, 3)), of(a=torch.zeros(3, 2)), of(a=torch.zeros(2, 3).half()), of(a=torch.ones(2, 3))]
    assert base == of(a=torch.zeros(2, 3))
    assert len({base, *others}) == 5
