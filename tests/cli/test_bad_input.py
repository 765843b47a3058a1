"""Everything a user can get wrong about images and options: exit code 2, one sentence, nothing written."""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
import torch
from cli_run import InProcess, installed
from networks import Residual, seeded, write_images

SMALL = ("--size", "16", "--shifts", "2", "--max-shift", "2", "--workers", "0", "--no-stages")
LATE = """
import torch
from torch import nn

class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 3:
            raise ValueError("no more")
        return self.conv(x).mean((2, 3))
"""


def png_that_claims(side: int) -> bytes:
    """A few bytes of PNG whose header states an image of side × side."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("bad")
    write_images(where / "good", n=3)
    mixed = write_images(where / "mixed", n=2)
    (mixed / "bomb.png").write_bytes(png_that_claims(40_000))
    (mixed / "cut.png").write_bytes((mixed / "00.png").read_bytes()[:200])
    (mixed / "text.jpg").write_text("not an image")
    (mixed / "zero.jpg").touch()
    (mixed / "dangling.png").symlink_to("nowhere.png")
    (mixed / "loop.png").symlink_to("loop.png")
    (mixed / "again").symlink_to(mixed)
    if os.geteuid() != 0:
        (mixed / "secret.png").write_bytes((mixed / "01.png").read_bytes() + b"\0")
        (mixed / "secret.png").chmod(0)
    for name in ("zero.jpg", "text.jpg"):
        (where / "all_bad").mkdir(exist_ok=True)
        (where / "all_bad" / name).write_bytes((mixed / name).read_bytes())
    (where / "empty").mkdir()
    (where / "labels.csv").write_text("00.png,9\n")
    (where / "late_network.py").write_text(LATE)
    torch.jit.save(torch.jit.script(seeded(Residual())), where / "model.pt")
    return where


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    return InProcess(folder, monkeypatch, capsys)


def test_bad_images_are_skipped_and_listed_and_the_good_ones_are_scored(folder: Path, run: InProcess) -> None:
    code, out, err = run("score", "model.pt", "mixed", *SMALL, "--format", "json")
    assert code == 0, err
    data = json.loads(out)["data"]
    assert data["n_images"] == 2
    reasons = {item["path"]: item["reason"] for item in data["skipped"]}
    locked = {"secret.png"} if os.geteuid() != 0 else set()
    assert set(reasons) == {"bomb.png", "cut.png", "text.jpg", "zero.jpg", "dangling.png", "loop.png"} | locked
    for path, reason in reasons.items():
        assert reason, path
        assert "\n" not in reason, path
        assert str(folder) not in reason, path
    assert "empty" in reasons["zero.jpg"]
    assert f"warning: {len(reasons)} files were skipped, the first is bomb.png" in err


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ("empty", (), "found no image in empty; point IMAGES at a folder"),
        ("missing", (), "missing does not exist"),
        ("all_bad", (), "none of 2 files could be scored"),
        ("all_bad/zero.jpg", (), "no image could be scored (zero.jpg: the file is empty)"),
        ("mixed", ("--max-skipped", "1"), "more than --max-skipped 1"),
        ("good", ("-o", "nowhere/report.json"), "cannot write nowhere/report.json"),
        ("good", ("-o", "empty"), "cannot write empty: it is a folder"),
        ("good", ("-o", "model.pt"), "cannot write model.pt: it is read as MODEL"),
        ("good", ("-o", "a.json", "--html", "a.json"), "two results would be written to a.json"),
        (
            "good",
            ("--format", "yaml"),
            "--format got 'yaml'; expected summary, table, json, markdown, github-benchmark or model-card",
        ),
        ("good", ("--size", "0"), "--size got 0"),
        ("good", ("--size", "10000000"), "--size got 10000000; expected at most 9459 pixels"),
        ("good", ("--resize", "10000000"), "--resize got 10000000; expected at most 9459 pixels"),
        ("good", ("--size", "1", "--max-shift", "1"), "an input of 1 px cannot be shifted"),
        ("good", ("--resize", "8"), "--resize 8 is below --size 16"),
        ("good", ("--mean", "a,b"), "--mean got 'a,b'"),
        ("good", ("--mean", "0.1,0.2"), "--mean got 2 values; expected 1 or 3"),
        ("good", ("--std", "0"), "--std got 0"),
        ("good", ("--interpolation", "cubic"), "--interpolation got 'cubic'"),
        ("good", ("--channels", "2"), "--channels got 2"),
        ("good", ("--protocol", "sideways"), "--protocol got 'sideways'; expected both, circular or crop"),
        ("good", ("--shifts", "1"), "--shifts got 1"),
        ("good", ("--shifts", "grid:0"), "--shifts"),
        ("good", ("--shifts", "many"), "--shifts"),
        ("good", ("--shifts", "9" * 5000), "--shifts"),
        ("good", ("--shard", "1/" + "9" * 5000), "--shard"),
        ("good", ("--output", "9" * 5000), "--output"),
        ("good", ("--preset", "nobody"), "--preset got 'nobody'; expected zhang, aps or azulay"),
        ("good", ("--preset", "zhang"), "--preset zhang sets"),
        ("good", ("--max-shift", "0"), "--max-shift got 0"),
        ("good", ("--max-shift", "5000", "--protocol", "crop"), "needs an image of 10016 px; expected at most 9459"),
        ("good", ("--max-shift", "9"), "use --max-shift 8 or less"),
        ("good", ("--stages", "--stage-views", "0"), "--stage-views got 0"),
        ("good", ("--batch-size", "0"), "--batch-size"),
        ("good", ("--workers", "-1"), "--workers"),
        ("good", ("--limit", "0"), "--limit"),
        ("good", ("--seed", "-1"), "--seed"),
        ("good", ("--labels", "missing.csv"), "--labels got 'missing.csv', which is no file"),
        ("good", ("--labels", "labels.csv"), "labels.csv, line 1: unknown label '9'"),
        ("good", ("--labels", "folder"), "pass --labels FILE.csv"),
        ("good", ("--device", "abacus"), "--device abacus"),
        ("good", ("--output", "logits"), "--output"),
        ("good", ("--arch", "resnet18"), "--arch"),
        ("good", ("--sise", "3"), "--sise"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2_and_one_sentence(
    images: str, options: tuple[str, ...], words: str, folder: Path, run: InProcess
) -> None:
    before = sorted(folder.iterdir())
    code, out, err = run("score", "model.pt", images, *SMALL, *options)
    assert code == 2, err
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert "internal error" not in err
    assert sorted(folder.iterdir()) == before


def test_outputs_and_images_are_checked_before_the_model_is_looked_at(run: InProcess) -> None:
    assert "cannot write" in run("score", "no_such_model.pt", "good", "-o", "nowhere/report.json")[2]
    assert "found no image" in run("score", "no_such_model.pt", "empty")[2]


def test_a_model_that_fails_half_way_leaves_no_report(folder: Path, tmp_path: Path, run: InProcess) -> None:
    report, samples = tmp_path / "report.json", tmp_path / "rows.jsonl"
    options = ("-o", report, "--samples", samples, "--batch-size", "32")
    code, out, err = run("score", "late_network:Late", "good", *SMALL, *options)
    assert code == 2, err
    assert out == ""
    assert "ValueError: no more" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl.partial"]


@pytest.mark.parametrize("debug", [False, True])
def test_a_mistake_of_the_program_is_exit_code_4(
    debug: bool, tmp_path: Path, run: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("shiftaudit.audit.run.summarise", broken)
    options = ("-o", tmp_path / "report.json", *(["--debug"] if debug else []))
    code, out, err = run("score", "model.pt", "good", *SMALL, *options)
    assert (code, out) == (4, "")
    assert "internal error: RuntimeError: boom" in err
    assert ("Traceback" in err) is debug
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("debug", [False, True])
def test_a_full_disk_is_no_mistake_of_the_program(
    debug: bool, tmp_path: Path, run: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shiftaudit.audit.samples.SamplesWriter.write", full)
    options = ("--samples", tmp_path / "rows.jsonl", *(["--debug"] if debug else []))
    code, out, err = run("score", "model.pt", "good", *SMALL, *options)
    assert (code, out) == (2, "")
    assert "error: the results cannot be written: No space left on device" in err
    assert ("Traceback" in err) is debug


def test_the_installed_command_ends_with_the_same_words_and_codes(folder: Path) -> None:
    done = installed("score", "model.pt", "all_bad", *SMALL, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: none of 2 files could be scored (text.jpg: " in done.stderr
    assert "Traceback" not in done.stderr
