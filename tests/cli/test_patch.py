"""`shiftaudit patch` from the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from cli_run import InProcess
from image_files import write_noise
from torch import nn

from shiftaudit.records.gate import Comparison, MetricComparison
from shiftaudit.render.patch import verdict


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.stem(x)).mean((2, 3)))


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return Tiny()


def flat() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return partial(InProcess(tmp_path, monkeypatch, capsys), "patch")


MODEL = f"{Path(__file__).stem}:tiny"


def test_writes_a_copy_and_says_what_was_done_and_what_to_do(run, tmp_path: Path) -> None:
    target = tmp_path / "aa.pt"
    code, out, _ = run(MODEL, "--size", "16", "-o", str(target))
    assert code == 0
    assert "1 of 2 downsampling sites patched" in out
    assert "stem: reads the network's input" in out
    assert "shiftaudit score" in out and "90 %" in out
    assert out.index("recover: shiftaudit refit") < out.index("further: shiftaudit tune")
    assert torch.jit.load(target)(torch.randn(2, 3, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "wanted", "unwanted"),
    [
        ("aa.pt", ("--seed", "7"), f"--teacher {MODEL} --seed 7 IMAGES", "--trust"),
        ("aa.pt2", (), f"tune fitted.pt2 --teacher {MODEL} --trust IMAGES -o tuned.pt2", "fitted.pt "),
        ("aa.safetensors", (), "holds weights alone", "shiftaudit score"),
        ("aa.pth", ("--file-format", "state-dict"), "holds weights alone", "shiftaudit score"),
    ],
)
def test_the_commands_it_names_take_the_file_it_wrote(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: tuple, wanted: str, unwanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(MODEL, "--size", "16", "-o", name, *options)
    assert code == 0
    assert wanted in out
    assert unwanted not in out


def test_filter_one_computes_what_the_original_does(run, tmp_path: Path) -> None:
    target = tmp_path / "same.pt"
    assert run(MODEL, "--size", "16", "--stem", "--filter-size", "1", "-o", str(target))[0] == 0
    x = torch.randn(2, 3, 17, 19)
    torch.testing.assert_close(torch.jit.load(target)(x), tiny().eval()(x))


def test_dry_run_prints_the_plan_as_json_and_writes_nothing(run, tmp_path: Path) -> None:
    code, out, _ = run(MODEL, "--size", "16", "--dry-run", "--json", "-o", str(tmp_path / "no.pt"))
    assert code == 0
    assert [site["action"] for site in json.loads(out)["sites"]] == ["leave", "blur_after_pool"]
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_network_without_downsampling_says_so(run) -> None:
    code, out, _ = run(f"{Path(__file__).stem}:flat", "--size", "16", "--dry-run")
    assert code == 0
    assert "Nothing to patch" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((f"{Path(__file__).stem}:flat",), "nothing to patch"),
        ((MODEL, "--filter-size", "9"), "filter size 9"),
        ((MODEL, "--only", "layer9"), "'layer9' matches no downsampling site"),
        ((MODEL, "--file-format", "onnx"), "a PyTorch model cannot be stored as .onnx"),
        ((MODEL, "--file-format", "keras"), "unknown format"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(run, tmp_path: Path, arguments: tuple, message: str) -> None:
    code, _, err = run(*arguments, "--size", "16", "-o", str(tmp_path / "aa.pt"))
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_existing_output_is_replaced_only_with_force(run, tmp_path: Path) -> None:
    target = tmp_path / "aa.pt"
    target.write_text("mine")
    code, _, err = run(MODEL, "--size", "16", "-o", str(target))
    assert (code, target.read_text()) == (2, "mine")
    assert "--force" in err
    assert run(MODEL, "--size", "16", "-o", str(target), "--force")[0] == 0
    assert torch.jit.load(target)


def test_a_patched_file_is_not_patched_again(run, tmp_path: Path) -> None:
    target = tmp_path / "aa.pt"
    run(MODEL, "--size", "16", "-o", str(target))
    code, _, err = run(str(target), "-o", str(tmp_path / "twice.pt"))
    assert code == 2
    assert "patched already" in err


def test_verify_scores_both_on_the_same_views_and_gives_a_verdict(run, tmp_path: Path) -> None:
    images = write_noise(tmp_path / "images", 3, 24)
    arguments = (
        MODEL,
        "--size",
        "64",
        "--filter-size",
        "1",
        "--verify",
        str(images),
        "-o",
        str(tmp_path / "aa.pt"),
        "-q",
    )
    code, out, err = run(*arguments)
    assert not err
    assert code == 0
    assert "\n circular\n" in out
    assert "   consistency " in out
    assert "Agreement of the copy with the original, images unmoved: 100.0 % [" in out
    assert "Verdict: no measurable difference" in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = run(*arguments, "--force", "--json")
    told = json.loads(out)
    comparison = told["comparison"]
    assert code == 0
    assert (told["agreement"]["value"], told["agreement"]["n_images"]) == (1.0, 3)
    assert comparison["n_shared"] == 3
    assert all(abs(metric["difference"] or 0) < 1e-6 for metric in comparison["metrics"])


def test_verify_without_images_writes_nothing(run, tmp_path: Path) -> None:
    code, _, err = run(MODEL, "--size", "16", "--verify", str(tmp_path / "missing"), "-o", str(tmp_path / "aa.pt"))
    assert code == 2
    assert "missing" in err
    assert not list(tmp_path.iterdir())


def metric(name: str, low: float, high: float) -> MetricComparison:
    return MetricComparison(name, 0.5, 0.5, (low + high) / 2, low, high, 10, True)


def test_verdict_is_plain() -> None:
    def say(*metrics: MetricComparison) -> str:
        return verdict(Comparison(1, "0", "a", "b", 10, 0, 0, metrics, (), ()))

    assert "worse in accuracy (better: crop.consistency)" in say(
        metric("accuracy", -0.5, -0.1), metric("crop.consistency", 0.1, 0.2)
    )
    assert "better in crop.consistency" in say(metric("crop.consistency", 0.1, 0.2))
    assert "no measurable difference" in say(metric("accuracy", -0.5, 0.1))


def test_missing_output_is_a_usage_error(run) -> None:
    code, _, err = run(MODEL)
    assert code == 2
    assert "--dry-run" in err


def test_tune_teaches_the_copy_before_it_is_written(run, tmp_path: Path) -> None:
    out, images = tmp_path / "aa.pt", write_noise(tmp_path / "images", 6, 40)
    size = ("--size", "16", "--resize", "20")
    code, text, _ = run(MODEL, *size, "-o", str(out), "--stem", "--tune", str(images), "--tune-minutes", "0.005")
    assert code == 0
    assert "held-out crops" in text
    assert "untrained" not in text
    extra = {"shiftaudit.json": ""}
    copy = torch.jit.load(str(out), _extra_files=extra)
    record = json.loads(extra["shiftaudit.json"])
    assert record["tune"]["n_images"] == 6
    assert record["tune"]["steps"] >= 1
    assert set(copy.state_dict()) == set(tiny().state_dict())


def test_tuning_images_that_do_not_exist_end_it_before_anything_is_written(run, tmp_path: Path) -> None:
    out = tmp_path / "aa.pt"
    code, _, error = run(MODEL, "--size", "16", "--resize", "20", "-o", str(out), "--tune", str(tmp_path / "none"))
    assert code == 2
    assert "none" in error
    assert not out.exists()


def test_an_export_is_checked_before_anything_is_written(run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    size = ("--size", "16", "--pad", "zeros", "--check-export", "onnx")
    code, _, error = run(MODEL, *size, "-o", str(tmp_path / "aa.pt"))
    assert code == 0, error
