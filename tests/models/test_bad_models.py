"""Whatever is no model is refused with one sentence, and nothing in it is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from networks import Residual, seeded
from torch import nn

from shiftaudit.errors import InputError, ModelError, ShiftAuditError
from shiftaudit.models import ModelOptions, load_model
from shiftaudit.models.carried import Carried
from shiftaudit.records.patch import PatchOptions, PatchRecord

HEAD = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


class Exploding:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def refused(source: str | Path, error: type[ShiftAuditError] = InputError, **options: Any) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(error) as caught:
        load_model(str(source), ModelOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 620
    return message


def scripted_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(seeded(Residual())), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_pickled_objects_are_refused_and_do_not_run(tmp_path: Path, how: str) -> None:
    path, target = tmp_path / "model.pt", tmp_path / "exploded"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Exploding(target)))
    else:
        torch.save(Exploding(target), path, _use_new_zipfile_serialization=how == "zip")
    message = refused(path)
    assert "pickled Python objects" in message
    assert "--trust" in message
    assert not target.exists()


def test_the_exploding_file_does_explode_when_it_is_trusted(tmp_path: Path) -> None:
    path, target = tmp_path / "model.pt", tmp_path / "exploded"
    torch.save(Exploding(target), path)
    with pytest.raises(InputError, match="expected a state dict"):
        load_model(str(path), ModelOptions(trust=True))
    assert target.exists()


def test_a_pickled_module_is_refused_naming_what_it_would_load(tmp_path: Path) -> None:
    torch.save(HEAD, tmp_path / "module.pt")
    message = refused(tmp_path / "module.pt")
    assert "torch.nn.modules.container.Sequential" in message
    assert "--trust" in message


def test_an_exploding_file_of_weights_does_not_run_either(tmp_path: Path) -> None:
    path, target = tmp_path / "weights.pt", tmp_path / "exploded"
    torch.save({"state_dict": HEAD.state_dict(), "extra": Exploding(target)}, path)
    assert "pickled Python objects" in refused("resnet18", weights=str(path))
    assert not target.exists()


def test_an_exported_program_is_refused_unless_trusted(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(HEAD.eval(), (torch.zeros(2, 3, 8, 8),)), path)
    message = refused(path)
    assert "can run Python" in message
    assert "--trust" in message


def test_a_damaged_exported_program_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, bad = tmp_path / "model.pt2", tmp_path / "bad.pt2"
    torch.export.save(torch.export.export(HEAD.eval(), (torch.zeros(2, 3, 8, 8),)), path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"{" if name.endswith("models/model.json") else source.read(name))
    assert "cannot be loaded as an exported program" in refused(bad, ModelError, trust=True)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_torchscript_file_is_damaged(tmp_path: Path, share: float) -> None:
    path, data = tmp_path / "model.pt", scripted_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "damaged" in refused(path)


def test_a_torchscript_file_with_damaged_code_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(io.BytesIO(scripted_bytes())) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"def forward(:" if name.endswith(".py") else source.read(name))
    assert "cannot be loaded as TorchScript" in refused(path, ModelError)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, I am a text file\n" * 3, "is not a model file"),
        (bytes(range(256)) * 9, "is not a model file"),
        (b"PK\x03\x04 and no more", "damaged"),
        (b"\x80\x02", "is not a model file, or is damaged"),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_other_bytes_are_no_model(tmp_path: Path, content: bytes, words: str, trust: bool) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert words in refused(path, trust=trust)


def test_a_truncated_old_checkpoint_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(HEAD.state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:300])
    assert "damaged" in refused(path)


def test_a_zip_of_something_else_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photos/readme.txt", "hello")
    assert "not of a model" in refused(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "cannot be read" in refused(path)


def test_a_damaged_safetensors_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all")
    assert "is not a safetensors file" in refused(path, arch="resnet18")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "MODEL is empty; expected a torchvision name (resnet50)"),
        ("resnet51", "did you mean resnet50"),
        ("ResNet50", "did you mean resnet50"),
        ("nothing-like-it", "no such torchvision model; expected a torchvision name (resnet50), timm:NAME"),
        ("models/missing.pt", "no such file"),
        ("missing.pt2", "no such file"),
        ("network.onnx", "no such file"),
        ("x" * 400, "no such torchvision model"),
        ("timm:test_resnot", "try test_resnet"),
        ("no_such_package:build", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("math:nothing", "AttributeError: module 'math' has no attribute 'nothing'"),
        ("math:pi", "math:pi is a float; expected a callable"),
        ("math:sqrt", "TypeError: math.sqrt() takes exactly one argument"),
        ("os:getpid", "os:getpid returned int; expected an nn.Module"),
        ("sys:exit", "sys:exit failed: SystemExit"),
        ("nets/resnet.py:build", "try nets.resnet:build"),
    ],
)
def test_a_name_that_is_no_model_says_what_would_be(source: str, words: str) -> None:
    assert words in refused(source, ShiftAuditError)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    assert "is a folder; expected a model; put MODEL before IMAGES" in refused(tmp_path)


def test_a_module_that_fails_while_it_is_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_on_import.py").write_text("raise ValueError('broken\\nin two lines')")
    monkeypatch.chdir(tmp_path)
    assert "ValueError: broken" in refused("fails_on_import:build")


def test_a_failed_download_names_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fails)
    message = refused("squeezenet1_1", ModelError)
    assert "squeezenet1_1 (IMAGENET1K_V1) could not be downloaded" in message
    assert "no route to host" in message
    assert "--weights FILE" in message
    assert "--weights none" in message


def test_a_failed_timm_download_names_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fails)
    message = refused("timm:test_resnet", ModelError)
    assert "no route to host" in message
    assert "--weights none" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "IMAGENET9"}, "IMAGENET1K_V1, DEFAULT and none, or name a file"),
        ({"weights": "missing.pth"}, "--weights got 'missing.pth': no such file"),
        ({"weights": "none", "arch": "resnet18"}, "--arch goes with a file of weights"),
    ],
)
def test_options_that_do_not_fit_a_name_are_refused(options: dict[str, str], words: str) -> None:
    assert words in refused("squeezenet1_1", **options)


def test_options_that_do_not_fit_a_file_are_refused(tmp_path: Path) -> None:
    whole, weights = tmp_path / "whole.pt", tmp_path / "weights.pt"
    whole.write_bytes(scripted_bytes())
    torch.save(HEAD.state_dict(), weights)
    assert "holds its own network and weights" in refused(whole, arch="resnet18")
    assert "holds its own network and weights" in refused(whole, weights="none")
    assert "holds the weights already" in refused(weights, arch="resnet18", weights="none")
    assert "is a whole model (torchscript)" in refused("resnet18", weights=str(whole))
    assert "name the network with --arch" in refused(weights)


def test_weights_of_another_network_name_the_first_few_differences(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(HEAD.state_dict(), path)
    message = refused(path, arch="squeezenet1_1")
    assert "missing: features.0.weight, features.0.bias, features.3.squeeze.weight and 49 more" in message
    assert "unexpected: 0.weight, 0.bias, 3.weight and 1 more" in message


def test_weights_of_another_shape_are_named_with_both_shapes(tmp_path: Path) -> None:
    import timm

    state = timm.create_model("test_resnet").state_dict()
    name = next(iter(state))
    shape = tuple(state[name].shape)
    state[name] = torch.zeros(1, 2)
    torch.save(state, tmp_path / "weights.pt")
    assert f"of another shape: {name} (1, 2) instead of {shape}" in refused(
        tmp_path / "weights.pt", arch="timm:test_resnet"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "weights": torch.zeros(1)}, "it also holds epoch (int)"),
        ([torch.zeros(1)], "holds a list; expected a state dict"),
        ({}, "holds nothing; expected a state dict"),
        (torch.zeros(3), "holds a Tensor; expected a state dict"),
    ],
)
def test_a_file_of_something_else_than_a_state_dict_says_what_it_holds(
    tmp_path: Path, content: Any, words: str
) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert words in refused(tmp_path / "weights.pt", arch="resnet18")


def safetensors_with(metadata: str, path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, path, metadata={"shiftaudit.json": metadata})
    return path


def test_a_file_of_weights_cannot_name_code_to_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("import pathlib\npathlib.Path('exploded').touch()\n")
    monkeypatch.chdir(tmp_path)
    path = safetensors_with(json.dumps({"arch": "planted:build"}), tmp_path / "w.safetensors")
    assert "confirm it: --arch planted:build" in refused(path)
    assert not (tmp_path / "exploded").exists()


def test_weights_of_a_patched_network_are_not_put_into_an_unpatched_one(tmp_path: Path) -> None:
    record = PatchRecord(1, "0.1.0", "fx", PatchOptions(), (16, 16), (), (0.0, 0.0), 9, 9)
    path = safetensors_with(Carried(arch="resnet18", patch=record).to_json(), tmp_path / "w.safetensors")
    assert "patched network, without the network" in refused(path)
    assert "patched network, without the network" in refused("resnet18", weights=str(path))


PREPROCESSING = {"size": 8, "resize": 8, "mean": [0.5], "std": [0.5], "interpolation": "bilinear", "channels": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not readable JSON"),
        ("[1]", "expected an object, got list"),
        (json.dumps({"preprocessing": [1]}), "is not a valid Preprocessing"),
        (json.dumps({"preprocessing": {"size": 8}}), "is not a valid Preprocessing"),
        (json.dumps({"preprocessing": {**PREPROCESSING, "std": [0.0]}}), "carries preprocessing that cannot be used"),
        (json.dumps({"class_names": {"a": 1}}), "class_names is not a list of names"),
        (json.dumps({"patch": {"sites": []}}), "the record of the patch carried by"),
        (json.dumps({"schema_version": 2}), "of schema_version 2; expected 1"),
    ],
)
def test_a_damaged_record_inside_a_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(safetensors_with(text, tmp_path / "w.safetensors"), arch="resnet18")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="--device nonsense cannot be used"):
        load_model("squeezenet1_1", ModelOptions(weights="none"), device="nonsense")
