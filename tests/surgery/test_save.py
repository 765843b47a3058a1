"""Patched files: what they carry, and that they run where this package is not installed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from cli_run import python
from torch import nn

from shiftaudit.errors import PatchError
from shiftaudit.models.archives import format_for
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.records.report import Preprocessing
from shiftaudit.surgery.patch import PatchOptions, patch
from shiftaudit.surgery.save import save_model

PREPROCESSING = Preprocessing(16, 20, (0.5,), (0.25,), "bilinear", 3, "options")


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, 2, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 3),
    )


def save(path: Path, module: nn.Module | None = None) -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    module = module or network()
    result = patch(module, PatchOptions(filter_size=4), input_size=16)
    carried = Carried(PREPROCESSING, ("a", "b", "c"), "tiny", result.record)
    notes = save_model(path, result.module, carried, file_format=format_for(path), example=torch.randn(1, 3, 16, 16))
    return module.eval(), result.module.eval(), notes


def test_torchscript_carries_preprocessing_classes_and_record(tmp_path: Path) -> None:
    original, patched, notes = save(tmp_path / "aa.pt")
    extra = {EXTRA_FILE: ""}
    loaded = torch.jit.load(tmp_path / "aa.pt", _extra_files=extra)
    carried = json.loads(extra[EXTRA_FILE])
    assert carried["schema_version"] == 1
    assert carried["preprocessing"]["size"] == 16
    assert carried["class_names"] == ["a", "b", "c"]
    assert [site["name"] for site in carried["patch"]["sites"]] == ["1", "4"]
    assert not notes
    x = torch.randn(5, 3, 20, 20)
    torch.testing.assert_close(loaded(x), patched(x))
    assert set(loaded.state_dict()) == set(original.state_dict())


def test_a_file_that_can_be_read_but_not_be_written_again_is_one_sentence(tmp_path: Path) -> None:
    """Where the lines of its code come from is read when it is written, not before."""
    torch.jit.save(torch.jit.script(network().eval()), tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in whole.namelist():
            bad.writestr(name, b" " * 80 if name.endswith(".debug_pkl") else whole.read(name))
    loaded = torch.jit.load(tmp_path / "bad.pt")
    example = torch.randn(1, 3, 16, 16)
    with pytest.raises(PatchError, match="the model cannot be stored as TorchScript"):
        save_model(tmp_path / "out.pt", loaded, Carried(), file_format="torchscript", example=example)
    assert not (tmp_path / "out.pt").exists()


ALONE = """
import sys
sys.modules["shiftaudit"] = None
import torch
model = torch.jit.load(sys.argv[1])
x = torch.randn(4, 3, 16, 16)
assert torch.equal(model(x), model(x)), "eval mode is not deterministic"
model.train()
assert not torch.equal(model(x), model(x)), "dropout does not follow the mode"
before = [parameter.detach().clone() for parameter in model.parameters()]
model(x).square().sum().backward()
torch.optim.SGD(model.parameters(), lr=0.1).step()
assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters())), "no parameter moved"
model.eval()
assert model(torch.randn(1, 3, 4, 4)).shape == (1, 3)
"""


def test_torchscript_runs_trains_and_switches_where_this_package_is_absent(tmp_path: Path) -> None:
    save(tmp_path / "aa.pt")
    done = python("-W", "ignore", "-c", ALONE, tmp_path / "aa.pt")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_exported_file_takes_any_batch(tmp_path: Path) -> None:
    _, patched, notes = save(tmp_path / "aa.pt2")
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(tmp_path / "aa.pt2", extra_files=extra)
    x = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(program.module()(x), patched(x))
    assert json.loads(extra[EXTRA_FILE])["arch"] == "tiny"
    assert not notes


def test_weights_are_the_originals(tmp_path: Path) -> None:
    from safetensors import safe_open

    original, _, notes = save(tmp_path / "aa.safetensors")
    with safe_open(tmp_path / "aa.safetensors", "pt") as file:
        assert set(file.keys()) == set(original.state_dict())
        assert json.loads(file.metadata()[EXTRA_FILE])["patch"]["options"]["filter_size"] == 4
    assert "weights alone" in notes[0]


class Unscriptable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum({"x": x}.values())


def test_what_does_not_compile_is_traced_and_says_so(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), Unscriptable())
    original, patched, notes = save(tmp_path / "aa.pt", module)
    assert "traced" in notes[0]
    loaded = torch.jit.load(tmp_path / "aa.pt")
    x = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(loaded(x), patched(x))
    assert set(loaded.state_dict()) == set(original.state_dict())


def test_unknown_suffix_is_refused() -> None:
    assert format_for(Path("aa.bin"), "torchscript") == "torchscript"
    with pytest.raises(PatchError, match=r"aa\.bin does not say"):
        format_for(Path("aa.bin"))
    with pytest.raises(PatchError, match="unknown format"):
        format_for(Path("aa.pt"), "keras")
