"""`shiftaudit refit` and `patch --refit` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_run import InProcess, python
from image_files import write_noise
from PIL import Image
from torch import nn

from shiftaudit.cli.memory import keep_memory

SIZE = ("--size", "16", "--resize", "20")
Run = Callable[..., tuple[int, str, str]]


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2)
        self.conv, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(self.pool(self.stem(x).relu())).relu().mean((2, 3)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a folder that holds the original, a patched copy and images."""
    torch.manual_seed(0)
    torch.jit.script(Tiny().eval()).save(str(tmp_path / "model.pt"))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Tiny().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "model.pt2")
    write_noise(tmp_path / "images", 6, 40)
    program = InProcess(tmp_path, monkeypatch, capsys)
    assert program("patch", "model.pt", *SIZE, "-o", "aa.pt")[0] == 0
    return program


FIT = ("refit", "aa.pt", "images", "--teacher", "model.pt", "-o", "fitted.pt")


def test_the_fitted_copy_carries_what_was_done_and_computes_with_torch_alone(run: Run, tmp_path: Path) -> None:
    code, out, error = run(*FIT, "--crops", 64, "--layers", "all", "--ridge", "1e-3")
    assert code == 0, error
    assert "conv" in out
    assert "Fitted on 64 crops of 6 images" in out
    script = (
        "import json, sys, torch\n"
        "extra = {'shiftaudit.json': ''}\n"
        "module = torch.jit.load('fitted.pt', _extra_files=extra)\n"
        "module.train()(torch.zeros(2, 3, 16, 16)).sum().backward()\n"
        "assert 'shiftaudit' not in sys.modules\n"
        "print(json.dumps([sorted(module.state_dict()), json.loads(extra['shiftaudit.json'])]))\n"
    )
    loaded = python("-W", "ignore", "-c", script, cwd=tmp_path)
    keys, carried = json.loads(loaded.stdout)
    assert keys == sorted(Tiny().state_dict())
    record = carried["refit"]
    assert [layer["name"] for layer in record["layers"]] == ["conv.weight", "head.weight"]
    assert all(layer["error"] <= layer["error_before"] for layer in record["layers"])
    assert len(record["image_sha256"]) == 6
    assert carried["patch"]["sites"]


