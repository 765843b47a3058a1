"""`score` of models that are no models, print, raise or answer NaN: message and exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cli_run import in_process, installed
from networks import Residual, seeded, write_images

SMALL = ("--size", "16", "--shifts", "2", "--max-shift", "2", "--workers", "0", "--no-stages")
NETWORKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.how = how

    def forward(self, x):
        if self.how == "prints":
            print("{not json")
        if self.how == "raises":
            raise ValueError("broken in the middle")
        logits = self.conv(x).mean((2, 3))
        return logits / 0 * 0 if self.how == "nan" else logits

def prints():
    print("{building")
    return Net("prints")

def raises():
    return Net("raises")

def nan():
    return Net("nan")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and models beside them."""
    where = tmp_path_factory.mktemp("models")
    write_images(where / "images", n=2)
    (where / "answering.py").write_text(NETWORKS)
    module = seeded(Residual())
    torch.save(module, where / "pickled.pt")
    torch.jit.save(torch.jit.script(module), where / "good.pt")
    (where / "cut.pt").write_bytes((where / "good.pt").read_bytes()[:2000])
    return where


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pickled.pt", "images"), "pickled Python objects (networks.Residual, "),
        (("cut.pt", "images"), "cut.pt is a damaged model file"),
        (
            ("good.pt", "images", "--channels", "1"),
            "the model failed on a batch of shape (2, 1, 16, 16): RuntimeError: ",
        ),
        (("answering:raises", "images"), "ValueError: broken in the middle"),
        (("answering:nan", "images"), "NaN or infinite logits for 00.png"),
        (("resnet1", "images"), "did you mean resnet1"),
        (("images", "good.pt"), "put MODEL before IMAGES"),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_exit_code_2(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = in_process("score", *arguments, *SMALL, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [done.stderr.splitlines()[-1]]


def test_a_network_that_prints_does_not_spoil_the_json(folder: Path) -> None:
    done = installed("score", "answering:prints", "images", *SMALL, "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"]["source"] == "answering:prints"
    assert report["data"]["n_images"] == 2
    assert "{building" in done.stderr
    assert "{not json" in done.stderr


def test_stages_takes_a_network_of_ones_own(folder: Path) -> None:
    done = in_process("stages", "answering:raises", "--size", 16, cwd=folder)
    assert (done.returncode, "broken in the middle" in done.stderr) == (2, True)
    done = in_process("stages", "answering:nan", "--size", 16, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "answering:nan: 1 downsampling stage" in done.stdout
