"""A short slice of the fault campaign, every odd network once, and the gate under mutations and in isolation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from faults import gate_mutations
from faults.cases import SCORE, draw, make
from faults.harness import Case, preload, run, violations

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc")

ODD = """
import os, subprocess, warnings
from pathlib import Path
import torch
from torch import nn

def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.passes = plain(), 0

class Varying(Odd):
    def forward(self, x):
        self.passes += 1
        return self.inner(x)[:, : 3 + self.passes % 3]

class Leaving(Odd):
    def forward(self, x):
        os._exit(0)

class Writing(Odd):
    def forward(self, x):
        try:
            (Path(__file__).parent / "report.json").write_text("gone")
        except OSError:
            pass
        subprocess.Popen(["sleep", "60"], start_new_session=True)
        return self.inner(x)

def meta():
    return plain().to("meta")

def dynamic():
    warnings.simplefilter("ignore")
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8)

def sparse():
    module = plain()
    module.register_buffer("extra", torch.eye(3).to_sparse())
    return module
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    preload()
    made = make(tmp_path_factory.mktemp("faults") / "work")
    (made / "odd.py").write_text(ODD)
    return made


@pytest.mark.parametrize("seed", range(12))
def test_a_fault_changes_no_input_and_leaves_nothing_half_done(folder: Path, seed: int) -> None:
    assert violations(draw(seed, folder), folder) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("score", "odd:Varying", "images"), 2),
        (("score", "odd:meta", "images"), 2),
        (("score", "odd:dynamic", "images"), 0),
        (("score", "odd:sparse", "images"), 0),
        (("score", "model.pt", "images", "--device", "meta"), 2),
        (("score", "model.pt", ""), 2),
        (("score", "model.pt", "a" * 5000), 2),
        (("score", "a" * 5000, "images"), 2),
    ],
)
def test_what_cannot_be_scored_is_the_users_to_mend(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run(Case((*arguments, *SCORE, "-q"), "odd"), folder)[0] == code


def test_variables_of_a_launcher_that_make_no_sense_are_named(folder: Path) -> None:
    for rank, world in (("abc", "2"), ("0", "0"), ("-1", "2"), ("1", "2")):
        case = Case(("score", "model.pt", "images", *SCORE), "launcher", {"RANK": rank, "WORLD_SIZE": world})
        code, told = run(case, folder)
        assert (code, "RANK" in told) == (2, True), told


def test_a_damaged_tensor_is_not_scored(folder: Path) -> None:
    data = bytearray((folder / "model.pt").read_bytes())
    place = data.index(b"/data/0") + 200
    data[place] ^= 1
    (folder / "bad.pt").write_bytes(data)
    code, told = run(Case(("score", "bad.pt", "images", *SCORE), "checksum"), folder)
    assert (code, "checksum" in told) == (2, True), told


@pytest.mark.parametrize(("network", "code"), [("odd:Leaving", 2), ("odd:Writing", 3), ("model.pt", 0)])
def test_an_isolated_model_can_neither_end_the_gate_nor_touch_a_file(folder: Path, network: str, code: int) -> None:
    gate = ("gate", network, "images", "-b", "base.json", "--size", "16", "--resize", "20", "--isolate", "-q")
    case = Case(gate, "isolated")
    assert violations(case, folder) == []
    assert run(case, folder)[0] in (code, 0 if network == "odd:Writing" else code)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    preload()
    return gate_mutations.make(tmp_path_factory.mktemp("gate") / "work")


def test_what_is_edited_below_is_failed_as_it_stands(gated: Path) -> None:
    assert run(gate_mutations.of_report(), gated)[0] == 1
    assert run(gate_mutations.of_model(), gated)[0] == 1


@pytest.mark.parametrize("seed", range(24))
def test_an_edit_never_makes_the_gate_pass_what_it_fails(gated: Path, seed: int) -> None:
    assert run(gate_mutations.draw(seed, gated), gated)[0] in (1, 2, 3)