def test_a_refit_gives_the_same_file_twice_and_another_with_another_seed(run: Run, tmp_path: Path) -> None:
    weights = []
    for seed in (0, 0, 1):
        assert run(*FIT, "--crops", 32, "--seed", seed, "--layers", "all", "--ridge", "1e-3", "--force")[0] == 0
        weights.append(torch.jit.load(str(tmp_path / "fitted.pt")).state_dict()["conv.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_patch_refits_in_one_go_and_the_file_scores(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("patch", "model.pt", *SIZE, "-o", "one.pt", "--refit", "images", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["refit"]["n_crops"] >= 500
    assert record["refit"]["n_images"] == 6
    code, _, error = run("score", "one.pt", "images", "--no-stages", "--shifts", "2")
    assert code == 0
    assert "warning: one.pt was refitted or tuned on 6 of these 6 images" in error


class Depthwise(nn.Module):
    """A filter in front of its strided convolution can be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, 2, groups=6)
        self.conv, self.head = nn.Conv2d(6, 6, 1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(self.depthwise(self.stem(x).relu()).relu()).relu().mean((2, 3)))


def test_a_copy_is_fitted_before_it_is_folded_and_refused_afterwards(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.jit.script(Depthwise().eval()).save(str(tmp_path / "depthwise.pt"))
    patch = ("patch", "depthwise.pt", *SIZE, "--placement", "pre-conv", "--refit", "images", "-q")
    assert run(*patch, "-o", "apart.pt")[0] == 0
    code, out, error = run(*patch, "--fold", "-o", "folded.pt")
    assert code == 0, error
    assert "folded into the convolutions' kernels: depthwise" in out
    x = torch.randn(2, 3, 16, 16)
    apart, folded = (torch.jit.load(str(tmp_path / name)) for name in ("apart.pt", "folded.pt"))
    torch.testing.assert_close(folded(x), apart(x), rtol=1e-5, atol=1e-5)
    assert not torch.equal(apart(x), torch.jit.load(str(tmp_path / "depthwise.pt"))(x))
    assert folded.state_dict()["depthwise.weight"].shape == (6, 1, 5, 5)
    for command in ("refit", "tune"):
        code, _, error = run(command, "folded.pt", "images", "--teacher", "depthwise.pt", "-o", "again.pt")
        assert (code, "folded into its weights" in error) == (2, True)
    assert run("score", "folded.pt", "images", "--no-stages", "--shifts", "2")[0] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("refit", "aa.pt", "nothing", "--teacher", "model.pt", "-o", "fitted.pt"), "nothing"),
        (
            ("refit", "aa.pt", "images/00.png", "--teacher", "model.pt", "-o", "fitted.pt"),
            "1 image; expected 2 or more",
        ),
        (("refit", "aa.pt", "flat", "--teacher", "model.pt", "-o", "fitted.pt"), "one colour"),
        (
            ("refit", "aa.pt", "images", "--teacher", "resnet18", "--weights", "none", "-o", "fitted.pt"),
            "another network",
        ),
        (("refit", "aa.pt", "images", "--teacher", "nan.pt", "-o", "fitted.pt"), "NaN"),
        (("refit", "model.pt", "images", "--teacher", "model.pt", "-o", "fitted.pt"), "no record of a patch"),
        (("refit", "aa.pt", "images", "--teacher", "model.pt"), "no output file"),
        ((*FIT, "--ridge", "0"), "--ridge"),
        ((*FIT, "--crops", "0"), "--crops"),
    ],
)
def test_bad_input_gets_a_sentence_and_nothing_is_written(
    run: Run, tmp_path: Path, change: tuple[str, ...], said: str
) -> None:
    (tmp_path / "flat").mkdir()
    for index in range(3):
        Image.new("RGB", (32, 32), (40 * index, 0, 0)).save(tmp_path / "flat" / f"{index}.png")
    broken = Tiny()
    nn.init.constant_(broken.conv.weight, float("nan"))
    torch.jit.script(broken.eval()).save(str(tmp_path / "nan.pt"))
    code, _, error = run(*change)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "fitted.pt").exists()


def carried(path: Path) -> dict[str, Any]:
    extra = {"shiftaudit.json": ""}
    torch.jit.load(str(path), _extra_files=extra)
    return json.loads(extra["shiftaudit.json"])


def test_tune_starts_from_a_refitted_copy_and_keeps_its_record(run: Run, tmp_path: Path) -> None:
    assert run(*FIT, "--crops", 16)[0] == 0
    tuning = ("images", "--teacher", "model.pt", "--steps", 2, "--checks", 1, "--batch-size", 2)
    code, out, error = run("tune", "fitted.pt", *tuning, "-o", "tuned.pt", "--json")
    assert code == 0, error
    record = json.loads(out)
    assert record["settings"]["grow"] == 0
    assert [check["strength"] for check in record["history"]] == [1, 1]
    assert carried(tmp_path / "tuned.pt")["refit"] == carried(tmp_path / "fitted.pt")["refit"]
    assert carried(tmp_path / "tuned.pt")["tune"]["image_sha256"] == sorted(record["image_sha256"])
    assert len(record["image_sha256"]) == 6
    # A copy that nobody fitted starts from plain subsampling; one that is tuned goes on with full filters.
    assert json.loads(run("tune", "aa.pt", *tuning, "-o", "grown.pt", "--json")[1])["settings"]["grow"] == 0.5
    assert json.loads(run("tune", "grown.pt", *tuning, "-o", "more.pt", "--json")[1])["settings"]["grow"] == 0
    assert (
        json.loads(run("tune", "fitted.pt", *tuning, "--grow", 1, "-o", "a.pt", "--json")[1])["settings"]["grow"] == 1
    )


def test_a_fitted_copy_is_scored_gated_and_compared_like_any_model(run: Run) -> None:
    assert run(*FIT, "--crops", 16)[0] == 0
    scoring = ("images", "--no-stages", "--shifts", 2, "-q", *SIZE)
    assert run("score", "model.pt", *scoring, "-o", "before.json")[0] == 0
    assert run("score", "fitted.pt", *scoring, "-o", "after.json")[0] == 0
    code, out, _ = run("compare", "before.json", "after.json")
    assert code == 0
    assert "consistency" in out
    assert "fitted.pt was refitted or tuned on 6 of these 6 images" in out.replace("\n", " ")
    assert run("baseline", "save", "after.json", "-o", "baseline.json")[0] == 0
    code, out, error = run("gate", "after.json", "--baseline", "baseline.json")
    assert (code, "pass" in out.lower()) == (0, True), error
    assert "was refitted or tuned on 6 of these 6 images" in out.replace("\n", " ")
    assert "The model was refitted or tuned on 6 of these images" in run("report", "after.json")[1].replace(
        "\n" + " " * 17, " "
    )


def test_an_exported_copy_is_fitted_tuned_and_written_in_its_own_form(run: Run) -> None:
    code, out, error = run("patch", "model.pt2", "--trust", *SIZE, "-o", "aa.pt2")
    assert code == 0, error
    assert "shiftaudit refit aa.pt2 --teacher model.pt2 --trust IMAGES" in out
    code, _, error = run(
        "refit", "aa.pt2", "images", "--trust", "--teacher", "model.pt2", "--crops", 16, "-o", "fitted.pt2"
    )
    assert code == 0, error
    code, _, error = run(
        "tune", "fitted.pt2", "images", "--trust", "--teacher", "model.pt2", "--steps", 2, "-o", "tuned.pt2"
    )
    assert code == 0, error
    for name in ("fitted.pt2", "tuned.pt2"):
        assert run("score", name, "images", "--trust", "--no-stages", "--shifts", 2)[0] == 0
    code, out, error = run("score", "fitted.pt2", "images")
    assert (code, "--trust" in error) == (2, True)


@pytest.mark.parametrize("command", ["refit", "tune"])
def test_a_form_that_the_copy_cannot_be_written_in_is_refused_before_it_is_taught(run: Run, command: str) -> None:
    code, out, error = run(command, "aa.pt", "images", "--teacher", "model.pt", "-o", "fitted.pt2")
    assert (code, out) == (2, "")
    assert "a TorchScript model cannot be stored as .pt2" in error


def test_memory_is_kept_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "4")
    assert not keep_memory()
    monkeypatch.delenv("MALLOC_MMAP_MAX_")
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_memory()
