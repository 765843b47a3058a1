"""No output of a command is one of its inputs, whichever way its path is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from cli_run import InProcess, installed
from image_files import packed
from networks import Residual, seeded, write_images
from report_builder import fake_report

from shiftaudit.records.codec import dumps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", n=2)
    packed(tmp_path / "images", tmp_path / "images.zip")
    packed(tmp_path / "images", tmp_path / "shards" / "0.tar")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}")
    (tmp_path / "labels.csv").write_text("00.png,0\n")
    torch.jit.save(torch.jit.script(seeded(Residual())), tmp_path / "model.pt")
    (tmp_path / "link.pt").symlink_to("model.pt")
    os.link(tmp_path / "labels.csv", tmp_path / "hard.csv")
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(dumps(fake_report(4)))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score model.pt images -o model.pt", "cannot write model.pt: it is read as MODEL"),
        ("score model.pt images --html ./link.pt", "cannot write link.pt: it is read as MODEL"),
        ("score model.pt images -o images/01.png", "cannot write images/01.png: it is read as IMAGES"),
        ("score model.pt images --labels labels.csv --samples hard.csv", "hard.csv: it is read as --labels"),
        ("score resnet18 images --weights model.pt -o model.pt", "model.pt: it is read as --weights"),
        ("gate a.json -b b.json -o b.json", "cannot write b.json: it is read as --baseline"),
        ("gate model.pt images -b b.json --save-report model.pt", "model.pt: it is read as CANDIDATE"),
        ("baseline update a.json -b a.json --force", "cannot write a.json: it is read as REPORT.json"),
        ("baseline save a.json -o a.json --force", "cannot write a.json: it is read as REPORT.json"),
        ("compare a.json b.json -o a.json", "cannot write a.json: it is read as A.json"),
        ("report a.json b.json -o b.json", "cannot write b.json: it is read as REPORT.json"),
        ("report a.json -o images/00.png --images images", "images/00.png: it is read as --images"),
        ("merge a.json -o a.json", "cannot write a.json: it is read as SAMPLES"),
        ("show model.pt images/00.png -o images/00.png", "cannot write images/00.png: it is read as IMAGE"),
        ("advise model.pt images -o model.pt", "cannot write model.pt: it is read as MODEL"),
        ("patch model.pt -o link.pt --force", "cannot write link.pt: it is read as MODEL"),
        ("patch model.pt -o images/01.png --force --verify images", "images/01.png: it is read as --verify"),
        ("tune a.json images --teacher model.pt -o model.pt --force", "model.pt: it is read as --teacher"),
        ("tune model.pt images --teacher resnet18 -o t.pt --checkpoint model.pt", "model.pt: it is read as PATCHED"),
        ("refit model.pt images --teacher resnet18 -o images/00.png --force", "images/00.png: it is read as IMAGES"),
        (
            "patch hf -o ./hf/config.json --force --file-format state-dict",
            "cannot write hf/config.json: it is read as MODEL",
        ),
        ("score model.pt images.zip --samples images.zip", "cannot write images.zip: it is read as IMAGES"),
        ("score model.pt shards --samples shards/0.tar", "cannot write shards/0.tar: it is read as IMAGES"),
        ("score model.pt images -o x.json --samples x.json", "two results would be written to x.json"),
        ("score model.pt images -o x.json --html images/../x.json", "two results would be written to"),
        ("report a.json -o x/", "cannot write 'x/': it names a folder"),
        ("score model.pt images --samples x/", "cannot write 'x/': it names a folder"),
    ],
)
def test_an_output_that_is_an_input_is_refused(
    words: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, err = InProcess(folder, monkeypatch, capsys)(*words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_configuration_is_an_input_too(folder: Path) -> None:
    (folder / "shiftaudit.toml").write_text("quiet = true\n")
    done = installed("compare", "a.json", "b.json", "-o", "shiftaudit.toml", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "it is read as --config" in done.stderr


def test_an_old_output_is_replaced(folder: Path) -> None:
    (folder / "images" / "page.html").write_text("old")
    done = installed("report", "a.json", "-o", "images/page.html", "--images", "images", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "images" / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
