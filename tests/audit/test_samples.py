"""What an interrupted run has measured is never lost, and never taken for another run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_run import in_process, installed
from networks import write_images
from PIL import Image

OPTIONS = ("--size", "16", "--resize", "20", "--shifts", "2", "--max-shift", "2", "--workers", "0", "--no-stages", "-q")
NETWORK = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from networks import Residual, seeded

class Network(Residual):
    passes = 0
    def forward(self, x):
        Network.passes += 1
        if Network.passes > int(os.environ.get("PASSES", "999999")):
            os.kill(os.getpid(), 9)
        return super().forward(x)

def make():
    return seeded(Network())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", n=6)
    for index in (1, 2):
        Image.new("RGB", (20, 20), (90 * index, 0, 0)).save(tmp_path / "images" / f"flat{index}.bmp")
    (tmp_path / "labels.csv").write_text("".join(f"{index:02}.png,{index % 5}\n" for index in range(6)))
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def score(folder: Path, *more: str, passes: int | None = None) -> tuple[int, str]:
    command = ("score", "net:make", "images", *OPTIONS, "--samples", "run.jsonl", *more)
    # Only what may be killed needs a process of its own.
    done = in_process(*command, cwd=folder) if passes is None else installed(*command, cwd=folder, PASSES=str(passes))
    return done.returncode, done.stderr


def killed_after_rows(folder: Path, *more: str) -> bytes:
    """The unfinished file of a run that was killed."""
    assert score(folder, *more, passes=9)[0] == -9
    rows = (folder / "run.jsonl.partial").read_bytes()
    assert rows.count(b"\n") >= 3
    return rows


def test_a_resumed_run_that_is_killed_leaves_every_row_it_found(folder: Path) -> None:
    rows = killed_after_rows(folder)
    partial = folder / "run.jsonl.partial"
    partial.write_bytes(rows + b'{"image": {"id": "0')
    assert score(folder, "--resume", passes=9)[0] == -9
    assert partial.read_bytes().startswith(rows)
    assert score(folder, "--resume")[0] == 0
    assert (folder / "run.jsonl").read_bytes().startswith(rows)
    complete = (folder / "run.jsonl").read_bytes()
    assert score(folder, "--resume", passes=9)[0] == 0, "a complete file needs no more passes than finding the stages"
    assert (folder / "run.jsonl").read_bytes() == complete
    assert not partial.exists()


def test_rows_of_another_folder_or_of_other_labels_are_not_taken(folder: Path) -> None:
    rows = killed_after_rows(folder, "--labels", "labels.csv")
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace("00.png,0", "00.png,1"))
    code, told = score(folder, "--resume", "--labels", "labels.csv")
    assert (code, "its labels differ" in told) == (2, True), told
    (folder / "images" / "05.png").unlink()
    code, told = score(folder, "--resume", "--labels", "labels.csv")
    assert (code, "its images differ" in told) == (2, True), told
    assert (folder / "run.jsonl.partial").read_bytes() == rows


def test_an_image_that_has_other_contents_of_the_same_length_is_noticed(folder: Path) -> None:
    assert score(folder)[0] == 0
    first, second = (folder / "images" / f"flat{index}.bmp" for index in (1, 2))
    first.write_bytes(second.read_bytes())
    code, told = score(folder, "--resume")
    assert (code, "the contents of flat1.bmp differ" in told) == (2, True), told


def test_merge_notices_missing_rows_empty_shards_and_unfinished_files(folder: Path) -> None:
    for index in ("1", "2"):
        command = ("score", "net:make", "images", *OPTIONS, "--samples", f"{index}.jsonl", "--shard", f"{index}/2")
        assert in_process(*command, cwd=folder).returncode == 0
    merged = ("merge", "1.jsonl", "2.jsonl", "-o", "report.json", "-q")
    assert in_process(*merged, cwd=folder).returncode == 0
    assert json.loads((folder / "report.json").read_text())["data"]["n_images"] == 8
    (folder / "report.json").unlink()
    second = folder / "2.jsonl"
    rows = second.read_text().splitlines(keepends=True)
    for kept in (rows[:-1], rows[:1], [*rows, rows[-1]]):
        second.write_text("".join(kept))
        done = in_process(*merged, cwd=folder)
        assert done.returncode == 2, done.stderr
        assert "2.jsonl holds" in done.stderr
        assert not (folder / "report.json").exists()
