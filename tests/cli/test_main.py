"""What comes out of a command that cannot be carried out: the right code, at once, and never the gate's."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_run import in_process, installed, python
from networks import write_images

WATCHED = """
import sys, time
from shiftaudit.cli.main import main
try:
    main()
finally:
    print(sorted({"torch", "numpy"} & set(sys.modules)), file=sys.stderr)
"""
RAISING = """
import os, sys
from torch import nn

class Strange(BaseException):
    pass

class Raising(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.error = error

    def forward(self, x):
        raise self.error

def strange(): return Raising(Strange("odd"))
def generator(): return Raising(GeneratorExit())
def leaving(): return Raising(SystemExit(0))
def failed_gate(): return Raising(SystemExit(1))
def on_call(): raise Strange("odd")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("main")
    write_images(where / "images", n=2)
    (where / "raising.py").write_text(RAISING)
    (where / "some.pt").write_bytes(b"no model")
    (where / "photos.zip").write_bytes(b"")
    return where


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score missing.pt images", "MODEL got 'missing.pt': no such file"),
        ("score no/such/folder images", "no such file"),
        ("score resnet18 missing", "missing does not exist"),
        ("score resnet18 images --shifts foo", "--shifts got 'foo'"),
        ("score resnet18 images --protocol foo", "--protocol got 'foo'; expected both, circular or crop"),
        ("score resnet18 images --preset foo", "--preset got 'foo'; expected zhang, aps or azulay"),
        ("score resnet18 images --preset aps --max-shift 3", "--preset aps sets --max-shift itself"),
        ("score resnet18 images --max-shift -1", "--max-shift got -1; expected at least 1"),
        ("score resnet18 images --mean a,b", "--mean got 'a,b'; expected one number, or one per channel"),
        ("score resnet18 images --interpolation foo", "--interpolation got 'foo'"),
        ("score resnet18 images --channels 2", "--channels got 2; expected 1 or 3"),
        ("score resnet18 images --shard 3/2", "--shard got '3/2'"),
        ("score resnet18 images --precision 2", "--precision got 2.0"),
        ("score resnet18 images --labels none.csv", "--labels got 'none.csv', which is no file"),
        ("score resnet18 images --weights w.pt", "--weights got 'w.pt': no such file"),
        ("patch missing.pt -o x.pt", "MODEL got 'missing.pt': no such file"),
        ("patch resnet18 -o x.pt --pad foo", "unknown pad mode 'foo'"),
        ("patch resnet18 -o x.pt --filter-size 9", "filter size 9 is not supported"),
        ("patch resnet18 -o x.pt --verify missing", "missing does not exist"),
        ("patch resnet18 -o x.html", "the suffix of x.html does not say what to write"),
        ("refit some.pt images --teacher resnet18 -o x.html", "the suffix of x.html does not say what to write"),
        ("tune missing.pt images --teacher resnet18 -o x.pt", "'missing.pt': no such file"),
        ("tune some.pt images --teacher missing.pt -o x.pt", "'missing.pt': no such file"),
        ("tune some.pt images --teacher resnet18 -o x.pt --lr nan", "--lr got nan; expected more than 0"),
        ("tune some.pt images --teacher resnet18 -o x.pt --max-shift -1", "--max-shift got -1"),
        ("tune some.pt images --teacher resnet18 -o x.pt --train-size 1", "--train-size got 1; expected at least 2"),
        ("refit missing.pt images --teacher resnet18 -o x.pt", "'missing.pt': no such file"),
        ("advise missing.pt images", "no such file"),
        ("show missing.pt images/00.png", "no such file"),
        ("show resnet18 missing.png", "missing.png is not a file"),
        (
            "show resnet18 images",
            "images is no single image; give one image; `shiftaudit score` takes folders",
        ),
        ("show resnet18 photos.zip", "photos.zip is no single image; give one image; `shiftaudit score` takes"),
        ("stages missing.pt", "no such file"),
        ("merge missing.jsonl -o x.json", "missing.jsonl is not a readable samples file"),
        ("report missing.json", "missing.json does not exist"),
        ("compare missing.json some.pt", "missing.json does not exist"),
    ],
)
def test_arguments_are_checked_before_torch_and_numpy_are_imported(words: str, message: str, folder: Path) -> None:
    done = python("-c", WATCHED, *words.split(), cwd=folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1] == "[]", "imported before what was asked for was checked"


@pytest.mark.parametrize("words", [[], ["baseline"]])
def test_the_page_stands_for_a_missing_command_line_by_line(words: list[str], folder: Path) -> None:
    done = installed(*words, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert any(line.startswith("Usage: shiftaudit") for line in done.stderr.splitlines())
    assert "\ufffd" not in done.stderr


@pytest.mark.parametrize("name", ["strange", "generator", "leaving", "failed_gate", "on_call"])
def test_whatever_a_model_raises_is_the_models_fault(name: str, folder: Path) -> None:
    done = in_process("score", f"raising:{name}", "images", "--size", "16", "--workers", "0", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("error", ["GeneratorExit()", "SystemExit(1)", "BaseException('odd')"])
def test_whatever_else_ends_a_run_is_an_internal_error(error: str, folder: Path) -> None:
    script = f"""
import shiftaudit.records.reading as reading
from shiftaudit.cli.main import main
def read_report(path):
    raise {error}
reading.read_report = read_report
main()
"""
    done = python("-c", script, "report", "x.json", cwd=folder)
    assert done.returncode == 4
    assert done.stderr.startswith("internal error: ")
